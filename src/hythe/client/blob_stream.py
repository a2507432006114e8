"""Content on its way, from wherever: a file, or a registry's answer."""

from types import TracebackType
from typing import BinaryIO, Protocol, Self

from hythe.client.connection import StreamedResponse
from hythe.oci.manifest import Descriptor


class BlobStream(Protocol):
    """Bytes to read, from ``offset`` of the content on; ``file`` is the open file they come from, if they do."""

    offset: int
    file: BinaryIO | None

    def readinto(self, buffer: memoryview) -> int:
        """Fill ``buffer`` as far as possible; returns the count of bytes, 0 at the end."""

    def __enter__(self) -> Self:
        """Return the stream."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream."""


class BlobSource(Protocol):
    """Where content can be read."""

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BlobStream:
        """Open content at ``offset`` (or at its beginning: see the stream's own); raises ClientError's kinds."""


class FileStream:
    """Content that lies in a file."""

    def __init__(self, file: BinaryIO, offset: int) -> None:
        file.seek(offset)
        self.file: BinaryIO | None = file
        self.offset = offset
        self._open = file

    def readinto(self, buffer: memoryview) -> int:
        """Fill ``buffer`` as far as possible; returns the count of bytes, 0 at the end."""
        count: int = self._open.readinto(buffer)  # type: ignore[attr-defined]
        return count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


class ResponseStream:
    """Content that a registry sends."""

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
