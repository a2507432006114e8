"""Three servers on one PostgreSQL and one S3, set up as docs/operating.md says, answer as one."""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from tests.builds.hand_worker import BY_HAND, HandWorker
from tests.parts.hub import HytheServer
from tests.parts.s3 import S3Server
from tests.security.registry_client import PASSWORD, RegistryClient, basic, bearer

from hythe.cli.main import main

pytestmark = pytest.mark.object_store

Servers = list[HytheServer]


@pytest.fixture
def environment(s3: S3Server, s3_bucket: str) -> dict[str, str]:
    """The settings that docs/operating.md asks for, the same on each server."""
    key = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
    return {**s3.env, **BY_HAND, "HYTHE_BLOB_STORE": f"s3://{s3_bucket}", "HYTHE_SECRET_KEY": key}


def configure_builds(url: str) -> str:
    """Configure builds of ann/app and return the path of its API."""
    path = "/api/v1/repositories/ann/app"
    body = {"source": {"url": "https://git.example.com/app"}, "secrets": {"TOKEN": "hush"}}
    assert httpx2.post(f"{url}{path}/build-configuration", json=body, headers=basic("ann")).status_code < 300
    return path


def push_across(servers: Servers, token: dict[str, str], content: bytes) -> int:
    """Push a blob in requests to different servers; return the status of the last one."""
    first, second, third = (server.url for server in servers)
    location = httpx2.post(f"{first}/v2/ann/pushed/blobs/uploads/", headers=token).headers["location"]
    for server, part in zip((second, third), (content[:7], content[7:]), strict=True):
        path = location.partition("/v2/")[2]
        answer = httpx2.patch(f"{server}/v2/{path}", content=part, headers=token, timeout=60)
        assert answer.status_code == 202, answer.text
        location = answer.headers["location"]
    path = location.partition("/v2/")[2]
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    more = "&" if "?" in path else "?"
    return httpx2.put(f"{first}/v2/{path}{more}digest={digest}", headers=token, timeout=60).status_code


def test_any_server_answers(
    start_hub: Callable[..., HytheServer], postgresql_url: str, environment: dict[str, str]
) -> None:
    """Accounts, sessions, tokens, pushes and builds: begun on one server and continued on the others."""
    servers = [start_hub(database_url=postgresql_url, env=environment) for _ in range(3)]
    urls = itertools.cycle([server.url for server in servers])
    servers[0].create_user("ann", PASSWORD)

    token = bearer(
        RegistryClient(servers[1].url).access_token(basic("ann"), "repository:ann/pushed:pull,push")["token"]
    )
    assert push_across(servers, token, b"a layer in three requests") == 201
    session = bearer(RegistryClient(servers[2].url).session("ann"))
    assert [httpx2.get(f"{server.url}/api/v1/users/me", headers=session).status_code for server in servers] == [200] * 3

    path = configure_builds(servers[0].url)
    trigger = httpx2.get(f"{next(urls)}{path}/build-configuration/trigger", headers=basic("ann")).json()["path"]
    assert {
        httpx2.get(f"{server.url}{path}/build-configuration/trigger", headers=basic("ann")).json()["path"]
        for server in servers
    } == {trigger}
    for _ in servers:
        assert httpx2.post(f"{next(urls)}{trigger}", json={}).status_code < 300
        claimed = HandWorker(next(urls)).claim()
        assert claimed is not None
        assert claimed["secrets"] == {"TOKEN": "hush"}
        HandWorker(next(urls)).finish(claimed)
    statuses = [httpx2.get(f"{server.url}{path}/builds", headers=basic("ann")).json() for server in servers]
    assert statuses[0] == statuses[1] == statuses[2]


WRONG = (
    ({"HYTHE_SECRET_KEY": ""}, "secret.key is missing, but the database has secrets that its key sealed: copy"),
    (
        {"HYTHE_SECRET_KEY": base64.b64encode(b"x" * 32).decode()},
        "secret_key is another key than that of this installation: copy secret.key from a server that works",
    ),
    ({"HYTHE_BLOB_STORE": ""}, "the blob store is another one than this database's: it has no marker"),
    ({"HYTHE_BLOB_STORE": "{bucket}/prefix"}, "the blob store is another one than this database's: it has no marker"),
)


def test_a_server_with_another_setting_does_not_start(
    start_hub: Callable[..., HytheServer],
    postgresql_url: str,
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A forgotten or mistyped setting is named, and leaves nothing that would be in the way of the right one."""
    start_hub(database_url=postgresql_url, env=environment)
    for change, words in WRONG:
        for name, value in {**environment, **change}.items():
            monkeypatch.setenv(name, value.format(bucket=environment["HYTHE_BLOB_STORE"]))

        code = main(["admin", "gc", "--data", str(tmp_path / "other"), "--database-url", postgresql_url])

        error = capsys.readouterr().err
        assert code == 2
        assert words in error
        assert error.count("hint: ") == 1
        assert not (tmp_path / "other/secret.key").exists()
        assert not (tmp_path / "other/blobs/installation").exists()
