"""Rewriting here-documents for builders that do not support them."""

import pytest

from hythe.worker.dockerfiles.rewriting import SelectedSource, rewrite, selected_sources, without_sandbox_flags
from hythe.worker.errors import InvalidDockerfile


def rewritten(text: str, arguments: dict[str, str] | None = None) -> tuple[str, dict[str, str]]:
    """Return the Dockerfile for buildah, and the files of its own context; prepared sources are ``N/``."""
    found = rewrite(text, arguments or {}, lambda source: f"{source.number}/")
    return found.text, found.files


def test_a_run_heredoc_becomes_a_call_of_the_shell() -> None:
    """The script stays the same and runs in the stage's shell."""
    text, files = rewritten(
        'FROM a\nRUN <<EOF\necho 1\necho 2\nEOF\nSHELL ["/bin/bash", "-c"]\nRUN <<EOF\necho 3\nEOF\nCMD x\n', {}
    )

    assert text.splitlines() == [
        "FROM a",
        'RUN ["/bin/sh", "-c", "echo 1\\necho 2\\n"]',
        'SHELL ["/bin/bash", "-c"]',
        'RUN ["/bin/bash", "-c", "echo 3\\n"]',
        "CMD x",
    ]
    assert files == {}


def test_a_script_with_a_shebang_runs_its_program() -> None:
    """The program in the first line (#!) runs the script, and the file is deleted afterwards."""
    text, _ = rewritten("FROM a\nRUN <<EOF\n#!/usr/bin/env python3\nprint(1)\nEOF\n", {})

    assert "#!/usr/bin/env python3\\nprint(1)" in text
    assert "rm /tmp/.script" in text


def test_a_copy_heredoc_comes_from_its_own_context() -> None:
    """Flags stay, sources of the build context get their own COPY, and later lines stay in place."""
    text, files = rewritten(
        "FROM a\nCOPY --chmod=600 <<one.txt <<two.txt three /etc/\n1\none.txt\n2\ntwo.txt\nCMD x\n", {}
    )

    assert text.splitlines() == [
        "FROM a",
        'COPY --chmod=600 --from=hythe-files ["h0/one.txt", "h1/two.txt", "/etc/"]',
        "COPY --chmod=600 three /etc/",
        "CMD x",
    ]
    assert files == {"h0/one.txt": "1\n", "h1/two.txt": "2\n"}


def test_variables_in_a_copied_heredoc() -> None:
    """Arguments and variables of the stage are filled in, unless the delimiter is quoted."""
    text = """\
ARG RELEASE=1
FROM a
ARG RELEASE
ARG COLOUR=red
ENV GREETING="good day" NAME=$COLOUR
COPY <<EOF /a
$RELEASE ${COLOUR} $GREETING $NAME \\$COLOUR $HOME
EOF
COPY <<'EOF' /b
$RELEASE
EOF
"""

    _, files = rewritten(text, {"COLOUR": "blue"})

    assert files == {"h0/EOF": "1 blue good day blue $COLOUR $HOME\n", "h1/EOF": "$RELEASE\n"}


def test_copy_link_is_an_ordinary_copy() -> None:
    """The flag changes how a layer is made, not its content, so it is removed."""
    assert rewritten("FROM a\nCOPY --link --from=b /x /\n", {})[0] == "FROM a\nCOPY --from=b /x /\n"


def test_networks_of_steps() -> None:
    """Only ``none`` matters; the space gives such a step another history, and so another place in the cache."""
    text = "FROM a\nRUN --network=none x\nRUN --network=host --mount=type=tmpfs,target=/t y\nRUN --security=sandbox z\n"

    found = rewrite(text, {}, lambda _: "")
    offline = rewrite(text, {}, lambda _: "", is_online=False)

    assert found.text == "FROM a\nRUN  x\nRUN --mount=type=tmpfs,target=/t y\nRUN z\n"
    assert found.offline == {1}
    assert offline.text == found.text.replace("RUN  x", "RUN x")
    assert offline.offline == frozenset()


def test_sandbox_flags_for_builders_that_refuse_them() -> None:
    """The network host of a step is that of the build, so it is no flag; lines stay where they are."""
    text = "FROM a\nRUN --network=host \\\n  --security=sandbox x --network=host\nRUN --network=none y\n"

    assert without_sandbox_flags(text) == "FROM a\nRUN \\\n  x --network=host\nRUN --network=none y\n"
    assert without_sandbox_flags(text, is_online=False).endswith("RUN y\n")


