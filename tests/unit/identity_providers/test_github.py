"""Sign-in by GitHub, against a stand-in of its OAuth pages and API as docs.github.com describes them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from aiohttp import web
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from hythe.egress.policy import EgressPolicy
from hythe.identity_providers.configured import open_identity_providers
from hythe.identity_providers.errors import IdentityRejected
from hythe.identity_providers.external_identity import ExternalIdentity
from hythe.identity_providers.port import AuthorizationRequest

NOW = datetime(2026, 11, 23, tzinfo=UTC)
REQUEST = AuthorizationRequest(
    state="state", nonce="nonce", verifier="v" * 43, redirect_uri="https://hub.example/sign-in/with/gh/authorized"
)
API: Mapping[str, Any] = {
    "/api/v3/user": {"id": 583231, "login": "Octocat"},
    "/api/v3/user/emails": [
        {"email": "old@example.com", "primary": False, "verified": True},
        {"email": "octocat@example.com", "primary": True, "verified": True},
    ],
    "/api/v3/user/orgs": [{"login": "acme"}],
    "/api/v3/user/teams": [{"slug": "core", "organization": {"login": "acme"}}],
}


class StandIn:
    """GitHub Enterprise, which gives one token for one code."""

    def __init__(self) -> None:
        self.challenge = ""

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form["code"] != "good" or create_s256_code_challenge(str(form["code_verifier"])) != self.challenge:
            return web.json_response({"error": "bad_verification_code", "error_description": "incorrect or expired"})
        assert (form["client_id"], form["client_secret"]) == ("id", "se/cret")
        assert form["redirect_uri"] == REQUEST.redirect_uri
        return web.json_response({"access_token": "gho_x", "scope": "read:org", "token_type": "bearer"})

    async def api(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer gho_x"
        assert request.headers["User-Agent"]
        return web.json_response(API[request.path])


def _identify(response: dict[str, str]) -> ExternalIdentity:
    async def run() -> ExternalIdentity:
        stand_in, application = StandIn(), web.Application()
        application.router.add_post("/login/oauth/access_token", stand_in.token)
        for path in API:
            application.router.add_get(path, stand_in.api)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        setting = f"gh=github+http://id:se%2Fcret@127.0.0.1:{runner.addresses[0][1]}?team=acme/core:acme/core"
        try:
            async with open_identity_providers(setting, EgressPolicy()) as providers:
                provider = providers.all[0]
                query = dict(parse_qsl(urlsplit(await provider.authorization_url(REQUEST)).query))
                assert (query["client_id"], query["state"]) == ("id", "state")
                assert not provider.proves_sign_in
                assert "read:org" in query["scope"]
                stand_in.challenge = query["code_challenge"]
                return await provider.identify(response, REQUEST, NOW)
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def test_a_user_of_github() -> None:
    """The number identifies the user, because the name can change; groups are organizations and teams."""
    found = _identify({"code": "good", "state": "state"})

    assert (found.subject, found.user_name) == ("583231", "octocat")
    assert (found.email, found.email_verified) == ("octocat@example.com", True)
    assert found.groups == {"acme", "acme/core"}


@pytest.mark.parametrize("response", [{"code": "bad"}, {"error": "access_denied"}, {}])
def test_a_refusal_of_github(response: dict[str, str]) -> None:
    """GitHub reports a bad code with status 200; users who click Cancel come back with an error."""
    with pytest.raises(IdentityRejected):
        _identify(response)
