"""Unpacking a layer: it becomes files in overlay format, and never anything outside its folder."""

import contextlib
import io
import os
import random
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hythe.containers import overlay
from hythe.containers.root import remove
from hythe.containers.unpack import unpack_layer
from hythe.oci.layer import InvalidLayer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other owners")

Item = tuple[tarfile.TarInfo, bytes]


def item(name: str, content: bytes = b"", type_: bytes = tarfile.REGTYPE, target: str = "", **fields: object) -> Item:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mtime = type_, target, len(content), 1_700_000_000
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def folder(name: str, **fields: object) -> Item:
    return item(name, type_=tarfile.DIRTYPE, mode=0o755, **fields)


def symlink(name: str, target: str) -> Item:
    return item(name, type_=tarfile.SYMTYPE, target=target)


def hardlink(name: str, target: str) -> Item:
    return item(name, type_=tarfile.LNKTYPE, target=target)


def archive(*items: Item) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in items:
            tar.addfile(info, io.BytesIO(content))
    stream.seek(0)
    return stream


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder to unpack to, next to a folder that must not change."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("untouched")
    (tmp_path / "layer").mkdir()
    before = snapshot(outside)
    yield tmp_path / "layer"
    assert snapshot(outside) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layer", "outside"]


def snapshot(folder: Path) -> dict[str, tuple[int, int, int, int, bytes]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path)] = (status.st_mode, status.st_uid, status.st_nlink, status.st_mtime_ns, content)
    return found


def unpack(place: Path, *items: Item) -> bool:
    return unpack_layer(archive(*items), place)


def test_files_keep_everything(place: Path) -> None:
    """Content, mode, owner, time and attributes are preserved; set-uid bits survive the change of owner."""
    extra = {"SCHILY.xattr.user.note": "hello", "mtime": "1700000000.5"}
    unpack(
        place,
        folder("bin", mtime=1_600_000_000),
        item("bin/su", b"program", mode=0o4755, uid=12, gid=34, pax_headers=extra),
        hardlink("bin/su2", "/bin/su"),
        symlink("sbin", "/bin"),
        item("dev/null", type_=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
        item("run/pipe", type_=tarfile.FIFOTYPE),
    )

    status = (place / "bin/su").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12, 34, 0o4755)
    assert status.st_mtime_ns == 1_700_000_000_500_000_000
    assert status.st_nlink == 2
    assert (place / "bin/su").read_bytes() == b"program"
    assert os.getxattr(place / "bin/su", "user.note") == b"hello"
    assert (place / "sbin").readlink() == Path("/bin")
    assert (place / "dev/null").stat().st_rdev == os.makedev(1, 3)
    assert stat.S_ISFIFO((place / "run/pipe").stat().st_mode)
    assert (place / "bin").stat().st_mtime == 1_600_000_000


def test_the_umask_of_the_user_is_ignored(place: Path) -> None:
    """Modes come from the archive, and folders that it does not contain are readable for all."""
    before = os.umask(0o077)
    try:
        unpack(place, item("implied/file", mode=0o666), folder("named"))
    finally:
        os.umask(before)

    modes = [stat.S_IMODE((place / name).stat().st_mode) for name in ("implied", "implied/file", "named")]
    assert modes == [0o755, 0o666, 0o755]


def test_whiteouts_take_the_overlay_form(place: Path) -> None:
    """A deletion becomes a device 0/0, an opaque folder gets the overlay's attribute."""
    hides_everything = unpack(place, item("etc/.wh.passwd"), item("var/.wh..wh..opq"), item("var/new"))

    assert not hides_everything
    assert overlay.is_whiteout((place / "etc/passwd").lstat())
    assert os.getxattr(place / "var", "trusted.overlay.opaque") == b"y"
    assert (place / "var/new").exists()


def test_an_opaque_root_is_reported(place: Path) -> None:
    """The overlay does not support an opaque root, so the caller must omit the lower layers."""
    assert unpack(place, item(".wh..wh..opq"))


