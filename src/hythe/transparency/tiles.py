"""The tree in tiles of 256 hashes (C2SP tlog-tiles): what the hub stores, and any client can cache.

Tile ``number`` of level ``level`` has the hashes of 256 neighbouring subtrees with ``256**level`` leaves. A tile that
is not full yet is the beginning of the full one, so a reader of an older, smaller tree takes a prefix of it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from hythe.transparency.tree import HASH_SIZE, NodeReader, node_hash, root_of, subtree_root

HEIGHT = 8
WIDTH = 1 << HEIGHT
MAX_LEVEL = 7
"""The highest level of a log with fewer than ``2**63`` entries."""

_PATH = re.compile(r"(?P<number>(?:x\d{3}/){0,6}\d{3})(?:\.p/(?P<width>[1-9]\d{0,2}))?", re.ASCII)


class Tile(NamedTuple):
    """The position of a tile."""

    level: int
    number: int


class TileSlice(NamedTuple):
    """A tile's number and how many of its hashes, or entries, were requested: 256, or fewer with the suffix ``.p``."""

    number: int
    width: int


def parse_path(path: str) -> TileSlice | None:
    """Return what ``<N>[.p/<W>]`` at the end of an address names; None if it is invalid."""
    match = _PATH.fullmatch(path)
    if match is None or match["number"].startswith("x000/"):
        return None
    width = int(match["width"] or WIDTH)
    if match["width"] is not None and width >= WIDTH:
        return None
    return TileSlice(int(match["number"].replace("x", "").replace("/", "")), width)


def path_of(number: int, width: int = WIDTH) -> str:
    """Return the end of a tile's address."""
    digits = [f"{number % 1000:03d}"]
    while number := number // 1000:
        digits.insert(0, f"x{number % 1000:03d}")
    return "/".join(digits) + (f".p/{width}" if width < WIDTH else "")


def width_of(tile: Tile, size: int) -> int:
    """Return how many hashes a tile has in a tree of ``size`` leaves."""
    return max(0, min(WIDTH, (size >> HEIGHT * tile.level) - tile.number * WIDTH))


def growing_tiles(size: int) -> list[Tile]:
    """Return the tiles to which the next leaves of a tree of ``size`` leaves are appended, where they exist."""
    tiles = [Tile(level, (size >> HEIGHT * level) // WIDTH) for level in range(MAX_LEVEL + 1)]
    return [tile for tile in tiles if width_of(tile, size)]


def appended(size: int, leaves: Sequence[bytes], tiles: Mapping[Tile, bytes]) -> dict[Tile, bytes]:
    """Return the new content of each tile that changes when leaf hashes are appended to a tree of ``size`` leaves.

    ``tiles`` has the content of ``growing_tiles(size)``.
    """
    changed: dict[Tile, bytes] = {}
    for level in range(MAX_LEVEL + 1):
        position = size >> HEIGHT * level
        full: list[bytes] = []
        for hash_ in leaves:
            tile = Tile(level, position // WIDTH)
            content = changed.get(tile, tiles.get(tile, b""))[: position % WIDTH * HASH_SIZE] + hash_
            changed[tile] = content
            position += 1
            if position % WIDTH == 0:
                full.append(root_of(hashes_in(content)))
        leaves = full
        if not leaves:
            break
    return changed


def hashes_in(content: bytes) -> list[bytes]:
    """Return the hashes that a tile has."""
    return [content[at : at + HASH_SIZE] for at in range(0, len(content), HASH_SIZE)]


def _tile_of_node(level: int, index: int) -> tuple[Tile, int]:
    """Return the tile from which the hash of a complete subtree follows, and the first of its hashes."""
    tile_level, within = divmod(level, HEIGHT)
    first = index << within
    return Tile(tile_level, first // WIDTH), first % WIDTH


def tiles_for(compute: Callable[[NodeReader], object]) -> list[Tile]:
    """Return the tiles that ``compute`` reads, which calls its argument with positions that do not depend on hashes."""
    found: dict[Tile, None] = {}

    def note(level: int, index: int) -> bytes:
        found[_tile_of_node(level, index)[0]] = None
        return bytes(HASH_SIZE)

    compute(note)
    return list(found)


def reader(tiles: Mapping[Tile, bytes]) -> NodeReader:
    """Return the reader of a tree in these tiles. It raises KeyError for a missing tile or hash."""
    inner: dict[tuple[int, int], bytes] = {}

    def read(level: int, index: int) -> bytes:
        if level % HEIGHT == 0:
            tile, first = _tile_of_node(level, index)
            found = tiles[tile][first * HASH_SIZE : (first + 1) * HASH_SIZE]
            if not found:
                raise KeyError(tile)
            return found
        if (level, index) not in inner:
            inner[level, index] = node_hash(read(level - 1, 2 * index), read(level - 1, 2 * index + 1))
        return inner[level, index]

    return read


def root(size: int, read: NodeReader) -> bytes:
    """Return the root of a tree of ``size`` leaves."""
    return subtree_root(0, size, read)
