"""The `hythe` command with its own store and containers, for tests that run containers."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.parts.base_images import Layout, busybox_rootfs, layer_tar
from tests.parts.engines import Tool, clean_environment
from tests.parts.process import own_folder

from hythe.client.store import LocalStore


@dataclass(slots=True)
class ContainersHythe(Tool):
    """`hythe` with its own folders; the image `box` (busybox, two layers) is in its store."""

    folder: Path

    @property
    def store(self) -> LocalStore:
        """The local image store."""
        return LocalStore(self.folder / "store")

    def remove_everything(self) -> None:
        """Remove all containers, running or not."""
        containers = self.ok("ps", "--all", "--quiet").split()
        if containers:
            self.ok("rm", "--force", *containers)


def containers_environment_of(folder: Path) -> dict[str, str]:
    """Return the environment in which hythe has all its files below `folder`."""
    return clean_environment(folder) | {
        "HYTHE_STATE": str(folder / "state"),
        "HYTHE_STORE": str(folder / "store"),
    }


@contextlib.contextmanager
def hythe_with_containers() -> Iterator[ContainersHythe]:
    """A `hythe` command whose containers are removed afterwards."""
    with own_folder("containers") as folder:
        layout = Layout(folder / "store")
        config = {"Env": ["PATH=/bin", "FROM=image"], "Labels": {"from": "image"}}
        layers = [busybox_rootfs({"etc/first": "1\n", "data/seed": "seed\n"}), layer_tar({"etc/second": "2\n"})]
        layout.tag(layout.add_image(layers, config=config), "docker.io/library/box:latest")
        tool = ContainersHythe([sys.executable, "-m", "hythe.cli.main"], containers_environment_of(folder), folder)
        try:
            yield tool
        finally:
            tool.remove_everything()


@pytest.fixture
def hythe_box() -> Iterator[ContainersHythe]:
    """`hythe` with the image `box` and no containers."""
    with hythe_with_containers() as tool:
        yield tool
