"""The verbs ``gc``, ``verify`` and ``adopt-blobs`` of ``hythe admin`` and ``hythe registry``; they need no server."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

from hythe.cli.command import CommandFailed
from hythe.cli.setting_flags import add_setting_flags, load_settings

if TYPE_CHECKING:
    from hythe.registry.service import RegistryServices
    from hythe.settings import Settings

STORAGE_FLAGS = ("data", "database_url", "blob_store", "grace_period", "upload_lifetime", "replaced_lifetime")
"""The settings that verbs working on blobs need."""

ADOPTION_FLAGS = ("data", "database_url", "blob_store")
"""The settings that say where an installation's data is."""

OpenRegistry: TypeAlias = Callable[[Namespace], "AbstractAsyncContextManager[RegistryServices]"]
"""Opens the registry that the arguments name."""


def add_housekeeping(verbs: Any, open_registry: OpenRegistry, kind: str, defaults: Mapping[str, str]) -> None:
    """Add ``gc``, ``verify`` and ``adopt-blobs`` to the verbs of a command.

    ``verbs`` is the result of ``add_subparsers``, ``kind`` that of the installation, ``defaults`` are its settings.
    """
    garbage: ArgumentParser = verbs.add_parser(
        "gc", help="delete unreferenced data; a running server does this periodically"
    )
    garbage.add_argument("--dry-run", action="store_true", help="print what would be deleted, without deleting it")
    garbage.set_defaults(
        handler=lambda arguments: _collect_garbage(open_registry(arguments), dry_run=arguments.dry_run)
    )

    verification: ArgumentParser = verbs.add_parser(
        "verify", help="check every blob and manifest against its digest, and quarantine corrupt ones"
    )
    verification.set_defaults(handler=lambda arguments: _verify(open_registry(arguments)))

    adoption: ArgumentParser = verbs.add_parser(
        "adopt-blobs", help="use a blob store that belongs to another database, or to none"
    )
    adoption.set_defaults(handler=lambda arguments: _adopt_blobs(load_settings(arguments, defaults).settings, kind))
    add_setting_flags(adoption, ADOPTION_FLAGS)

    for verb in (garbage, verification):
        add_setting_flags(verb, STORAGE_FLAGS)


def _adopt_blobs(settings: "Settings", kind: str) -> int:
    """Record that database and blob store belong together."""
    import asyncio

    from hythe.registry.installation import Kind
    from hythe.server.installation import adopt_blobs

    asyncio.run(adopt_blobs(settings, Kind(kind)))
    print(f"the blobs in {settings.blob_store or settings.data_folder} now belong to this database")
    return 0


def _collect_garbage(opened: "AbstractAsyncContextManager[RegistryServices]", *, dry_run: bool) -> int:
    """Delete unreferenced data, or print what would be deleted."""
    import asyncio

    async def collect() -> None:
        async with opened as registry:
            done = await registry.garbage.collect(dry_run=dry_run, by="operator")
        verb = "would free" if dry_run else "freed"
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


def _verify(opened: "AbstractAsyncContextManager[RegistryServices]") -> int:
    """Check every blob and manifest, and quarantine and print corrupt ones."""
    import asyncio

    async def check_all() -> tuple[int, int]:
        async with opened as registry:
            return await _report(registry)

    checked, corrupt = asyncio.run(check_all())
    print(f"checked {checked} blobs and manifests")
    if corrupt:
        hint = "push the affected images again, or restore the files from a backup and verify again"
        raise CommandFailed(f"{corrupt} blobs or manifests are corrupt and no longer served", hint)
    return 0


async def _report(registry: "RegistryServices") -> tuple[int, int]:
    checked = corrupt = 0
    for findings in (registry.verification.blobs(), registry.verification.manifests()):
        async for finding in findings:
            checked += 1
            if finding.problem:
                corrupt += 1
                print(f"{finding.digest}: {finding.problem}; in {', '.join(finding.repositories) or 'no repository'}")
            elif finding.healed:
                print(f"{finding.digest}: intact again, and served")
    async for stray in registry.verification.strays():
        print(f"{stray.digest}: {stray.size} bytes not in the database: deleted after the grace period")
    async for wrong in registry.verification.usage():
        counted, actual = wrong.counted.bytes, wrong.actual.bytes
        print(f"{wrong.namespace}: stores {actual} bytes, but {counted} were counted: corrected")
    return checked, corrupt
