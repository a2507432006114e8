"""Logins of engines to an account with two-factor authentication: refused by password with a reason, good by token."""

from __future__ import annotations

import httpx2
import pyotp
import pytest
from tests.parts.engines import ContainersTool, Docker
from tests.parts.hub import HytheServer
from tests.parts.hythe_client import HytheClient

pytestmark = pytest.mark.clients

PASSWORD = "correct horse"


def test_engines_say_that_a_token_is_needed(
    hub: HytheServer, docker: Docker, podman: ContainersTool, skopeo: ContainersTool, hythe: HytheClient
) -> None:
    """Docker and hythe print why and where to make a token; podman and skopeo print nothing of any refusal."""
    hub.create_user("ann", PASSWORD)
    api = httpx2.Client(base_url=f"{hub.url}/api/v1", auth=("ann", PASSWORD))
    token = api.post("/tokens", json={"name": "ci", "rights": ["repo:read", "repo:write"]}).json()["token"]
    app = api.post("/users/me/second-factors/app/new").json()
    code = pyotp.TOTP(app["secret"]).now()
    activated = api.put("/users/me/second-factors/app", json={"state": app["state"], "code": code})
    assert len(activated.json()["recovery_codes"]) == 10
    assert api.get("/users/me").status_code == 401
    for tool in (podman, skopeo):
        tool.allow_http(hub.host)

    refused = {
        "docker": docker.run("login", "-u", "ann", "-p", PASSWORD, hub.host),
        "podman": podman.login(hub.host, "ann", PASSWORD),
        "skopeo": skopeo.login(hub.host, "ann", PASSWORD),
        "hythe": hythe.run("login", "-u", "ann", "--password", PASSWORD, hub.host),
    }
    for name, result in refused.items():
        words = result.stdout + result.stderr
        assert result.returncode != 0, name
        if name in ("docker", "hythe"):
            assert "personal access token" in words, (name, words)
            assert "/account/tokens" in words, (name, words)
    assert docker.run("login", "-u", "ann", "-p", token, hub.host).returncode == 0
    for tool in (podman, skopeo):
        assert tool.login(hub.host, "ann", token).returncode == 0
    hythe.ok("login", "-u", "ann", "--password", token, hub.host)

    login = httpx2.post(f"{hub.url}/v2/users/login", json={"username": "ann", "password": PASSWORD})
    assert login.status_code == 401
    body = {"login_2fa_token": login.json()["login_2fa_token"], "code": activated.json()["recovery_codes"][0]}
    second = httpx2.post(f"{hub.url}/v2/users/2fa-login", json=body)
    bearer = {"Authorization": f"Bearer {second.json()['token']}"}
    assert httpx2.get(f"{hub.url}/api/v1/users/me", headers=bearer).json()["username"] == "ann"
    sign_in = {"username": "ann", "password": PASSWORD}
    assert "otp" in httpx2.post(f"{hub.url}/api/v1/sessions", json=sign_in).json()["hint"]
    again = httpx2.post(f"{hub.url}/api/v1/sessions", json=sign_in | {"otp": activated.json()["recovery_codes"][1]})
    assert again.status_code == 201