def test_a_whiteout_spares_what_its_own_layer_has(place: Path) -> None:
    """Whiteouts only apply to lower layers, in any order."""
    unpack(place, item("a", b"1"), item(".wh.a"), folder("b"), item("b/x"), item(".wh.b"), item(".wh.c"), item("c/y"))

    assert (place / "a").read_bytes() == b"1"
    assert os.getxattr(place / "b", "trusted.overlay.opaque") == b"y"
    assert (place / "b/x").exists()
    assert os.getxattr(place / "c", "trusted.overlay.opaque") == b"y"
    assert (place / "c/y").exists()


def test_the_last_of_several_entries_wins(place: Path) -> None:
    """A repeated name replaces the earlier entry of any kind; a folder keeps its content."""
    unpack(
        place,
        item("a", b"old"),
        item("a", b"new"),
        folder("b"),
        item("b/inner"),
        item("b", b"file now"),
        item("c"),
        folder("c"),
        folder("d", uid=1),
        item("d/inner"),
        folder("d", uid=2),
    )

    assert (place / "a").read_bytes() == b"new"
    assert (place / "b").read_bytes() == b"file now"
    assert (place / "c").is_dir()
    assert ((place / "d").stat().st_uid, (place / "d/inner").exists()) == (2, True)


@pytest.mark.parametrize("up", ["../outside", "..", "../../../../../../../../../../tmp"])
@pytest.mark.parametrize("name", ["link/victim", "link/new", "link/.wh.victim", "link/.wh..wh..opq"])
def test_links_cannot_lead_outside(place: Path, up: str, name: str) -> None:
    """Access through a link that points outside stays inside, or is refused."""
    with_link = (symlink("link", up), item(name, b"evil"))
    with contextlib.suppress(InvalidLayer):
        unpack(place, *with_link)

    assert (place / "link").is_symlink() or not (place / "link").exists()


def test_absolute_links_end_at_the_root_of_the_layer(place: Path) -> None:
    """An absolute link is resolved inside the layer, as after a chroot."""
    target = place.with_name("outside")
    inside = str(target).lstrip("/")
    unpack(place, folder(inside), symlink("link", str(target)), item("link/victim", b"evil"))

    assert (place / inside / "victim").read_bytes() == b"evil"


def test_a_file_is_not_written_through_a_link(place: Path) -> None:
    """A file with the same name replaces a link, and its target is not changed."""
    unpack(place, symlink("a", str(place.with_name("outside") / "victim")), item("a", b"evil"))

    assert not (place / "a").is_symlink()
    assert (place / "a").read_bytes() == b"evil"


def test_a_folder_does_not_take_over_the_target_of_a_link(place: Path) -> None:
    """A folder with the same name as a link does not change the target's mode or owner."""
    unpack(place, symlink("a", str(place.with_name("outside"))), folder("a", uid=5), item("a/x", b"evil"))

    assert not (place / "a").is_symlink()
    assert (place / "a/x").exists()


@pytest.mark.parametrize("target", ["{outside}/victim", "link/victim", "/link/victim", "missing", "/", "."])
def test_hard_links_to_outside_are_refused(place: Path, target: str) -> None:
    """No name inside ever refers to a file outside."""
    outside = place.with_name("outside")
    with pytest.raises(InvalidLayer):
        unpack(place, symlink("link", "../outside"), hardlink("mine", target.format(outside=outside)))


def test_a_hard_link_to_a_link_is_the_link(place: Path) -> None:
    """Writing to a hard link to a link that points outside does not change the file outside."""
    victim = place.with_name("outside") / "victim"
    unpack(place, symlink("a", str(victim)), hardlink("b", "a"), item("b", b"evil"))

    assert (place / "b").read_bytes() == b"evil"


def test_swapping_a_folder_for_a_link_midway_stays_inside(place: Path) -> None:
    """A folder with content is replaced by a link outside; further entries do not follow it."""
    swap = (folder("a"), item("a/x", b"1"), symlink("a", "../outside"), item("a/victim", b"evil"))
    with pytest.raises(InvalidLayer):
        unpack(place, *swap)


