"""Run the examples of docs/client.md with `from hythe.client import Registry`."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.parts.base_images import Layout
from tests.parts.docker_registry import DockerRegistry
from tests.parts.hythe_client import HytheClient
from tests.parts.process import ROOT

from hythe.client import ClientError, Registry
from hythe.client.client import Client
from hythe.client.credential_files import CredentialFiles

pytestmark = pytest.mark.clients

PAGE = (ROOT / "docs/client.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
EXAMPLE_HOST = "registry.example.com"


@pytest.fixture
def registry(
    start_docker_registry: Callable[..., DockerRegistry], hythe: HytheClient, multi_platform_layout: Layout
) -> DockerRegistry:
    """A registry with ann's password and ann/box:1 for two platforms."""
    registry = start_docker_registry(users={"ann": "secret"})
    hythe.login(registry.host, "ann", "secret")
    hythe.ok("copy", "-q", f"oci:{multi_platform_layout.folder}", f"{registry.host}/ann/box:1")
    return registry


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_the_programs_of_the_page_work(
    registry: DockerRegistry, hythe: HytheClient, number: int, tmp_path: Path
) -> None:
    """Each program of the page, with a real registry's address."""
    program = PROGRAMS[number].replace(EXAMPLE_HOST, registry.host)
    done = subprocess.run(
        [sys.executable, "-c", program], env=hythe.env, cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_an_image_is_read_with_its_configuration(registry: DockerRegistry, tmp_path: Path) -> None:
    """Returns the image of the requested platform; the digest is that of the index."""
    with Registry(registry.host, username="ann", password="secret") as remote:
        image = remote.image("ann/box:1", platform="linux/arm64")

        assert image.config.architecture == "arm64"
        assert [str(platform) for platform in image.platforms] == ["linux/amd64", "linux/arm64"]
        assert image.digest == remote.manifest("ann/box:1").digest()
        assert remote.read_blob("ann/box", image.layers[0])[:2] == b"\x1f\x8b"


def test_a_deleted_tag_no_longer_exists(registry: DockerRegistry) -> None:
    """By digest, as docker-registry requires."""
    with Registry(registry.host, username="ann", password="secret") as remote:
        remote.delete(f"ann/box@{remote.manifest('ann/box:1').digest()}")

        with pytest.raises(ClientError):
            remote.manifest("ann/box:1")


def test_a_failed_copy_does_not_affect_other_transfers(registry: DockerRegistry, tmp_path: Path) -> None:
    """An error in one transfer does not affect the others."""
    client = Client(credentials=CredentialFiles({"HOME": str(tmp_path)}))
    with Registry(registry.host, client=client) as anonymous, pytest.raises(ClientError):
        anonymous.tags("ann/box")
    with Registry(registry.host, username="ann", password="secret") as remote:
        with pytest.raises(ClientError):
            remote.copy("ann/nothing:1", f"oci:{tmp_path}/out")

        assert remote.tags("ann/box") == ["1"]
