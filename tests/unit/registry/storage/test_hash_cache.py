"""Hashes that are carried from request to request."""

from __future__ import annotations

from hythe.oci.digest import Digest, new_hasher
from hythe.registry.storage.hash_cache import CAPACITY, HashCache
from hythe.registry.storage.port import UploadSession


def test_a_hash_goes_on_where_it_was() -> None:
    """A kept hash is found by the session as it stood, and belongs to who took it."""
    cache = HashCache()
    hasher = cache.take(UploadSession("id"))
    assert hasher is not None
    hasher.update(b"one ")
    cache.keep(UploadSession("id", 4), hasher)

    taken = cache.take(UploadSession("id", 4))

    assert taken is not None
    taken.update(b"two")
    assert taken.hexdigest() == Digest.of(b"one two").hex
    assert cache.take(UploadSession("id", 4)) is None


def test_a_hash_of_other_bytes_is_not_found() -> None:
    """A session that stands elsewhere, or whose bytes lie elsewhere, has another hash."""
    cache = HashCache()
    cache.keep(UploadSession("id", 4, "state"), new_hasher())

    assert cache.take(UploadSession("id", 5, "state")) is None
    assert cache.take(UploadSession("id", 4, "other")) is None
    assert cache.take(UploadSession("di", 4, "state")) is None


def test_the_oldest_hash_makes_room() -> None:
    """No more than CAPACITY hashes are held."""
    cache = HashCache()
    for number in range(CAPACITY + 1):
        cache.keep(UploadSession(f"id-{number}", 1), new_hasher())

    assert cache.take(UploadSession("id-0", 1)) is None
    assert cache.take(UploadSession("id-1", 1)) is not None
