"""A bucket of S3, Google Cloud or Azure (there called a container): plain calls, with failures as one sentence.

Credentials and endpoint come from the usual environment (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``,
``GOOGLE_APPLICATION_CREDENTIALS``, ``AZURE_STORAGE_ACCOUNT_NAME`` ..) or from the machine's role, as
obstore reads them. A request that is refused, times out or is answered 5xx is sent again, with growing and
jittered pauses, for a minute.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import AzureStore, GCSStore, S3Store

from hythe.registry.storage.port import StorageUnavailable
from hythe.settings import SettingsError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

PART = 8 * 1024 * 1024
"""Bytes of one part of a multipart upload; S3 takes 10,000 parts, so 80 GiB in one request."""

PARTS_AT_ONCE = 2
"""Parts that are under way for one upload: what an upload takes of the memory is this and one more."""

RANGE = 4 * 1024 * 1024
"""Most bytes that are read at once. Short requests, since a client may be too slow for one long answer."""

LEAST_RANGE = 256 * 1024
"""Bytes that are read at once for a client that is slower than the bucket: as long as it takes, they lie in memory."""

URL_LIFETIME = timedelta(minutes=15)
"""How long a presigned URL may be used to begin a download."""

_CLIENT: "ClientConfig" = {"allow_http": True, "connect_timeout": "5s", "timeout": "60s"}

_PATIENCE: "RetryConfig" = {
    "max_retries": 10,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=10), "base": 2},
}

_REFUSED = ("status code: 403", "status code: 401")
"""How obstore words a refusal where it raises no exception of its own for it, as in listing and writing in parts."""

_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")


class ObjectMissing(Exception):
    """There is no such object."""


class StoredObject(msgspec.Struct, frozen=True):
    """An object in a listing, or its head."""

    key: str
    size: int
    modified: datetime


class ObjectContent(msgspec.Struct, frozen=True):
    """A small object, read."""

    content: bytes
    modified: datetime


class Writer(Protocol):
    """Takes the bytes of a new object, which is there when all went well to the end."""

    async def write(self, batch: bytes, /) -> int:
        """Take the next bytes; waits while the object store is behind."""


class Bucket:
    """A bucket, or what lies below a prefix in it."""

    def __init__(self, url: str, patience: "RetryConfig | None" = None) -> None:
        """Name the bucket by ``s3://BUCKET/PREFIX``, ``gs://`` or ``az://``; nothing is sent yet. Raises SettingsError.

        ``patience`` is obstore's retry_config.
        """
        self._url = url
        try:
            self._store = _open(url, patience or _PATIENCE)
        except BaseError as error:
            raise SettingsError(f"blob_store {url} cannot be used: {_reason(error)}") from error

    async def get(self, key: str) -> ObjectContent | None:
        """Return a small object, None when it is not there."""
        with suppress(ObjectMissing), self._looking():
            found = await obstore.get_async(self._store, key)
            return ObjectContent(bytes(await found.bytes_async()), found.meta["last_modified"])
        return None

    async def head(self, key: str) -> StoredObject | None:
        """Return what is known of an object, None when it is not there."""
        with suppress(ObjectMissing), self._looking():
            return _found(await obstore.head_async(self._store, key))
        return None

    async def put(self, key: str, content: bytes) -> None:
        """Write a small object, over one that is there."""
        with self._failures():
            await obstore.put_async(self._store, key, content)

    async def create(self, key: str, content: bytes) -> bool:
        """Write a small object unless there is one; return whether it was written."""
        with self._failures():
            try:
                await obstore.put_async(self._store, key, content, mode="create")
            except AlreadyExistsError:
                return False
            except NotSupportedError:
                await obstore.put_async(self._store, key, content)
        return True

    @asynccontextmanager
    async def writing(self, key: str) -> AsyncIterator[Writer]:
        """Write a new object, of any size; when the block raises, there is none, and its parts are thrown away."""
        with self._failures():
            writer = obstore.open_writer_async(self._store, key, buffer_size=PART, max_concurrency=PARTS_AT_ONCE)
            async with writer:
                yield writer

    async def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from ``start`` to before ``stop``, the next range being fetched meanwhile.

        Ranges grow as long as whoever takes them waits for the bucket, and shrink when the bucket waits.
        Raises ObjectMissing, also when the object ends before ``stop``.
        """
        if start >= stop:
            return
        size = LEAST_RANGE
        following = asyncio.ensure_future(self._range(key, start, min(start + size, stop)))
        try:
            while start < stop:
                size = max(size // 2, LEAST_RANGE) if following.done() else min(size * 2, RANGE)
                piece = await following
                start += len(piece)
                if start < stop:
                    following = asyncio.ensure_future(self._range(key, start, min(start + size, stop)))
                yield piece
        finally:
            following.cancel()

    async def _range(self, key: str, start: int, stop: int) -> bytes:
        with self._looking():
            piece = bytes(await obstore.get_range_async(self._store, key, start=start, end=stop))
        if len(piece) != stop - start:
            raise ObjectMissing(f"{key} ends at byte {start + len(piece)}")
        return piece

    async def delete(self, key: str) -> None:
        """Remove an object; one that is gone already is no error."""
        with suppress(ObjectMissing), self._looking():
            await obstore.delete_async(self._store, key)

    async def list(self, folder: str) -> AsyncIterator[list[StoredObject]]:
        """Yield what is in a folder, some dozens at a time."""
        with self._failures():
            async for found in obstore.list(self._store, folder):
                yield [_found(meta) for meta in found]

    async def sign(self, key: str) -> str:
        """Return a URL by which anybody can GET the object for some minutes."""
        with self._failures():
            return await obstore.sign_async(self._store, "GET", key, URL_LIFETIME)

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """Failures where the object may be missing, which raises ObjectMissing."""
        with self._failures():
            try:
                yield
            except FileNotFoundError as error:
                if any(code in str(error) for code in _NO_BUCKET):
                    raise
                raise ObjectMissing(str(error).partition("\n")[0]) from error

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            sentence = _sentence(error)
            raise StorageUnavailable(f"{self._url}: {sentence}", sentence.partition(":")[0]) from error


def _open(url: str, patience: "RetryConfig") -> S3Store | GCSStore | AzureStore:
    match url.partition("://")[0]:
        case "s3":
            return S3Store.from_url(url, client_options=_CLIENT, retry_config=patience)
        case "gs":
            return GCSStore.from_url(url, client_options=_CLIENT, retry_config=patience)
        case "az":
            return AzureStore.from_url(url, client_options=_CLIENT, retry_config=patience)
        case _:
            raise SettingsError(f"blob_store {url} names no bucket: write s3://BUCKET, gs://BUCKET or az://CONTAINER")


def _found(meta: Any) -> StoredObject:
    return StoredObject(meta["path"], meta["size"], meta["last_modified"])


def _sentence(error: BaseError | FileNotFoundError) -> str:
    if isinstance(error, FileNotFoundError) or any(code in str(error) for code in _NO_BUCKET):
        return "there is no such bucket: create it, or correct blob_store"
    refused = isinstance(error, (PermissionDeniedError, UnauthenticatedError))
    if refused or any(status in str(error) for status in _REFUSED):
        return "access was refused: check the credentials in the environment, and what they may do there"
    return f"the object store fails: {_reason(error)}; try again later"


def _reason(error: BaseError) -> str:
    return str(error).partition("\n")[0][:300]
