"""Answers that are remembered: never stale, and never somebody else's."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.unit.registry.depot import image

from hythe.database import open_database
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.ready_response import UNREADY, ReadyResponse
from hythe.registry.access import Actor
from hythe.registry.anonymous import AnonymousAccess
from hythe.registry.events import PulledManifest, RegistryListener, RepositoryRef
from hythe.registry.policy import Policy
from hythe.registry.routes.application import RegistryApplication
from hythe.registry.routes.http import Message
from hythe.registry.routes.manifest_cache import LIFETIME
from hythe.registry.service import RegistryServices
from hythe.registry.storage import open_blob_store

PATH = "/v2/a/manifests/latest"


class TokenAccess(AnonymousAccess):
    """Whoever shows a token that is good may do everything."""

    def __init__(self) -> None:
        self.good = {"Bearer ann", "Bearer ben", "Basic ann"}

    async def authenticate(self, authorization: str | None, address: str = "") -> Actor:
        """See Access.authenticate."""
        if authorization not in self.good:
            raise WireError(ErrorCode.UNAUTHORIZED)
        return Actor(authorization.split()[1])


class Counter(RegistryListener):
    """Notes who pulled."""

    def __init__(self) -> None:
        self.pulls: list[str] = []

    async def manifest_pulled(self, repository: RepositoryRef, pulled: PulledManifest, actor: Actor) -> None:
        """See RegistryListener.manifest_pulled."""
        self.pulls.append(actor.name)


@dataclass
class Door:
    """A registry behind its application."""

    application: RegistryApplication
    runner: asyncio.Runner
    access: TokenAccess = field(default_factory=TokenAccess)
    listener: Counter = field(default_factory=Counter)

    def ask(self, method: str, path: str, token: str = "Bearer ann", body: bytes = b"", query: bytes = b"") -> Any:
        """Send a request; returns status and body."""
        return self.runner.run(self._ask(method, path, token, body, query))

    async def _ask(self, method: str, path: str, token: str, body: bytes, query: bytes) -> tuple[int, bytes]:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def make_response(message: Message) -> None:
            sent.append(message)

        headers = [(b"authorization", token.encode()), (b"content-length", b"%d" % len(body))]
        scope = {"type": "http", "method": method, "scheme": "http", "path": path, "query_string": query}
        await self.application({**scope, "headers": headers}, receive, make_response)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])

    def push(self, text: str) -> bytes:
        """Let ``latest`` point at another image."""
        manifest = json.dumps(image(b"{}", annotations={"text": text})).encode()
        self.ask("POST", "/v2/a/blobs/uploads/", body=b"{}", query=f"digest={Digest.of(b'{}')}".encode())
        assert self.ask("PUT", PATH, body=manifest)[0] == 201
        return manifest


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """A registry on SQLite, which can tell whether anything was committed."""
    with asyncio.Runner() as runner:
        database = runner.run(open_database(tmp_path))
        storage = open_blob_store(tmp_path / "blobs")
        access, listener = TokenAccess(), Counter()
        registry = RegistryServices(database, storage, access, (listener,), Policy())
        yield Door(RegistryApplication(registry), runner, access, listener)
        runner.run(storage.close())
        runner.run(database.close())


def test_a_tag_that_moves(door: Door) -> None:
    """As soon as a push is acknowledged, everybody gets what it brought."""
    for number in range(5):
        manifest = door.push(f"{number}")

        assert door.ask("GET", PATH) == (200, manifest)
        assert door.ask("GET", PATH) == (200, manifest)


def test_a_tag_that_is_deleted(door: Door) -> None:
    """What was deleted is not served from memory."""
    door.push("one")
    assert door.ask("GET", PATH)[0] == 200

    door.ask("DELETE", PATH)

    assert door.ask("GET", PATH)[0] == 404


def test_head_and_get_have_their_own_answers(door: Door) -> None:
    """HEAD after GET has no body, GET after HEAD has one."""
    manifest = door.push("one")

    assert [door.ask(method, PATH) for method in ("HEAD", "GET", "HEAD", "GET")] == [
        (200, b""),
        (200, manifest),
        (200, b""),
        (200, manifest),
    ]


def test_another_credential_is_looked_at(door: Door) -> None:
    """What one token opened stays closed to a wrong one, and to none."""
    door.push("one")
    assert door.ask("GET", PATH)[0] == 200

    assert door.ask("GET", PATH, token="Bearer eve")[0] == 401
    assert door.ask("GET", PATH, token="")[0] == 401


def test_a_token_that_wears_out(door: Door) -> None:
    """A token that is no longer good opens nothing after LIFETIME, although nothing was committed."""
    door.push("one")
    assert door.ask("GET", PATH)[0] == 200

    door.access.good.remove("Bearer ann")
    time.sleep(LIFETIME)

    assert door.ask("GET", PATH)[0] == 401


def test_passwords_are_looked_at_every_time(door: Door) -> None:
    """Nothing is remembered for Basic credentials: there a guess costs an attempt."""
    door.push("one")
    assert door.ask("GET", PATH, token="Basic ann")[0] == 200

    door.access.good.remove("Basic ann")

    assert door.ask("GET", PATH, token="Basic ann")[0] == 401


def test_every_pull_is_told(door: Door) -> None:
    """The listener hears of each pull, with who it was, also where the answer was remembered."""
    door.push("one")

    for token in ("Bearer ann", "Bearer ben", "Bearer ann"):
        door.ask("GET", PATH, token=token)

    assert door.listener.pulls == ["ann", "ben", "ann"]


def taken(door: Door, method: str = "GET", *extra: tuple[bytes, bytes]) -> ReadyResponse | bool | None:
    """Return what the shortcut answers; False if the request takes none."""

    async def run() -> ReadyResponse | bool | None:
        answered: asyncio.Future[ReadyResponse | None] = asyncio.get_running_loop().create_future()

        def answer(response: ReadyResponse | None) -> bool:
            answered.set_result(response)
            return response is not None

        scope = {"type": "http", "method": method, "path": PATH, "query_string": b""}
        headers = [(b"authorization", b"Bearer ann"), *extra]
        if not door.application.shortcut({**scope, "headers": headers}, answer):
            return False
        response = await answered
        await asyncio.sleep(0)  # what follows the response
        return response

    return door.runner.run(run())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_shortcut_sends_what_the_application_sends(door: Door, method: str) -> None:
    """Body, user and length; only a GET counts as a pull, as without the shortcut."""
    manifest = door.push("one")
    assert taken(door, method) is False
    door.ask(method, PATH)
    pulls = len(door.listener.pulls)

    ready = taken(door, method)

    assert isinstance(ready, ReadyResponse)
    assert (ready.status, ready.user, ready.body) == (200, "ann", manifest if method == "GET" else b"")
    assert (b"content-length", b"%d" % len(manifest)) in ready.headers
    assert door.listener.pulls[pulls:] == (["ann"] if method == "GET" else [])


def test_a_shortcut_ends_with_the_next_push(door: Door) -> None:
    """The application gets the request, because the response may have changed."""
    door.push("one")
    door.ask("GET", PATH)
    door.push("two")

    assert taken(door) is None


@pytest.mark.parametrize("header", [*sorted(UNREADY), b"if-none-match", b"authorization"])
def test_requests_that_take_no_shortcut(door: Door, header: bytes) -> None:
    """Those with a body, those that a layer in front of the registry checks, and those with other responses."""
    door.push("one")
    door.ask("GET", PATH)

    assert taken(door, "GET", (header, b"0")) is False
    assert isinstance(taken(door), ReadyResponse)
