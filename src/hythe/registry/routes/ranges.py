"""Parses the Range of a GET (RFC 9110, section 14) and the Content-Range of a chunk ("Pushing a blob in chunks")."""

import re
from http import HTTPStatus
from operator import attrgetter

import msgspec

from hythe.oci.errors import ErrorCode, WireError

MAX_RANGES = 1024
"""Ranges in one request; podman requests as many of a layer's chunks."""

_UNIT = re.compile(r"\s*bytes\s*=", re.IGNORECASE)
_RANGE = re.compile(r"\s*(\d{0,18})\s*-\s*(\d{0,18})\s*")
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
    texts = [text for text in header[unit.end() :].split(",") if text.strip()]
    matches = [_RANGE.fullmatch(text) for text in texts]
    ranges: list[ByteRange] = []
    for match in matches:
        if match is None or match[1] == match[2] == "":
            return ()
        if match[1] and match[2] and int(match[2]) < int(match[1]):
            raise _unsatisfiable(size)
        found = _clamped(match[1], match[2], size)
        if found.start < found.stop:
            ranges.append(found)
    if matches and not ranges:
        raise _unsatisfiable(size)
    return _without_overlaps(ranges)


def _clamped(first: str, last: str, size: int) -> ByteRange:
    """Return the part of the content, which is empty if the range cannot be satisfied."""
    if first == "":
        return ByteRange(max(size - int(last), 0), size)
    return ByteRange(int(first), min(int(last) + 1, size) if last else size)


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
