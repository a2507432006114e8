"""Several processes on PostgreSQL: pushes, background tasks and limits are those of one server."""

from __future__ import annotations

import http.client
import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any

import httpx2
import pytest
from tests.parts.hub import HUB, HytheServer, server_factory
from tests.parts.postgresql import PostgresqlServer
from tests.security.registry_client import PASSWORD, RegistryClient, basic, bearer
from tests.unit.server.several_processes import ask, children, wait_until

from hythe.hub.sign_in.login_throttle import MAX_FAILURES

COUNT = 2
REQUESTS = 60
"""Of a client to the JSON API, in a minute."""

CONNECTIONS = 6
FLAGS = {
    "--processes": COUNT,
    "--builds-workers": 0,
    "--api-requests-per-minute": REQUESTS,
    "--connections": CONNECTIONS,
    "--stop-timeout": 10,
}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, postgresql: PostgresqlServer, postgresql_template: str
) -> Iterator[HytheServer]:
    """A hub of two processes with two accounts."""
    url = postgresql.create(template=postgresql_template)
    with server_factory(tmp_path_factory.mktemp("processes"), HUB) as start:
        started = start([str(word) for pair in FLAGS.items() for word in pair], database_url=url)
        for name in ("alice", "ben"):
            started.create_user(name, PASSWORD)
        yield started
    postgresql.drop(url.rsplit("/", 1)[1])


@pytest.fixture(scope="module")
def administrator(server: HytheServer) -> str:
    """The token of an administrator."""
    server.create_user("boss", PASSWORD, admin=True)
    return RegistryClient(server.url).session("boss")


def pushing(server: HytheServer, repository: str) -> tuple[RegistryClient, dict[str, str]]:
    """Return a client of alice and the header that lets her push and pull."""
    client = RegistryClient(server.url)
    return client, bearer(client.access_token(basic("alice"), f"repository:{repository}:pull,push")["token"])


def digest_of(server: HytheServer, header: dict[str, str], repository: str, tag: str) -> str:
    """Return the digest of a tag."""
    response = httpx2.get(f"{server.url}/v2/{repository}/manifests/{tag}", headers=header, timeout=60)
    assert response.status_code == 200, response.text
    return str(response.headers["docker-content-digest"])


def test_pushes_pulls_and_tasks_survive_each_process(server: HytheServer, administrator: str) -> None:
    """What one process stored, the others serve; the background tasks move to one that is alive."""

    def last_run() -> Any:
        return json.loads(ask(server, "/api/v1/admin/garbage/runs", token=administrator)[2])["items"][:1]

    client, header = pushing(server, "alice/app")
    assert client.push("alice/app", header) == 201
    pushed = digest_of(server, header, "alice/app", "latest")
    for victim in (0, -1):
        before = children(server.pid)
        os.kill(before[victim], signal.SIGKILL)

        assert {digest_of(server, header, "alice/app", "latest") for _ in range(10)} == {pushed}
        assert client.push("alice/app", header, f"after{victim}") == 201
        wait_until(lambda before=before: len(set(children(server.pid)) - set(before)) == 1, server)  # type: ignore[misc]
        known = last_run()
        assert ask(server, "/api/v1/admin/garbage/runs", "POST", token=administrator)[0] == 204
        wait_until(lambda known=known: last_run() != known, server)  # type: ignore[misc]


def test_requests_of_a_client_are_counted_together(server: HytheServer) -> None:
    """Two processes that count alone would allow twice as many."""
    token = RegistryClient(server.url).session("ben")
    begun = time.monotonic()
    answers = [ask(server, "/api/v1/users/ben", token=token) for _ in range(2 * REQUESTS)]
    seconds = time.monotonic() - begun

    statuses = [status for status, _, _ in answers]
    assert set(statuses) == {200, 429}, answers[-1]
    assert REQUESTS <= statuses.count(200) <= REQUESTS + math.ceil(seconds * REQUESTS / 60) + 1
    assert all(int(headers["Retry-After"]) >= 1 for status, headers, _ in answers if status == 429)


def test_wrong_passwords_are_counted_together(server: HytheServer) -> None:
    """After the last one that is allowed, the right password has to wait as well, in each process."""
    client = RegistryClient(server.url)

    wrong = [client.status("GET", "/token", basic("ben", "wrong")) for _ in range(MAX_FAILURES)]
    after = [client.status("GET", "/token", basic("ben")) for _ in range(6)]

    assert wrong == [401] * MAX_FAILURES
    assert after == [429] * 6


def test_connections_are_limited_together(server: HytheServer) -> None:
    """The processes divide the limit; each refuses what is over its part, and serves again once there is room."""

    def served(connection: http.client.HTTPConnection) -> bool:
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except OSError:  # over twice the limit
            return False

    with ExitStack() as opened:
        many = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=60) for _ in range(60)]
        for connection in many:
            opened.enter_context(closing(connection))
            with suppress(OSError):
                connection.connect()
        assert sum(served(connection) for connection in many) == CONNECTIONS

    wait_until(lambda: all(ask(server, "/healthz")[0] == 200 for _ in range(10)), server)


def test_a_stop_under_load_loses_nothing(server: HytheServer) -> None:
    """Every push that was acknowledged before or during the stop is there after the next start."""
    client, header = pushing(server, "alice/load")
    stopping = threading.Event()
    acknowledged: list[str] = []

    def push(writer: int) -> None:
        number = 0
        while not stopping.is_set():
            tag = f"t{writer}-{number}"
            with suppress(httpx2.TransportError):
                if client.push("alice/load", header, tag) == 201:
                    acknowledged.append(tag)
            number += 1

    writers = [threading.Thread(target=push, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    wait_until(lambda: len(acknowledged) >= 20, server)
    exit_code = server.stop()
    stopping.set()
    for writer in writers:
        writer.join()
    server.start()

    assert exit_code == 0
    assert "is killed" not in server.log
    assert "Traceback" not in server.log
    tags = json.loads(ask(server, "/v2/alice/load/tags/list", token=header["Authorization"].split()[1])[2])["tags"]
    assert set(acknowledged) <= set(tags)
