"""ID tokens: what an attacker can send in place of the provider's, checked against a real issuer over HTTP."""

from __future__ import annotations

import asyncio
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from hythe.identity_providers.discovery import MIN_KEY_INTERVAL, Issuer
from hythe.identity_providers.errors import IdentityProviderError, IdentityRejected, ProviderUnavailable
from hythe.identity_providers.http import MAX_SIZE, ProviderHTTP
from hythe.identity_providers.id_token import require_nonce, verified_claims

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEY = RSAKey.generate_key(2048, {"kid": "one"})
OTHER = RSAKey.generate_key(2048, {"kid": "one"})
ROTATED = ECKey.generate_key("P-256", {"kid": "two"})


@dataclass
class Server:
    """An issuer's two documents, and how often its keys were read."""

    url: str = ""
    keys: list[Any] = field(default_factory=lambda: [KEY])
    metadata: dict[str, Any] = field(default_factory=dict)
    padding: int = 0
    reads: int = 0
    seconds: float = 0.0

    async def discovery(self, _request: web.Request) -> web.Response:
        document = {"issuer": self.url, "jwks_uri": f"{self.url}/keys", "padding": "x" * self.padding}
        return web.json_response({**document, **self.metadata})

    async def jwks(self, _request: web.Request) -> web.Response:
        self.reads += 1
        return web.json_response({"keys": [key.as_dict(private=False) for key in self.keys]})


@asynccontextmanager
async def _issuer(server: Server) -> AsyncIterator[Issuer]:
    application = web.Application()
    application.router.add_get("/.well-known/openid-configuration", server.discovery)
    application.router.add_get("/keys", server.jwks)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession() as session:
        yield Issuer(ProviderHTTP(session, "the company"), server.url, "the company", lambda: server.seconds)
    await runner.cleanup()


def _with_issuer(server: Server, check: Callable[[Issuer], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with _issuer(server) as issuer:
            return await check(issuer)

    return asyncio.run(run())


def _token(server: Server, key: Any = KEY, algorithm: str = "RS256", kid: str = "one", **changes: Any) -> str:
    at = int(NOW.timestamp())
    claims = {"iss": server.url, "aud": "hythe", "sub": "1", "iat": at, "exp": at + 300, "nonce": "n", **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({"alg": algorithm, "kid": kid}, claims, key, algorithms=[algorithm])


def _signed(header: dict[str, str], claims: str, secret: bytes) -> str:
    """Return a token that a library would not make."""
    signed = f"{urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip('=')}.{claims}"
    signature = hmac.digest(secret, signed.encode(), "sha256") if secret else b""
    return f"{signed}.{urlsafe_b64encode(signature).decode().rstrip('=')}"


AT = int(NOW.timestamp())
BAD_CLAIMS: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "another audience": {"aud": "other"},
    "several audiences without azp": {"aud": ["hythe", "other"]},
    "another party": {"aud": ["hythe", "other"], "azp": "other"},
    "expired": {"exp": AT - 61},
    "from the future": {"iat": AT + 61},
    "not valid yet": {"nbf": AT + 61},
    "no expiry": {"exp": None},
    "a text as expiry": {"exp": "never"},
    "no subject": {"sub": None},
    "a number as subject": {"sub": 1},
    "a huge subject": {"sub": "x" * 256},
}


@pytest.mark.parametrize("changes", BAD_CLAIMS.values(), ids=BAD_CLAIMS)
def test_claims_that_are_refused(changes: dict[str, Any]) -> None:
    """Each claim that is missing or is for someone else, or another time, is refused."""
    server = Server()

    async def check(issuer: Issuer) -> None:
        with pytest.raises(IdentityRejected):
            await verified_claims(_token(server, **changes), issuer, "hythe", NOW)

    _with_issuer(server, check)


def test_signatures_that_are_refused() -> None:
    """No signature, another key, and HMAC with the public key as the secret."""
    server = Server()
    secret = KEY.as_pem(private=False)

    async def check(issuer: Issuer) -> None:
        good = _token(server)
        header, claims, signature = good.split(".")
        tampered = _token(server, sub="2").split(".")[1]
        forged = (
            _signed({"alg": "none", "kid": "one"}, claims, b""),
            _signed({"alg": "HS256", "kid": "one"}, claims, secret),
            _token(server, OTHER),
            f"{header}.{tampered}.{signature}",
            f"{header}.{claims}.",
            "",
            "no token",
            "a.b.c",
            f"{good}{'x' * 70_000}",
        )
        for token in forged:
            with pytest.raises(IdentityRejected):
                await verified_claims(token, issuer, "hythe", NOW)
        assert (await verified_claims(good, issuer, "hythe", NOW))["sub"] == "1"

    _with_issuer(server, check)


def test_times_within_the_clock_skew() -> None:
    """A minute between the clocks of hub and provider makes no difference; another nonce does."""
    server = Server()

    async def check(issuer: Issuer) -> None:
        for changes in ({"exp": AT - 59}, {"iat": AT + 59}, {"aud": ["hythe"], "azp": "hythe"}):
            claims = await verified_claims(_token(server, **changes), issuer, "hythe", NOW)
            require_nonce(claims, "n")
            with pytest.raises(IdentityRejected):
                require_nonce(claims, "m")

    _with_issuer(server, check)


def test_rotated_keys_are_read_again_but_not_for_every_token() -> None:
    """An unknown key ID makes the hub read the keys once in a minute, whoever sends how many."""
    server = Server()

    async def check(issuer: Issuer) -> None:
        await verified_claims(_token(server), issuer, "hythe", NOW)
        server.keys = [KEY, ROTATED]
        server.seconds += MIN_KEY_INTERVAL + 1
        await verified_claims(_token(server, ROTATED, "ES256", "two"), issuer, "hythe", NOW)
        assert server.reads == 2
        for number in range(5):
            with pytest.raises(IdentityRejected):
                await verified_claims(_token(server, OTHER, kid=f"unknown-{number}"), issuer, "hythe", NOW)
        assert server.reads == 2

    _with_issuer(server, check)


@pytest.mark.parametrize(
    "server",
    [
        Server(metadata={"issuer": "https://evil.example"}),
        Server(metadata={"jwks_uri": "file:///etc/passwd"}),
        Server(metadata={"jwks_uri": 1}),
        Server(padding=MAX_SIZE),
    ],
    ids=["another issuer", "no URL of HTTP", "no text", "too large"],
)
def test_metadata_that_are_refused(server: Server) -> None:
    """What the issuer publishes about itself has bounds, and must be about itself."""

    async def check(issuer: Issuer) -> None:
        with pytest.raises(ProviderUnavailable):
            await issuer.metadata()

    _with_issuer(server, check)


def test_errors_have_a_message() -> None:
    """The root has a hint for the user where there is one."""
    assert str(IdentityProviderError("broken", "try again")) == "broken (try again)"
