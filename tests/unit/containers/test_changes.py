"""A container's changes on real overlay mounts: listed, packed, and unpacked again."""

import filecmp
import io
import os
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.parts.process import program

from hythe.containers import linux, overlay
from hythe.containers.changes import list_changes, pack_changes
from hythe.containers.errors import ContainerError
from hythe.containers.root import Root
from hythe.containers.unpack import unpack_layer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts overlays")


class Stack:
    """Two layers, an upper folder, and their overlay at ``merged``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lowers = [folder / "lower1", folder / "lower0"]
        self.upper, self.work, self.merged = folder / "upper", folder / "work", folder / "merged"
        for path in (*self.lowers, self.upper, self.work, self.merged):
            path.mkdir()
        base = self.lowers[1]
        (base / "etc/deep").mkdir(parents=True)
        for name in ("etc/a", "etc/b", "etc/deep/x", "gone"):
            (base / name).write_text(name)
        (self.lowers[0] / "etc").mkdir()
        (self.lowers[0] / "etc/second").write_text("2")
        descriptor = os.open(self.lowers[0], os.O_RDONLY)
        overlay.make_whiteout("gone", descriptor)
        os.close(descriptor)

    def mount(self) -> None:
        overlay.mount_overlay(self.lowers, self.merged, self.upper, self.work)

    def unmount(self) -> None:
        linux.unmount(self.merged)

    def changes(self) -> list[str]:
        with Root(self.upper) as upper:
            found = list_changes(upper, [Root(path) for path in self.lowers])
        return [f"{change.value} {path}" for change, path in found]

    def pack(self) -> bytes:
        stream = io.BytesIO()
        with Root(self.upper) as upper:
            pack_changes(upper, stream)
        return stream.getvalue()


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(tmp_path)


def changed(stack: Stack, work: Callable[[Path], object]) -> None:
    stack.mount()
    try:
        work(stack.merged)
    finally:
        stack.unmount()


def replace_folder(root: Path) -> None:
    shutil.rmtree(root / "etc/deep")
    (root / "etc/deep").mkdir()
    (root / "etc/deep/new").touch()


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (lambda root: None, []),
        (lambda root: (root / "new").touch(), ["A /new"]),
        (lambda root: (root / "gone").touch(), ["A /gone"]),
        (lambda root: (root / "etc/a").write_text("x"), ["C /etc", "C /etc/a"]),
        (lambda root: (root / "etc/a").chmod(0o600), ["C /etc", "C /etc/a"]),
        (lambda root: (root / "etc/second").unlink(), ["C /etc", "D /etc/second"]),
        (lambda root: shutil.rmtree(root / "etc"), ["D /etc"]),
        (replace_folder, ["C /etc", "C /etc/deep", "A /etc/deep/new", "D /etc/deep/x"]),
    ],
)
def test_changes_are_listed(stack: Stack, work: Callable[[Path], object], expected: list[str]) -> None:
    """Added, changed and deleted, like docker's; a file that a lower layer had deleted is added."""
    changed(stack, work)

    assert stack.changes() == expected


def test_changes_survive_packing_and_unpacking(stack: Stack, tmp_path: Path) -> None:
    """A packed layer, unpacked and mounted instead of the upper folder, has the same files."""

    def work(root: Path) -> None:
        replace_folder(root)
        (root / "etc/second").unlink()
        (root / "etc/b").write_text("changed")
        os.chown(root / "etc/b", 12, 34)
        (root / "etc/b").chmod(0o4755)
        os.setxattr(root / "etc/b", "user.note", b"\xff\x00binary")
        os.link(root / "etc/b", root / "hard")
        (root / "soft").symlink_to("/etc/b")
        os.mkfifo(root / "pipe")
        os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))

    stack.mount()
    work(stack.merged)
    before = snapshot(stack.merged)
    stack.unmount()
    layer = tmp_path / "layer"
    layer.mkdir()
    unpack_layer(io.BytesIO(stack.pack()), layer)
    overlay.mount_overlay([layer, *stack.lowers], stack.merged)
    after = snapshot(stack.merged)
    stack.unmount()

    assert before == after


