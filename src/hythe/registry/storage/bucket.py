"""A bucket of S3, Google Cloud or Azure (where it is called a container): plain operations with readable errors.

obstore reads credentials and endpoint from the usual environment (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``,
``GOOGLE_APPLICATION_CREDENTIALS``, ``AZURE_STORAGE_ACCOUNT_NAME`` ..) or from the machine's role. Requests that are
refused, time out or return 5xx are retried for a minute with growing, jittered delays.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

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
from hythe.settings.validators import parse_bucket

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

_T = TypeVar("_T")
_R = TypeVar("_R")

CONCURRENT_REQUESTS = 32
"""Requests for small objects that run at once."""

PART_SIZE = 8 * 1024 * 1024
"""Bytes of one part of a multipart upload; S3 allows 10,000 parts, so 80 GiB in one request."""

PART_CONCURRENCY = 2
"""Concurrent parts of one upload: an upload uses memory for these and one more."""

MAX_RANGE_SIZE = 4 * 1024 * 1024
"""Maximum bytes of one read. Requests are short, since a client may be too slow for one long response."""

MIN_RANGE_SIZE = 256 * 1024
"""Bytes of one read for a client slower than the bucket: they stay in memory until the client has read them."""

URL_LIFETIME = timedelta(minutes=15)
"""How long a presigned URL is valid for starting a download."""

_CLIENT: "ClientConfig" = {"allow_http": True, "connect_timeout": "5s", "timeout": "60s"}

_RETRIES: "RetryConfig" = {
    "max_retries": 10,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=10), "base": 2},
}

_DENIED_STATUSES = ("status code: 403", "status code: 401")
"""obstore's messages for refusals that have no exception of their own, as in listings and multipart uploads."""

_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")


class ObjectMissing(Exception):
    """The object does not exist."""


class StoredObject(msgspec.Struct, frozen=True):
    """An object's metadata."""

    key: str
    size: int
    modified: datetime


class ObjectContent(msgspec.Struct, frozen=True):
    """The content of a small object."""

    content: bytes
    modified: datetime


class Writer(Protocol):
    """Writes a new object, which exists once writing ends without an error."""

    async def write(self, batch: bytes, /) -> int:
        """Write the next bytes; waits while the object store is slower."""


