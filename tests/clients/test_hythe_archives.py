"""Images on their way into hythe's store: archives of every age, and indexes without an image for this machine."""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tests.parts.base_images import CONFIG, MANIFEST, Layout, busybox_rootfs
from tests.parts.docker_registry import DockerRegistry
from tests.parts.engines import ContainersTool
from tests.parts.hythe_client import HytheClient

from hythe.client import ClientError, Registry
from hythe.client.client import Client
from hythe.client.credential_files import CredentialFiles

pytestmark = pytest.mark.clients

UNKNOWN = {"os": "unknown", "architecture": "unknown"}
ATTESTATION = {"vnd.docker.reference.type": "attestation-manifest"}


def with_attestation(folder: Path, *platforms: str) -> Layout:
    """Create a layout as BuildKit's: `latest` is an index that lists an attestation first."""
    layout = Layout(folder)
    statement = layout.add_json({"_type": "https://in-toto.io/Statement/v0.1"}, "application/vnd.in-toto+json")
    config = layout.add_json({"architecture": "unknown", "os": "unknown", "config": {}, "rootfs": {}}, CONFIG)
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [statement]}
    attestation = layout.add_json(manifest, MANIFEST)
    images = [layout.add_image([busybox_rootfs()], platform) for platform in platforms]
    layout.tag(layout.add_index([attestation | {"platform": UNKNOWN, "annotations": ATTESTATION}, *images]), "latest")
    return layout


@pytest.fixture
def elsewhere(tmp_path: Path) -> Layout:
    """An attestation and an image for another machine."""
    return with_attestation(tmp_path / "elsewhere", "linux/s390x")


def packed(layout: Layout, path: Path) -> Path:
    """Write the layout as an OCI archive."""
    index = layout.folder / "index.json"
    text = index.read_text()
    index.write_text(text.replace('"latest"', '"docker.io/ann/box:1"'))
    with tarfile.open(path, "w") as archive:
        archive.add(layout.folder, ".")
    index.write_text(text)
    return path


def member(path: Path, name: str) -> Any:
    """Return a JSON document in an archive."""
    with tarfile.open(path) as archive:
        file = archive.extractfile(name)
        assert file
        return json.load(file)


