"""`hythe verify --log` with a hub: honest logs verify, and a hub that changes its past is refused."""

from __future__ import annotations

import json
import sqlite3
import time
import urllib.request
from pathlib import Path

import pytest
from tests.parts.base_images import Layout
from tests.parts.hub import HytheServer
from tests.parts.hythe_client import HytheClient

pytestmark = pytest.mark.clients

PASSWORD = "correct horse battery"


def _push(hythe: HytheClient, layout: Layout, image: str) -> None:
    hythe.ok("copy", "-q", f"oci:{layout.folder}", image)


def _checkpoint(hub: HytheServer, size: int) -> str:
    """Return the checkpoint of the log when it has so many entries; they are appended soon after a push."""
    deadline = time.monotonic() + 15
    while True:
        with urllib.request.urlopen(f"{hub.url}/api/v1/tag-log/checkpoint") as response:
            checkpoint: str = response.read().decode()
        if checkpoint.split("\n")[1] == str(size):
            return checkpoint
        assert time.monotonic() < deadline


def test_verify_log(hub: HytheServer, hythe: HytheClient, busybox_layout: Layout, tmp_path: Path) -> None:
    """Verification follows a tag, remembers the log, and refuses forged keys, targets outside it and rewritten logs."""
    hub.create_user("ann", PASSWORD)
    hythe.login(hub.host, "ann", PASSWORD)
    image = f"{hub.host}/ann/app:1"
    _push(hythe, busybox_layout, image)
    _push(hythe, busybox_layout, f"{hub.host}/ann/app:2")

    first = hythe.json("verify", "--log", "--whole-log", image)
    checkpoint = _checkpoint(hub, 2)
    (seen := tmp_path / "seen.txt").write_text(checkpoint)
    shown = hythe.ok("verify", "--log", "--checkpoint", str(seen), image)

    assert [move["digest"] for move in first["moves"]] == [first["digest"]]
    assert first["seen_before"] is None
    assert first["complete"]
    assert "continues the" in shown
    assert shown.endswith(f"\n{checkpoint.strip()}")
    known = hythe.folder / ".config/hythe/tag-logs" / f"{hub.host}.json"
    _forged_key_is_refused(hythe, known, image)
    database = hub.data / "hythe.db"
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE tags SET name = '3' WHERE name = '2'")
    failed = hythe.run("verify", "--log", f"{hub.host}/ann/app:3")
    assert failed.returncode == 6
    assert "the log has no entry for ann/app:3" in failed.stderr
    with sqlite3.connect(database) as connection:
        for table in ("tag_log_entries", "tag_log_tiles"):
            connection.execute(f"DELETE FROM {table}")
        connection.execute("UPDATE tag_log SET size = 0")
    rewritten = ("rolled back", "there are two different logs", "does not begin with the log")
    for size, reason in enumerate(rewritten, 1):
        again = f"{hub.host}/ann/app:{3 + size}"
        _push(hythe, busybox_layout, again)
        _checkpoint(hub, size)
        refused = hythe.run("verify", "--log", again)
        assert refused.returncode == 6
        assert reason in refused.stderr


def _forged_key_is_refused(hythe: HytheClient, known: Path, image: str) -> None:
    content = known.read_text()
    remembered = json.loads(content)
    name = remembered["key"].partition("+")[0]
    from hythe.transparency.note import VerifierKey

    known.write_text(json.dumps({**remembered, "key": str(VerifierKey(name, bytes(32)))}))
    failed = hythe.run("verify", "--log", image)
    assert failed.returncode == 6
    assert f"the key of the log of {known.stem} changed" in failed.stderr
    assert f"if it is this one, delete {known}" in failed.stderr
    known.write_text(content)
