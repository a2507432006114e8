"""Reading and writing where a build has its hands: no link leads the worker out."""

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
    """Keep what is written."""


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that no build may touch, with a file in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "kept").write_text("kept")
    return folder


@pytest.fixture
def work(tmp_path: Path, outside: Path) -> Path:
    """A work folder in which a build left links to outside."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "home").symlink_to(outside)
    (folder / "file").symlink_to(outside / "kept")
    (folder / "here").symlink_to("real")
    (folder / "real").write_text("inside")
    return folder


def test_reading_stays_inside(work: Path) -> None:
    """Links inside are followed, links out are not."""
    assert read_inside(work, "here", 100) == b"inside"
    for path in ("file", "home/kept", "../outside/kept"):
        with pytest.raises(PathEscapes):
            read_inside(work, path, 100)
    with pytest.raises(PathEscapes):
        resolve_inside(work, "home")


def test_writing_follows_no_link(work: Path, outside: Path) -> None:
    """A link in the way is refused; one at the place itself is replaced, what it pointed at stays."""
    with pytest.raises(PathEscapes):
        write_inside(work, "home/kept", "changed", chown)
    write_inside(work, "file", "changed", chown)

    assert (outside / "kept").read_text() == "kept"
    assert (work / "file").read_text() == "changed"


def test_clearing_removes_links_alone(work: Path, outside: Path) -> None:
    """What a link points at stays."""
    remove(work / "file")
    folder = make_empty(work, "home")

    assert (outside / "kept").read_text() == "kept"
    assert not folder.is_symlink()
    assert list(folder.iterdir()) == []


def test_an_image_with_links_in_it_is_refused(work: Path) -> None:
    """Layouts that come out of the sandbox hold ordinary files alone."""
    with pytest.raises(PathEscapes):
        require_plain_files(work)