def test_an_index_for_other_machines_is_refused_as_by_pull(
    hythe: HytheClient, elsewhere: Layout, docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    """pull, copy and load name the platforms and --platform; nothing stays in the store."""
    name = f"{docker_registry.host}/ann/box:1"
    hythe.ok("copy", "-q", f"oci:{elsewhere.folder}", name)
    archive = packed(elsewhere, tmp_path / "box.tar")
    ways = (["pull", name], ["copy", f"oci:{elsewhere.folder}", "store:ann/box:1"], ["copy", name, "store:ann/box:1"])
    for arguments in (*ways, ["load", archive], ["run", "--rm", name, "true"]):
        refused = hythe.run(*arguments)

        assert refused.returncode == (125 if arguments[0] == "run" else 3)
        assert "no image for linux/" in refused.stderr
        assert "hint: available platforms: linux/s390x; select one with --platform" in refused.stderr
        assert hythe.json("images") == []
    assert list((hythe.folder / "store/blobs/sha256").iterdir()) == []


@pytest.mark.parametrize("way", ["pull", "copy", "load"])
def test_a_platform_is_selected(
    hythe: HytheClient, elsewhere: Layout, docker_registry: DockerRegistry, tmp_path: Path, way: str
) -> None:
    """The hint of the refusal helps: only that image comes into the store."""
    name = f"{docker_registry.host}/ann/box:1"
    hythe.ok("copy", "-q", f"oci:{elsewhere.folder}", name)
    archive = packed(elsewhere, tmp_path / "box.tar")
    ways: dict[str, list[str]] = {
        "pull": ["pull", name],
        "copy": ["copy", f"oci:{elsewhere.folder}", "store:box"],
        "load": ["load", str(archive)],
    }
    hythe.ok(*ways[way], "--platform", "linux/s390x")
    [image] = hythe.json("images")

    assert hythe.json("inspect", image["id"])[0]["Architecture"] == "s390x"


def test_an_index_for_other_machines_can_be_kept(
    hythe: HytheClient, elsewhere: Layout, docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    """It is listed, pushed and saved as the image for the other machine, never as the attestation, and not run."""
    hythe.ok("copy", "-q", "--all-platforms", f"oci:{elsewhere.folder}", "store:box")
    refused = hythe.run("run", "--rm", "box", "true")
    hythe.ok("tag", "box", f"{docker_registry.host}/box")
    hythe.ok("push", "-q", f"{docker_registry.host}/box")
    hythe.ok("save", "-o", str(tmp_path / "box.tar"), "box")
    [row] = member(tmp_path / "box.tar", "manifest.json")
    config = member(tmp_path / "box.tar", row["Config"])

    assert refused.returncode == 125
    assert "no image for linux/" in refused.stderr
    assert "linux/s390x; select one with --platform" in refused.stderr
    assert "Unable to find image" not in refused.stderr
    assert hythe.json("inspect", "box")[0]["Architecture"] == config["architecture"] == "s390x"
    assert hythe.ok("load", "--all-platforms", str(tmp_path / "box.tar")) == "Loaded image: box:latest"


def test_an_attestation_before_the_image(hythe: HytheClient, tmp_path: Path) -> None:
    """With an image for this machine, too, that one is the image, however it comes in."""
    layout = with_attestation(tmp_path / "both", "linux/s390x", "linux/amd64")
    hythe.ok("copy", "-q", f"oci:{layout.folder}", "store:one")
    hythe.ok("load", packed(layout, tmp_path / "box.tar"))

    for name in ("one", "ann/box:1"):
        assert hythe.json("inspect", name)[0]["Architecture"] == "amd64"


def test_the_library_refuses_the_same(elsewhere: Layout, tmp_path: Path) -> None:
    """``Registry.copy`` into the store."""
    client = Client(credentials=CredentialFiles({"HOME": str(tmp_path)}), store=tmp_path / "store")
    with Registry(client=client) as registry:
        with pytest.raises(ClientError, match="no image for") as caught:
            registry.copy(f"oci:{elsewhere.folder}", "store:box")
        registry.copy(f"oci:{elsewhere.folder}", "store:box", all_platforms=True)

    assert "linux/s390x" in caught.value.hint


def test_archives_of_2014(hythe: HytheClient, skopeo: ContainersTool, busybox_layout: Layout, tmp_path: Path) -> None:
    """As skopeo still writes them, without the newer manifest.json; by `load FILE` and -i, also compressed."""
    modern, old = tmp_path / "modern.tar", tmp_path / "old.tar"
    skopeo.ok("copy", busybox_layout.source(), f"docker-archive:{modern}:registry.example.com/ann/box:1")
    with tarfile.open(modern) as source, tarfile.open(old, "w") as target:
        for member in source:
            if "/" in member.name or member.name == "repositories" or member.name.endswith(".tar"):
                target.addfile(member, source.extractfile(member) if member.isfile() else None)
    old.with_suffix(".gz").write_bytes(gzip.compress(old.read_bytes()))
    hythe.ok("load", modern)
    before = hythe.json("inspect", "registry.example.com/ann/box:1")[0]
    hythe.ok("rmi", "registry.example.com/ann/box:1")

    for arguments in ([old], ["-i", old.with_suffix(".gz")]):
        assert hythe.ok("load", *arguments) == "Loaded image: registry.example.com/ann/box:1"
        after = hythe.json("inspect", "registry.example.com/ann/box:1")[0]
        assert after["RootFS"] == before["RootFS"]
        assert after["Config"]["Cmd"] == before["Config"]["Cmd"]
    assert len(hythe.json("images")) == 1


def test_which_file_to_load(hythe: HytheClient, tmp_path: Path) -> None:
    """A missing file is named; two files are refused."""
    missing = hythe.run("load", tmp_path / "none.tar")
    both = hythe.run("load", "a.tar", "-i", "b.tar")

    assert (missing.returncode, both.returncode) == (1, 2)
    assert f"{tmp_path / 'none.tar'}: No such file or directory" in missing.stderr
