"""The product's own source, parsed once for all tests of how it is built."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.parts.process import ROOT

SOURCE = ROOT / "src/hythe"


@dataclass(frozen=True, slots=True)
class Module:
    """One file of the product."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """Its path below src/hythe, as people say it: `registry/store/tags.py`."""
        return self.path.relative_to(SOURCE).as_posix()

    def imported(self) -> Iterator[str]:
        """The dotted names that it imports, wherever in the file."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module

    def imported_from(self, package: str) -> Iterator[str]:
        """The names that it takes from `package` or below; the package's own name where it imports that whole."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names if alias.name.split(".")[0] == package)
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package:
                yield from (alias.name for alias in node.names)

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """All its functions and methods."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


@functools.cache
def modules() -> tuple[Module, ...]:
    """Every Python file of the product."""
    paths = sorted(SOURCE.rglob("*.py"))
    texts = [path.read_text() for path in paths]
    return tuple(Module(path, text, ast.parse(text)) for path, text in zip(paths, texts, strict=True))


def packages() -> list[str]:
    """Names of the packages right below hythe."""
    return sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))