def snapshot(root: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        content: object = path.read_bytes() if kind == stat.S_IFREG else path.readlink() if path.is_symlink() else None
        links = status.st_nlink if kind == stat.S_IFREG else 0
        xattrs = tuple(os.listxattr(path, follow_symlinks=False))
        fields = (status.st_mode, status.st_uid, status.st_gid, status.st_rdev, int(status.st_mtime), links)
        found[str(path.relative_to(root))] = (*fields, content, xattrs)
    return found


def test_packing_is_reproducible(stack: Stack) -> None:
    """The same changes give the same bytes, independent of the order on disk."""
    changed(stack, lambda root: [(root / name).touch() for name in ("b", "a", "c")])
    first = stack.pack()
    for name in ("a", "b", "c"):
        status = (stack.upper / name).stat()
        (stack.upper / name).unlink()
        (stack.upper / name).touch()
        os.utime(stack.upper / name, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert stack.pack() == first
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        assert archive.getnames() == ["a", "b", "c"]


def test_deletions_are_packed_as_whiteouts(stack: Stack) -> None:
    """Whiteouts and opaque folders get the layer format; the overlay's own attributes are not packed."""

    def work(root: Path) -> None:
        replace_folder(root)
        (root / "etc/a").unlink()

    changed(stack, work)

    with tarfile.open(fileobj=io.BytesIO(stack.pack())) as archive:
        assert archive.getnames() == ["etc", "etc/.wh.a", "etc/deep", "etc/deep/.wh..wh..opq", "etc/deep/new"]
        assert not any(name.startswith("SCHILY") for member in archive for name in member.pax_headers)


def test_whiteouts_of_fuse_overlayfs(stack: Stack) -> None:
    """Where it cannot create devices, it writes files with the prefix .wh., and opaque files."""
    (stack.upper / "etc/deep").mkdir(parents=True)
    (stack.upper / "etc/.wh.a").touch(0o700)
    (stack.upper / "etc/deep/.wh..wh..opq").touch(0o700)

    assert stack.changes() == ["C /etc", "D /etc/a", "C /etc/deep", "D /etc/deep/x"]
    with tarfile.open(fileobj=io.BytesIO(stack.pack())) as archive:
        assert archive.getnames() == ["etc", "etc/.wh.a", "etc/deep", "etc/deep/.wh..wh..opq"]


def test_a_container_cannot_make_us_read_outside(stack: Stack, tmp_path: Path) -> None:
    """A link that replaces a file or folder is packed as a link, never followed."""
    (tmp_path / "secret").write_text("secret")
    changed(stack, lambda root: [(root / "file").symlink_to(tmp_path / "secret"), (root / "dir").symlink_to(tmp_path)])

    assert b"secret" not in stack.pack().replace(str(tmp_path / "secret").encode(), b"")
    assert stack.changes() == ["A /dir", "A /file"]


def test_files_deleted_during_packing_are_skipped(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A running container can delete files between listing and reading: that is not an error."""
    (stack.upper / "dir/sub").mkdir(parents=True)
    (stack.upper / "file").touch()
    (stack.upper / "stays").touch()
    listed = os.listdir

    def list_and_remove(descriptor: int) -> list[str]:
        names = listed(descriptor)
        if "stays" in names:
            (stack.upper / "file").unlink()
            names += ["vanished"]
        elif "sub" in names:
            shutil.rmtree(stack.upper / "dir")
        return names

    monkeypatch.setattr(os, "listdir", list_and_remove)
    with tarfile.open(fileobj=io.BytesIO(stack.pack())) as archive:
        assert archive.getnames() == ["dir", "stays"]


def test_a_folder_that_becomes_a_link_is_refused(stack: Stack, tmp_path: Path) -> None:
    """Replacing it between listing and opening is an error, not an escape."""
    (stack.upper / "dir").mkdir()
    with Root(stack.upper) as upper:
        (stack.upper / "dir").rmdir()
        (stack.upper / "dir").symlink_to(tmp_path)
        with pytest.raises(OSError):
            upper.open("dir", os.O_RDONLY | os.O_DIRECTORY, follow=False)


def test_sockets_are_skipped(stack: Stack) -> None:
    """Archives cannot contain sockets."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(stack.upper / "socket"))

    with tarfile.open(fileobj=io.BytesIO(stack.pack())) as archive:
        assert archive.getnames() == []


def test_an_unchanged_container_has_no_layer(stack: Stack) -> None:
    """Packing reports whether there are changes."""
    with Root(stack.upper) as upper:
        assert not pack_changes(upper, io.BytesIO())
        (stack.upper / "a").touch()
        assert pack_changes(upper, io.BytesIO())


def test_many_layers_are_mounted(tmp_path: Path) -> None:
    """Two hundred layers with long names work, because their paths are replaced by short links."""
    lowers = [tmp_path / f"{'long' * 20},:{number}" for number in range(200)]
    for number, lower in enumerate(lowers):
        lower.mkdir()
        (lower / str(number)).touch()
    merged = tmp_path / "merged"
    merged.mkdir()
    overlay.mount_overlay(lowers, merged)
    names = {path.name for path in merged.iterdir()}
    linux.unmount(merged)

    assert names == {str(number) for number in range(200)}


@pytest.mark.parametrize(
    "make",
    [
        lambda root: (root / "etc/.wh.a").touch(),
        lambda root: (root / "etc/.wh.a").write_text("content"),
        lambda root: (root / "etc/.wh.a").mkdir(),
        lambda root: (root / "etc/.wh.a").symlink_to("b"),
        lambda root: (root / "etc/.wh.unknown").touch(),
        lambda root: (root / "etc/deep/.wh..wh..opq").touch(),
        lambda root: (root / ".wh..wh.plnk").mkdir(),
        lambda root: (root / "etc/.wh.").touch(),
    ],
)
def test_names_that_would_delete_files_are_refused(stack: Stack, make: Callable[[Path], object]) -> None:
    """The kernel lets a container create them. Packed, they would vanish, and hide files of the image."""
    changed(stack, make)

    assert not [change for change in stack.changes() if change.startswith("D")]
    with pytest.raises(ContainerError, match=r"cannot commit /.*\.wh\.") as caught:
        stack.pack()
    assert caught.value.hint == "rename or delete it, and commit again"


def test_a_name_that_only_contains_the_prefix_is_packed(stack: Stack) -> None:
    """Reserved are names that begin with it."""
    changed(stack, lambda root: (root / "etc/a.wh.b").touch())

    with tarfile.open(fileobj=io.BytesIO(stack.pack())) as archive:
        assert archive.getnames() == ["etc", "etc/a.wh.b"]


def test_holes_stay_holes(stack: Stack, tmp_path: Path) -> None:
    """A sparse file is a plain one in the layer, and sparse again when it is unpacked."""
    size = 64 << 20

    def work(root: Path) -> None:
        with (root / "disk").open("wb") as file:
            file.write(b"first")
            file.seek(size // 2)
            file.write(b"middle")
            file.truncate(size)

    changed(stack, work)
    packed = stack.pack()
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    unpack_layer(io.BytesIO(packed), unpacked)

    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert archive.getmember("disk").isreg()
        assert archive.getmember("disk").size == size
    assert filecmp.cmp(stack.upper / "disk", unpacked / "disk", shallow=False)
    assert (unpacked / "disk").stat().st_blocks * 512 < 1 << 20


def test_fuse_overlayfs_is_the_fallback(stack: Stack) -> None:
    """If the kernel refuses the mount, fuse-overlayfs is used, and its whiteouts are understood."""
    program("fuse-overlayfs", "fuse-overlayfs")
    script = """
import sys
from pathlib import Path
from hythe.containers import linux, namespace, overlay
folder = Path(sys.argv[1])
namespace.use_private_mounts()
def refuse(*words, **options):
    raise OSError(1, "Operation not permitted")
linux.mount = refuse
overlay.mount_overlay([folder / "lower1", folder / "lower0"], folder / "merged", folder / "upper", folder / "work")
root = folder / "merged"
assert not (root / "gone").exists()
(root / "etc/a").unlink()
(root / "etc/new").write_text("new")
(root / "etc/deep/x").unlink()
(root / "etc/deep").rmdir()
(root / "etc/deep").mkdir()
(root / "made").mkdir()
linux.unmount(root)
"""
    subprocess.run([sys.executable, "-c", script, str(stack.folder)], check=True)

    assert stack.changes() == ["C /etc", "D /etc/a", "C /etc/deep", "D /etc/deep/x", "A /etc/new", "A /made"]
    with tarfile.open(fileobj=io.BytesIO(stack.pack())) as archive:
        assert "etc/deep/.wh..wh..opq" in archive.getnames()
        assert len(archive.getnames()) == len(set(archive.getnames()))


def test_pipes_do_not_block(stack: Stack) -> None:
    """A pipe that replaces a file is not waited for."""
    os.mkfifo(stack.upper / "pipe")
    with Root(stack.upper) as upper:
        with pytest.raises(OSError):
            upper.read("pipe")
        assert pack_changes(upper, io.BytesIO())
