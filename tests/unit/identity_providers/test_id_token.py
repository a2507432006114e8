"""ID tokens: what an attacker can send in place of the provider's, checked against a real issuer over HTTP."""

from __future__ import annotations

import asyncio
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from hythe.identity_providers.discovery import FRESH, MAX_KEYS, MIN_KEY_INTERVAL, PAUSE, STALE, Issuer, OpenHTTP
from hythe.identity_providers.errors import (
    IdentityProviderError,
    IdentityRejected,
    IdTokenRejected,
    ProviderUnavailable,
)
from hythe.identity_providers.http import MAX_SIZE, ProviderHTTP
from hythe.identity_providers.id_token import (
    CLOCK_SKEW,
    MAX_AGE,
    for_client,
    parse_id_token,
    require_new_sign_in,
    require_nonce,
    verify_id_token,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEY = RSAKey.generate_key(2048, {"kid": "one"})
OTHER = RSAKey.generate_key(2048, {"kid": "one"})
SECOND = RSAKey.generate_key(2048, {"kid": "second"})
ROTATED = ECKey.generate_key("P-256", {"kid": "two"})


@dataclass
class Server:
    """An issuer's two documents, and how often they were read."""

    url: str = ""
    keys: list[Any] = field(default_factory=lambda: [KEY])
    metadata: dict[str, Any] = field(default_factory=dict)
    padding: int = 0
    looks: int = 0
    reads: int = 0
    seconds: float = 0.0

    async def discovery(self, _request: web.Request) -> web.Response:
        self.looks += 1
        document = {"issuer": self.url, "jwks_uri": f"{self.url}/keys", "padding": "x" * self.padding}
        return web.json_response({**document, **self.metadata})

    async def jwks(self, _request: web.Request) -> web.Response:
        self.reads += 1
        return web.json_response({"keys": [key.as_dict(private=False) for key in self.keys]})


@dataclass
class Verifier:
    """Verifies the tokens of one issuer."""

    issuer: Issuer
    open_http: OpenHTTP

    async def claims(self, token: str) -> Any:
        """Return the claims of a valid token."""
        parsed = parse_id_token(token)
        await verify_id_token(parsed, self.issuer, self.open_http, for_client("hythe"), NOW)
        return parsed.claims


@asynccontextmanager
async def _verifier(server: Server) -> AsyncIterator[Verifier]:
    application = web.Application()
    application.router.add_get("/.well-known/openid-configuration", server.discovery)
    application.router.add_get("/keys", server.jwks)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession() as session:
        issuer = Issuer(server.url, "the company", lambda: server.seconds)
        yield Verifier(issuer, lambda: nullcontext(ProviderHTTP(session, "the company")))
    await runner.cleanup()


def _verifying(server: Server, check: Callable[[Verifier], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with _verifier(server) as verifier:
            return await check(verifier)

    return asyncio.run(run())


def _token(server: Server, key: Any = KEY, algorithm: str = "RS256", kid: str = "one", **changes: Any) -> str:
    at = int(NOW.timestamp())
    claims = {"iss": server.url, "aud": "hythe", "sub": "1", "iat": at, "exp": at + 300, "nonce": "n", **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({"alg": algorithm, "kid": kid}, claims, key, algorithms=[algorithm])


def _encoded(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _signed(header: dict[str, str], claims: str, secret: bytes) -> str:
    """Return a token that a library would not make."""
    signed = f"{_encoded(header)}.{claims}"
    signature = hmac.digest(secret, signed.encode(), "sha256") if secret else b""
    return f"{signed}.{urlsafe_b64encode(signature).decode().rstrip('=')}"


AT = int(NOW.timestamp())
FIRST = int(datetime.min.replace(tzinfo=UTC).timestamp())
LAST = int(datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp())
"""The extreme times of a datetime, in seconds."""
BAD_CLAIMS: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "another audience": {"aud": "other"},
    "several audiences without azp": {"aud": ["hythe", "other"]},
    "another party": {"aud": ["hythe", "other"], "azp": "other"},
    "expired": {"exp": AT - 61},
    "from the future": {"iat": AT + 61},
    "not valid yet": {"nbf": AT + 61},
    "as early as can be": {"exp": FIRST, "iat": FIRST, "nbf": FIRST},
    "issued as late as can be": {"exp": LAST, "iat": LAST},
    "valid as late as can be": {"exp": LAST, "nbf": LAST},
    "later than can be": {"exp": LAST + 1},
    "a huge number as expiry": {"exp": 10**400},
    "too old": {"iat": AT - int(MAX_AGE.total_seconds()) - 61},
    "no expiry": {"exp": None},
    "no number as expiry": {"exp": float("nan")},
    "a text as expiry": {"exp": "never"},
    "no subject": {"sub": None},
    "a number as subject": {"sub": 1},
    "a huge subject": {"sub": "x" * 256},
    "a subject with a control character": {"sub": "x\0"},
}


@pytest.mark.parametrize("changes", BAD_CLAIMS.values(), ids=BAD_CLAIMS)
def test_claims_that_are_refused(changes: dict[str, Any]) -> None:
    """Each claim that is missing or is for someone else, or another time, is refused."""
    server = Server()

    async def check(verifier: Verifier) -> None:
        with pytest.raises(IdentityRejected):
            await verifier.claims(_token(server, **changes))

    _verifying(server, check)


@pytest.mark.filterwarnings("ignore:Key size")
def test_signatures_that_are_refused() -> None:
    """No signature, another key, one that is too small or not for signatures, and HMAC with the public key."""
    small = RSAKey.generate_key(1024, {"kid": "small"})
    encryption = RSAKey.import_key({**SECOND.as_dict(private=False), "use": "enc"})
    server = Server(keys=[KEY, small, encryption])
    secret = KEY.as_pem(private=False)

    async def check(verifier: Verifier) -> None:
        good = _token(server)
        header, claims, signature = good.split(".")
        tampered = _token(server, sub="2").split(".")[1]
        forged = (
            _signed({"alg": "none", "kid": "one"}, claims, b""),
            _signed({"alg": "HS256", "kid": "one"}, claims, secret),
            _token(server, OTHER),
            _token(server, SECOND, kid="second"),
            f"{header}.{tampered}.{signature}",
            f"{header}.{claims}.",
            f"{_encoded({'alg': 'RS256', 'kid': 'one', 'crit': ['b64'], 'b64': False})}.{claims}.{signature}",
            f"{_encoded({'alg': 'ES256', 'kid': 'one'})}.{claims}.{signature}",
            _token(server, small, kid="small"),
            "",
            "no token",
            "a.b.c",
            f"{good}{'x' * 70_000}",
        )
        for token in forged:
            with pytest.raises(IdentityRejected):
                await verifier.claims(token)
        assert (await verifier.claims(good))["sub"] == "1"

    _verifying(server, check)


def test_times_within_the_clock_skew() -> None:
    """A minute between the clocks of hub and provider makes no difference; another nonce does."""
    server = Server()

    async def check(verifier: Verifier) -> None:
        for changes in ({"exp": AT - 59}, {"exp": LAST}, {"iat": AT + 59}, {"aud": ["hythe"], "azp": "hythe"}):
            claims = await verifier.claims(_token(server, **changes))
            require_nonce(claims, "n")
            with pytest.raises(IdentityRejected):
                require_nonce(claims, "m")

    _verifying(server, check)


WAITED = 300
"""Seconds for which a user was at the provider to confirm who they are."""
SIGN_IN_TIMES: dict[str, tuple[Any, bool]] = {
    "since the confirmation began": (AT - WAITED, True),
    "within the clock skew": (AT - WAITED - int(CLOCK_SKEW.total_seconds()), True),
    "before": (AT - WAITED - int(CLOCK_SKEW.total_seconds()) - 1, False),
    "as early as can be": (FIRST, False),
    "earlier than can be": (-(10**400), False),
    "not said": (None, False),
    "no number": ("now", False),
    "no finite number": (float("nan"), False),
}


@pytest.mark.parametrize(("signed_in_at", "accepted"), SIGN_IN_TIMES.values(), ids=SIGN_IN_TIMES)
def test_a_confirmation_needs_a_new_sign_in(signed_in_at: object, accepted: bool) -> None:
    """The provider says when the user signed in there; its clock may be a day behind the hub's."""
    now = NOW + timedelta(days=1)
    claims, began_at = {"iat": AT, "auth_time": signed_in_at}, now - timedelta(seconds=WAITED)

    with nullcontext() if accepted else pytest.raises(IdTokenRejected):
        require_new_sign_in(claims, began_at, now)


def test_rotated_keys_are_read_again_but_not_for_every_token() -> None:
    """An unknown key ID makes the hub read the keys once in a minute, whoever sends how many."""
    server = Server()

    async def check(verifier: Verifier) -> None:
        await verifier.claims(_token(server))
        server.keys = [KEY, ROTATED]
        server.seconds += MIN_KEY_INTERVAL + 1
        await verifier.claims(_token(server, ROTATED, "ES256", "two"))
        assert server.reads == 2
        for number in range(5):
            with pytest.raises(IdentityRejected):
                await verifier.claims(_token(server, OTHER, kid=f"unknown-{number}"))
        assert server.reads == 2

    _verifying(server, check)


def test_an_issuer_that_cannot_be_read() -> None:
    """Its keys are used for a while, and it is not asked again at once."""
    server = Server()

    async def check(verifier: Verifier) -> None:
        await verifier.claims(_token(server))
        server.metadata = {"jwks_uri": ""}
        for seconds in (FRESH + 1, 1, PAUSE + 1):
            server.seconds += seconds
            await verifier.claims(_token(server))
        assert server.looks == 3
        server.seconds += STALE
        with pytest.raises(ProviderUnavailable):
            await verifier.claims(_token(server))
        server.metadata, server.seconds = {}, server.seconds + PAUSE + 1
        await verifier.claims(_token(server))

    _verifying(server, check)


def test_a_look_for_which_there_is_no_room() -> None:
    """Cached keys are used, and the issuer is read as soon as there is room again."""
    server = Server()

    @asynccontextmanager
    async def full() -> AsyncIterator[ProviderHTTP]:
        raise ProviderUnavailable("too many issuers are being read")
        yield

    async def check(verifier: Verifier) -> None:
        with pytest.raises(ProviderUnavailable, match="too many"):
            await verifier.issuer.metadata(full)
        await verifier.claims(_token(server))
        server.seconds += FRESH + 1
        assert (await verifier.issuer.metadata(full)).issuer == server.url
        assert await verifier.issuer.keys("unknown", full) == ()
        await verifier.claims(_token(server))
        assert server.looks == 2
        server.seconds += STALE
        with pytest.raises(ProviderUnavailable, match="too many"):
            await verifier.issuer.metadata(full)

    _verifying(server, check)


@pytest.mark.parametrize(
    "server",
    [
        Server(metadata={"issuer": "https://evil.example"}),
        Server(metadata={"jwks_uri": "file:///etc/passwd"}),
        Server(metadata={"jwks_uri": 1}),
        Server(padding=MAX_SIZE),
        Server(keys=[KEY] * (MAX_KEYS + 1)),
    ],
    ids=["another issuer", "no URL of HTTP", "no text", "too large", "too many keys"],
)
def test_metadata_that_are_refused(server: Server) -> None:
    """What the issuer publishes about itself has bounds, and must be about itself."""

    async def check(verifier: Verifier) -> None:
        with pytest.raises(ProviderUnavailable):
            await verifier.issuer.metadata(verifier.open_http)

    _verifying(server, check)


def test_errors_have_a_message() -> None:
    """The root has a hint for the user where there is one."""
    assert str(IdentityProviderError("broken", "try again")) == "broken (try again)"
