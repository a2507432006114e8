"""Prepares the sources of COPY and ADD that buildah cannot read by itself, in a build context of its own.

Selected files are hard links, so they take no space. Files at URLs are fetched by buildah in the sandbox, with the
network of the build's steps; git repositories were fetched with the source. Call this only while no process of the
build runs.
"""

import hashlib
import os
import posixpath
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from hythe.client.layout import open_regular
from hythe.worker.builders.file_mode import changed_mode
from hythe.worker.checkout import GIT_SOURCES
from hythe.worker.dockerfiles.git_source import GitSource
from hythe.worker.dockerfiles.ignore_file import PathPatterns, path_expression
from hythe.worker.dockerfiles.rewriting import SelectedSource
from hythe.worker.errors import BuildFailed
from hythe.worker.isolation.sandbox import ProcessResult, Sandbox
from hythe.worker.source_tree import PathEscapes, make_empty, resolve_inside

FILES = "files"
"""The folder of the build context, below ``/work``."""
_ALGORITHMS = ("sha256", "sha384", "sha512")
_MIN_COMMIT_LENGTH = 7
_CHUNK = 1 << 20
_FETCH = """set -e
container=$(buildah from scratch)
buildah add --quiet "$container" {url} /fetched/ >/dev/null
folder=$(buildah mount "$container")
mv "$folder"/fetched/* {target}/
buildah umount "$container" >/dev/null
buildah rm "$container" >/dev/null
"""


class PreparedSources:
    """The prepared sources of one build."""

    def __init__(
        self,
        sandbox: Sandbox,
        context: str,
        ignored: PathPatterns,
        commits: Mapping[str, str],
        run: Callable[[str, Callable[[str], None]], ProcessResult],
    ) -> None:
        """``context`` is relative to the source; ``commits`` are those of the fetched repositories, by key.

        ``run`` runs a shell script in the sandbox, which may call ``buildah``, and passes on its lines.
        """
        self._sandbox = sandbox
        self._context = resolve_inside(sandbox.work / "src", context)
        self._ignored = ignored
        self._commits = commits
        self._run = run
        sandbox.chown(make_empty(sandbox.work, FILES))

    def prepare(self, source: SelectedSource) -> str:
        """Put the files of a source into a folder; return the path to copy. Raises BuildFailed."""
        name = str(source.number)
        target = make_empty(self._sandbox.work, f"{FILES}/{name}")
        self._sandbox.chown(target)
        selection = _Selection(target, source, self._sandbox.chown)
        if source.git is not None:
            self._add_repository(source, source.git, selection)
        elif source.is_url:
            self._add_url(source, target, name)
        elif source.checksum:
            raise BuildFailed(f"{source.place}: --checksum is only for URLs and git repositories")
        else:
            for path in source.paths:
                self._add_path(source, path, selection)
        found = [each.name for each in target.iterdir()]
        is_file = len(found) == 1 and not selection.has_folders and len(source.paths) == 1 and source.git is None
        return posixpath.join(name, _literal(found[0])) if is_file else f"{name}/"

    def _add_repository(self, source: SelectedSource, git: GitSource, selection: "_Selection") -> None:
        commit = self._commits.get(git.key)
        if commit is None:
            raise BuildFailed(f"{source.place}: {git.url} was not fetched: a hook cannot add it to the Dockerfile")
        expected = source.checksum
        if expected and (len(expected) < _MIN_COMMIT_LENGTH or not commit.startswith(expected)):
            raise BuildFailed(f"{source.place}: {git.url} is at commit {commit}, not at {expected} of --checksum")
        root = self._sandbox.work / GIT_SOURCES / git.key
        try:
            folder = resolve_inside(root, git.folder)
        except PathEscapes as error:
            raise BuildFailed(f"{source.place}: {error}") from error
        if not folder.is_dir():
            raise BuildFailed(f"{source.place}: {git.url} has no folder {git.folder}")
        ignored = PathPatterns([] if source.keep_git_folder else [".git", "**/.git"])
        selection.add_folder(folder, "", ignored, "")

    def _add_url(self, source: SelectedSource, target: Path, name: str) -> None:
        url = source.paths[0]
        lines: list[str] = []
        script = _FETCH.format(url=shlex.quote(url), target=f"/work/{FILES}/{name}")
        if self._run(script, lines.append).code:
            raise BuildFailed(f"{source.place}: {url} cannot be fetched: {' '.join(lines)[-300:]}")
        found = [each.name for each in target.iterdir()]
        if len(found) != 1:
            raise BuildFailed(f"{source.place}: {url} is not a file")
        if source.checksum:
            self._require_checksum(source, target / found[0])

    def _require_checksum(self, source: SelectedSource, path: Path) -> None:
        algorithm, _, expected = source.checksum.partition(":")
        if algorithm not in _ALGORITHMS:
            raise BuildFailed(f"{source.place}: --checksum={source.checksum} is no digest: write sha256:HEX")
        digest = hashlib.new(algorithm)
        with open_regular(path) as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        if digest.hexdigest() != expected.lower():
            found = f"{algorithm}:{digest.hexdigest()}"
            raise BuildFailed(f"{source.place}: {source.paths[0]} has the digest {found}, not that of --checksum")

    def _add_path(self, source: SelectedSource, path: str, selection: "_Selection") -> None:
        before, pivot, after = path.partition("/./") if source.with_parents else ("", "", path)
        start = posixpath.normpath(f"/{before}").strip("/") if pivot else ""
        pattern = posixpath.normpath(f"/{before}/{after}").strip("/")
        has_pattern = any(char in pattern for char in "*?[")
        found = [each for each in self._matches(pattern, source) if not self._is_left_out(each)]
        if not found and not has_pattern:
            raise BuildFailed(f"{source.place}: {path} is not in the build context, or .dockerignore excludes it")
        for each in found:
            kept = posixpath.relpath(f"/{each}", f"/{start}") if source.with_parents else posixpath.basename(each)
            self._add_match(source, each, kept, selection)

    def _add_match(self, source: SelectedSource, path: str, kept: str, selection: "_Selection") -> None:
        try:
            real = resolve_inside(self._context, path)
        except PathEscapes as error:
            raise BuildFailed(f"{source.place}: {error}") from error
        if real.is_dir():
            inside = ("" if kept == "." else kept) if source.with_parents else ""
            selection.add_folder(real, inside, self._ignored, path)
        elif kept:
            selection.add_file(real, kept)

    def _is_left_out(self, path: str) -> bool:
        real = self._context / path
        if not os.path.lexists(real):
            return True
        return bool(path) and self._ignored.match(path) and not (self._ignored.have_exceptions and real.is_dir())

    def _matches(self, pattern: str, source: SelectedSource) -> list[str]:
        """Return the paths of the context that match, with ``**`` only for ``--parents``."""
        found = [""]
        for part in pattern.split("/") if pattern else ():
            if part == "**" and source.with_parents:
                found = [each for folder in found for each in (folder, *self._folders_below(folder))]
            elif any(char in part for char in "*?["):
                matcher = path_expression(part.replace("**", "*"))
                names = [(folder, entry.name) for folder in found for entry in self._entries(folder)]
                found = [posixpath.join(folder, name) for folder, name in names if matcher.fullmatch(name)]
            else:
                found = [posixpath.join(folder, part.replace("\\", "")) for folder in found]
        return list(dict.fromkeys(found))

    def _folders_below(self, folder: str) -> Iterator[str]:
        waiting = [folder]
        while waiting:
            current = waiting.pop()
            below = [entry.name for entry in self._entries(current) if entry.is_dir(follow_symlinks=False)]
            paths = [posixpath.join(current, name) for name in below]
            yield from paths
            waiting += paths

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            real = resolve_inside(self._context, folder)
        except PathEscapes:
            return []
        if not real.is_dir():
            return []
        with os.scandir(real) as entries:
            return sorted(entries, key=lambda entry: entry.name)


