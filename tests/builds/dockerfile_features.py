"""Features of Dockerfiles, one for each row of the table in docs/builds.md, with lines that show whether they work.

The lines follow the same stage, which has busybox, and the files of CONTEXT as its build context. Those that need a
registry, a web server or a git server have tests of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

YES, NO = "yes", "no"
CONTEXT: dict[str, str | bytes] = {
    "a.txt": "file a\n",
    "a b.txt": "file a b\n",
    "src/x.txt": "file x\n",
    "src/x.md": "file md\n",
    "src/sub/y.txt": "file y\n",
}
START = "ARG RELEASE=r1\nFROM scratch AS base\nADD rootfs.tar /\nFROM base\nARG RELEASE TARGETARCH OTHER=o1\n"


@dataclass(frozen=True)
class Feature:
    """A row: whether Debian's buildah and a docker engine build it, and what the log shows then."""

    row: str
    lines: str
    shown: str = ""
    buildah: str = YES
    docker: str = YES


STEPS = (
    Feature(
        "here-documents",
        "RUN <<EOF\necho here $OTHER\nEOF\nCOPY <<A <<'B' /h/\n$OTHER\nA\n$OTHER\nB\nRUN cat /h/A /h/B",
        "here o1",
        docker=NO,
    ),
    Feature("`RUN --mount=type=bind`", "RUN --mount=type=bind,source=a.txt,target=/m/a cat /m/a", "file a", docker=NO),
    Feature(
        "`RUN --mount=type=cache`",
        "RUN --mount=type=cache,target=/c echo cached > /c/x && cat /c/x",
        "cached",
        docker=NO,
    ),
    Feature("`RUN --mount=type=tmpfs`", "RUN --mount=type=tmpfs,target=/t touch /t/x && ls /t", docker=NO),
    Feature("`RUN --mount=type=secret`", "RUN --mount=type=secret,id=token cat /run/secrets/token", "***", docker=NO),
    Feature("`RUN --mount=type=secret,env=..`", "RUN --mount=type=secret,id=token,env=T true", buildah=NO, docker=NO),
    Feature("`RUN --mount=type=ssh`", "RUN --mount=type=ssh true", docker=NO),
    Feature("`RUN --network=none`", "RUN --network=none cat /proc/net/dev"),
    Feature("`RUN --network=host`, `=default`", "RUN --network=host true\nRUN --network=default true"),
    Feature("`RUN --security=sandbox`", "RUN --security=sandbox true"),
    Feature("`RUN --security=insecure`", "RUN --security=insecure true", buildah=NO, docker=NO),
    Feature("`RUN --device`", "RUN --device=vendor.com/class=name true", buildah=NO, docker=NO),
    Feature("JSON forms of `RUN` and `COPY`", 'COPY ["a b.txt", "/j/"]\nRUN ["cat", "/j/a b.txt"]', "file a b"),
)
FILES = (
    Feature("`COPY --link`", "COPY --link a.txt /link\nRUN cat /link", "file a"),
    Feature("`--chmod=640`", "COPY --chmod=640 a.txt /mode\nRUN ls -l /mode", "-rw-r-----", docker=NO),
    Feature("`--chmod=u=rwX,go=rX`", "COPY --chmod=u=rwX,go= src /modes\nRUN ls -l /modes", "drwx------", docker=NO),
    Feature("`--chown`", "COPY --chown=nobody:65534 a.txt /owner\nRUN ls -ln /owner", "65534    65534"),
    Feature("`--exclude`", "COPY --exclude=*.md src /ex/\nRUN echo ex $(ls /ex)", "ex sub x.txt", docker=NO),
    Feature("`--parents`", "COPY --parents src/./sub/*.txt a.txt /pa/\nRUN ls /pa/sub", "y.txt", docker=NO),
    Feature("`COPY --from=..` with `--exclude`", "COPY --from=base --exclude=x /etc /etc2", buildah=NO, docker=NO),
    Feature("`COPY --from=..` with `--parents`", "COPY --from=base --parents /etc/passwd /p2", buildah=NO, docker=NO),
    Feature("`ADD` of a tar file", "ADD rootfs.tar /tar\nRUN ls -d /tar/bin", "/tar/bin"),
    Feature("`ADD --unpack=false`", "ADD --unpack=false rootfs.tar /tars/\nRUN ls /tars", "rootfs.tar", docker=NO),
    Feature(
        "`COPY --from` of a stage, by name or number",
        "COPY --from=base /etc/group /g1\nCOPY --from=0 /etc/group /g2\nRUN cat /g1",
        "nogroup:x:65534:",
    ),
    Feature("wildcards", "COPY s?c/[x].* /w/\nRUN echo w $(ls /w)", "w x.md x.txt"),
)
SETTINGS = (
    Feature("`HEALTHCHECK`", "HEALTHCHECK --interval=5s --retries=2 CMD true"),
    Feature("`HEALTHCHECK --start-interval`", "HEALTHCHECK --start-interval=5s CMD true", buildah=NO, docker=NO),
    Feature("`ONBUILD`", "ONBUILD RUN echo x"),
    Feature("`SHELL`", 'SHELL ["/bin/sh", "-ec"]\nRUN echo by $0', "by /bin/sh"),
    Feature(
        "`STOPSIGNAL`, `VOLUME`, `EXPOSE`, `USER`, `WORKDIR`, `LABEL`",
        "STOPSIGNAL SIGQUIT\nVOLUME /v\nEXPOSE 80/tcp 8000-8010\nLABEL a=b \"c d\"='e f'\nWORKDIR /wd\nUSER nobody\n"
        "RUN pwd\nUSER root",
        "/wd",
    ),
    Feature("`ARG` before and after `FROM`", "RUN echo arg $RELEASE $OTHER", "arg r1 o1"),
    Feature(
        "predefined arguments (`TARGETARCH`, `HTTP_PROXY`)",
        "RUN echo arch ${TARGETARCH:-none} ${HTTP_PROXY:-no}",
        "arch ",
    ),
    Feature("`${x:-y}`, `${x:+y}`", "ENV n=${none:-dash} p=${OTHER:+plus}\nRUN echo $n $p", "dash plus"),
    Feature(
        "`${x#y}`, `${x%%y}`, `${x/y/z}`, `${x-y}`",
        "ENV t=${OTHER#o}-${OTHER%%1}-${OTHER/o/q}-${none-unset}\nRUN echo $t",
        "1-o-q1-unset",
        docker=NO,
    ),
    Feature(
        "lower case, comments and empty lines in continued lines", "run echo one \\\n# comment\n\n  two", "one   two"
    ),
)
ALL = (*STEPS, *FILES, *SETTINGS)
ELSEWHERE = {
    "byte order mark, CRLF": "test_a_dockerfile_of_windows",
    "`# syntax=`, `# escape=`, `# check=`": "test_parser_directives",
    "`FROM` a stage; unused stages are skipped": "test_stages",
    "`FROM --platform=$BUILDPLATFORM`": "test_cross_building",
    "`COPY --from` and `RUN --mount=from=` of an image": "test_images_besides_from",
    "`ADD` of a URL, `ADD --checksum`": "test_files_at_urls",
    "`ADD` of a git repository": "test_git_repositories",
    "`NAME.dockerignore`": "test_a_dockerfile_can_have_its_own_dockerignore",
}
"""Rows that have a test of their own, by its name."""


def dockerfile(*features: Feature) -> str:
    """Return a Dockerfile with these features in one stage."""
    return START + "".join(f"{feature.lines}\n" for feature in features)


def table() -> dict[str, list[str]]:
    """Return the table of docs/builds.md: the cells of each row by its name."""
    text = (Path(__file__).parents[2] / "docs/builds.md").read_text()
    part = text.partition("\n| Dockerfile |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in part.splitlines()[2:]]
    return {row[0]: row[1:] for row in rows}
