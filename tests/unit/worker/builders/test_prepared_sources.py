"""Sources of COPY and ADD that are prepared for buildah."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from hythe.worker.builders.prepared_sources import PreparedSources
from hythe.worker.dockerfiles.git_source import parse_git_source
from hythe.worker.dockerfiles.ignore_file import PathPatterns
from hythe.worker.dockerfiles.rewriting import SelectedSource
from hythe.worker.errors import BuildFailed
from hythe.worker.isolation.sandbox import ProcessResult, Sandbox

FILES = ("a.txt", "b.md", "src/x.txt", "src/sub/y.txt", "src/sub/z.md", "src/sub/deep/w.txt", "[1].txt")


class WorkFolder:
    """A sandbox that has only a work folder."""

    def __init__(self, work: Path) -> None:
        self.work = work

    def chown(self, *paths: Path) -> None:
        """Check that the files exist."""
        assert all(os.path.lexists(path) for path in paths)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work folder with a source."""
    for name in FILES:
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "src/src/sub").chmod(0o711)
    return tmp_path


def fetch(script: str, on_line: Callable[[str], None]) -> ProcessResult:
    """Stand in for buildah: nothing can be fetched."""
    on_line("Error: connection refused")
    return ProcessResult(1, ())


def prepare(work: Path, *paths: str, ignored: tuple[str, ...] = (), **more: Any) -> tuple[str, list[str]]:
    """Prepare one source; return the path to copy, and the files that were prepared."""
    commits = {source.key: "abcdef0123" for path in paths if (source := parse_git_source(path))}
    sources = PreparedSources(cast("Sandbox", WorkFolder(work)), "", PathPatterns(ignored), commits, fetch)
    path = sources.prepare(SelectedSource("Dockerfile line 3", 0, paths, **more))
    root = work / "files/0"
    return path, sorted(str(each.relative_to(root)) for each in root.rglob("*") if each.is_symlink() or each.is_file())


@pytest.mark.parametrize(
    ("paths", "more", "expected"),
    [
        (["src"], {"excluded": ("*.md",)}, ["sub/deep/w.txt", "sub/y.txt", "sub/z.md", "x.txt"]),
        (["src"], {"excluded": ("**/*.md", "sub/deep")}, ["sub/y.txt", "x.txt"]),
        (["src"], {"excluded": ("*", "!sub/y.txt")}, ["sub/y.txt"]),
        (["*.txt", "*.md"], {"excluded": ("*.md",)}, ["[1].txt", "a.txt"]),
        (["a.txt", "src"], {"excluded": ("sub",)}, ["a.txt", "x.txt"]),
        (["."], {"ignored": ("src", "*.md")}, ["[1].txt", "a.txt"]),
        (["."], {"ignored": ("*", "!src/sub/*.txt")}, ["src/sub/y.txt"]),
        (["./src/sub/y.txt", "a.txt"], {"with_parents": True}, ["a.txt", "src/sub/y.txt"]),
        (["src/sub"], {"with_parents": True}, ["src/sub/deep/w.txt", "src/sub/y.txt", "src/sub/z.md"]),
        (["src/./sub/*.txt"], {"with_parents": True}, ["sub/y.txt"]),
        (["**/*.txt"], {"with_parents": True, "excluded": ("src/sub",)}, ["[1].txt", "a.txt", "src/x.txt"]),
        (["nothing*"], {"with_parents": True}, []),
        (["/../src/x*"], {"with_parents": True}, ["src/x.txt"]),
        (["[ab]*"], {}, ["a.txt", "b.md"]),
        (["s?c/sub/*"], {}, ["w.txt", "y.txt", "z.md"]),
    ],
)
def test_selected_files(work: Path, paths: list[str], more: dict[str, Any], expected: list[str]) -> None:
    """Patterns, folders, exclusions, parents and .dockerignore."""
    path, found = prepare(work, *paths, **more)

    assert path == "0/"
    assert found == expected


def test_a_single_file_keeps_its_name(work: Path) -> None:
    """So that COPY can rename it; its name is no pattern."""
    assert prepare(work, "a.txt", excluded=("x",)) == ("0/a.txt", ["a.txt"])
    assert prepare(work, "\\[1\\].txt", excluded=("x",)) == ("0/\\[1].txt", ["[1].txt"])
    assert prepare(work, "a.txt", with_parents=True) == ("0/", ["a.txt"])