class _Selection:
    """Collects files in a folder."""

    def __init__(self, target: Path, source: SelectedSource, chown: Callable[[Path], None]) -> None:
        self._target = target
        self._source = source
        self._excluded = PathPatterns(source.excluded)
        self._chown = chown
        self.has_folders = source.with_parents
        """Whether the selection is a folder, even if it has only one file."""

    def add_folder(self, folder: Path, kept: str, ignored: PathPatterns, path: str) -> None:
        """Add what is in a folder, as ``kept``; ``ignored`` has patterns for ``path`` and below."""
        self.has_folders = True
        waiting = [(folder, kept, path)]
        self._make_folder(kept, folder)
        while waiting:
            folder, kept, path = waiting.pop()
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
            for entry in found:
                name, inside = posixpath.join(kept, entry.name), posixpath.join(path, entry.name)
                left_out = ignored.match(inside) or self._excluded.match(name)
                has_exceptions = ignored.have_exceptions or self._excluded.have_exceptions
                if entry.is_dir(follow_symlinks=False):
                    if not left_out:
                        self._make_folder(name, Path(entry.path))
                    if not left_out or has_exceptions:
                        waiting.append((Path(entry.path), name, inside))
                elif not left_out:
                    self._add(Path(entry.path), name)

    def add_file(self, path: Path, kept: str) -> None:
        """Add one file, unless it is excluded."""
        if not self._excluded.match(kept):
            self._add(path, kept)

    def _add(self, path: Path, kept: str) -> None:
        target = self._target / kept
        self._make_folder(posixpath.dirname(kept))
        if target.is_symlink() or target.is_file():
            target.unlink()
        elif target.exists():
            raise BuildFailed(f"{self._source.place}: {kept} is both a file and a folder")
        if path.is_symlink():
            target.symlink_to(path.readlink())
        elif not path.is_file():
            return
        elif self._source.mode:
            with open_regular(path) as file, target.open("xb") as copy:
                shutil.copyfileobj(file, copy, _CHUNK)
            target.chmod(self._changed_mode(path.stat().st_mode, is_folder=False))
        else:
            os.link(path, target, follow_symlinks=False)
            return
        self._chown(target)

    def _make_folder(self, kept: str, like: Path | None = None) -> None:
        """Create a folder of the selection and those above it, with the permissions of ``like``; follow no links."""
        folder = self._target
        for part in kept.split("/") if kept else ():
            folder = folder / part
            if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
                raise BuildFailed(f"{self._source.place}: {kept} is both a file and a folder")
            if not folder.exists():
                folder.mkdir()
                self._chown(folder)
        if like is not None:
            mode = like.stat().st_mode & 0o7777
            folder.chmod(self._changed_mode(mode, is_folder=True) if self._source.mode else mode)

    def _changed_mode(self, mode: int, *, is_folder: bool) -> int:
        try:
            return changed_mode(mode & 0o7777, self._source.mode, is_folder=is_folder)
        except ValueError as error:
            raise BuildFailed(f"{self._source.place}: {error}") from error


def _literal(name: str) -> str:
    """Return a file name as a pattern that matches only it."""
    return "".join(f"\\{char}" if char in "*?[\\" else char for char in name)
