"""A PostgreSQL that crashes and forgets the last commits: upload sessions go on where the blob store is."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from tests.contracts.distribution import Answer, Client, digest_of, with_digest
from tests.parts.database import upgrade_in_thread
from tests.parts.hub import HytheServer
from tests.parts.postgresql import PostgresqlServer, accepts, postgresql_server

NAME = "team/app"
FIRST, REST = b"first half, " * 1000, b"second half" * 1000
WHOLE = FIRST + REST


@pytest.fixture(scope="module")
def forgetful() -> Iterator[PostgresqlServer]:
    """A PostgreSQL server of its own, which crashes."""
    with postgresql_server({"synchronous_commit": "on"}) as server:
        yield server


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.object_store)])
def server(
    request: pytest.FixtureRequest, forgetful: PostgresqlServer, start_private_registry: Callable[..., HytheServer]
) -> HytheServer:
    """A registry on that database, with each kind of blob store."""
    url = forgetful.create()
    upgrade_in_thread(Path("unused"), url)
    if request.param == "disk":
        return start_private_registry(database_url=url)
    store = f"s3://{request.getfixturevalue('s3_bucket')}"
    return start_private_registry(["--blob-store", store], database_url=url, env=request.getfixturevalue("s3").env)


def remember(server: HytheServer) -> None:
    """Note the sessions as they are: what a crash leaves that forgets all commits from now on."""
    with psycopg.connect(server.database_url or "") as connection:
        connection.execute("CREATE TABLE remembered AS TABLE uploads")


def forget(server: HytheServer) -> None:
    """Put the noted sessions back. What PostgreSQL itself forgets depends on how full its log pages are."""
    with psycopg.connect(server.database_url or "") as connection:
        connection.execute("DELETE FROM uploads")
        connection.execute("INSERT INTO uploads TABLE remembered")


def crash(database: PostgresqlServer) -> None:
    """Kill a server process, at which PostgreSQL ends all of them and recovers what is on disk."""
    killed = psycopg.connect(database.url(), autocommit=True)
    with psycopg.connect(database.url(), autocommit=True) as other:
        os.kill(killed.info.backend_pid, signal.SIGKILL)
        # Until the server notices the killed process, it still accepts connections, and then ends them.
        with pytest.raises(psycopg.OperationalError):
            other.execute("SELECT pg_sleep(60)")
    killed.close()
    deadline = time.monotonic() + 30
    while not accepts(database):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def patiently(client: Client, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    """Send a request, and again if the server says that its database is away."""
    deadline = time.monotonic() + 30
    while (answer := client(method, path, body, **headers)).status == 503 and time.monotonic() < deadline:
        time.sleep(0.1)
    return answer


def test_forgotten_changes_of_uploads(server: HytheServer, forgetful: PostgresqlServer) -> None:
    """Sessions of which the database knows less than the store, each continued in another way."""
    client = Client(server.port)
    opened = {way: client.start_upload(NAME) for way in ("put", "rest", "chunk", "status", "empty")}
    opened["behind"] = client("PATCH", client.start_upload(NAME), FIRST).location
    remember(server)
    for way in ("put", "rest", "chunk", "status"):
        assert client("PATCH", opened[way], FIRST if way in ("rest", "chunk") else WHOLE).status == 202
    assert client("PATCH", opened["behind"], REST).status == 202
    opened["forgotten"] = client("PATCH", client.start_upload(NAME), WHOLE).location
    crash(forgetful)
    forget(server)

    put = patiently(client, "PUT", with_digest(opened["put"], digest_of(WHOLE)))
    behind = patiently(client, "PUT", with_digest(opened["behind"], digest_of(WHOLE)))
    unknown = patiently(client, "PUT", with_digest(opened["forgotten"], digest_of(WHOLE)))
    empty = patiently(client, "PUT", with_digest(opened["empty"], digest_of(WHOLE)))
    status = patiently(client, "GET", opened["status"])
    chunk = patiently(client, "PATCH", opened["chunk"], REST, Content_Range=f"{len(FIRST)}-{len(WHOLE) - 1}")
    rest = patiently(client, "PUT", with_digest(opened["rest"], digest_of(WHOLE)), REST)
    goes_on = {"Content_Range": f"{len(FIRST)}-{len(WHOLE) - 1}"}
    after = patiently(client, "PUT", with_digest(rest.location, digest_of(WHOLE)), REST, **goes_on)

    assert (put.status, behind.status) == (201, 201)
    assert [(answer.status, answer.codes) for answer in (unknown, empty)] == [(404, ["BLOB_UPLOAD_UNKNOWN"])] * 2
    assert (status.status, status.headers["Range"]) == (204, f"0-{len(WHOLE) - 1}")
    assert (chunk.status, chunk.headers["Range"]) == (202, f"0-{len(WHOLE) - 1}")
    assert client("PUT", with_digest(opened["chunk"], digest_of(WHOLE))).status == 201
    assert (rest.status, rest.headers["Range"], after.status) == (416, f"0-{len(FIRST) - 1}", 201)
    assert client("HEAD", f"/v2/{NAME}/blobs/{digest_of(WHOLE)}").headers["Content-Length"] == str(len(WHOLE))
    client.close()
