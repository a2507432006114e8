"""Dockerfiles as people write them, built by Debian's buildah; the table in docs/builds.md is this test's."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.builds.dockerfile_features import (
    ALL,
    CONTEXT,
    ELSEWHERE,
    FILES,
    NO,
    SETTINGS,
    STEPS,
    YES,
    Feature,
    dockerfile,
    table,
)
from tests.builds.services import Services

from hythe.worker.dockerfiles.features import require_buildah_features
from hythe.worker.errors import InvalidDockerfile

pytestmark = pytest.mark.clients

TINY = "FROM scratch\nADD rootfs.tar /\n"
SLOW = 60.0
"""Seconds for a build of many steps."""


def log_of(services: Services, name: str, text: str, **more: object) -> str:
    """Build a Dockerfile with the files of CONTEXT; return the log."""
    path = services.configure(name, services.source(name, {**CONTEXT, "Dockerfile": text}), **more)
    services.call("PUT", f"{path}/build-configuration/secrets/token", {"value": "hush-hush-42"})
    build = services.wait(path, services.trigger(path)[0], seconds=SLOW)
    assert build["status"] == "succeeded", f"{build['reason']}\n{build['log']}"
    return str(build["log"])


def reason_of(services: Services, name: str, text: str, **files: str) -> tuple[str, str]:
    """Build a Dockerfile that fails; return the reason and the log."""
    path = services.configure(name, services.source(name, {**CONTEXT, "Dockerfile": text, **files}))
    build = services.wait(path, services.trigger(path)[0])
    assert build["status"] == "failed", build["log"]
    return build["reason"], build["log"]


def test_every_row_of_the_table_has_a_test() -> None:
    """The documentation says of this buildah and of docker engines what the tests say."""
    rows = table()

    assert sorted(rows) == sorted([*(feature.row for feature in ALL), *ELSEWHERE])
    for feature in ALL:
        assert [cell.split(",")[0].split(" ")[0] for cell in (rows[feature.row][0], rows[feature.row][2])] == [
            feature.buildah,
            feature.docker,
        ], feature.row


@pytest.mark.parametrize("features", [STEPS, FILES, SETTINGS], ids=["steps", "files", "settings"])
def test_features(services: Services, features: tuple[Feature, ...], request: pytest.FixtureRequest) -> None:
    """The step of each feature that buildah builds shows that it worked."""
    built = [feature for feature in features if feature.buildah == YES]

    log = log_of(services, f"features-{request.node.callspec.id}", dockerfile(*built))

    assert [feature.row for feature in built if feature.shown not in log] == []
    assert "tap0" not in log


@pytest.mark.parametrize("feature", [each for each in ALL if each.buildah == NO], ids=lambda feature: feature.row)
def test_what_buildah_cannot_do(feature: Feature) -> None:
    """It is found before the build, with its line and what would do it."""
    with pytest.raises(InvalidDockerfile, match=r"^Dockerfile line \d+: .*(?:BuildKit|remove the flag)"):
        require_buildah_features(dockerfile(feature), (1, 28))


def test_a_dockerfile_of_windows(services: Services) -> None:
    """A byte order mark and CRLF, also in .dockerignore."""
    text = f"\ufeff{TINY}COPY . /all\nRUN echo found \\\n  $(ls /all)\n".replace("\n", "\r\n")
    files = {**CONTEXT, "Dockerfile": text, ".dockerignore": "\ufeff# all\r\n*\r\n!a.txt\r\n!rootfs.tar\r\n"}
    path = services.configure("windows", services.source("windows", files))

    assert "found a.txt rootfs.tar\n" in services.built(path, services.trigger(path)[0])["log"].replace("\r", "")


def test_parser_directives(services: Services) -> None:
    """They are the first lines; buildah does not fetch the image of ``# syntax=``."""
    text = f"# syntax=docker/dockerfile:1\n# check=skip=all\n# escape=`\n{TINY}RUN echo one `\n  two\n"

    assert "\none two\n" in log_of(services, "directives", text)


def test_stages(services: Services) -> None:
    """A stage can be the base of another one; one that nothing needs is not built."""
    text = (
        f"{TINY.replace('scratch', 'scratch AS one')}FROM one AS unused\nRUN false\nFROM one AS two\nRUN echo in two\n"
    )

    log = log_of(services, "stages", text)

    assert "\nin two\n" in log
    assert "RUN false" not in log


