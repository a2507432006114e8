"""Trees, tiles and signed notes: known vectors, and every proof of small trees."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hythe.transparency import tiles
from hythe.transparency.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint
from hythe.transparency.note import InvalidNote, VerifierKey, open_note, sign
from hythe.transparency.tiles import Tile, TileSlice
from hythe.transparency.tree import (
    EMPTY_ROOT,
    InvalidProof,
    NodeReader,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
"""The leaves of the test vectors of Certificate Transparency (also in transparency-dev/merkle)."""

ROOTS = [
    bytes.fromhex(text)
    for text in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]

CONSISTENCY_6_8 = [
    bytes.fromhex(text)
    for text in (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    )
]

GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_NOTE = (
    f"{GO_TEXT}\n\u2014 PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
"""The example of golang.org/x/mod/sumdb/note, from which the format comes."""


def tree_of(count: int, at_once: int) -> tuple[dict[Tile, bytes], NodeReader, list[bytes]]:
    """Return the tiles, the reader and the leaf hashes of a tree whose leaves were appended in several steps."""
    hashes = [leaf_hash(str(number).encode()) for number in range(count)]
    stored: dict[Tile, bytes] = {}
    for start in range(0, count, at_once):
        growing = {tile: stored[tile] for tile in tiles.growing_tiles(start)}
        stored.update(tiles.appended(start, hashes[start : start + at_once], growing))
    return stored, tiles.reader(stored), hashes


@pytest.mark.parametrize("size", range(9))
def test_known_roots(size: int) -> None:
    """The roots of the known trees, from all leaves and from tiles."""
    hashes = [leaf_hash(leaf) for leaf in LEAVES[:size]]
    read = tiles.reader(tiles.appended(0, hashes, {}))

    assert root_of(hashes) == tiles.root(size, read) == ROOTS[size]


def test_known_proofs() -> None:
    """A known proof of consistency, and that of the first leaf, come out and verify."""
    read = tiles.reader(tiles.appended(0, [leaf_hash(leaf) for leaf in LEAVES], {}))

    assert consistency_proof(6, 8, read) == CONSISTENCY_6_8
    verify_consistency(6, 8, ROOTS[6], ROOTS[8], CONSISTENCY_6_8)
    with pytest.raises(InvalidProof):
        verify_consistency(6, 8, ROOTS[5], ROOTS[8], CONSISTENCY_6_8)
    assert inclusion_proof(0, 8, read)[0].hex() == "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
    assert ROOTS[0] == EMPTY_ROOT


def test_all_proofs_of_small_trees() -> None:
    """Every proof verifies, and none does for another leaf, another root or with a hash changed, removed or added."""
    _, read, hashes = tree_of(18, 5)
    roots = [root_of(hashes[:size]) for size in range(19)]
    for size in range(1, 19):
        for index in range(size):
            proof = inclusion_proof(index, size, read)
            verify_inclusion(index, size, hashes[index], proof, roots[size])
            for wrong in _changed(proof):
                with pytest.raises(InvalidProof):
                    verify_inclusion(index, size, hashes[index], wrong, roots[size])
            with pytest.raises(InvalidProof):
                verify_inclusion(index, size, hashes[(index + 1) % 18], proof, roots[size])
        for old in range(1, size):
            proof = consistency_proof(old, size, read)
            verify_consistency(old, size, roots[old], roots[size], proof)
            for wrong in _changed(proof):
                with pytest.raises(InvalidProof):
                    verify_consistency(old, size, roots[old], roots[size], wrong)


def _changed(proof: list[bytes]) -> list[list[bytes]]:
    other = hashlib.sha256(b"other").digest()
    replaced = [[*proof[:number], other, *proof[number + 1 :]] for number in range(len(proof))]
    return [*replaced, [*proof, other], *([proof[:-1]] if proof else [])]


@pytest.mark.parametrize("at_once", [1, 100, 70_000])
def test_large_trees_are_read_from_few_tiles(at_once: int) -> None:
    """A tree of 70,000 leaves has the tiles that the specification describes, and proofs read few of them."""
    count = 70_000 if at_once > 1 else 1000
    stored, read, hashes = tree_of(count, at_once)
    if count == 70_000:
        sizes = {tile: len(content) // 32 for tile, content in stored.items()}
        assert len(stored) == 273 + 1 + 1 + 1 + 1
        assert (sizes[Tile(0, 273)], sizes[Tile(1, 1)], sizes[Tile(2, 0)]) == (112, 17, 1)
    root = tiles.root(count, read)

    assert root == root_of(hashes)
    for index in (0, 255, 256, count - 1):
        proof = inclusion_proof(index, count, read)
        verify_inclusion(index, count, hashes[index], proof, root)
        assert len(tiles.tiles_for(lambda read, index=index: inclusion_proof(index, count, read))) <= 5  # type: ignore[misc]
    old = count // 3
    verify_consistency(old, count, root_of(hashes[:old]), root, consistency_proof(old, count, read))


def test_paths_of_tiles() -> None:
    """Numbers of tiles are written and read as the specification shows."""
    assert tiles.path_of(1234067) == "x001/x234/067"
    assert tiles.parse_path("x001/x234/067") == TileSlice(1234067, 256)
    assert tiles.path_of(5, 7) == "005.p/7"
    assert tiles.parse_path("005.p/7") == TileSlice(5, 7)
    for wrong in ("5", "005.p/0", "005.p/256", "005.p/07", "x000/005", "001/005", "005/", "x1/001", "", "٠٠٥"):
        assert tiles.parse_path(wrong) is None


def test_notes_are_those_of_go() -> None:
    """The published note verifies, and the published key makes it again."""
    key = VerifierKey.parse(GO_KEY)

    assert str(key) == GO_KEY
    assert open_note(GO_NOTE, key) == GO_TEXT
    assert sign(GO_TEXT, "PeterNeumann", Ed25519PrivateKey.from_private_bytes(GO_SEED)) == GO_NOTE


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note.replace("answer", "Answer"),
        lambda note: note.replace("PeterNeumann", "EnochRoot"),
        lambda note: note.replace("x08go/Z", "x08go/Y"),
        lambda note: note[:-1],
        lambda note: note.replace("\n\n", "\n"),
        lambda note: f"{note}not a signature\n",
        lambda note: note.replace("\n\n", "\t\n\n"),
    ],
)
def test_changed_notes_are_refused(change: object) -> None:
    """No change of the text or the signatures passes."""
    assert callable(change)
    with pytest.raises(InvalidNote):
        open_note(change(GO_NOTE), VerifierKey.parse(GO_KEY))


def test_signatures_of_others_are_ignored() -> None:
    """Witnesses may add their signatures."""
    signature = "rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ="
    note = f"{GO_NOTE}\u2014 EnochRoot {signature}\n"

    assert open_note(note, VerifierKey.parse(GO_KEY)) == GO_TEXT


def test_checkpoints() -> None:
    """A checkpoint is signed by the log whose name it has, and comes back; others are refused."""
    key = Ed25519PrivateKey.generate()
    checkpoint = Checkpoint("hub.example.org/log", 3, ROOTS[3])
    note = checkpoint.signed(key)

    assert open_checkpoint(note, VerifierKey("hub.example.org/log", key.public_key().public_bytes_raw())) == checkpoint
    assert parse_checkpoint(
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    ).size
    for text in ("log\n-1\n", f"log\n01\n{'A' * 43}=\n", f"log\n0\n{'A' * 43}=\n", f"log\n1\n{'A' * 44}\n"):
        with pytest.raises(InvalidNote):
            parse_checkpoint(text)
    with pytest.raises(InvalidNote):
        open_checkpoint(
            note, VerifierKey("hub.example.org/log", Ed25519PrivateKey.generate().public_key().public_bytes_raw())
        )
