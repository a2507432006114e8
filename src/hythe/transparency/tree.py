"""The Merkle tree of RFC 6962, section 2.1: hashes, roots and proofs.

Proofs are made by functions that ask a ``NodeReader`` for the hashes of complete subtrees, so they work on a tree of
any size. The verification follows RFC 9162, section 2.1.3.2 and 2.1.4.2.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeAlias

HASH_SIZE = 32

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""

NodeReader: TypeAlias = Callable[[int, int], bytes]
"""Returns the hash of the complete subtree number ``index`` with ``2**level`` leaves, called as (level, index)."""


class InvalidProof(ValueError):
    """The proof does not lead to the expected root."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root of the tree with these leaf hashes."""
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        # An odd node at the end moves up unchanged, which gives the same tree as splitting at powers of two.
        odd = [level[-1]] if len(level) % 2 else []
        level = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)] + odd
    return level[0]


def subtree_root(first: int, end: int, read: NodeReader) -> bytes:
    """Return the root over the leaves from ``first`` up to ``end``, which proofs need; ``first`` is aligned."""
    count = end - first
    if count == 0:
        return EMPTY_ROOT
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return read(level, first >> level)
    middle = first + _split(count)
    return node_hash(subtree_root(first, middle, read), subtree_root(middle, end, read))


def _split(count: int) -> int:
    """Return the largest power of two smaller than ``count``."""
    return 1 << (count - 1).bit_length() - 1


def inclusion_proof(index: int, size: int, read: NodeReader) -> list[bytes]:
    """Return the audit path of a leaf in the tree of ``size`` leaves. Raises ValueError unless index < size."""
    if not 0 <= index < size:
        raise ValueError(f"the tree of {size} leaves has no leaf {index}")
    path: list[bytes] = []
    first, end = 0, size
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            path.append(subtree_root(middle, end, read))
            end = middle
        else:
            path.append(subtree_root(first, middle, read))
            first = middle
    return path[::-1]


def consistency_proof(old: int, new: int, read: NodeReader) -> list[bytes]:
    """Return the proof that the tree of ``new`` leaves begins with that of ``old``. Raises ValueError if old > new."""
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves contains none of {old}")
    if old in (0, new):
        return []
    path: list[bytes] = []
    first, end, known = 0, new, True
    while old != end:
        middle = first + _split(end - first)
        if old <= middle:
            path.append(subtree_root(middle, end, read))
            end = middle
        else:
            path.append(subtree_root(first, middle, read))
            first, known = middle, False
    if not known:
        path.append(subtree_root(first, end, read))
    return path[::-1]


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Return if the leaf with this hash is number ``index`` in the tree with this root. Raises InvalidProof."""
    if not 0 <= index < size:
        raise InvalidProof(f"the log of {size} entries has no entry {index}")
    number, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise InvalidProof("the proof is too long")
        if number % 2 or number == last:
            found = node_hash(sibling, found)
            while number and number % 2 == 0:
                number, last = number >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        number, last = number >> 1, last >> 1
    if last or found != root:
        raise InvalidProof(f"entry {index} is not in the log of {size} entries with this root")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Return if the tree of ``new`` leaves begins with the tree of ``old`` leaves. Raises InvalidProof."""
    if old > new:
        raise InvalidProof(f"a log of {new} entries cannot contain one of {old}")
    if old in (0, new):
        expected = new_root if old == new else EMPTY_ROOT
        if proof or old_root != expected:
            raise InvalidProof(f"there are two different logs of {old} entries")
        return
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path or _grown(old - 1, new - 1, path) != (old_root, new_root):
        raise InvalidProof(f"the log of {new} entries does not begin with the log of {old} entries")


def _grown(number: int, last: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return both roots that a consistency proof leads to, from the last leaf of each tree. Raises InvalidProof."""
    while number % 2:
        number, last = number >> 1, last >> 1
    older = newer = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise InvalidProof("the proof is too long")
        if number % 2 or number == last:
            older, newer = node_hash(sibling, older), node_hash(sibling, newer)
            while number and number % 2 == 0:
                number, last = number >> 1, last >> 1
        else:
            newer = node_hash(newer, sibling)
        number, last = number >> 1, last >> 1
    if last:
        raise InvalidProof("the proof is too short")
    return older, newer
