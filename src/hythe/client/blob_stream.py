"""Streams of blob content: from a file, or from a registry's response."""

from types import TracebackType
from typing import BinaryIO, Protocol, Self

from hythe.client.connection import StreamedResponse
from hythe.oci.manifest import Descriptor


class BlobStream(Protocol):
    """Content to read, starting at ``offset``; ``file`` is the open file that it comes from, if any."""

    offset: int
    file: BinaryIO | None

    def readinto(self, buffer: memoryview) -> int:
        """Read into ``buffer``; returns the number of bytes, 0 at the end."""

    def __enter__(self) -> Self:
        """Return the stream."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream."""


class BlobSource(Protocol):
    """Something that blobs can be read from."""

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BlobStream:
        """Open a blob at ``offset``, or at its start if ranges are unsupported (see the stream). Raises ClientError."""


class FileStream:
    """A blob in a file."""

    def __init__(self, file: BinaryIO, offset: int) -> None:
        file.seek(offset)
        self.file: BinaryIO | None = file
        self.offset = offset
        self._open = file

    def readinto(self, buffer: memoryview) -> int:
        """Read into ``buffer``; returns the number of bytes, 0 at the end."""
        count: int = self._open.readinto(buffer)  # type: ignore[attr-defined]
        return count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


class ResponseStream:
    """A blob in a registry's response."""

    file: BinaryIO | None = None

    def __init__(self, response: StreamedResponse, offset: int) -> None:
        self._response = response
        self.offset = offset if response.status == 206 else 0
        self.readinto = response.readinto

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._response.close()
