"""Guesses at one account from many addresses, through every door that takes a password."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zlib import crc32

import pytest
from tests.parts.hub import HUB, HytheServer, server_factory
from tests.security.registry_client import PASSWORD, RegistryClient, basic

HOME = {"X-Forwarded-For": "198.51.100.7"}
MOST_CHECKED = 40
"""20 guesses are free; in the seconds of a test few more are possible."""

DOORS = ("token", "token form", "registry", "api", "docker hub", "index", "page")


def guess(client: RegistryClient, door: str, name: str, number: int) -> int:
    """Try a wrong password from another address each time; return the status."""
    wrong = f"wrong-{number}"
    sender = {"X-Forwarded-For": f"10.{crc32(name.encode()) % 250}.{number // 250}.{number % 250}"}
    both = {**basic(name, wrong), **sender}
    match door:
        case "token":
            return client.status("GET", "/token", both)
        case "token form":
            form = {"grant_type": "password", "username": name, "password": wrong, "service": "hub"}
            return client.status("POST", "/token", sender, data=form)
        case "registry":
            return client.status("GET", "/v2/", both)
        case "api":
            return client.status("GET", "/api/v1/users/me", both)
        case "docker hub":
            return client.status("POST", "/v2/users/login", sender, json={"username": name, "password": wrong})
        case "index":
            return client.status("GET", "/v1/users/", both)
    page = client.send("GET", "/sign-in", sender)
    token = page.text.partition('name="form_token" value="')[2].partition('"')[0]
    cookies = {"Cookie": "; ".join(f"{key}={value}" for key, value in page.cookies.items())}
    form = {"username": name, "password": wrong, "form_token": token}
    return client.status("POST", "/sign-in", {**sender, **cookies}, data=form)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HytheServer]:
    """A hub behind a proxy that reports clients' addresses."""
    with server_factory(tmp_path_factory.mktemp("guesses"), HUB) as start:
        yield start(["--trusted-proxies", "127.0.0.1"], env={"HYTHE_BUILDS_WORKERS": "0"})


@pytest.fixture
def client(hub: HytheServer) -> RegistryClient:
    """Requests to the hub."""
    return RegistryClient(hub.url)


def account(hub: HytheServer, client: RegistryClient, name: str) -> str:
    """Create an account that has signed in from home; return its name."""
    hub.create_user(name, PASSWORD)
    assert client.status("GET", "/token", {**basic(name), **HOME}) == 200
    return name


def test_600_guesses_from_60_addresses(hub: HytheServer, client: RegistryClient) -> None:
    """Nearly all of them are refused unchecked, through all doors together; ann signs in from home meanwhile."""
    account(hub, client, "ann")
    with ThreadPoolExecutor(8) as pool:
        tried = [pool.submit(guess, client, DOORS[n % len(DOORS)], "ann", n % 60) for n in range(600)]
        time.sleep(1)
        begun = time.monotonic()
        assert client.status("GET", "/token", {**basic("ann"), **HOME}) == 200
        assert time.monotonic() - begun < 10
        statuses = [each.result() for each in tried]

    assert set(statuses) == {401, 429}
    assert statuses.count(401) <= MOST_CHECKED
    assert client.status("GET", "/token", {**basic("ann"), **HOME}) == 200


@pytest.mark.parametrize("door", DOORS)
def test_every_door_counts(hub: HytheServer, client: RegistryClient, door: str) -> None:
    """Each way to send a password counts for the account, and says when to try again."""
    name = account(hub, client, f"owner-{DOORS.index(door)}")

    statuses = [guess(client, door, name, number) for number in range(30)]

    assert statuses[:20] == [401] * 20
    assert 429 in statuses[20:]
    # On a slow machine the time to wait may have passed; each guess doubles it.
    replies = [
        client.send("GET", "/token", {**basic(name, "wrong"), "X-Forwarded-For": f"203.0.113.{number}"})
        for number in range(5)
    ]
    assert any(reply.status_code == 429 and int(reply.headers["Retry-After"]) > 0 for reply in replies)


def test_servers_count_together(postgresql_url: str, start_hub: Callable[..., HytheServer], tmp_path: Path) -> None:
    """An attacker gains nothing by spreading guesses over the servers of one hub, nor by waiting for a restart."""
    env = {"HYTHE_BUILDS_WORKERS": "0", "HYTHE_SECRET_KEY": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="}
    flags = ["--trusted-proxies", "127.0.0.1"]
    data = tmp_path / "data"
    servers = [start_hub(env=env, arguments=flags, database_url=postgresql_url, data=data) for _ in "123"]
    servers[0].create_user("ann", PASSWORD)
    clients = [RegistryClient(server.url) for server in servers]

    from_one = [clients[number % 3].status("GET", "/token", {**basic("ann", "wrong"), **HOME}) for number in range(15)]
    statuses = [guess(clients[number % 3], "token", "ann", number) for number in range(40)]
    servers[0].restart()

    assert from_one == [401] * 10 + [429] * 5
    assert statuses.count(401) < 30
    assert clients[0].status("GET", "/token", {**basic("ann"), **HOME}) == 429


def test_names_that_do_not_exist_are_no_different(hub: HytheServer, client: RegistryClient) -> None:
    """The same statuses come back for a name that no account has."""
    account(hub, client, "ben")

    known, unknown = ([guess(client, "token", name, n) for n in range(22)] for name in ("ben", "ghost"))

    assert known[:21] == unknown[:21] == [401] * 20 + [429]
