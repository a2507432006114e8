"""Exporting a container's file system as a tar archive, like ``docker export``."""

import tempfile
from pathlib import Path
from typing import BinaryIO

from hythe.containers import linux, namespace, overlay
from hythe.containers.bundle import make_mountpoints
from hythe.containers.changes import pack_folder
from hythe.containers.container import Container
from hythe.containers.layers import LayerCache
from hythe.containers.root import Root
from hythe.containers.store import ContainerStore
from hythe.oci.digest import Digest


def export(store: ContainerStore, container: Container, stream: BinaryIO) -> None:
    """Write the container's file system without its mounts; it can be running. Raises CannotStart.

    Moves this process to a new mount namespace.
    """
    folder = store.path(container)
    make_mountpoints(folder / "mountpoints")
    lowers = LayerCache(store.folder / "layers").lowers([Digest.parse(text) for text in container.layers])
    namespace.use_private_mounts()
    with tempfile.TemporaryDirectory(prefix="hythe-export-", dir=store.folder) as place:
        target = Path(place) / "root"
        target.mkdir()
        overlay.mount_overlay([folder / "upper", *lowers, folder / "mountpoints"], target)
        try:
            with Root(target) as root:
                pack_folder(root, "", stream)
        finally:
            linux.unmount(target)
