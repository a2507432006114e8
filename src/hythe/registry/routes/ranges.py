"""Parses the Range of a GET (RFC 9110, section 14) and the Content-Range of a chunk ("Pushing a blob in chunks")."""

import re
from http import HTTPStatus

import msgspec

from hythe.oci.errors import ErrorCode, WireError

_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"\s*(?:bytes[\s=]+)?(\d{1,18})\s*-\s*(\d{1,18})\s*(?:/\s*(?:\d+|\*)\s*)?", re.IGNORECASE)


class ByteRange(msgspec.Struct, frozen=True):
    """The bytes from ``start`` up to, not including, ``stop``."""

    start: int
    stop: int

    def header(self, size: int) -> str:
        """Return the Content-Range header for a content of ``size`` bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Return the part of ``size`` bytes that a Range header requests; None means all bytes.

    Ignores unsupported ranges (another unit, several ranges), as RFC 9110 allows. Raises WireError 416 for a range that
    cannot be satisfied or ends before its start.
    """
    match = _RANGE.fullmatch(header) if header is not None else None
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, stop = max(size - int(match[2]), 0), size
    else:
        start, stop = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
    if start >= stop:
        raise WireError(
            ErrorCode.SIZE_INVALID,
            f"the range is outside of the blob, which has {size} bytes",
            status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            headers={"Content-Range": f"bytes */{size}"},
        )
    return ByteRange(start, stop)


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
