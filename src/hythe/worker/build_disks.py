"""Opens the sandbox of a build and its image store, each with a disk of its own.

The build's disk is always new, so nothing that a build wrote is there for the next one. The disk of the image store is
kept for the next build of the same rule and branch, because builds can only read it.
"""

import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import msgspec

from hythe.worker.builders.image_store import ImageStore
from hythe.worker.hub_api import HubAPI
from hythe.worker.isolation.kept_disks import KeptDisks
from hythe.worker.isolation.sandbox import Sandbox
from hythe.worker.isolation.selection import Isolation
from hythe.worker.protocol import DiskKeys, Job

SLOTS = 50_000
"""Number of user ID ranges; builds that use the same kept disk always get the same one."""


class BuildDisks(msgspec.Struct, frozen=True):
    """The sandbox of a build, and the store of the images that it starts from."""

    sandbox: Sandbox
    store: ImageStore


def delete_unneeded(disks: KeptDisks, hub: HubAPI) -> None:
    """Delete the disks that no build used for long, or whose builds the hub no longer has. Raises ClientError."""
    disks.delete_unused()
    if keys := disks.keys():
        disks.delete(set(hub.unknown_disks(DiskKeys(tuple(keys))).keys))


def open_disks(
    job: Job, isolation: Isolation, stack: ExitStack, deadline: float | None, groups: Mapping[str, str] | None
) -> BuildDisks:
    """Return the disks of a build; ``stack`` releases them. Raises IsolationUnavailable."""
    name = job.attempt_name
    slot = zlib.crc32((job.cache.key or job.repository).encode()) % SLOTS
    image = _reserved_image(job, isolation, stack)
    own_image = isolation.folder / "work" / f"{name}.images.img"
    images = isolation.sandbox(f"{name}.images", slot, job.limits, image or own_image, deadline=deadline, groups=groups)
    store = ImageStore(images)
    stack.callback(lambda: images.close(keep=image is not None and store.is_whole))
    work_image = isolation.folder / "work" / f"{name}.img"
    sandbox = isolation.sandbox(name, slot, job.limits, work_image, deadline=deadline, groups=groups)
    sandbox.images = store.folder
    stack.callback(lambda: sandbox.close(keep=False))
    store.create()
    return BuildDisks(sandbox, store)


def _reserved_image(job: Job, isolation: Isolation, stack: ExitStack) -> Path | None:
    """Reserve the kept disk of the build's rule and branch; None if it gets none. Keep the limits before and after."""
    if not job.cache.key or not isolation.images:
        return None
    disks = KeptDisks.of(isolation.folder)
    account = job.repository.partition("/")[0]
    disks.limit(account, job.limits.kept_disks)
    stack.callback(lambda: disks.limit(account, job.limits.kept_disks))
    return stack.enter_context(disks.use(account, job.cache.key))
