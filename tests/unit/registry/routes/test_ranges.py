"""Range and Content-Range against plain slicing."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hythe.oci.errors import WireError
from hythe.registry.routes.ranges import ByteRange, parse_content_range, parse_range

SIZES = st.integers(0, 50)
NUMBERS = st.integers(0, 60)


@given(SIZES, NUMBERS, NUMBERS)
def test_range_is_a_slice(size: int, first: int, last: int) -> None:
    """FIRST-LAST is what Python's slice says, or 416 where that is empty."""
    wanted = range(size)[first : last + 1]

    if wanted:
        assert parse_range(f"bytes={first}-{last}", size) == ByteRange(wanted.start, wanted.stop)
    else:
        with pytest.raises(WireError) as refused:
            parse_range(f"bytes={first}-{last}", size)
        assert refused.value.status == 416


@given(SIZES, NUMBERS)
def test_suffix_is_a_slice(size: int, count: int) -> None:
    """-COUNT is the end of the content."""
    try:
        found = parse_range(f"bytes=-{count}", size)
    except WireError:
        assert count == 0 or size == 0
    else:
        assert found == ByteRange(max(size - count, 0), size)


@given(st.text(), SIZES)
def test_no_header_breaks_it(header: str, size: int) -> None:
    """Any header is parsed as a range within the blob, is ignored, or raises WireError."""
    with suppress(WireError):
        found = parse_range(header, size)
        assert found is None or 0 <= found.start < found.stop <= size
    with suppress(WireError):
        chunk = parse_content_range(header)
        assert chunk is not None
        assert 0 <= chunk.start < chunk.stop


def test_endless_numbers_are_no_range() -> None:
    """Numbers that no file has are not even read."""
    assert parse_range(f"bytes={'9' * 5000}-", 10) is None


@pytest.mark.parametrize("header", ["0-9", "bytes=0-9", "bytes 0-9/*", "bytes 0-9/100", " 0-9 "])
def test_content_range_in_all_forms(header: str) -> None:
    """The specification's own form has no unit; clients send all of these."""
    assert parse_content_range(header) == ByteRange(0, 10)
