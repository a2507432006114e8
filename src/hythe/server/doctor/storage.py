"""Examines the blob store by storing, finding and deleting a small blob."""

import secrets
from collections.abc import AsyncIterator

import aiohttp

from hythe.oci.digest import Digest
from hythe.registry.storage import open_blob_store
from hythe.registry.storage.port import BlobStore, Redirect, StorageError
from hythe.server.doctor.diagnosis import Diagnosis, good, problem, warning
from hythe.settings import Settings

SUBJECT = "storage"


async def examine_storage(settings: Settings) -> AsyncIterator[Diagnosis]:
    """Yield the state of the blob store. Leaves nothing in it."""
    place = settings.blob_store or str(settings.data_folder / "blobs")
    content = secrets.token_bytes(32)
    digest = Digest.of(content)
    blobs = open_blob_store(settings.data_folder, settings.blob_store, redirect=settings.redirect_blobs)
    try:
        await blobs.put(digest, _once(content))
        if await blobs.stat(digest) is None:
            yield problem(SUBJECT, f"a blob that was stored in {place} is not there", "check the store's consistency")
            return
        yield good(SUBJECT, f"{place} stores and returns blobs")
        async for finding in _redirect(blobs, digest, content):
            yield finding
        for error in (await blobs.delete([digest])).values():
            yield problem(
                SUBJECT, f"{place} does not delete blobs: {error}", "allow deleting, or garbage stays forever"
            )
    except StorageError as error:
        yield problem(SUBJECT, f"{place} cannot be used: {error}", "check blob_store, its credentials and permissions")
    finally:
        await blobs.close()


async def _redirect(blobs: BlobStore, digest: Digest, content: bytes) -> AsyncIterator[Diagnosis]:
    located = await blobs.locate(digest, len(content))
    if not isinstance(located, Redirect):
        return
    host = located.url.partition("://")[2].partition("/")[0]
    try:
        async with (
            aiohttp.ClientSession(trust_env=True, timeout=aiohttp.ClientTimeout(total=10)) as session,
            session.get(located.url) as response,
        ):
            received = await response.read()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        yield problem(
            SUBJECT,
            f"clients are sent to {host} for blobs, which does not respond: {error or type(error).__name__}",
            "make it reachable for clients, or set redirect_blobs = false",
        )
        return
    if received != content:
        yield problem(SUBJECT, f"{host} responds to presigned URLs with {response.status}", "check the store's clock")
    elif located.url.startswith("http:"):
        yield warning(
            SUBJECT, f"clients fetch blobs from {host} without TLS", "give the object store TLS, or keep it internal"
        )


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
