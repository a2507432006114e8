"""The images that a build starts from: its base images, and the steps of earlier builds of the same branch.

They are on a disk of their own, which is kept for the next build. Only ``buildah pull`` writes to it, in a sandbox in
which nothing else runs, and only content whose digest was verified: base images as their registries name them, and the
layers that the hub recorded. Builds see this disk read-only, so no build can change what a later one starts from.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from hythe.client.layout import ImageLayout
from hythe.worker.builders.base_images import LAYOUT_TAG
from hythe.worker.errors import BuildFailed
from hythe.worker.isolation.sandbox import Sandbox
from hythe.worker.source_tree import make_empty, read_inside, remove, write_inside

WRITABLE = ("--root", "/work/storage", "--runroot", "/work/run", "--storage-driver", "overlay")
STORAGE = (*WRITABLE, "--storage-opt", "overlay.imagestore=/images/storage")
"""The flags of buildah in a build: its own storage, which is new, on top of the image store."""
CONTAINERS = {"_CONTAINERS_USERNS_CONFIGURED": "done", "STORAGE_DRIVER": "overlay"}
_CONTENTS = "contents.json"
_LAYOUT = "fetched"
_STEPS = "steps"
_MAX_CONTENTS_SIZE = 8 << 20


class StoredBase(msgspec.Struct, frozen=True):
    """A base image: the digest in its registry, and its ID."""

    digest: str
    id: str


class StoredSteps(msgspec.Struct, frozen=True):
    """The steps of an earlier build: the digest of their index, and their IDs."""

    digest: str
    ids: tuple[str, ...]


class StoreContents(msgspec.Struct, frozen=True):
    """What is in a store: base images by local name, steps by layer tag."""

    bases: dict[str, StoredBase] = {}
    steps: dict[str, StoredSteps] = {}

    @property
    def ids(self) -> set[str]:
        """The IDs of all images in use."""
        return {base.id for base in self.bases.values()} | {id for each in self.steps.values() for id in each.ids}


class ImageStore:
    """A store on the disk of ``sandbox``, in which only this class runs commands."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.is_whole = True
        """Whether nothing interrupted a change, so that the disk can be kept."""

    def create(self) -> None:
        """Create the store unless it exists: builds cannot use an empty folder that they cannot write to."""
        if not (self._sandbox.work / "storage").exists():
            self._run("images --quiet", "the image store cannot be created")

    @property
    def folder(self) -> Path:
        """The folder that builds see read-only as ``/images``."""
        return self._sandbox.work

    def base(self, name: str, digest: str, fetch: Callable[[ImageLayout], None]) -> str:
        """Return the ID of the base image ``name`` with this digest; ``fetch`` fetches it unless the store has it.

        ``fetch`` writes it into a layout as LAYOUT_TAG. The store does not know its name, so a build cannot use an
        image of an earlier build that nothing resolved. Raises BuildFailed.
        """
        known = self._contents().bases.get(name)
        if known is not None and known.digest == digest:
            return known.id
        layout = ImageLayout(make_empty(self._sandbox.work, _LAYOUT))
        fetch(layout)
        lines = self._run(f"pull --quiet oci:/work/{_LAYOUT}:{LAYOUT_TAG}", f"the base image {name} cannot be loaded")
        remove(layout.folder)
        image_id = lines[-1].strip()
        contents = self._contents()
        self._record(msgspec.structs.replace(contents, bases=contents.bases | {name: StoredBase(digest, image_id)}))
        return image_id

    def steps(self, name: str, digest: str, load: Callable[[ImageLayout, Path], Sequence[str]]) -> tuple[str, ...]:
        """Return the IDs of the steps of ``name`` in the index with this digest; ``load`` unless the store has them.

        ``load`` fetches the index into a layout, writes each step into the folder in the format of ``dir:``, and
        returns the IDs. Steps of other indexes are deleted. Raises BuildFailed.
        """
        known = self._contents().steps.get(name)
        if known is not None and known.digest == digest:
            return known.ids
        layout = ImageLayout(make_empty(self._sandbox.work, _LAYOUT))
        ids = tuple(load(layout, make_empty(self._sandbox.work, _STEPS)))
        remove(layout.folder)
        script = f'for step in /work/{_STEPS}/*; do [ ! -d "$step" ] || buildah pull --quiet "dir:$step" || exit; done'
        self._run_script(script, "the layers of earlier builds cannot be loaded")
        remove(self._sandbox.work / _STEPS)
        contents = self._contents()
        kept = msgspec.structs.replace(contents, steps=contents.steps | {name: StoredSteps(digest, ids)})
        self._delete_others(kept)
        self._record(kept)
        return ids

    def _delete_others(self, kept: StoreContents) -> None:
        found = self._run("images --all --quiet --no-trunc", "the image store cannot be listed")
        unused = {line.strip().removeprefix("sha256:") for line in found} - kept.ids
        for image_id in unused:
            # Fails while another image needs it; then it goes with that image.
            self._run_script(f"buildah rmi --force {image_id} || :", "an unused image cannot be deleted")

    def _contents(self) -> StoreContents:
        try:
            content = read_inside(self._sandbox.work, _CONTENTS, _MAX_CONTENTS_SIZE)
            return msgspec.json.decode(content, type=StoreContents)
        except (FileNotFoundError, msgspec.MsgspecError):
            return StoreContents()

    def _record(self, contents: StoreContents) -> None:
        content = msgspec.json.encode(contents).decode()
        write_inside(self._sandbox.work, _CONTENTS, content, lambda _path: None, 0o600)

    def _run(self, command: str, problem: str) -> tuple[str, ...]:
        return self._run_script(f"buildah {command}", problem)

    def _run_script(self, script: str, problem: str) -> tuple[str, ...]:
        lines: list[str] = []
        start = f'buildah() {{ command buildah {" ".join(WRITABLE)} "$@"; }}\n'
        self.is_whole = False
        completed = self._sandbox.run(["sh", "-c", start + script], lines.append, environment=CONTAINERS)
        self.is_whole = True
        if completed.code:
            raise BuildFailed(f"{problem}: {' '.join(lines)[-500:] or f'buildah exited with {completed.code}'}")
        return tuple(lines)
