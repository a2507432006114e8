"""Which Host headers name a server, and what that costs."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hythe.server import browser_protection
from hythe.server.browser_protection import CACHE_SIZE, HostNames, KnownHosts, OwnPagesOnly, is_public
from hythe.settings import Settings

LOOPBACK = ("127.0.0.1", 5000)
NETWORK = ("0.0.0.0", 5000)
OWN = socket.gethostname().partition(".")[0]

ALWAYS = [
    *("localhost", "localhost:5000", "LOCALHOST", "localhost.", "localhost.:80", "my.localhost:5000"),
    *("127.0.0.1:5000", "127.9.9.9", "10.0.0.5:5000", "203.0.113.7", "0.0.0.0:5000", "127.1", "0x7f.1", "2130706433"),
    *("[::1]:5000", "[::1]", "[fe80::1%25eth0]:5000", "[2001:db8::1]", "[::ffff:127.0.0.1]:80"),
    *(OWN, f"{OWN}:5000", f"{OWN.upper()}.local", "localhost.localdomain:5000"),
]
ON_NETWORKS = [
    *("registry:5000", "my_registry", "host.docker.internal:5000", "host.containers.internal", "registry.local"),
    *("registry.default.svc:5000", "registry.default.svc.cluster.local.", "nas.lan", "nas.home.arpa", "r.localdomain"),
]
NEVER = [
    *("evil.example", "evil.com:5000", "localhost.evil.com", "127.0.0.1.evil.com", "evil.com.", "EVIL.com"),
    *(
        "localhost.com",
        "notlocalhost.com",
        "evil.com:80:80",
        "registry.dev",
        "registry.prod",
        "x.arpa",
        "127.0.0.1.nip.io",
    ),
    *(
        "[evil.com]",
        "[::1].evil.com",
        "[",
        "[]",
        "a@localhost",
        "localhost/evil",
        "evil.com?localhost",
        "xn--lcalhost-9ij.com",
    ),
]


@pytest.mark.parametrize("host", ALWAYS)
@pytest.mark.parametrize("address", [LOOPBACK, NETWORK, ("::1", 5000), ("::", 5000)])
def test_names_that_no_stranger_has(host: str, address: tuple[str, int]) -> None:
    """Addresses, localhost and the machine's names need no setting, in every spelling."""
    assert HostNames(Settings(), address).contain(host)


@pytest.mark.parametrize("host", ON_NETWORKS)
def test_names_of_local_networks(host: str) -> None:
    """Clients in a cluster or a local network use them; a server on loopback is not reached by them."""
    assert HostNames(Settings(), NETWORK).contain(host)
    assert HostNames(Settings(), ("fd00::5", 5000)).contain(host)
    for address in (LOOPBACK, ("127.8.8.8", 5000), ("::1", 5000), ("::ffff:127.0.0.1", 5000)):
        assert not HostNames(Settings(), address).contain(host)


@pytest.mark.parametrize("host", NEVER)
@pytest.mark.parametrize("address", [LOOPBACK, NETWORK])
def test_names_that_a_stranger_can_have(host: str, address: tuple[str, int]) -> None:
    """Names in the public DNS, and texts that are no names."""
    assert not HostNames(Settings(), address).contain(host)


@pytest.mark.parametrize(
    ("setting", "host", "known"),
    [
        ("registry.example.com", "registry.example.com:5000", True),
        ("registry.example.com", "other.example.com", False),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("a.example  B.example", "b.EXAMPLE.", True),
        ("*", "anything.example", True),
    ],
)
def test_allowed_hosts(setting: str, host: str, *, known: bool) -> None:
    """Names, and all names below a domain."""
    assert HostNames(Settings(allowed_hosts=setting), LOOPBACK).contain(host) is known


def test_the_public_url_is_known() -> None:
    """Its port does not matter: a proxy can pass on another one."""
    names = HostNames(Settings(public_url="https://Hub.example.com:8443/"), LOOPBACK)

    assert names.contain("hub.example.com")
    assert names.contain("HUB.example.com:5000")
    assert not names.contain("example.com")