@pytest.mark.parametrize(
    ("line", "expected", "replaced"),
    [
        (
            "COPY --exclude=*.md --exclude=x --chown=1 a b /d/",
            SelectedSource("Dockerfile line 2", 0, ("a", "b"), ("*.md", "x")),
            'COPY --chown=1 --from=hythe-files ["0/", "/d/"]',
        ),
        (
            'COPY --parents ["a b", "/d"]',
            SelectedSource("Dockerfile line 2", 0, ("a b",), with_parents=True),
            'COPY --from=hythe-files ["0/", "/d"]',
        ),
        (
            "COPY --chmod=u=rwX,go=rX a /d",
            SelectedSource("Dockerfile line 2", 0, ("a",), mode="u=rwX,go=rX"),
            'COPY --from=hythe-files ["0/", "/d"]',
        ),
        (
            "ADD --checksum=sha256:1 --link https://h/x /d",
            SelectedSource("Dockerfile line 2", 0, ("https://h/x",), checksum="sha256:1"),
            'COPY --from=hythe-files ["0/", "/d"]',
        ),
        (
            "ADD --keep-git-dir https://h/x.git#v1 /d",
            SelectedSource("Dockerfile line 2", 0, ("https://h/x.git#v1",), keep_git_folder=True),
            'COPY --from=hythe-files ["0/", "/d"]',
        ),
    ],
)
def test_sources_that_buildah_cannot_read(line: str, expected: SelectedSource, replaced: str) -> None:
    """They are prepared, and copied from there."""
    sources: list[SelectedSource] = []

    def prepare(source: SelectedSource) -> str:
        sources.append(source)
        return f"{source.number}/"

    text = rewrite(f"FROM scratch\n{line}\n", {}, prepare).text

    assert sources == [expected]
    assert text == f"FROM scratch\n{replaced}\n"


@pytest.mark.parametrize(
    ("line", "replaced"),
    [
        ("COPY --chmod=640 --link a /d", "COPY --chmod=640 a /d"),
        ("COPY --link=true --from=b a /d", "COPY --from=b a /d"),
        ("ADD --unpack=false x.tar /d", "COPY x.tar /d"),
        ("ADD --unpack=true x.tar /d", "ADD x.tar /d"),
        ("ADD https://h/x /d", "ADD https://h/x /d"),
        ("ENV A=${V#x} B='${V#x}' C=\"${V%c}\" D=\\${V#x}", "ENV A=ab\\ c B='${V#x}' C=\"xab \" D=\\${V#x}"),
        ("COPY ${V//[a-z]/n} /d/${V/x/}", "COPY xab\\ c /d/ab\\ c"),
        ("RUN echo ${V#x}", "RUN echo ${V#x}"),
    ],
)
def test_flags_and_variables_that_buildah_does_not_know(line: str, replaced: str) -> None:
    """Flags without effect are removed, and variables replaced where docker replaces them."""
    text = rewrite(f"FROM scratch\nARG V='xab c'\n{line}\n", {}, lambda _: "").text

    assert text.splitlines()[2] == replaced


def test_variables_of_the_base_image_are_unknown() -> None:
    """A clear error, rather than a wrong path."""
    with pytest.raises(InvalidDockerfile, match="Dockerfile line 2: the Dockerfile sets no variable HOME"):
        rewrite("FROM debian\nCOPY --exclude=x $HOME /d\n", {}, lambda _: "")


def test_urls_before_a_step_without_network_are_prepared() -> None:
    """The step takes what came before it from the layer cache, which would fetch URLs again."""
    sources = selected_sources("FROM a\nADD https://h/x /d/\nRUN --network=none true\n", {})

    assert [each.paths for each in sources] == [("https://h/x",)]


def test_stages_inherit_shell_and_variables() -> None:
    """A stage on another one has its SHELL and ENV, but not its ARG."""
    text = """\
FROM scratch AS one
ENV E=1
ARG A=2
SHELL ["/bin/bash", "-c"]
FROM one AS two
COPY <<EOF /x
$E $A
EOF
RUN <<EOF
y
EOF
"""
    found, files = rewritten(text)

    assert files == {"h0/EOF": "1 $A\n"}
    assert 'RUN ["/bin/bash", "-c", "y\\n"]' in found


def test_a_quoted_delimiter_can_have_spaces() -> None:
    """As in the shell."""
    _, files = rewritten("FROM a\nCOPY <<-'E O F' /x\n\ta\nE O F\n")

    assert files == {"h0/E O F": "a\n"}
