"""Rewriting here-documents for builders that do not support them."""

from hythe.worker.dockerfiles.rewriting import rewrite


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
