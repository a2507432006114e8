"""What is known to be whole, and for how long."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.parts.database import Run

from hythe.oci.digest import Digest
from hythe.registry.storage import integrity_cache as cache_module
from hythe.registry.storage.integrity_cache import IntegrityCache

CONTENT = b"a layer that will rot" * 1000


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    """A file that is whole."""
    path = tmp_path / "blob"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def sound(tmp_path: Path) -> Iterator[IntegrityCache]:
    """Nothing is known yet."""
    made = IntegrityCache(tmp_path)
    yield made
    made.close()


def test_what_was_read_is_trusted_until_somebody_touches_it(blob: Path, sound: IntegrityCache, run: Run[Any]) -> None:
    """A change of the file, also one that keeps its size and its time, ends the trust."""
    digest = Digest.of(CONTENT)
    before = blob.stat()

    assert not sound.trusts(digest, before)
    assert run(sound.check(digest, blob))
    assert sound.trusts(digest, blob.stat())
    blob.write_bytes(b"A" + CONTENT[1:])
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not sound.trusts(digest, blob.stat())
    assert not run(sound.check(digest, blob))
    assert not sound.trusts(digest, blob.stat())


def test_trust_wears_out(blob: Path, sound: IntegrityCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes rot by themselves, so a file is read again after a while."""
    digest = Digest.of(CONTENT)
    sound.trust(digest, blob.stat())

    assert sound.trusts(digest, blob.stat())
    monkeypatch.setattr(cache_module, "TRUST_LIFETIME", 0.0)
    assert not sound.trusts(digest, blob.stat())


def test_all_who_ask_share_one_reading(
    blob: Path, sound: IntegrityCache, run: Run[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten pulls at once cost one; who gives up does not end it for the others."""
    readings = []
    read = cache_module._stat_if_intact
    monkeypatch.setattr(cache_module, "_stat_if_intact", lambda *asked: readings.append(asked) or read(*asked))

    async def scenario() -> list[bool]:
        asking = [asyncio.create_task(sound.check(Digest.of(CONTENT), blob)) for _ in range(10)]
        await asyncio.sleep(0)
        asking.pop().cancel()
        return await asyncio.gather(*asking)

    assert run(scenario()) == [True] * 9
    assert len(readings) == 1
