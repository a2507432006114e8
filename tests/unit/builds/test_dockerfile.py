"""Dockerfiles: base images and here-documents."""

import pytest

from hythe.builds.dockerfile import base_images, parse, without_heredocs
from hythe.builds.errors import InvalidSetup


def test_base_images_leave_out_stages_and_scratch() -> None:
    """Images of FROM, COPY --from and RUN --mount count; names and numbers of stages do not."""
    text = """\
ARG VERSION=12
FROM --platform=linux/amd64 debian:${VERSION} AS Build
RUN --mount=type=bind,from=tools/jq,target=/jq true
FROM scratch
COPY --from=build /a /a
COPY --from=0 /b /b
COPY --from=busybox:1 /bin /bin
"""

    assert base_images(text, {"VERSION": "13"}) == ("debian:13", "tools/jq", "busybox:1")
    assert base_images(text, {})[0] == "debian:12"


def test_continuation_lines_and_comments_are_joined() -> None:
    """A comment between continued lines belongs to none of them; the escape directive is obeyed."""
    text = "# escape=`\nFROM a\nRUN one `\n  # not this\n  two\n"

    assert [(each.word, each.rest) for each in parse(text)] == [("FROM", "a"), ("RUN", "one two")]


def test_a_run_heredoc_becomes_a_call_of_the_shell() -> None:
    """Builders that know no here-documents get the same script."""
    text, files = without_heredocs("FROM a\nRUN <<EOF\necho 1\necho 2\nEOF\nCMD x\n", ".heredocs")

    assert text == 'FROM a\nRUN ["/bin/sh", "-c", "echo 1\\necho 2\\n"]\nCMD x\n'
    assert files == {}


def test_a_copy_heredoc_becomes_a_file() -> None:
    """The file's content is the body; what follows stays where it was."""
    text, files = without_heredocs("FROM a\nCOPY <<one.txt <<two.txt /etc/\n1\none.txt\n2\ntwo.txt\nCMD x\n", ".h")

    assert text == "FROM a\nCOPY .h/0/one.txt .h/1/two.txt /etc/\nCMD x\n"
    assert files == {".h/0/one.txt": "1\n", ".h/1/two.txt": "2\n"}


@pytest.mark.parametrize("text", ["", "RUN true", "FROM\n", "FROM a\nRUN <<EOF\nnever ends"])
def test_what_is_no_dockerfile_is_refused(text: str) -> None:
    """A Dockerfile without a base or with an open here-document is refused in words."""
    with pytest.raises(InvalidSetup):
        base_images(text, {})
