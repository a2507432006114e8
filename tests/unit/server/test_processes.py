"""A server of several processes is one server: none of them is missed when it dies, and all count together."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.parts.hub import HUB, HytheServer, server_factory
from tests.unit.server.several_processes import ask, children, wait_until

from hythe.server import processes
from hythe.server.processes import process_count, usable_cores
from hythe.settings import Settings

COUNT = 2
PASSWORD = "a-long-password"
MAINTENANCE = b"Read-only for maintenance"


@pytest.fixture(scope="module")
def settings_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of settings of the server."""
    file = tmp_path_factory.mktemp("settings") / "hythe.toml"
    file.write_text(f"processes = {COUNT}\nbuilds_workers = 0\nsign_ups_per_address = 0\n")
    return file


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, settings_file: Path) -> Iterator[HytheServer]:
    """A hub of two processes."""
    with server_factory(tmp_path_factory.mktemp("processes"), HUB) as start:
        yield start(["--config", str(settings_file)])


@pytest.fixture(scope="module")
def administrator(server: HytheServer) -> str:
    """The token of an administrator."""
    server.create_user("boss", PASSWORD, admin=True)
    status, _, body = ask(server, "/api/v1/sessions", "POST", {"username": "boss", "password": PASSWORD})
    assert status == 201, body
    return str(json.loads(body)["token"])


@pytest.mark.parametrize("victim", ["the one that leads", "the other"])
def test_a_process_that_dies_is_replaced(server: HytheServer, administrator: str, victim: str) -> None:
    """No request fails that others serve, and what one process does is done by another."""
    before = children(server.pid)
    os.kill(before[0 if victim == "the one that leads" else -1], signal.SIGKILL)

    statuses = [ask(server, "/v2/")[0] for _ in range(20)]
    assert statuses == [401] * 20
    wait_until(lambda: len(set(children(server.pid)) - set(before)) == 1, server)
    wait_until(lambda: server.log.count("another one starts") >= 1, server)
    assert "ended with signal 9" in server.log

    def last_run() -> Any:
        return json.loads(ask(server, "/api/v1/admin/garbage/runs", token=administrator)[2])["items"][0]

    for _ in range(3):
        known = last_run()
        assert ask(server, "/api/v1/admin/garbage/runs", "POST", token=administrator)[0] == 204
        wait_until(lambda known=known: last_run() != known, server)  # type: ignore[misc]


def test_all_processes_reload_the_settings(server: HytheServer, settings_file: Path) -> None:
    """SIGHUP is for the command, which passes it on; a process that starts later has the new settings, too."""
    text = settings_file.read_text()
    new = {"username": "late", "email": "late@example.com", "password": PASSWORD}
    settings_file.write_text(f"{text}read_only = true\n")
    os.kill(server.pid, signal.SIGHUP)
    wait_until(lambda: all(MAINTENANCE in ask(server, "/")[2] for _ in range(10)), server)
    os.kill(children(server.pid)[0], signal.SIGKILL)
    wait_until(lambda: len(children(server.pid)) == COUNT, server)

    for _ in range(6):
        status, headers, body = ask(server, "/api/v1/users", "POST", new)
        assert (status, headers["Retry-After"]) == (503, "60"), body

    settings_file.write_text(text)
    os.kill(server.pid, signal.SIGHUP)
    wait_until(lambda: not any(MAINTENANCE in ask(server, "/")[2] for _ in range(10)), server)
    assert ask(server, "/api/v1/users", "POST", new)[0] == 201


def test_a_second_server_on_the_folder_is_refused(server: HytheServer) -> None:
    """It names the first one; commands for administrators run beside it."""
    done = server.run_maintenance("gc", "--dry-run")
    assert done.returncode == 0, done.stderr

    second = server._try("serve", "--listen", "127.0.0.1:0", "--processes", "2")

    assert second.returncode == 7
    assert f"another server uses {server.data}: a hub, process {server.pid}, since " in second.stderr
    assert "hint: stop it first" in second.stderr


def test_another_server_cannot_share_the_port(server: HytheServer, tmp_path: Path) -> None:
    """The sockets of one server share it; those of another would take a part of its connections."""
    other = HytheServer(HUB, tmp_path / "data", tmp_path)

    refused = other._try("serve", "--listen", server.host, "--processes", "2")

    assert refused.returncode == 1
    assert "Address already in use" in refused.stderr


def test_processes_end_with_their_supervisor(server: HytheServer) -> None:
    """They notice even that it was killed, and a new server can start at once after them."""
    orphans = children(server.pid)
    os.kill(server.pid, signal.SIGKILL)
    assert server.program is not None
    server.program.process.wait(30)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in orphans), server)

    server.start()
    started = children(server.pid)
    assert server.program.process.poll() is None

    assert server.stop() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)


def test_a_failure_at_start_is_the_commands(tmp_path: Path) -> None:
    """It is reported once, with the exit code that a server of one process has."""
    server = HytheServer(HUB, tmp_path / "data", tmp_path)
    (server.data / "blobs/sha256/aa").mkdir(parents=True)
    (server.data / "blobs/sha256/aa" / ("aa" * 32)).write_bytes(b"a layer of a lost database")

    several, one = (server._try("serve", "--listen", "127.0.0.1:0", "--processes", count) for count in ("3", "1"))

    assert several.stderr == one.stderr
    assert several.returncode == one.returncode != 0
    assert several.stderr.count("error:") == 1


def test_how_many_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    """One with SQLite, half the cores with PostgreSQL, and as many as are asked for."""
    monkeypatch.setattr(processes, "usable_cores", lambda: 6)
    url = "postgresql://hythe@db/hythe"

    assert process_count(Settings()) == 1
    assert process_count(Settings(database_url=url)) == 3
    assert process_count(Settings(processes=5)) == 5
    monkeypatch.setattr(processes, "usable_cores", lambda: 1)
    assert process_count(Settings(database_url=url)) == 1


def test_cores_of_this_process() -> None:
    """Those that it may use, not those that the machine has."""
    allowed = os.sched_getaffinity(0)
    with suppress(OSError):
        os.sched_setaffinity(0, {min(allowed)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