def test_names_in_the_hosts_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only for a server on loopback: other machines have other files."""
    file = tmp_path / "hosts"
    file.write_text("127.0.0.1 localhost\n127.0.0.1\tregistry.example Alias # not.this\n# 127.0.0.1 nor.this\n\n::1\n")
    monkeypatch.setattr(browser_protection, "HOSTS_FILE", file)
    here = HostNames(Settings(), LOOPBACK)

    assert [here.contain(name) for name in ("registry.example:80", "alias", "not.this", "nor.this")] == [
        *(True, True, False, False)
    ]
    assert not HostNames(Settings(), NETWORK).contain("registry.example")


@given(st.text(max_size=30))
def test_any_header_is_decided(host: str) -> None:
    """No text raises, and what is accepted is no name of the public DNS."""
    for address in (LOOPBACK, NETWORK):
        if HostNames(Settings(), address).contain(host):
            name = browser_protection.name_of(host)
            assert name.startswith("[") or not is_public(name) or name[-1].isdigit() or "0x" in name


def respond(headers: list[tuple[bytes, bytes]], path: str = "/v2/_catalog") -> tuple[int, str]:
    """Send a request through both protections; 200 if it is passed on."""
    sent: list[Any] = []

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        sent.append(message)

    protected = KnownHosts(OwnPagesOnly(application, "https://hub.example"), HostNames(Settings(), LOOPBACK))
    scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
    asyncio.run(protected(scope, None, send))  # type: ignore[arg-type]
    return sent[0]["status"], sent[1]["body"].decode()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 200),
        ([(b"host", b"localhost")], 200),
        ([(b"host", b"localhost"), (b"host", b"evil.com")], 403),
        ([(b"host", b"evil.com"), (b"host", b"localhost")], 403),
        ([(b"host", b"\xff")], 403),
        ([(b"host", b"localhost:5000"), (b"origin", b"http://localhost:5000")], 200),
        ([(b"host", b"LOCALHOST:5000"), (b"origin", b"http://localhost:5000")], 200),
        ([(b"host", b"localhost:5000"), (b"origin", b"http://localhost:5001")], 403),
        ([(b"host", b"localhost:5000"), (b"origin", b"https://hub.example")], 200),
        ([(b"host", b"localhost:5000"), (b"origin", b"null")], 403),
        ([(b"host", b"localhost:5000"), (b"origin", b"")], 403),
        ([(b"origin", b"http://evil.com")], 403),
        ([(b"host", b"localhost"), (b"sec-fetch-site", b"cross-site")], 403),
        ([(b"host", b"localhost"), (b"sec-fetch-site", b"same-site"), (b"sec-fetch-mode", b"navigate")], 403),
        ([(b"host", b"localhost"), (b"sec-fetch-site", b"none")], 200),
        ([(b"host", b"localhost"), (b"sec-fetch-site", b"same-origin"), (b"origin", b"http://localhost")], 200),
        ([(b"host", b"localhost"), (b"sec-fetch-site", b"new-value")], 403),
        ([(b"host", b"localhost"), (b"sec-fetch-site", b"cross-site"), (b"sec-fetch-site", b"none")], 403),
        ([(b"host", b"localhost"), (b"sec-fetch-site", b"none"), (b"sec-fetch-site", b"cross-site")], 403),
        ([(b"host", b"localhost"), (b"origin", b"http://evil.com"), (b"origin", b"http://localhost")], 403),
    ],
)
def test_requests(headers: list[tuple[bytes, bytes]], status: int) -> None:
    """Each header is decided, also one that is sent twice."""
    assert respond(headers)[0] == status


def test_the_refusal_names_the_setting() -> None:
    """It is an error of the protocol, and shows the name only if it is one."""
    status, body = respond([(b"host", b"Hub.Example.com:5000")])
    error = json.loads(body)["errors"][0]

    assert (status, error["code"]) == (403, "DENIED")
    assert error["message"].endswith("with --allowed-hosts hub.example.com")
    assert "\x1b" not in respond([(b"host", b"\x1b[31mevil.com")])[1]
    assert len(respond([(b"host", b"x" * 9000 + b".com")])[1]) < 300


def test_clients_reach_the_request_whose_refusal_they_show() -> None:
    """podman and skopeo do not show why GET /v2/ is refused; its response contains nothing."""
    assert respond([(b"host", b"evil.com")], "/v2/")[0] == 200
    assert respond([(b"host", b"evil.com"), (b"origin", b"http://evil.com:1")], "/v2/")[0] == 403
    assert [respond([(b"host", b"evil.com")], path)[0] for path in ("/v2", "/v2//", "/", "/v2/x")] == [403] * 4


def test_the_cache_is_bounded() -> None:
    """A client that invents names fills no memory."""

    async def application(*_: Any) -> None:
        pass

    protected = KnownHosts(application, HostNames(Settings(allowed_hosts="*"), LOOPBACK))
    for number in range(3 * CACHE_SIZE):
        scope = {"type": "http", "method": "GET", "path": "/v2/", "headers": [(b"host", b"%d.example" % number)]}
        asyncio.run(protected(scope, None, None))  # type: ignore[arg-type]

    assert len(protected._known) <= CACHE_SIZE
