"""Base images created locally, so that no test needs the internet.

Everything created from busybox is deterministic: the same arguments give the same digests.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.parts.process import missing, own_folder, program

BUSYBOX = Path("/bin/busybox")
APPLETS = ("sh", "ls", "cat", "echo", "mkdir", "rm", "touch", "env", "id", "pwd", "sleep", "true", "false", "test")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
PLATFORMS = ("linux/amd64", "linux/arm64")

LINGERING_SHELL = b"""#!/bin/busybox sh
exec 3>&2 2>/dev/null # its own message about a killed shell
(exec -a /bin/sh /bin/busybox "$@" 2>&3 3>&-)
code=$?
/bin/busybox sleep 0.1
[ $code -le 128 ] || kill -$((code - 128)) $$
exit $code
"""

Descriptor = dict[str, Any]


def busybox_rootfs(files: Mapping[str, str] | None = None, *, is_lingering: bool = False) -> bytes:
    """Return a root file system as an uncompressed tar: static busybox, links to it, and `files` (path -> text).

    With `is_lingering`, its shell ends a moment after its commands: buildah can lose what a step prints just before it
    ends, because it exits without waiting for the thread that copies the output.
    """
    if not BUSYBOX.exists():
        missing("/bin/busybox", "busybox-static")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("bin", "etc", "tmp", "proc", "sys", "dev", "root"):
            _add(tar, name, kind=tarfile.DIRTYPE, mode=0o1777 if name == "tmp" else 0o755)
        _add(tar, "bin/busybox", BUSYBOX.read_bytes(), mode=0o755)
        for applet in APPLETS:
            if is_lingering and applet == "sh":
                _add(tar, "bin/sh", LINGERING_SHELL, mode=0o755)
            else:
                _add(tar, f"bin/{applet}", kind=tarfile.SYMTYPE, target="busybox")
        _add(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
        _add(tar, "etc/group", b"root:x:0:\nnogroup:x:65534:\n")
        for path, text in (files or {}).items():
            _add(tar, path, text.encode())
    return buffer.getvalue()


def layer_tar(files: Mapping[str, str]) -> bytes:
    """Return a small layer as an uncompressed tar with only `files` (path -> text)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, text in files.items():
            _add(tar, path, text.encode())
    return buffer.getvalue()


def _add(
    tar: tarfile.TarFile,
    name: str,
    content: bytes = b"",
    *,
    kind: bytes = tarfile.REGTYPE,
    mode: int = 0o644,
    target: str = "",
) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.size = kind, mode, target, len(content)
    info.mtime = 1_400_000_000
    tar.addfile(info, io.BytesIO(content))


@dataclass(frozen=True, slots=True)
class Layout:
    """An OCI image layout, for skopeo's `oci:FOLDER:TAG`."""

    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "blobs/sha256").mkdir(parents=True, exist_ok=True)
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        if not (self.folder / "index.json").exists():
            self._write_index([])

    def source(self, tag: str = "latest") -> str:
        """The location of an image in the layout, for skopeo, podman and buildah."""
        return f"oci:{self.folder}:{tag}"

    def add_blob(self, content: bytes, media_type: str) -> Descriptor:
        """Add a blob."""
        digest = hashlib.sha256(content).hexdigest()
        (self.folder / "blobs/sha256" / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def add_json(self, value: object, media_type: str) -> Descriptor:
        """Add a value as a JSON blob."""
        return self.add_blob(json.dumps(value, separators=(",", ":")).encode(), media_type)

    def add_image(
        self, layers: Sequence[bytes], platform: str = PLATFORMS[0], config: Mapping[str, Any] | None = None
    ) -> Descriptor:
        """Add an image with these uncompressed layers, untagged; `config` contains Cmd, Env and so on."""
        system, architecture = platform.split("/")
        diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
        image = {
            "created": "2014-05-13T16:53:20Z",
            "architecture": architecture,
            "os": system,
            "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]} | dict(config or {}),
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created": "2014-05-13T16:53:20Z", "created_by": "hythe's tests"} for _ in layers],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.add_json(image, CONFIG),
            "layers": [self.add_blob(gzip.compress(layer, 6, mtime=0), LAYER) for layer in layers],
        }
        return self.add_json(manifest, MANIFEST) | {"platform": {"os": system, "architecture": architecture}}

    def add_index(self, images: Sequence[Descriptor]) -> Descriptor:
        """Add an index of images that were added before, untagged."""
        return self.add_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(images)}, INDEX)

    def tag(self, descriptor: Descriptor, tag: str) -> None:
        """Tag an image or index."""
        name = "org.opencontainers.image.ref.name"
        index = json.loads((self.folder / "index.json").read_text())
        kept = [entry for entry in index["manifests"] if entry.get("annotations", {}).get(name) != tag]
        self._write_index([*kept, descriptor | {"annotations": {name: tag}}])

    def _write_index(self, manifests: list[Descriptor]) -> None:
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))


def single_platform(folder: Path, files: Mapping[str, str] | None = None) -> Layout:
    """Create a layout whose tag `latest` is busybox for linux/amd64, with optional `files` in a second layer."""
    layout = Layout(folder)
    layers = [busybox_rootfs()] + ([layer_tar(files)] if files else [])
    layout.tag(layout.add_image(layers), "latest")
    return layout


def multi_platform(folder: Path, platforms: Sequence[str] = PLATFORMS) -> Layout:
    """Create a layout whose tag `latest` is an index; each image contains its platform in /etc/platform."""
    layout = Layout(folder)
    base = busybox_rootfs()
    images = [layout.add_image([base, layer_tar({"etc/platform": f"{name}\n"})], name) for name in platforms]
    layout.tag(layout.add_index(images), "latest")
    return layout


def many_layers(folder: Path, count: int = 40) -> Layout:
    """Create a layout whose tag `latest` is busybox with `count` - 1 small layers on top."""
    layout = Layout(folder)
    small = [layer_tar({f"srv/{number}": f"layer {number}\n" * 50}) for number in range(1, count)]
    layout.tag(layout.add_image([busybox_rootfs(), *small]), "latest")
    return layout


@pytest.fixture(scope="session")
def busybox_tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A busybox root file system as a tar file, for `docker import`."""
    path = tmp_path_factory.mktemp("busybox") / "busybox.tar"
    path.write_bytes(busybox_rootfs())
    return path


@pytest.fixture(scope="session")
def busybox_layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Busybox for linux/amd64 as an OCI layout. Shared: do not modify it."""
    return single_platform(tmp_path_factory.mktemp("single"))


@pytest.fixture(scope="session")
def multi_platform_layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """An index for two platforms as an OCI layout. Shared: do not modify it."""
    return multi_platform(tmp_path_factory.mktemp("multi"))


def debootstrap(target: Path) -> None:
    """Write the root file system of a minimal Debian stable to the tar file `target`. Needs root."""
    with own_folder("debian") as folder:
        root = folder / "root"
        make = [program("debootstrap", "debootstrap"), "--variant=minbase", "stable", str(root)]
        subprocess.run(make, check=True, capture_output=True)
        subprocess.run(["tar", "-C", str(root), "--numeric-owner", "-cf", str(target), "."], check=True)