def test_times_of_folders_do_not_reach_through_links(place: Path) -> None:
    """Folder times are set at the end, when a folder may have become a link outside."""
    unpack(place, folder("a", mtime=1), symlink("a", "../outside"))

    assert (place / "a").is_symlink()


@pytest.mark.parametrize("name", ["../victim", "/../outside/victim", "a/../../outside/victim", ".wh..wh..opq/../../x"])
def test_paths_that_leave_are_refused(place: Path, name: str) -> None:
    """Paths with .. that lead out are refused before anything is created."""
    with pytest.raises(InvalidLayer, match="leads out"):
        unpack(place, item(name, b"evil"))


def test_absolute_names_are_taken_as_relative(place: Path) -> None:
    """A leading slash means the layer's root."""
    unpack(place, item(f"{place.with_name('outside')}/victim", b"evil"))

    assert (place / str(place).lstrip("/")).with_name("outside").joinpath("victim").read_bytes() == b"evil"


def test_an_archive_cannot_set_overlay_attributes(place: Path) -> None:
    """The overlay's own attributes are not unpacked."""
    names = ("trusted.overlay.redirect", "trusted.overlay.opaque", "user.overlay.opaque", "user.kept")
    headers = {f"SCHILY.xattr.{name}": "y" for name in names}
    unpack(place, folder("a", pax_headers=headers))

    assert os.listxattr(place / "a") == ["user.kept"]


def test_a_root_that_is_no_folder_is_refused(place: Path) -> None:
    """The layer's root is always a folder."""
    with pytest.raises(InvalidLayer, match="root"):
        unpack(place, symlink("./", "/etc"))


def test_endless_links_are_refused(place: Path) -> None:
    """A link to itself is an error, not an endless loop."""
    with pytest.raises(InvalidLayer):
        unpack(place, symlink("a", "a"), item("a/b"))


def test_names_too_long_for_the_disk_are_refused(place: Path) -> None:
    """A name that the file system does not support raises InvalidLayer."""
    with pytest.raises(InvalidLayer) as caught:
        unpack(place, item("x" * 300))
    assert len(str(caught.value)) < 300


def test_a_deep_tree_is_unpacked_and_replaced(place: Path) -> None:
    """Nesting as deep as paths allow works, although Python's recursion limit is lower."""
    deep = "/".join("d" * 2000)
    unpack(place, item(f"{deep}/x"), item("d", b"flat"))

    assert (place / "d").read_bytes() == b"flat"


NAMES = ("a", "b", "a/b", "a/a", "b/a", "a/b/a", "./a", "/b", "a/../b", ".wh.a", "a/.wh.b", "a/.wh..wh..opq", "b/a/b")
TARGETS = (
    "a",
    "b",
    "../outside",
    "..",
    "/",
    "a/b",
    "../outside/victim",
    "b/a",
    "../../..",
    "victim",
    "/proc/self/root",
)


@pytest.mark.parametrize("seed", range(150))
def test_random_malicious_archives_stay_inside(place: Path, seed: int) -> None:
    """Random combinations of links, folders, whiteouts and files never change anything outside."""
    chance = random.Random(seed)
    kinds = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE)
    items = []
    for _ in range(12):
        kind = chance.choice(kinds)
        content = b"evil" if kind == tarfile.REGTYPE else b""
        items.append(item(chance.choice(NAMES), content, kind, chance.choice(TARGETS), uid=chance.choice((0, 7))))
        try:
            empty(place)
            unpack(place, *items)
        except InvalidLayer:
            items.pop()

    assert items, "every archive was refused, so that nothing was tried"
    assert (place.parent / "outside/victim").read_text() == "untouched"


def empty(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    for name in [path.name for path in folder.iterdir()]:
        remove(name, descriptor)
    os.close(descriptor)