def test_images_besides_from(services: Services) -> None:
    """COPY --from and RUN --mount=from= of an image of the hub."""
    base = services.configure("beside", services.source("beside"))
    services.built(base, services.trigger(base)[0])
    image = f"{services.hub.host}/alice/beside"
    text = f"{TINY}COPY --from={image} /who /who\nRUN --mount=from={image},target=/other cat /other/greeting /who\n"

    assert "hello from a step\nuid=0" in log_of(services, "besides", text)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a web server on this host with a file."""
    (tmp_path / "file.txt").write_text("from the web\n")
    handler = partial(_QuietHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Logs nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def test_files_at_urls(start_services: Callable[..., Services], web: str) -> None:
    """With and without checksum, and before a step without network; the network of other steps stays."""
    services = start_services(
        env={"HYTHE_BUILDS_NETWORK": "open", "HYTHE_INTERNAL_NETWORKS": f"127.0.0.0/8 {web}"},
    )
    digest = hashlib.sha256(b"from the web\n").hexdigest()
    text = (
        f"{TINY}ADD http://{web}/file.txt /plain/\nADD --checksum=sha256:{digest} http://{web}/file.txt /renamed\n"
        "RUN echo with; cat /proc/net/dev\nRUN --network=none cat /plain/file.txt /renamed; ls -l /renamed\n"
        "RUN --network=none echo without; cat /proc/net/dev\nENV x=y\nRUN --network=host echo host; cat /proc/net/dev\n"
    )
    wrong = f"{TINY}ADD --checksum=sha256:{'0' * 64} http://{web}/file.txt /x\n"

    log = log_of(services, "urls", text)
    reason, _ = reason_of(services, "wrong-digest", wrong)

    steps = log.split("\nSTEP ")
    assert ["tap0" in step for step in steps if "/proc/net/dev" in step] == [True, False, True]
    assert "from the web\nfrom the web\n-rw-------" in log
    assert [log.count(f"STEP {number}/9") for number in range(1, 10)] == [1] * 9
    assert reason == f"Dockerfile line 3: http://{web}/file.txt has the digest sha256:{digest}, not that of --checksum"


def test_git_repositories(services: Services) -> None:
    """A branch, a tag, a commit, a folder, git's own files, the checksum; provenance names the commits."""
    library = services.git.create("src/library")
    first = library.commit({"v.txt": "version 1\n", "docs/d.md": "doc\n"})
    library.tag("v1")
    second = library.commit({"v.txt": "version 2\n"})
    url = library.url
    text = (
        f"{TINY}ARG V=v1\nADD {url} /head\nADD {url}#$V /tag\nADD {url}#{first[:12]}:docs /docs\n"
        f"ADD --keep-git-dir=true --exclude=docs --checksum={first} {url}#v1 /kept\n"
        "RUN --network=none cat /head/v.txt /tag/v.txt; ls -a /tag /docs /kept\n"
    )
    path = services.configure("git-add", services.source("git-add", {"Dockerfile": text}))

    build = services.built(path, services.trigger(path)[0])
    reason, _ = reason_of(services, "git-wrong", f"{TINY}ADD --checksum={second} {url}#v1 /x\n")
    missing, _ = reason_of(services, "git-missing", f"{TINY}\nADD {url}#v9 /x\n")

    assert "version 2\nversion 1\n" in build["log"]
    assert "/docs:\n.\n..\nd.md\n" in build["log"]
    assert "/kept:\n.\n..\n.git\nv.txt\n" in build["log"]
    assert "/tag:\n.\n..\ndocs\nv.txt\n" in build["log"]
    assert reason == f"Dockerfile line 3: {url} is at commit {first}, not at {second} of --checksum"
    assert missing == f"Dockerfile line 4: {url}#v9: the commit does not exist: see the log"


def test_private_repositories(services: Services) -> None:
    """ADD gets the credentials of the source for repositories on the same host, and no step sees them."""
    private = ("reader", "s3same-open")
    services.git.create("src/part", private=private).commit({"p.txt": "private part\n"})
    text = f"{TINY}ADD {services.git.url}/src/part.git /part\nRUN cat /part/p.txt; env\n"
    source = services.source("with-part", {"Dockerfile": text}, private=private)
    path = services.configure("with-part", source, credentials=":".join(private))

    log = services.built(path, services.trigger(path)[0])["log"]

    assert "private part\n" in log
    assert "s3same" not in log
    assert "Authorization" not in log


def test_the_same_commit_gives_the_same_digest(services: Services) -> None:
    """Also with prepared sources and a step without network."""
    text = f"{TINY}COPY --exclude=*.md src /s\nCOPY --parents a.txt /p/\nRUN --network=none ls -R /s /p > /list\n"
    source = services.source("same-digest", {**CONTEXT, "Dockerfile": text})
    path = services.configure("same-digest", source, {"cache": False})

    first, second = (services.built(path, services.trigger(path)[0]) for _ in range(2))

    assert first["digest"] == second["digest"]


@pytest.mark.parametrize(
    ("text", "reason", "shown"),
    [
        (f"{TINY}RUNN x\n", "Dockerfile line 3: unknown instruction RUNN (did you mean RUN?)", None),
        (
            f"{TINY}RUN echo oh no && exit 7\n",
            "Dockerfile line 3 (RUN echo oh no && exit 7) failed with exit code 7; its last output: oh no",
            "oh no",
        ),
        (
            f"{TINY}COPY nope /\n",
            "Dockerfile line 3 (COPY nope /): nope is not in the build context",
            "STEP 3/3: COPY nope /",
        ),
        (
            f"{TINY}COPY a.txt /\n",
            "Dockerfile line 3 (COPY a.txt /): a.txt is excluded from the build context by .dockerignore",
            "STEP 3/3: COPY a.txt /",
        ),
        (
            f"{TINY}RUN kill -9 $$\n",
            "Dockerfile line 3 (RUN kill -9 $$) failed with exit code 137 (it was killed; it may need more memory)",
            "STEP 3/3: RUN kill -9 $$",
        ),
    ],
    ids=["misspelt", "exit code", "missing", "excluded", "killed"],
)
def test_errors(services: Services, text: str, reason: str, shown: str | None, request: pytest.FixtureRequest) -> None:
    """The reason has line, instruction, code and output; the log ends with it, without buildah's noise."""
    name = f"error-{request.node.callspec.id.replace(' ', '-')}"

    found, log = reason_of(services, name, text, **{".dockerignore": "a.txt\n"})

    assert found == reason
    lines = log.splitlines()
    assert lines[-1] == f"==> failed: {reason}"
    assert shown is None or lines[-2] == shown
    assert not any(line.startswith(("subprocess", "Error:", "time=")) for line in lines)


def test_a_limit_names_the_step(services: Services) -> None:
    """As other errors do."""
    path = services.configure("late", services.source("late", {"Dockerfile": f"{TINY}RUN sleep 100\n"}), {"timeout": 5})

    build = services.wait(path, services.trigger(path)[0])

    assert (
        build["reason"] == "the build stopped: it took longer than its 5 seconds, at Dockerfile line 3 (RUN sleep 100)"
    )
