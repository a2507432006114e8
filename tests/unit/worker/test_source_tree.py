"""Reading and writing files of a build: the worker never follows links out of the folder."""

from pathlib import Path

import pytest

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
