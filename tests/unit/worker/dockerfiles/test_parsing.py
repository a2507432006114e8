"""Dockerfiles: instructions and base images."""

import pytest

from hythe.worker.dockerfiles.parsing import BaseImage, base_images, parse, rename_base_images, syntax_image
from hythe.worker.errors import InvalidDockerfile


def test_base_images_leave_out_stages_and_scratch() -> None:
    """Images of FROM, COPY --from and RUN --mount are found; names and numbers of stages are not images."""
    text = """\
ARG VERSION=12
FROM --platform=linux/amd64 debian:${VERSION} AS Build
RUN --mount=type=bind,from=tools/jq,target=/jq true
FROM scratch
COPY --from=build /a /a
COPY --from=0 /b /b
COPY --from=busybox:1 /bin /bin
"""

    assert [base.name for base in base_images(text, {"VERSION": "13"})] == ["debian:13", "tools/jq", "busybox:1"]
    assert base_images(text, {})[0] == BaseImage("debian:12", "linux/amd64")


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("# syntax=docker/dockerfile:1\nFROM a\n", "docker/dockerfile:1"),
        ("#escape=`\n#  SYNTAX = x@sha256:0\nFROM a\n", "x@sha256:0"),
        ("FROM a\n# syntax=late\n", ""),
        ("# a comment\n# syntax=late\nFROM a\n", ""),
    ],
)
def test_the_image_that_reads_a_dockerfile(text: str, image: str) -> None:
    """It counts only as a directive at the start, as BuildKit reads it."""
    assert syntax_image(text) == image


def test_continuation_lines_and_comments_are_joined() -> None:
    """Comments between continued lines are dropped, and the escape directive is applied."""
    text = "# escape=`\nFROM a\nRUN one `\n  # not this\n  two\n"

    assert [(each.keyword, each.rest) for each in parse(text)] == [("FROM", "a"), ("RUN", "one   two")]


def test_shifts_and_quoted_signs_are_no_heredocs() -> None:
    """Shifts, here-strings and quoted signs are left to the shell."""
    text = "FROM a\nRUN echo $((1<<3)) '<<EOF' \"<<EOF\" && cat <<<word\nCMD x\n"

    assert [each.keyword for each in parse(text)] == ["FROM", "RUN", "CMD"]


def test_platforms_of_base_images() -> None:
    """A stage's platform applies to the images that it uses; otherwise the build's platform applies."""
    text = """\
FROM --platform=$BUILDPLATFORM go AS build
RUN --mount=from=one,target=/1 --mount=type=bind,from=two,target=/2 true
FROM\tgo
"""
    automatic = {"BUILDPLATFORM": "linux/amd64", "TARGETPLATFORM": "linux/arm64"}

    found = base_images(text, {}, automatic)
    new = rename_base_images(
        text, {}, automatic, {BaseImage("go"): "local/go", BaseImage("two", "linux/amd64"): "local/two"}
    )

    assert found == (
        BaseImage("go", "linux/amd64"),
        BaseImage("one", "linux/amd64"),
        BaseImage("two", "linux/amd64"),
        BaseImage("go"),
    )
    assert new.splitlines() == [
        "FROM --platform=linux/amd64 go AS build",
        "RUN --mount=from=one,target=/1 --mount=type=bind,from=local/two,target=/2 true",
        "FROM --platform=linux/arm64 local/go",
    ]


@pytest.mark.parametrize("text", ["", "RUN true", "FROM\n", "FROM a\nRUN <<EOF\nnever ends"])
def test_invalid_dockerfiles_are_refused(text: str) -> None:
    """A Dockerfile without a base image or with an unterminated here-document is refused."""
    with pytest.raises(InvalidDockerfile):
        base_images(text, {})
