"""The product's source, parsed once for all architecture tests."""

from __future__ import annotations

import ast
import functools
import gc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.parts.process import ROOT

SOURCE = ROOT / "src/hythe"


@dataclass(frozen=True, slots=True)
class Module:
    """A Python file of the product."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """Its path below src/hythe, for instance `registry/sql/tags.py`."""
        return self.path.relative_to(SOURCE).as_posix()

    def imported(self) -> Iterator[str]:
        """Yield the dotted names of all modules that it imports, at any place in the file."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module

    def imported_from(self, package: str) -> Iterator[str]:
        """Yield the names that it imports from `package` or its submodules, and `package` if it imports that itself."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names if alias.name.split(".")[0] == package)
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package:
                yield from (alias.name for alias in node.names)

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Yield all its functions and methods."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


@functools.cache
def modules() -> tuple[Module, ...]:
    """Return every Python file of the product."""
    paths = sorted(SOURCE.rglob("*.py"))
    texts = [path.read_text() for path in paths]
    gc.disable()  # while the trees grow, each collection would walk all of them: three quarters of the time
    try:
        return tuple(Module(path, text, ast.parse(text)) for path, text in zip(paths, texts, strict=True))
    finally:
        gc.enable()


def packages() -> list[str]:
    """Return the names of the packages directly below hythe."""
    return sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))
