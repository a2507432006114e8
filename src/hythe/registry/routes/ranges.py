"""Parses the Range of a GET (RFC 9110, section 14) and the Content-Range of a chunk ("Pushing a blob in chunks")."""

import re
from http import HTTPStatus
from operator import attrgetter

import msgspec

from hythe.oci.errors import ErrorCode, WireError

MAX_RANGES = 1024
"""Ranges in one request; podman requests as many of a layer's chunks."""

MAX_DIGITS = 18
"""Digits of a position; larger numbers are no positions in any file."""

_UNIT = re.compile(r"\s*bytes\s*=", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"\s*(?:bytes[\s=]+)?(\d{1,18})\s*-\s*(\d{1,18})\s*(?:/\s*(?:\d+|\*)\s*)?", re.IGNORECASE)


class ByteRange(msgspec.Struct, frozen=True):
    """The bytes from ``start`` up to, not including, ``stop``."""

    start: int
    stop: int

    def header(self, size: int) -> str:
        """Return the Content-Range header for a content of ``size`` bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse_ranges(header: str | None, size: int) -> tuple[ByteRange, ...]:
    """Return the parts of ``size`` bytes that a Range header requests; none means all bytes.

    They are in the order of the header, which clients rely on, and do not overlap: overlapping ones are united, so that
    no request gets more bytes than the content has. Ignores an invalid header, another unit, and more than MAX_RANGES,
    as RFC 9110 allows. Raises WireError 416 if no range can be satisfied or one ends before its start.
    """
    unit = _UNIT.match(header) if header is not None else None
    if header is None or unit is None or header.count(",") >= MAX_RANGES:
        return ()
    texts = [text for text in map(str.strip, header[unit.end() :].split(",")) if text]
    ranges: list[ByteRange] = []
    for text in texts:
        first, dash, last = text.partition("-")
        first, last = first.rstrip(), last.lstrip()
        if not dash or not (first or last) or not _is_position(first) or not _is_position(last):
            return ()
        start = int(first) if first else max(size - int(last), 0)
        stop = min(int(last) + 1, size) if first and last else size
        if first and last and int(last) < start:
            raise _unsatisfiable(size)
        if start < stop:
            ranges.append(ByteRange(start, stop))
    if texts and not ranges:
        raise _unsatisfiable(size)
    return _without_overlaps(ranges)


def _is_position(text: str) -> bool:
    """Return whether the text is empty or a number that a file can have."""
    return not text or (text.isdecimal() and text.isascii() and len(text) <= MAX_DIGITS)


def _without_overlaps(ranges: list[ByteRange]) -> tuple[ByteRange, ...]:
    """Return the ranges as they are, or sorted and united if any of them overlap."""
    united: list[ByteRange] = []
    for each in sorted(ranges, key=attrgetter("start")):
        if united and each.start < united[-1].stop:
            united[-1] = ByteRange(united[-1].start, max(each.stop, united[-1].stop))
        else:
            united.append(each)
    return tuple(ranges if len(united) == len(ranges) else united)


def _unsatisfiable(size: int) -> WireError:
    return WireError(
        ErrorCode.SIZE_INVALID,
        f"the range is outside of the blob, which has {size} bytes",
        status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        headers={"Content-Range": f"bytes */{size}"},
    )


def parse_content_range(header: str | None) -> ByteRange | None:
    """Return the offset of a chunk; None if the client did not send it. Raises WireError BLOB_UPLOAD_INVALID."""
    if header is None:
        return None
    match = _CONTENT_RANGE.fullmatch(header)
    if match is None or int(match[2]) < int(match[1]):
        raise WireError(
            ErrorCode.BLOB_UPLOAD_INVALID,
            f"Content-Range {header[:100]!r} is not FIRST-LAST, such as 0-1023",
            status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE if match else HTTPStatus.BAD_REQUEST,
        )
    return ByteRange(int(match[1]), int(match[2]) + 1)
