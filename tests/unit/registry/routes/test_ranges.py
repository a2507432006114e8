"""Range and Content-Range against plain slicing."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hythe.oci.errors import WireError
from hythe.registry.routes.ranges import MAX_RANGES, ByteRange, parse_content_range, parse_ranges

SIZES = st.integers(0, 50)
NUMBERS = st.integers(0, 60)


@given(SIZES, NUMBERS, NUMBERS)
def test_range_is_a_slice(size: int, first: int, last: int) -> None:
    """FIRST-LAST is what Python's slice says, or 416 where that is empty."""
    wanted = range(size)[first : last + 1]

    if wanted:
        assert parse_ranges(f"bytes={first}-{last}", size) == (ByteRange(wanted.start, wanted.stop),)
    else:
        with pytest.raises(WireError) as refused:
            parse_ranges(f"bytes={first}-{last}", size)
        assert refused.value.status == 416


@given(SIZES, NUMBERS)
def test_suffix_is_a_slice(size: int, count: int) -> None:
    """-COUNT is the end of the content."""
    try:
        found = parse_ranges(f"bytes=-{count}", size)
    except WireError:
        assert count == 0 or size == 0
    else:
        assert found == (ByteRange(max(size - count, 0), size),)


@given(st.text(), SIZES)
def test_no_header_breaks_it(header: str, size: int) -> None:
    """Any header is parsed as a range within the blob, is ignored, or raises WireError."""
    with suppress(WireError):
        assert all(0 <= found.start < found.stop <= size for found in parse_ranges(header, size))
    with suppress(WireError):
        chunk = parse_content_range(header)
        assert chunk is not None
        assert 0 <= chunk.start < chunk.stop


def test_endless_numbers_are_no_range() -> None:
    """Numbers that no file has are not even read."""
    assert parse_ranges(f"bytes={'9' * 5000}-", 10) == ()


@given(
    SIZES, st.lists(st.tuples(NUMBERS, st.integers(0, 8)), min_size=1, max_size=8), st.sampled_from([",", " , ", ",,"])
)
def test_several_ranges(size: int, starts: list[tuple[int, int]], comma: str) -> None:
    """They are what slices say, in the order of the header, without those beyond the end; never a byte twice."""
    slices = [range(size)[start : start + count + 1] for start, count in starts]
    header = "bytes=" + comma.join(f"{start}-{start + count}" for start, count in starts)
    wanted = [byte for each in slices for byte in each]
    if not wanted:
        with pytest.raises(WireError):
            parse_ranges(header, size)
        return

    found = parse_ranges(header, size)

    sent = [byte for each in found for byte in range(each.start, each.stop)]
    assert len(sent) == len(set(sent))
    if len(wanted) == len(set(wanted)):
        assert found == tuple(ByteRange(each.start, each.stop) for each in slices if each)
    else:
        assert sent == sorted(set(wanted))


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes=0-9,20-29", [(0, 10), (20, 30)]),
        ("bytes=20-29,0-9", [(20, 30), (0, 10)]),
        ("bytes=0-9,10-19", [(0, 10), (10, 20)]),
        ("bytes=0-0,-1", [(0, 1), (99, 100)]),
        ("bytes=0-9,100-", [(0, 10)]),
        ("bytes=90-,-20", [(80, 100)]),
        ("bytes=0-,0-,0-", [(0, 100)]),
        ("bytes=0-9,-0", [(0, 10)]),
        ("BYTES = 0 - 9 , , 20 - 29", [(0, 10), (20, 30)]),
        ("bytes=0-9,junk", []),
        ("bytes=0-9,-", []),
        ("bytes=,", []),
        ("lines=0-9,20-29", []),
        ("bytes=" + ",".join(["0-"] * 10_000), []),
    ],
)
def test_several_ranges_in_all_forms(header: str, found: list[tuple[int, int]]) -> None:
    """Overlaps are united, what is beyond the end is left out, and what is invalid or too much is ignored."""
    assert parse_ranges(header, 100) == tuple(ByteRange(*each) for each in found)


@pytest.mark.parametrize("header", ["bytes=100-,200-300", "bytes=0-9,9-0", "bytes=-0", "bytes=-0,100-"])
def test_several_ranges_without_a_byte(header: str) -> None:
    """A range that ends before its start, or nothing within the content, is an error."""
    with pytest.raises(WireError) as refused:
        parse_ranges(header, 100)
    assert refused.value.headers == {"Content-Range": "bytes */100"}


def test_as_many_ranges_as_podman_requests() -> None:
    """The bound is exact."""
    most = ",".join(f"{2 * number}-{2 * number}" for number in range(MAX_RANGES))

    assert len(parse_ranges(f"bytes={most}", 1 << 20)) == MAX_RANGES
    assert parse_ranges(f"bytes={most},999999-", 1 << 20) == ()


@pytest.mark.parametrize("header", ["0-9", "bytes=0-9", "bytes 0-9/*", "bytes 0-9/100", " 0-9 "])
def test_content_range_in_all_forms(header: str) -> None:
    """The specification's own form has no unit; clients send all of these."""
    assert parse_content_range(header) == ByteRange(0, 10)
