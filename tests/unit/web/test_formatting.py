"""Formatting of times, sizes, counts and validation errors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from hythe.hub.wording import counted
from hythe.web.formatting import age, day, instruction, problem, sentence, size, size_range

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(minutes=59, seconds=59), "59 minutes ago"),
        (timedelta(hours=23), "23 hours ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=45), "1 month ago"),
        (timedelta(days=800), "2 years ago"),
    ],
)
def test_ages_use_the_largest_whole_unit(passed: timedelta, expected: str) -> None:
    """An age is rounded down, and a moment in the future is 'just now'."""
    assert age(NOW - passed, NOW) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (999_499, "999 kB"),
        (999_999, "1 MB"),
        (4_214_000, "4.21 MB"),
        (3 * 10**15, "3e+03 TB"),
    ],
)
def test_sizes_have_three_figures(count: int, expected: str) -> None:
    """Sizes use powers of 1000, as docker does."""
    assert size(count) == expected


def test_sizes_that_look_alike_are_shown_once() -> None:
    """A range is shown only if its formatted ends differ."""
    assert size_range([4_214_000, 4_214_100]) == "4.21 MB"
    assert size_range([4_000_000, 3_900_000]) == "3.9 MB to 4 MB"


def test_counts_agree_with_their_noun() -> None:
    """One pull, two pulls, with thousands separators."""
    assert [counted(1, "pull"), counted(2000, "pull")] == ["1 pull", "2,000 pulls"]
    assert counted(0, "repository", "repositories") == "0 repositories"


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ('/bin/sh -c #(nop) CMD ["cat"]', 'CMD ["cat"]'),
        ("/bin/sh -c #(nop)  ENV A=b", "ENV A=b"),
        ("/bin/sh -c apt-get update", "RUN apt-get update"),
        ("|1 COLOUR=light blue /bin/sh -c echo $COLOUR", "RUN echo $COLOUR"),
        ("RUN /bin/sh -c make all # buildkit", "RUN make all"),
        ("RUN |2 A=b C=d /bin/sh -c make # buildkit", "RUN make"),
        ("COPY . /app # buildkit", "COPY . /app"),
        ("ADD hull", "ADD hull"),
        ("bazel build ...", "bazel build ..."),
        ("", ""),
    ],
)
def test_steps_are_shown_as_in_the_dockerfile(history: str, expected: str) -> None:
    """What docker, buildah and BuildKit add around an instruction is removed."""
    assert instruction(history) == expected


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        (Annotated[str, Meta(min_length=1)], "", "is required"),
        (Annotated[str, Meta(min_length=12)], "short", "must have at least 12 characters"),
        (Annotated[str, Meta(min_length=8)], "short", "must have at least 8 characters"),
        (Annotated[str, Meta(max_length=2)], "long", "must have at most 2 characters"),
        (Annotated[tuple[str, ...], Meta(min_length=1)], (), "is required: choose at least one"),
        (Annotated[int, Meta(ge=0)], -1, "must be at least 0"),
        (Annotated[int, Meta(le=9)], 10, "must be at most 9"),
        (int, "soon", "must be a whole number"),
        (int | None, "soon", "must be a whole number"),
        (Literal["a", "b"], "c", "must be one of the choices"),
    ],
)
def test_validation_errors_are_translated(wanted: Any, value: object, expected: str) -> None:
    """msgspec's errors become plain English; other texts are unchanged."""
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert(value, wanted, strict=False)
    text = str(raised.value)

    assert problem(text[:1].lower() + text[1:]) == expected
    assert problem("is taken") == "is taken"


def test_days_and_sentences() -> None:
    """A day has no leading zero; a sentence begins with a capital letter."""
    assert day(datetime(2026, 3, 4, tzinfo=UTC)) == "4 March 2026"
    assert [sentence("is taken"), sentence("")] == ["Is taken", ""]
