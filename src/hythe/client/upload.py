"""Uploading a blob to a registry: skipped if it exists, mounted if possible, else sent in resumable chunks."""

from typing import BinaryIO

from hythe.client.blob_stream import BlobSource, BlobStream
from hythe.client.connection import ConnectionFailed
from hythe.client.errors import ClientError, RegistryError, RemoteNotFound
from hythe.client.http1 import HTTP1Connection, Socket
from hythe.client.layout import CHUNK_SIZE
from hythe.client.progress import Reporter, TransferState
from hythe.client.protocol import RemoteRepository
from hythe.client.retry import RETRYABLE_STATUSES, Retries
from hythe.oci.manifest import Descriptor

MONOLITHIC_LIMIT = 8 << 20
"""Blobs up to this size are sent in one request, larger ones in chunks, so that an error costs one chunk at most."""
UPLOAD_CHUNK_SIZE = 128 << 20
MAX_REJECTIONS = 3
"""Number of times the registry can reject content (as damaged, or out of order) before the upload fails."""
BUSY = 409
"""Status of a hythe registry while another request writes to the same upload."""
_SENDFILE_SIZE = 4 << 20


class BlobBody:
    """A range of a blob as a request body; can be sent again."""

    def __init__(self, source: BlobSource, descriptor: Descriptor, offset: int, size: int, reporter: Reporter) -> None:
        self._source = source
        self._descriptor = descriptor
        self._offset = offset
        self._reporter = reporter
        self._sent = 0
        self.size = size

    def write_to(self, connection: HTTP1Connection) -> None:
        """Send the whole range, with sendfile if it comes from a file and TLS is not used."""
        self._reporter.advance(self._descriptor, -self._sent)
        self._sent = 0
        with self._source.open_blob(self._descriptor, self._offset) as stream:
            _skip(stream, self._offset - stream.offset)
            if stream.file is not None and not connection.encrypted:
                self._send_file(stream.file, connection.socket)
            else:
                self._send_pieces(stream, connection.socket)

    def _send_file(self, file: BinaryIO, socket: Socket) -> None:
        while self._sent < self.size:
            wanted = min(_SENDFILE_SIZE, self.size - self._sent)
            self._sent_bytes(socket.sendfile(file, self._offset + self._sent, wanted))

    def _send_pieces(self, stream: BlobStream, socket: Socket) -> None:
        buffer = memoryview(bytearray(CHUNK_SIZE))
        while self._sent < self.size:
            count = stream.readinto(buffer[: self.size - self._sent])
            socket.sendall(buffer[:count])
            self._sent_bytes(count)

    def _sent_bytes(self, count: int) -> None:
        if count == 0:
            raise ConnectionFailed(
                f"blob {self._descriptor.digest} ended after {self._sent} of {self.size} bytes in the source",
                permanent=True,
            )
        self._sent += count
        self._reporter.advance(self._descriptor, count)


def _skip(stream: BlobStream, count: int) -> None:
    buffer = memoryview(bytearray(CHUNK_SIZE))
    while count > 0 and (read := stream.readinto(buffer[:count])):
        count -= read


class BlobUpload:
    """The upload of one blob; ``mount`` is another repository of the registry that it can be mounted from."""

    def __init__(
        self,
        descriptor: Descriptor,
        source: BlobSource,
        repository: RemoteRepository,
        reporter: Reporter,
        mount: str | None = None,
    ) -> None:
        self._descriptor = descriptor
        self._source = source
        self._repository = repository
        self._reporter = reporter
        self._mount = mount
        self._offset = 0

    def run(self) -> None:
        """Upload the blob; raises AccessDenied, Unreachable, RegistryError."""
        if self._repository.has_blob(self._descriptor):
            self._reporter.state(self._descriptor, TransferState.EXISTS)
            return
        location = self._start()
        if location:
            self._reporter.state(self._descriptor, TransferState.MOVING)
            self._send(location)
            self._reporter.state(self._descriptor, TransferState.DONE)

    def _start(self) -> str:
        """Return the location of a new upload; "" if the blob was mounted instead."""
        if self._mount is None:
            return self._repository.start_upload()
        location = self._repository.mount_blob(self._descriptor, self._mount)
        if not location:
            self._reporter.state(self._descriptor, TransferState.MOUNTED, self._mount)
        return location

    def _send(self, location: str) -> None:
        retries = self._repository.session.retries()
        rejections = 0
        while True:
            before = self._offset
            try:
                self._send_rest(location)
                return
            except (ConnectionFailed, RegistryError, RemoteNotFound) as error:
                if self._is_final(error) or self._repository.session.stopped.is_set():
                    raise
                rejections += isinstance(error, RemoteNotFound) or getattr(error, "status", 0) in (400, 416)
                if self._offset > before:
                    retries.reset()
                self._reporter.state(self._descriptor, TransferState.RETRYING, str(error))
                if rejections >= MAX_REJECTIONS or not retries.wait(getattr(error, "retry_after", "")):
                    raise
                if self._repository.has_blob(self._descriptor):
                    return
                location = self._resume(location, retries, restart=rejections > 0)
                self._reporter.state(self._descriptor, TransferState.MOVING)

    @staticmethod
    def _is_final(error: ClientError) -> bool:
        if isinstance(error, RegistryError):
            return error.status not in RETRYABLE_STATUSES | {400, BUSY, 416}
        return getattr(error, "permanent", False)

    def _send_rest(self, location: str) -> None:
        size, digest = self._descriptor.size, self._descriptor.digest
        if self._offset == 0 and size <= MONOLITHIC_LIMIT:
            self._repository.finish_upload(location, digest, self._body(size))
            return
        while self._offset < size:
            count = min(UPLOAD_CHUNK_SIZE, size - self._offset)
            location = self._repository.send_chunk(location, self._body(count), self._offset)
            self._offset += count
        self._repository.finish_upload(location, digest)

    def _body(self, size: int) -> BlobBody:
        return BlobBody(self._source, self._descriptor, self._offset, size, self._reporter)

    def _resume(self, location: str, retries: Retries, *, restart: bool) -> str:
        """Return the location to continue at: the same upload at the server's offset, or a new upload."""
        while not restart:
            try:
                location, self._offset = self._repository.upload_offset(location)
            except RegistryError as error:
                # The server may not have noticed the broken connection yet.
                restart = error.status != BUSY or not retries.wait(error.retry_after)
            except RemoteNotFound:
                restart = True
            else:
                return location
        self._offset = 0
        return self._repository.start_upload()
