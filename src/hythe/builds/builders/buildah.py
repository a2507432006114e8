"""buildah in the sandbox: the default builder. It never sees a credential of any registry.

Base images are fetched by the worker, outside of the sandbox, and handed in as an OCI layout; the result comes out as
one. So a build whose steps have no network at all can still have bases from anywhere.
"""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence

import msgspec

from hythe.builds.builders.bases import BaseImages
from hythe.builds.builders.labels import labelled
from hythe.builds.builders.port import Image, Order
from hythe.builds.dockerfile import base_images, without_heredocs
from hythe.builds.isolation.sandbox import Finished, Reach, Sandbox
from hythe.builds.worker.failure import BuildFailed
from hythe.builds.worker.record import Record
from hythe.builds.worker.source_tree import cleared, require_plain, write_inside
from hythe.client.layout import ImageLayout
from hythe.oci.reference import Reference

STORAGE = ("--root", "/work/storage", "--runroot", "/work/run", "--storage-driver", "overlay")
HEREDOCS = ".hythe-heredocs"
DOCKERFILE = "home/Dockerfile"
_SETTINGS = {"_CONTAINERS_USERNS_CONFIGURED": "done", "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay"}
_REGISTRIES = 'unqualified-search-registries = ["docker.io"]\nshort-name-mode = "permissive"\n'
BASES_KNOWN = "bases.json"


class BuildahBuilder:
    """Builds in one sandbox, whose disk keeps the layers."""

    def __init__(self, sandbox: Sandbox, record: Record, bases: BaseImages, reach: Reach) -> None:
        self._sandbox = sandbox
        self._record = record
        self._bases = bases
        self._reach = reach
        self.name = self._version()
        self._write("home/registries.conf", _REGISTRIES)

    @staticmethod
    def _version() -> str:
        try:
            done = subprocess.run(["buildah", "--version"], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise BuildFailed("buildah is not installed on the worker: install the package buildah") from error
        return " ".join(done.stdout.split()[:3])

    def fetch_bases(self, order: Order) -> dict[str, str]:
        """See Builder."""
        found = {}
        for name in base_images(order.dockerfile_text, order.arguments):
            reference = self._bases.reference(name)
            digest = self._bases.digest(reference, order.platform)
            if digest is None:
                raise BuildFailed(f"the base image {name} is not there, or may not be read: {self._bases.trouble}")
            self._bring(reference, digest, order.platform)
            found[name] = digest
        return found

    def _bring(self, reference: Reference, digest: str, platform: str) -> None:
        """Put a base into buildah's storage, unless a build before this one did."""
        known = self._known_bases()
        key = f"{reference} {platform}"
        if (
            known.get(key) == digest
            and self._buildah("inspect", "--type", "image", str(reference), said=False).code == 0
        ):
            return
        folder = cleared(self._sandbox.work, "bases")
        tag = self._bases.fetch(reference, digest, platform, ImageLayout(folder))
        # By its local name alone: what the Dockerfile names is then found without asking any registry.
        pulled = self._buildah("pull", "--quiet", f"oci:/work/bases:{tag}")
        if pulled.code:
            raise BuildFailed(f"the base image {reference} cannot be used: see the log")
        if self._buildah("tag", pulled.last_lines[-1], str(reference)).code:
            raise BuildFailed(f"the base image {reference} cannot be named: see the log")
        self._run(["rm", "-rf", "/work/bases"])
        self._write(BASES_KNOWN, msgspec.json.encode({**known, key: digest}).decode())

    def _known_bases(self) -> dict[str, str]:
        path = self._sandbox.work / BASES_KNOWN
        if not path.is_file() or path.is_symlink():
            return {}
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except msgspec.MsgspecError:
            return {}

    def build(self, order: Order) -> Image:
        """See Builder."""
        context = f"src/{order.context}".rstrip("/")
        text, files = without_heredocs(order.dockerfile_text, HEREDOCS)
        self._write(DOCKERFILE, text)
        for path, content in files.items():
            self._write(f"{context}/{path}", content)
        build = ["buildah", *STORAGE, *self._flags(order), "--file", f"/work/{DOCKERFILE}", f"/work/{context}"]
        done = self._run(["sh", "-c", f"{shlex.join(build)} && {self._export_command(order)}"])
        if done.code:
            raise BuildFailed(reason_of(done))
        return self._exported(order)

    def _flags(self, order: Order) -> list[str]:
        # Every build ends with --timestamp: times of files and history are the commit's, so that equal sources give
        # equal digests.
        flags = ["build", "--isolation", "chroot", "--pull=never", "--format", "oci", "--network", "host"]
        flags += ["--timestamp", str(order.time), "--identity-label=false", "--tag", order.image]
        flags += ["--layers=true", *([] if order.cache else ["--no-cache"])]
        flags += ["--platform", order.platform] if order.platform else []
        flags += ["--target", order.target] if order.target else []
        flags += _pairs("--build-arg", order.arguments)
        for name in order.secrets:
            flags += ["--secret", f"id={name},src=/work/secrets/{name}"]
        return flags

    def export(self, order: Order) -> Image:
        """See Builder."""
        done = self._run(["sh", "-c", self._export_command(order)])
        if done.code:
            raise BuildFailed(f"the build gave no image called {order.image}: see the log")
        return self._exported(order)

    def _export_command(self, order: Order) -> str:
        push = [
            "buildah",
            *STORAGE,
            "push",
            "--quiet",
            "--format",
            "oci",
            order.image,
            f"oci:/work/{_folder(order)}:image",
        ]
        return f"mkdir -p /work/out && rm -rf /work/{_folder(order)} && {shlex.join(push)}"

    def _exported(self, order: Order) -> Image:
        require_plain(self._sandbox.work / "out")
        layout = ImageLayout(self._sandbox.work / _folder(order))
        found = layout.read_index().manifests
        if len(found) != 1:
            raise BuildFailed("the build gave more than one image")
        return Image(layout.folder, labelled(layout, found[0], order.labels))

    def _buildah(self, *words: str, said: bool = True) -> Finished:
        return self._run(["buildah", *STORAGE, *words], said=said)

    def _run(self, command: Sequence[str], *, said: bool = True) -> Finished:
        hear = self._record.line if said else _ignore
        return self._sandbox.run(command, hear, reach=self._reach, environment=_SETTINGS)

    def _write(self, path: str, content: str) -> None:
        """Write a file that root inside may read and change, with the same time in every build."""
        os.utime(write_inside(self._sandbox.work, path, content, self._sandbox.give), (0, 0))


def _folder(order: Order) -> str:
    return f"out/{order.platform.replace('/', '-') or 'image'}"


def reason_of(done: Finished) -> str:
    """Return the sentence in which a builder says why it failed."""
    for line in reversed(done.last_lines):
        low = line.strip().lower()
        if low.startswith(("error:", "error ", "err")) or "error building" in low:
            return f"the Dockerfile's build failed: {line.strip()[:500]}"
    return f"the Dockerfile's build ended with {done.code}: see the log"


def _ignore(_line: str) -> None:
    """What is said to us alone."""


def _pairs(flag: str, values: Mapping[str, str]) -> list[str]:
    return [word for name, value in sorted(values.items()) for word in (flag, f"{name}={value}")]
