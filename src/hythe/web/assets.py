"""Static files, named after a hash of their content so that browsers can cache them without expiry."""

import gzip
import hashlib
import mimetypes
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import msgspec

FOLDER = Path(__file__).parent / "static"
STYLES = Path(__file__).parent / "styles"
PREFIX = "/static/"

STYLESHEET = "hythe.css"
"""The files of ``styles/``, concatenated in the order of their names."""

_SERVED = frozenset({".css", ".js", ".svg", ".woff2", ".txt"})
_COMPRESSED = frozenset({".css", ".js", ".svg", ".txt"})
_TYPES = {".woff2": "font/woff2", ".js": "text/javascript"}


class Asset(msgspec.Struct, frozen=True):
    """One file; ``compressed`` is its gzip form, empty if compression does not help."""

    media_type: str
    content: bytes
    compressed: bytes


class Assets:
    """All static files, read once at startup."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._hashed: dict[str, str] = {}
        self._assets: dict[str, Asset] = {}
        # The stylesheet contains the hashed names of other files, so it comes last.
        for name in sorted(files, key=lambda name: (name.endswith(".css"), name)):
            self._add(name, files[name])

    @classmethod
    def read(cls, folder: Path = FOLDER, styles: Path = STYLES) -> Self:
        """Read the files of this package."""
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.suffix in _SERVED
        }
        return cls(files | {STYLESHEET: _joined(sorted(styles.glob("*.css")))})

    def _add(self, name: str, content: bytes) -> None:
        if name.endswith(".css"):
            for other, hashed in self._hashed.items():
                content = content.replace(f'url("{other}")'.encode(), f'url("{PREFIX}{hashed}")'.encode())
        path = Path(name)
        hashed = f"{path.stem}.{hashlib.sha256(content).hexdigest()[:12]}{path.suffix}"
        media_type = _TYPES.get(path.suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        compressed = gzip.compress(content, mtime=0) if path.suffix in _COMPRESSED else b""
        self._hashed[name] = hashed
        self._assets[hashed] = Asset(media_type, content, compressed)

    def address(self, name: str) -> str:
        """Return the address of a file. Raises KeyError if it does not exist."""
        return PREFIX + self._hashed[name]

    def get(self, hashed: str) -> Asset | None:
        """Return the file with this hashed name."""
        return self._assets.get(hashed)


def _joined(paths: Iterable[Path]) -> bytes:
    return b"\n".join(path.read_bytes() for path in paths)
