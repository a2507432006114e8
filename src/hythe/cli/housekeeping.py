"""``hythe admin gc`` and ``hythe admin verify``: look after what is stored, also while the hub runs."""

import asyncio
from argparse import Namespace
from typing import TYPE_CHECKING

from hythe.cli.command import CommandFailed
from hythe.cli.setting_flags import load_settings

if TYPE_CHECKING:
    from hythe.registry.service import Registry

STORAGE_FLAGS = ("data", "database_url", "blob_store", "grace_period", "upload_lifetime", "replaced_lifetime")
"""What a verb needs that works on blobs."""


def collect_garbage(arguments: Namespace) -> int:
    """Free what nothing needs, or say what would be freed."""
    from hythe.server.hub import open_hub

    async def collect() -> None:
        async with open_hub(load_settings(arguments).settings) as house:
            done = await house.registry.garbage.collect(dry_run=arguments.dry_run)
        verb = "would free" if arguments.dry_run else "freed"
        for manifest in done.manifests:
            print(f"{verb} {manifest.repository}@{manifest.digest}")
        for blob in done.blobs:
            print(f"{verb} {blob.digest} ({blob.size} bytes)")
        print(
            f"{verb} {len(done.manifests)} manifests, {len(done.blobs)} blobs with {done.freed_bytes} bytes, "
            f"{done.uploads} uploads"
        )
        if done.next_due is not None:
            print(
                f"{done.waiting} more are in their grace period, the first until {done.next_due:%Y-%m-%d %H:%M:%S} UTC"
            )

    asyncio.run(collect())
    return 0


def verify(arguments: Namespace) -> int:
    """Read every blob and manifest again, name what is damaged and put it aside."""
    from hythe.server.hub import open_hub

    async def read_all() -> tuple[int, int]:
        async with open_hub(load_settings(arguments).settings) as house:
            return await _report(house.registry)

    looked_at, damaged = asyncio.run(read_all())
    print(f"read {looked_at} blobs and manifests again")
    if damaged:
        hint = "push the images again that were named, or restore the files from a backup"
        raise CommandFailed(f"{damaged} are damaged and are not served any more", hint)
    return 0


async def _report(registry: "Registry") -> tuple[int, int]:
    looked_at = damaged = 0
    for findings in (registry.verification.blobs(), registry.verification.manifests()):
        async for finding in findings:
            looked_at += 1
            if finding.trouble:
                damaged += 1
                print(f"{finding.digest}: {finding.trouble}; in {', '.join(finding.repositories) or 'no repository'}")
    async for stray in registry.verification.strays():
        print(f"{stray.digest}: {stray.size} bytes that belong to nothing: they go with the garbage")
    return looked_at, damaged
