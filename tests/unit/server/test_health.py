"""Readiness: what fails is named without details, and asking often causes no load."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hythe.database import UnavailableError
from hythe.registry.storage.port import StorageUnavailable
from hythe.server import health as health_module
from hythe.server.health import Health
from hythe.server.stopping import Stopping
from hythe.telemetry.cached_check import CachedCheck, CheckTimeout


class Parts:
    """A database and a blob store that fail when a test says so."""

    def __init__(self) -> None:
        self.database: Exception | None = None
        self.storage: Exception | None = None
        self.liveness = SimpleNamespace(require=self.ask_database)

    async def ask_database(self) -> None:
        if self.database is not None:
            raise self.database

    async def ask_storage(self) -> None:
        if self.storage is not None:
            raise self.storage


@pytest.fixture
def parts() -> Parts:
    return Parts()


def ready(parts: Any, data: Path, stopping: Stopping | None = None) -> tuple[int, dict[str, Any]]:
    """Return status and body of /readyz."""

    async def ask() -> tuple[int, dict[str, Any]]:
        response = await Health(parts, data, stopping or Stopping()).ready(SimpleNamespace())  # type: ignore[arg-type]
        return response.status_code, json.loads(bytes(response.body))

    return asyncio.run(ask())


def test_a_server_whose_checks_succeed_is_ready(parts: Parts, tmp_path: Path) -> None:
    """All checks are listed."""
    status, body = ready(parts, tmp_path)

    assert status == 200
    assert body["ready"] is True
    assert set(body["checks"]) == {"database", "storage", "disk", "stopping"}


def test_a_failed_check_is_named_without_details(parts: Parts, tmp_path: Path) -> None:
    """Anyone can ask; the log has the address."""
    parts.storage = StorageUnavailable("https://10.0.0.9/bucket: 503", "it is too slow")

    status, body = ready(parts, tmp_path)

    assert status == 503
    assert body["checks"]["storage"]["ready"] is False
    assert "it is too slow" in body["checks"]["storage"]["problem"]
    assert body["checks"]["storage"]["hint"]
    assert "10.0.0.9" not in str(body)
    assert body["checks"]["database"]["ready"] is True


def test_a_database_that_does_not_respond_is_named(parts: Parts, tmp_path: Path) -> None:
    """With its cause for clients, if it has one."""
    parts.database = UnavailableError("postgresql://u:secret@db", "it is read-only")

    status, body = ready(parts, tmp_path)

    assert status == 503
    assert body["checks"]["database"]["problem"] == "the database cannot be used: it is read-only"
    assert "secret" not in str(body)


def test_a_full_disk_is_named(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the database cannot write its log."""
    monkeypatch.setattr(health_module, "MIN_FREE", 1 << 62)

    status, body = ready(parts, tmp_path)

    assert status == 503
    assert "MiB" in body["checks"]["disk"]["problem"]
    assert str(tmp_path) not in str(body)


def test_a_stopping_server_is_not_ready(parts: Parts, tmp_path: Path) -> None:
    """So that load balancers send requests elsewhere before it stops to listen."""
    stopping = Stopping()
    stopping.begun = True

    status, body = ready(parts, tmp_path, stopping)

    assert status == 503
    assert body["checks"]["stopping"]["problem"] == "the server is stopping"


def test_all_who_ask_at_the_same_time_share_one_check() -> None:
    """And those who ask within its age get the last result."""
    asked = 0

    async def check() -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        raise ValueError("no")

    async def scenario() -> list[str]:
        cached = CachedCheck(check, max_age=1000)
        results = await asyncio.gather(*(cached.require() for _ in range(5)), return_exceptions=True)
        results += await asyncio.gather(cached.require(), return_exceptions=True)
        return [str(each) for each in results]

    assert asyncio.run(scenario()) == ["no"] * 6
    assert asked == 1


def test_an_old_result_is_not_used() -> None:
    """The check succeeds again once what it asks does."""
    problems: list[Exception] = [ValueError("no")]

    async def check() -> None:
        if problems:
            raise problems.pop()

    async def scenario() -> None:
        cached = CachedCheck(check, max_age=0)
        with pytest.raises(ValueError, match="no"):
            await cached.require()
        await cached.require()

    asyncio.run(scenario())


def test_a_check_that_does_not_end_fails() -> None:
    """A probe must not wait for a database that does not respond."""

    async def scenario() -> None:
        with pytest.raises(CheckTimeout):
            await CachedCheck(asyncio.Event().wait, timeout=0.01).require()

    asyncio.run(scenario())
