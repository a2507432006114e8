"""Behaviour that all routes of the hub share."""

import json
from typing import Any

import pytest
from sqlalchemy import text
from starlette.applications import Starlette
from tests.unit.hub.services import Services

from hythe.hub.routes.application import routes


def get(services: Services, path: str) -> tuple[int, bytes]:
    """Call the hub's routes directly; return status and body."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    path, _, query = path.partition("?")
    scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": []}
    services.run(Starlette(routes=routes(services.hub))(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("path", "field", "expected"),
    [
        ("/v1/search?q=a", "title", "Service Unavailable"),
        ("/api/v1/search?q=a", "title", "Service Unavailable"),
        ("/v2/search/repositories?query=a", "message", "the database is temporarily unavailable"),
    ],
)
def test_a_database_that_cannot_be_used(services: Services, path: str, field: str, expected: str) -> None:
    """An unavailable database is a 503 in the form of each API, not a server error."""

    async def spoil() -> None:
        async with services.database.writing() as session:
            await session.run(text("ALTER TABLE hub_repositories RENAME TO elsewhere"))

    services.run(spoil())

    status, body = get(services, path)

    assert (status, json.loads(body)[field]) == (503, expected)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("path", ["/v1/search?q=a", "/api/v1/search?q=a", "/v2/search/repositories?query=a", "/token"])
def test_unexpected_errors(services: Services, path: str, caplog: pytest.LogCaptureFixture) -> None:
    """The response is a 500 in the form of its API, with a number that leads to the details in the log."""

    async def spoil() -> None:
        async with services.database.writing() as session:
            await session.run(text("ALTER TABLE hub_repositories RENAME TO elsewhere"))
            await session.run(text("ALTER TABLE namespaces RENAME TO nowhere"))

    services.run(spoil())

    status, body = get(services, path if path != "/token" else "/token?scope=repository:ann/app:pull")

    answer = json.loads(body)
    assert status == 500
    assert "internal error" in answer["details" if path == "/token" else "detail"]
    number = caplog.records[-1].getMessage().removeprefix("unexpected error (").removesuffix(")")
    assert number in body.decode()
    assert caplog.records[-1].exc_info is not None
