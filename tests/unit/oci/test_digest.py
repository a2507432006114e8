"""Digests: the grammar, and what they are of."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hythe.oci.digest import HEX_LENGTHS, Digest, new_hasher
from hythe.oci.errors import InvalidDigest


@given(content=st.binary(max_size=300), algorithm=st.sampled_from(sorted(HEX_LENGTHS)))
def test_digests_of_content(content: bytes, algorithm: str) -> None:
    """A digest matches its content alone, and means itself when it is read again."""
    digest = Digest.of(content, algorithm)

    assert str(digest) == f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
    assert digest == Digest.parse(str(digest))
    assert digest.matches(content)
    assert not digest.matches(content + b"x")
    assert digest.short == digest.hex[:12]


@given(st.lists(st.binary(max_size=50), max_size=5), st.sampled_from(sorted(HEX_LENGTHS)))
def test_hashing_piece_by_piece(pieces: list[bytes], algorithm: str) -> None:
    """Pieces give the digest of the whole."""
    hasher = Digest.of(b"", algorithm).hasher()
    for piece in pieces:
        hasher.update(piece)

    assert hasher.hexdigest() == Digest.of(b"".join(pieces), algorithm).hex


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        ":" + "0" * 64,
        "sha256:" + "0" * 63,
        "sha256:" + "0" * 65,
        "sha256:" + "A" * 64,
        "sha256:" + "g" * 64,
        "sha512:" + "0" * 64,
        "sha256:baddigest",
        "md5:" + "0" * 32,
        "SHA256:" + "0" * 64,
        "sha256:" + "0" * 64 + "\n",
        "sha256: " + "0" * 63,
    ],
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    """Length, letters, algorithm and spelling are checked."""
    with pytest.raises(InvalidDigest):
        Digest.parse(text)


@given(st.text(max_size=80))
def test_any_text_is_a_digest_or_refused(text: str) -> None:
    """Nothing else is raised."""
    try:
        digest = Digest.parse(text)
    except InvalidDigest:
        return
    assert str(digest) == text


def test_unknown_algorithms_have_no_hasher() -> None:
    """Only registered algorithms are used."""
    with pytest.raises(InvalidDigest):
        new_hasher("md5")