class Bucket:
    """A bucket, or a prefix of it."""

    def __init__(self, url: str, retries: "RetryConfig | None" = None) -> None:
        """Open the bucket of ``s3://BUCKET/PREFIX``, ``gs://`` or ``az://`` without sending a request. Raises
        SettingsError.

        ``retries`` is obstore's retry_config.
        """
        self._url = url
        try:
            self._store = _open(url, retries or _RETRIES)
        except BaseError as error:
            raise SettingsError(f"blob_store: {url!r} is invalid: {_reason(error)}") from error

    async def get(self, key: str) -> ObjectContent | None:
        """Return a small object; None if it does not exist."""
        with suppress(ObjectMissing), self._translate_missing():
            found = await obstore.get_async(self._store, key)
            return ObjectContent(bytes(await found.bytes_async()), found.meta["last_modified"])
        return None

    async def head(self, key: str) -> StoredObject | None:
        """Return an object's metadata; None if it does not exist."""
        with suppress(ObjectMissing), self._translate_missing():
            return _stored_object(await obstore.head_async(self._store, key))
        return None

    async def put(self, key: str, content: bytes) -> None:
        """Write a small object, replacing an existing one."""
        with self._translate_errors():
            await obstore.put_async(self._store, key, content)

    async def create(self, key: str, content: bytes) -> bool:
        """Write a small object unless it exists; return whether it was written."""
        with self._translate_errors():
            try:
                await obstore.put_async(self._store, key, content, mode="create")
            except AlreadyExistsError:
                return False
            except NotSupportedError:
                await obstore.put_async(self._store, key, content)
        return True

    @asynccontextmanager
    async def writing(self, key: str) -> AsyncIterator[Writer]:
        """Write a new object of any size; if the block raises, no object is created and its parts are discarded."""
        with self._translate_errors():
            writer = obstore.open_writer_async(
                self._store, key, buffer_size=PART_SIZE, max_concurrency=PART_CONCURRENCY
            )
            async with writer:
                yield writer

    async def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from ``start`` up to ``stop``, fetching the next range in the meantime.

        Ranges grow while the consumer waits for the bucket, and shrink while the bucket waits for the consumer. Raises
        ObjectMissing, also if the object ends before ``stop``.
        """
        if start >= stop:
            return
        size = MIN_RANGE_SIZE
        following = asyncio.ensure_future(self._range(key, start, min(start + size, stop)))
        try:
            while start < stop:
                size = max(size // 2, MIN_RANGE_SIZE) if following.done() else min(size * 2, MAX_RANGE_SIZE)
                piece = await following
                start += len(piece)
                if start < stop:
                    following = asyncio.ensure_future(self._range(key, start, min(start + size, stop)))
                yield piece
        finally:
            following.cancel()

    async def _range(self, key: str, start: int, stop: int) -> bytes:
        with self._translate_missing():
            piece = bytes(await obstore.get_range_async(self._store, key, start=start, end=stop))
        if len(piece) != stop - start:
            raise ObjectMissing(f"{key} ends at byte {start + len(piece)}")
        return piece

    async def delete(self, key: str) -> None:
        """Delete an object; a missing one is no error."""
        with suppress(ObjectMissing), self._translate_missing():
            await obstore.delete_async(self._store, key)

    async def delete_many(self, keys: Sequence[str]) -> dict[str, StorageUnavailable]:
        """Delete objects, as many in one request as the store allows; return the errors of those that may remain.

        A missing object is no error.
        """
        try:
            if keys:
                await obstore.delete_async(self._store, keys)
        except (BaseError, FileNotFoundError):
            # The error of a list says nothing about its other objects, and not every store accepts lists.
            errors = await gathered(self._try_delete, keys)
            return {key: error for key, error in zip(keys, errors, strict=True) if error is not None}
        return {}

    async def _try_delete(self, key: str) -> StorageUnavailable | None:
        try:
            await self.delete(key)
        except StorageUnavailable as error:
            return error
        return None

    async def list(self, folder: str) -> AsyncIterator[list[StoredObject]]:
        """Yield the objects in a folder in batches."""
        with self._translate_errors():
            async for found in obstore.list(self._store, folder):
                yield [_stored_object(meta) for meta in found]

    async def sign(self, key: str) -> str:
        """Return a URL with which any client can GET the object for some minutes."""
        with self._translate_errors():
            return await obstore.sign_async(self._store, "GET", key, URL_LIFETIME)

    @contextmanager
    def _translate_missing(self) -> Iterator[None]:
        """Handle errors of operations on an object that may be missing, which raises ObjectMissing."""
        with self._translate_errors():
            try:
                yield
            except FileNotFoundError as error:
                if any(code in str(error) for code in _NO_BUCKET):
                    raise
                raise ObjectMissing(str(error).partition("\n")[0]) from error

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            explanation = _explain(error)
            raise StorageUnavailable(f"{self._url}: {explanation}", explanation.partition(":")[0]) from error


async def gathered(work: Callable[[_T], Awaitable[_R]], values: Sequence[_T]) -> list[_R]:
    """Await ``work`` for each value, CONCURRENT_REQUESTS at once, and return the results in order.

    The first error cancels the rest.
    """
    waiting = iter(enumerate(values))
    results: dict[int, _R] = {}

    async def run() -> None:
        for number, value in waiting:
            results[number] = await work(value)

    workers = [asyncio.ensure_future(run()) for _ in range(min(CONCURRENT_REQUESTS, len(values)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
    return [results[number] for number in range(len(values))]


async def together(*work: Awaitable[Any]) -> list[Any]:
    """Await all of ``work`` at the same time, and return the results; the first error is raised when all have ended."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def _open(url: str, retries: "RetryConfig") -> S3Store | GCSStore | AzureStore:
    match parse_bucket(url):
        case "s3":
            return S3Store.from_url(url, client_options=_CLIENT, retry_config=retries)
        case "gs":
            return GCSStore.from_url(url, client_options=_CLIENT, retry_config=retries)
        case "az":
            return AzureStore.from_url(url, client_options=_CLIENT, retry_config=retries)


def _stored_object(meta: Any) -> StoredObject:
    return StoredObject(meta["path"], meta["size"], meta["last_modified"])


def _explain(error: BaseError | FileNotFoundError) -> str:
    if isinstance(error, FileNotFoundError) or any(code in str(error) for code in _NO_BUCKET):
        return "the bucket does not exist: create it, or correct blob_store"
    denied = isinstance(error, (PermissionDeniedError, UnauthenticatedError))
    if denied or any(status in str(error) for status in _DENIED_STATUSES):
        return "access was denied: check the credentials in the environment and their permissions"
    return f"the object store failed: {_reason(error)}; try again later"


def _reason(error: BaseError) -> str:
    return str(error).partition("\n")[0][:300]
