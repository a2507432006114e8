"""No response is older than what was acknowledged before its request: two servers, or two processes on one SQLite file.

A register is something that one writer changes, step by step, while readers ask all servers for it. A response must be
the value of a step that was begun when the response arrived, and not older than the last step that was acknowledged
when the request was sent.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import shutil
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg
from tests.parts.hub import HytheServer
from tests.security.registry_client import OCI_MANIFEST, PASSWORD, RegistryClient, basic, bearer

from hythe.database.sqlite import SQLITE_FILE

READERS = 6

PAUSE = 0.02
"""Seconds between two steps of a writer, in which readers ask for the last one."""

DELAY = 0.005
"""Seconds by which the responses of a distant database are late."""

ENVIRONMENT = {"HYTHE_TOKEN_LIFETIME": "7200"}

FEW, MANY = 3000, 100_000
"""Reads in `make test`, and in `make faults`."""

VALUES = {200: "found", 401: "refused", 403: "refused", 404: "missing"}
"""What the status of a response says."""


@dataclass
class Register:
    """The values of one thing, oldest first, and how readers ask for it."""

    path: str
    headers: dict[str, str]
    values: list[str]
    acknowledged: int = 0
    method: str = "GET"
    named: bool = False
    """A response that succeeds has the value in its manifest; else the value is ``found``."""

    def step(self, value: str, work: Callable[[], object]) -> None:
        """Change the thing to a value."""
        self.values.append(value)
        work()
        self.acknowledged = len(self.values) - 1

    def value(self, status: int, body: bytes) -> str:
        """Return the value in a response."""
        if status == 200 and self.named:
            return str(json.loads(body)["annotations"]["value"])
        return VALUES.get(status, f"status {status}: {body!r}")

    def problem(self, oldest: int, value: str) -> str:
        """Explain why the value of a request that was sent after step ``oldest`` is wrong; empty: it is right."""
        possible = self.values[oldest:]
        return "" if value in possible else f"{self.path}: {value} instead of {possible}"


class Connection:
    """A connection that stays open; reads responses with a Content-Length."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)

    def ask(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        """Send a request and return status and body of the response."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._socket.sendall(f"{method} {path} HTTP/1.1\r\nHost: hub\r\n{lines}\r\n".encode())
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more()
        head, _, body = received.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        while method != "HEAD" and len(body) < length:
            body += self._more()
        return status, body

    def _more(self) -> bytes:
        piece = self._socket.recv(65536)
        if not piece:
            raise ConnectionError("the server closed the connection")
        return piece

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


@dataclass
class Writers:
    """Changes all registers, through one server after the other."""

    urls: list[str]
    sql: Callable[[str], None]
    registers: list[Register] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._clients = itertools.cycle([RegistryClient(url) for url in self.urls])
        names = ("tags", "gone", "blobs", "seen", "flip", "first", "second")
        self.token = bearer(self.access_token("ann", *(f"ann/{name}" for name in names)))

    def access_token(self, name: str, *repositories: str, password: str = PASSWORD) -> str:
        """Return an access token of an account for these repositories."""
        scopes = [f"repository:{repository}:pull,push,delete" for repository in repositories]
        return str(next(self._clients).access_token(basic(name, password), *scopes)["token"])

    def call(self, method: str, path: str, headers: dict[str, str], body: Any = None, **more: Any) -> httpx2.Response:
        """Send a request to the next server; it must succeed."""
        given = {"json": body} if body is not None else {}
        response = next(self._clients).send(method, path, headers, **given, **more)
        assert response.status_code < 300, f"{method} {path}: {response.status_code} {response.text}"
        return response

    def push(self, repository: str, tag: str, value: str, token: dict[str, str] | None = None) -> str:
        """Push an image that names a value, and return its digest."""
        token = token or self.token
        blob = self.push_blob(repository, b"{}", token)
        config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": blob, "size": 2}
        annotations = {"value": value}
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []}
        content = json.dumps({**manifest, "annotations": annotations}).encode()
        headers = {**token, "Content-Type": OCI_MANIFEST}
        self.call("PUT", f"/v2/{repository}/manifests/{tag}", headers, content=content)
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def push_blob(self, repository: str, content: bytes, token: dict[str, str] | None = None) -> str:
        """Push a blob and return its digest."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.call("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", token or self.token, content=content)
        return digest

    def register(self, path: str, headers: dict[str, str], value: str, **more: Any) -> Register:
        """Let readers ask for something, which has this value."""
        register = Register(path, headers, [value], **more)
        self.registers.append(register)
        return register

    def tag(self) -> Iterator[None]:
        """A tag moves."""
        self.push("ann/tags", "latest", "0")
        moving = self.register("/v2/ann/tags/manifests/latest", self.token, "0", named=True)
        for number in map(str, itertools.count(1)):
            moving.step(number, partial(self.push, "ann/tags", "latest", number))
            yield

    def manifest(self) -> Iterator[None]:
        """A manifest is deleted, and pushed again."""
        digest = self.push("ann/gone", "latest", "here")
        path = f"/v2/ann/gone/manifests/{digest}"
        present = self.register(path, self.token, "here", named=True)
        while True:
            present.step("missing", partial(self.call, "DELETE", path, self.token))
            yield
            present.step("here", partial(self.push, "ann/gone", "latest", "here"))
            yield

    def blob(self) -> Iterator[None]:
        """A blob is deleted, and pushed again."""
        digest = self.push_blob("ann/blobs", b"some blob")
        path = f"/v2/ann/blobs/blobs/{digest}"
        present = self.register(path, self.token, "found", method="HEAD")
        while True:
            present.step("missing", partial(self.call, "DELETE", path, self.token))
            yield
            present.step("found", partial(self.push_blob, "ann/blobs", b"some blob"))
            yield

    def visibility(self) -> Iterator[None]:
        """A repository is private and public in turn, for a client without credentials."""
        self.push("ann/seen", "latest", "public")
        seen = self.register("/v2/ann/seen/manifests/latest", {}, "found")
        for value, visibility in itertools.cycle((("refused", "private"), ("found", "public"))):
            body = {"visibility": visibility}
            seen.step(value, partial(self.call, "PATCH", "/api/v1/repositories/ann/seen", basic("ann"), body))
            yield

    def block(self) -> Iterator[None]:
        """An account is blocked, which ends its access tokens."""
        path, boss = "/api/v1/users/ben", basic("boss")
        while True:
            valid = self.register("/v2/", bearer(self.access_token("ben")), "found")
            yield
            valid.step("refused", partial(self.call, "POST", f"{path}/block", boss, {}))
            yield
            self.registers.remove(valid)
            self.call("POST", f"{path}/unblock", boss, {})

    def personal_token(self) -> Iterator[None]:
        """A personal token is revoked, with which a client got its access token."""
        while True:
            number, secret = next(self._clients).personal_token("ann")
            valid = self.register("/v2/", bearer(self.access_token("ann", password=secret)), "found")
            yield
            valid.step("refused", partial(self.call, "DELETE", f"/api/v1/tokens/{number}", basic("ann")))
            yield
            self.registers.remove(valid)

    def rename(self) -> Iterator[None]:
        """A name belongs to one repository, then to none, then to another."""
        for name in ("first", "second"):
            self.push(f"ann/{name}", "latest", name)
        flip = self.register("/v2/ann/flip/manifests/latest", self.token, "missing", named=True)
        ann, api = basic("ann"), "/api/v1/repositories/ann"
        for name in itertools.cycle(("first", "second")):
            flip.step(name, partial(self.call, "POST", f"{api}/{name}/rename", ann, {"name": "flip"}))
            yield
            # Until its redirect ends, the old name leads there.
            self.call("POST", f"{api}/flip/rename", ann, {"name": name})
            yield
            flip.step("missing", partial(self.call, "DELETE", "/api/v1/redirects/ann/flip", ann))
            yield

    def team(self) -> Iterator[None]:
        """An account joins a team that may read a private repository, and leaves it, by SQL from elsewhere."""
        ann, team = basic("ann"), "/api/v1/organizations/acme/teams"
        self.call("POST", "/api/v1/organizations", ann, {"name": "acme"})
        self.push("acme/app", "latest", "shared", bearer(self.access_token("ann", "acme/app")))
        self.call("PATCH", "/api/v1/repositories/acme/app", ann, {"visibility": "private"})
        self.call("POST", team, ann, {"name": "dev"})
        self.call("PUT", f"{team}/dev/grants", ann, {"repositories": "app", "role": "read"})
        join = (
            "INSERT INTO team_members (team_id, user_id, added_at) SELECT teams.id, users.id, users.created_at "
            "FROM teams, users WHERE teams.name = 'dev' AND users.name = 'cat'"
        )
        self.sql(join)
        shared = self.register("/v2/acme/app/manifests/latest", bearer(self.access_token("cat", "acme/app")), "found")
        while True:
            shared.step("refused", partial(self.sql, "DELETE FROM team_members"))
            yield
            shared.step("found", partial(self.sql, join))
            yield

    def run(self, steps: Iterator[None]) -> None:
        """Change one register until the test ends."""
        try:
            for _ in steps:
                if self.stopped.wait(random.uniform(0, 2 * PAUSE)):
                    return
        except BaseException as error:
            self.failures.append(error)
            self.stopped.set()


class Readers:
    """Ask all servers for all registers."""

    def __init__(self, writers: Writers, ports: list[int], reads: int) -> None:
        self.problems: list[str] = []
        self.seen: Counter[tuple[str, str]] = Counter()
        self._writers = writers
        self._ports = ports
        self._left = itertools.count(reads, -1)

    def run(self) -> None:
        """Read until enough was read, or something was wrong."""
        try:
            connections = [Connection(port) for port in self._ports for _ in range(2)]
            while next(self._left) > 0 and not self._writers.stopped.is_set():
                self._read(random.choice(connections), random.choice(self._writers.registers))
            for connection in connections:
                connection.close()
        except BaseException as error:
            self.problems.append(repr(error))
            self._writers.stopped.set()

    def _read(self, connection: Connection, register: Register) -> None:
        oldest = register.acknowledged
        value = register.value(*connection.ask(register.method, register.path, register.headers))
        if problem := register.problem(oldest, value):
            self.problems.append(problem)
            self._writers.stopped.set()
        self.seen[register.path.partition("@")[0], value if not value.isdecimal() else "moved"] += 1


def check_reads(writers: Writers, ports: list[int], reads: int) -> Counter[tuple[str, str]]:
    """Read while everything changes; return which values were seen how often."""
    steps = (
        *(writers.tag, writers.manifest, writers.blob, writers.visibility),
        *(writers.block, writers.personal_token, writers.rename, writers.team),
    )
    writing = [threading.Thread(target=writers.run, args=(step(),)) for step in steps]
    for thread in writing:
        thread.start()
    while len(writers.registers) < len(steps) and not writers.stopped.is_set():
        time.sleep(0.05)
    readers = Readers(writers, ports, reads)
    reading = [threading.Thread(target=readers.run) for _ in range(READERS)]
    for thread in reading:
        thread.start()
    for thread in reading:
        thread.join()
    writers.stopped.set()
    for thread in writing:
        thread.join()
    assert readers.problems == []
    assert writers.failures == []
    return readers.seen


@contextmanager
def distant(url: str) -> Iterator[str]:
    """Yield the URL of the same database, whose responses arrive late, as if the network were slow."""
    address = urlsplit(url)
    listener = socket.create_server(("127.0.0.1", 0))

    def pass_on(source: socket.socket, target: socket.socket, delay: float) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                time.sleep(delay)
                target.sendall(piece)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((address.hostname or "", address.port or 0))
                for arguments in ((near, far, 0), (far, near, DELAY)):
                    threading.Thread(target=pass_on, args=arguments, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with listener:
        yield address._replace(netloc=f"{address.username}@127.0.0.1:{listener.getsockname()[1]}").geturl()
        listener.shutdown(socket.SHUT_RDWR)


def sign_up(hub: HytheServer) -> None:
    """Create the accounts."""
    for name in ("ann", "ben", "cat"):
        hub.create_user(name, PASSWORD)
    hub.create_user("boss", PASSWORD, admin=True)


def assert_seen(seen: Counter[tuple[str, str]]) -> None:
    """Check that readers saw each register with each of its values."""
    values = {path: {value for other, value in seen if other == path} for path, _ in seen}
    assert {path: found for path, found in values.items() if len(found) < 2 and found != {"moved"}} == {}


def check_servers(start_hub: Callable[..., HytheServer], postgresql_url: str, distant_url: str, reads: int) -> None:
    """Check reads of two servers."""
    first = start_hub(database_url=postgresql_url, env=ENVIRONMENT)
    shared = first.data.with_name("other")
    shared.mkdir()
    (shared / "blobs").symlink_to(first.data / "blobs")
    shutil.copy(first.data / "secret.key", shared / "secret.key")
    second = start_hub(data=shared, database_url=distant_url, env=ENVIRONMENT)
    sign_up(first)

    def sql(statement: str) -> None:
        with psycopg.connect(postgresql_url) as connection:
            connection.execute(statement.encode())

    writers = Writers([first.url, second.url], sql)
    assert_seen(check_reads(writers, [first.port, second.port], reads))


def test_two_servers_on_postgresql(
    start_hub: Callable[..., HytheServer], postgresql_url: str, rounds: Callable[[int, int], int]
) -> None:
    """They share the database and the blobs; the second one's responses from the database are late."""
    with distant(postgresql_url) as distant_url:
        check_servers(start_hub, postgresql_url, distant_url, rounds(FEW, MANY))


def test_two_processes_on_sqlite(start_hub: Callable[..., HytheServer], rounds: Callable[[int, int], int]) -> None:
    """They share the port, so that connections reach one or the other."""
    hub = start_hub(["--processes", "2"], env=ENVIRONMENT)
    sign_up(hub)

    def sql(statement: str) -> None:
        with closing(sqlite3.connect(hub.data / SQLITE_FILE, timeout=30)) as connection, connection:
            connection.execute(statement)

    assert_seen(check_reads(Writers([hub.url], sql), [hub.port], rounds(FEW, MANY)))
