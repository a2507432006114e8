"""Pushes race the garbage collection, without any grace period: what was acknowledged is never lost."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.registry.depot import ANN, image, index, pieces

from hythe.database import open_database
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.oci.manifest import OCI_INDEX, OCI_MANIFEST
from hythe.registry.access import Access, Action, Actor, Limits
from hythe.registry.anonymous import AnonymousAccess
from hythe.registry.policy import Policy
from hythe.registry.service import RegistryServices
from hythe.registry.storage import open_blob_store
from hythe.registry.uploads import Chunk
from hythe.registry.verification import Miscount

CHANGES = ("offer", "offer", "offer", "finish twice", "mount", "tag", "delete manifest", "delete blob", "delete")
CONTENTS = [b"%d" % number * 10 for number in range(8)]
NO_GRACE = Policy(grace=timedelta(0), upload_lifetime=timedelta(hours=1))


class EverybodyLimited(AnonymousAccess):
    """Every namespace has a limit, so that each push locks its usage."""

    async def require(self, actor: Actor, repository: str, action: Action) -> Limits:
        """See Access.require."""
        return Limits(repository.partition("/")[0], 1 << 30, 100)


async def open_server(stack: AsyncExitStack, data: Path, url: str, access: Access | None = None) -> RegistryServices:
    """A registry with connections of its own, as another server on the same data has."""
    database = await open_database(data, url)
    stack.push_async_callback(database.close)
    storage = open_blob_store(data / "blobs")
    stack.push_async_callback(storage.close)
    return RegistryServices(database, storage, access or AnonymousAccess(), (), NO_GRACE)


async def push(registry: RegistryServices, repository: str, tag: str, content: bytes) -> Digest:
    """Push an image until it is acknowledged: without grace, its blobs may go before its manifest comes."""
    manifest = json.dumps(image(content, config=content, annotations={"tag": tag})).encode()
    digest = Digest.of(manifest)
    while True:
        await offer(registry, repository, content)
        try:
            await registry.manifests.put(ANN, repository, digest, (tag,), manifest, OCI_MANIFEST)
        except WireError as error:
            if error.code is not ErrorCode.MANIFEST_BLOB_UNKNOWN:
                raise
        else:
            return digest


async def offer(registry: RegistryServices, repository: str, content: bytes) -> None:
    """Make sure that the repository has the blob: by mount, or by upload."""
    blob = Digest.of(content)
    if random.random() < 0.3 and await registry.blobs.mount(ANN, repository, blob, None):
        return
    if random.random() < 0.5:
        await registry.uploads.put(ANN, repository, blob, pieces(content))
        return
    upload = await registry.uploads.start(ANN, repository)
    chunk = pieces(content)
    await registry.uploads.append(ANN, repository, upload.id, Chunk(chunk))
    await registry.uploads.finish(ANN, repository, upload.id, blob, Chunk(pieces()))


async def finish_twice(registry: RegistryServices, repository: str, content: bytes) -> None:
    """Finish an upload by two requests at the same time, as a client does whose proxy gave up."""
    upload = await registry.uploads.start(ANN, repository)
    requests = (
        registry.uploads.finish(ANN, repository, upload.id, Digest.of(content), Chunk(pieces(content)))
        for _ in range(2)
    )
    for ended in await asyncio.gather(*requests, return_exceptions=True):
        if isinstance(ended, BaseException) and not isinstance(ended, WireError):
            raise ended


async def read(registry: RegistryServices, repository: str, content: bytes) -> bytes:
    """Pull a blob."""
    blob = await registry.blobs.get(ANN, repository, Digest.of(content))
    await registry.blobs.locate(blob)
    return b"".join([piece async for piece in registry.blobs.read(blob, 0, blob.size)])


async def push_and_delete(registry: RegistryServices, repository: str, rounds: int) -> None:
    """Push, look, delete in one way or another, again and again."""
    for number in range(rounds):
        content = random.choice(CONTENTS)
        digest = await push(registry, repository, f"t{number % 5}", content)
        assert await read(registry, repository, content) == content
        if random.random() < 0.5:
            await registry.manifests.delete(ANN, repository, digest)
        elif random.random() < 0.5:
            await registry.tags.delete(ANN, repository, f"t{number % 5}")


async def list_and_delete(servers: list[RegistryServices], number: int) -> None:
    """Push an index of an image by one server while another deletes the image, and one of its blobs."""
    content = b"%d" % number
    digest = await push(servers[0], "app", "child", content)
    await servers[0].tags.delete(ANN, "app", "child")
    listing = json.dumps(index(digest)).encode()

    results = await asyncio.gather(
        servers[0].manifests.put(ANN, "app", Digest.of(listing), ("multi",), listing, OCI_INDEX),
        servers[1].manifests.delete(ANN, "app", digest),
        servers[1].blobs.delete(ANN, "app", Digest.of(content)),
        return_exceptions=True,
    )

    codes = [result.code if isinstance(result, WireError) else None for result in results]
    assert codes[:2] in ([ErrorCode.MANIFEST_BLOB_UNKNOWN, None], [None, ErrorCode.DENIED]), results
    if codes[0] is None:
        assert (await servers[1].manifests.get(ANN, "app", digest)).digest == digest
        assert await read(servers[1], "app", content) == content


def test_no_index_loses_its_image(database_url: str, tmp_path: Path, rounds: Callable[[int, int], int]) -> None:
    """Either the image is deleted and the index refused, or the deletion is refused, on two servers as on one."""

    async def race() -> None:
        async with AsyncExitStack() as stack:
            servers = [await open_server(stack, tmp_path, database_url) for _ in range(2)]
            for number in range(rounds(10, 500)):
                await list_and_delete(servers, number)

    asyncio.run(race())


@pytest.mark.parametrize("pushers", [4])
def test_no_push_loses_a_blob(
    database_url: str, tmp_path: Path, rounds: Callable[[int, int], int], pushers: int
) -> None:
    """Two servers push, two collect: each acknowledged image is whole at once, and at the end."""
    each = rounds(60, 2500)

    async def race() -> None:
        async with AsyncExitStack() as stack:
            servers = [await open_server(stack, tmp_path, database_url) for _ in range(2)]
            collectors = [asyncio.create_task(collect_repeatedly(server)) for server in servers]
            await asyncio.gather(*(push_and_delete(servers[n % 2], f"r{n % 3}{n % 2}", each) for n in range(pushers)))
            for collector in collectors:
                collector.cancel()
            await asyncio.gather(*collectors, return_exceptions=True)
            await everything_is_whole(servers[0])

    asyncio.run(race())


async def collect_repeatedly(registry: RegistryServices) -> None:
    """Collect without a pause."""
    while True:
        await registry.garbage.collect()
        await asyncio.sleep(0)


async def everything_is_whole(registry: RegistryServices) -> None:
    """Every tag leads to bytes that are there."""
    for name in (await registry.catalog.names(ANN)).names:
        for tag in (await registry.tags.names(ANN, name)).names:
            found = await registry.manifests.get(ANN, name, tag)
            config = json.loads(found.content)["config"]["digest"]
            blob = await registry.blobs.get(ANN, name, Digest.parse(config))
            content = b"".join([piece async for piece in registry.blobs.read(blob, 0, blob.size)])
            assert str(Digest.of(content)) == config


async def change_at_random(registry: RegistryServices, chance: random.Random, rounds: int) -> None:
    """Push, mount and delete in repositories that others change at the same time, and that may be gone."""
    for _ in range(rounds):
        name, other = (f"{chance.choice(('one', 'two'))}/{chance.choice('abc')}" for _ in range(2))
        content = chance.choice(CONTENTS)
        blob = Digest.of(content)
        manifest = json.dumps(image(content, config=content)).encode()
        change = chance.choice(CHANGES)
        with suppress(WireError):
            if change == "offer":
                await offer(registry, name, content)
            elif change == "finish twice":
                await finish_twice(registry, name, content)
            elif change == "mount":
                await registry.blobs.mount(ANN, name, blob, other)
            elif change == "tag":
                await registry.manifests.put(ANN, name, Digest.of(manifest), ("v1",), manifest, OCI_MANIFEST)
            elif change == "delete manifest":
                await registry.manifests.delete(ANN, name, Digest.of(manifest))
            elif change == "delete blob":
                await registry.blobs.delete(ANN, name, blob)
            else:
                await registry.repositories.delete(ANN, name)


def test_usage_stays_exact(database_url: str, tmp_path: Path, rounds: Callable[[int, int], int]) -> None:
    """Two servers change and collect the same repositories: no deadlock, and no byte is miscounted."""
    each = rounds(60, 2500)

    async def race() -> list[Miscount]:
        async with AsyncExitStack() as stack:
            servers = [await open_server(stack, tmp_path, database_url, EverybodyLimited()) for _ in range(2)]
            collectors = [asyncio.create_task(collect_repeatedly(server)) for server in servers]
            await asyncio.gather(*(change_at_random(servers[n % 2], random.Random(n), each) for n in range(6)))
            for collector in collectors:
                collector.cancel()
            ended = await asyncio.gather(*collectors, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended
            return [each async for each in servers[0].verification.usage()]

    assert asyncio.run(race()) == []
