"""Reading and writing files of a build: the worker never follows links out of the folder."""

import os
import resource
import socket
import stat
from pathlib import Path

import pytest

from hythe.client.layout import NotRegularFile, open_regular
from hythe.worker.isolation.disk import WatchedDisk
from hythe.worker.source_tree import (
    PathEscapes,
    make_empty,
    read_inside,
    remove,
    require_plain_files,
    resolve_inside,
    write_inside,
)


def chown(_path: Path) -> None:
    """Leave the owner as it is."""


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with a file, which builds must not reach."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "kept").write_text("kept")
    return folder


@pytest.fixture
def work(tmp_path: Path, outside: Path) -> Path:
    """A work folder in which a build left links to other places."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "home").symlink_to(outside)
    (folder / "file").symlink_to(outside / "kept")
    (folder / "here").symlink_to("real")
    (folder / "real").write_text("inside")
    return folder


def test_reading_does_not_leave_the_folder(work: Path) -> None:
    """Links within the folder are followed, links out of it are not."""
    assert read_inside(work, "here", 100) == b"inside"
    for path in ("file", "home/kept", "../outside/kept"):
        with pytest.raises(PathEscapes):
            read_inside(work, path, 100)
    with pytest.raises(PathEscapes):
        resolve_inside(work, "home")


def test_writing_follows_no_link(work: Path, outside: Path) -> None:
    """A link in the path is refused; a link at the path itself is replaced, and its target stays as it is."""
    with pytest.raises(PathEscapes):
        write_inside(work, "home/kept", "changed", chown)
    write_inside(work, "file", "changed", chown)

    assert (outside / "kept").read_text() == "kept"
    assert (work / "file").read_text() == "changed"


def test_clearing_removes_only_links(work: Path, outside: Path) -> None:
    """Only the links are removed, and their targets stay as they are."""
    remove(work / "file")
    folder = make_empty(work, "home")

    assert (outside / "kept").read_text() == "kept"
    assert not folder.is_symlink()
    assert list(folder.iterdir()) == []


def test_an_image_with_links_in_it_is_refused(work: Path) -> None:
    """Layouts from the sandbox must contain only regular files."""
    with pytest.raises(PathEscapes):
        require_plain_files(work)


def test_special_files_are_refused_without_waiting(tmp_path: Path) -> None:
    """A FIFO without a writer, a device, a socket and a folder."""
    os.mkfifo(tmp_path / "fifo")
    os.mknod(tmp_path / "zero", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    for name in ("fifo", "zero", "folder", "link", "socket"):
        with pytest.raises(PathEscapes, match="not a regular file"):
            read_inside(tmp_path, name, 100)
    for name in ("fifo", "zero"):
        with pytest.raises(NotRegularFile):
            open_regular(tmp_path / name)


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    """A sparse file of 4 GiB needs no memory, and neither does a file that has no size, like those of /proc."""
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(4 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with pytest.raises(PathEscapes, match="larger than 1000 bytes"):
        read_inside(tmp_path, "sparse", 1000)
    with pytest.raises(PathEscapes, match="larger than 10 bytes"):
        read_inside(Path("/proc"), "version", 10)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def deep_folder(start: Path, levels: int) -> None:
    """Create folders within folders, deeper than any path can name."""
    own = Path.cwd()
    start.mkdir()
    os.chdir(start)
    for _ in range(levels):
        Path("d").mkdir()
        os.chdir("d")
    os.chdir(own)


def test_deep_folders(tmp_path: Path) -> None:
    """They are refused in an image, count as a full disk, and can be deleted."""
    deep_folder(tmp_path / "deep", 2500)

    with pytest.raises(PathEscapes, match="levels"):
        require_plain_files(tmp_path / "deep")
    assert "files" in WatchedDisk(tmp_path / "deep", 1 << 30, 10_000).problem()
    remove(tmp_path / "deep")

    assert not (tmp_path / "deep").exists()


def test_an_image_with_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk ends at the limit."""
    monkeypatch.setattr("hythe.worker.source_tree.MAX_LAYOUT_FILES", 10)
    for number in range(20):
        (tmp_path / str(number)).touch()

    with pytest.raises(PathEscapes, match="more than 10 files"):
        require_plain_files(tmp_path)