def test_files_and_folders_keep_their_permissions(work: Path) -> None:
    """Unless a symbolic mode changes them, which does not touch the source."""
    prepare(work, "src", excluded=("x",))
    kept = (work / "files/0/sub").stat().st_mode & 0o777
    prepare(work, "src", mode="go=")
    changed = [(work / "files/0" / name).stat().st_mode & 0o777 for name in ("sub", "sub/y.txt")]

    assert kept == 0o711
    assert changed == [0o700, 0o600]
    assert (work / "src/src/sub/y.txt").stat().st_mode & 0o777 == 0o644
    with pytest.raises(BuildFailed, match="Dockerfile line 3: u=q is no mode"):
        prepare(work, "src", mode="u=q")


@pytest.mark.parametrize("more", [{"excluded": ("x",)}, {"with_parents": True}], ids=["exclude", "parents"])
def test_missing_sources(work: Path, more: dict[str, Any]) -> None:
    """Also one that .dockerignore excludes."""
    for path, ignored in (("nope", ()), ("src/nope/x", ()), ("a.txt", ("*.txt",))):
        with pytest.raises(
            BuildFailed, match=f"Dockerfile line 3: {path} is not in the build context, or .dockerignore"
        ):
            prepare(work, path, ignored=ignored, **more)


def test_links_lead_nowhere_outside(work: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A link is copied as a link; a source that is one must stay in the source; folders are never made through one."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret").write_text("secret")
    (work / "src/out").symlink_to(outside)
    (work / "src/one").mkdir()
    (work / "src/one/d").symlink_to(outside)
    (work / "src/two/d").mkdir(parents=True)
    (work / "src/two/d/new").write_text("new")

    with pytest.raises(BuildFailed, match="Dockerfile line 3: out is a link that leads out of the source"):
        prepare(work, "out", excluded=("x",))
    with pytest.raises(BuildFailed, match="leads out of the source"):
        prepare(work, "out/secret", with_parents=True)
    assert prepare(work, "out/*", with_parents=True)[1] == []
    assert prepare(work, ".", excluded=("src", "two", "*.*"))[1] == ["one/d", "out"]
    for mode in ("", "u+x"):
        with pytest.raises(BuildFailed, match="Dockerfile line 3: d is both a file and a folder"):
            prepare(work, "one", "two", mode=mode)
    assert sorted(each.name for each in outside.iterdir()) == ["secret"]


def test_files_that_are_none(work: Path) -> None:
    """Pipes are left out; nothing waits for their writer."""
    os.mkfifo(work / "src/src/pipe")

    assert "pipe" not in prepare(work, "src", mode="u+x")[1]


def test_repositories(work: Path) -> None:
    """A folder of what was fetched, without git's own files; a commit that is not the expected one fails."""
    address = "https://h/x.git#v1:docs"
    source = parse_git_source(address)
    assert source is not None
    root = work / "git" / source.key
    for name in (".git/config", "docs/d.md", "docs/sub/.git", "docs/sub/s"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "docs/up").symlink_to("../..")

    assert prepare(work, address) == ("0/", ["d.md", "sub/s", "up"])
    assert prepare(work, address, checksum="abcdef0", excluded=("sub", "up"))[1] == ["d.md"]
    assert prepare(work, "https://h/x.git#v1", keep_git_folder=True)[1][0] == ".git/config"
    for path, more, reason in (
        (address, {"checksum": "abc"}, "is at commit abcdef0123, not at abc of --checksum"),
        (address, {"checksum": "0000000"}, "is at commit abcdef0123, not at 0000000"),
        (f"{address}/nope", {}, "https://h/x.git has no folder docs/nope"),
        (f"{address}/../../..", {}, "leads out of the source"),
        (f"{address}/up/up", {}, "leads out of the source"),
    ):
        with pytest.raises(BuildFailed, match=f"Dockerfile line 3: .*{reason}"):
            prepare(work, path, **more)


def test_what_cannot_be_fetched(work: Path) -> None:
    """The reason has the line, the URL, and what buildah said."""
    with pytest.raises(
        BuildFailed, match=r"Dockerfile line 3: https://h/x cannot be fetched: Error: connection refused"
    ):
        prepare(work, "https://h/x", checksum="sha256:0")
    with pytest.raises(BuildFailed, match="--checksum is only for URLs and git repositories"):
        prepare(work, "a.txt", checksum="sha256:0")
    sources = PreparedSources(cast("Sandbox", WorkFolder(work)), "", PathPatterns(()), {}, fetch)
    with pytest.raises(BuildFailed, match="was not fetched: a hook cannot add it"):
        sources.prepare(SelectedSource("Dockerfile line 3", 0, ("https://h/x.git",)))
