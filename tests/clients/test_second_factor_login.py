"""Logins of engines to an account with two-factor authentication: refused by password with a reason, good by token."""

from __future__ import annotations

from pathlib import Path

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
    recovery_codes = _set_up_app(api)
    assert len(recovery_codes) == 10
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
    body = {"login_2fa_token": login.json()["login_2fa_token"], "code": recovery_codes[0]}
    second = httpx2.post(f"{hub.url}/v2/users/2fa-login", json=body)
    bearer = {"Authorization": f"Bearer {second.json()['token']}"}
    assert httpx2.get(f"{hub.url}/api/v1/users/me", headers=bearer).json()["username"] == "ann"
    sign_in = {"username": "ann", "password": PASSWORD}
    assert "otp" in httpx2.post(f"{hub.url}/api/v1/sessions", json=sign_in).json()["hint"]
    again = httpx2.post(f"{hub.url}/api/v1/sessions", json=sign_in | {"otp": recovery_codes[1]})
    assert again.status_code == 201


def _set_up_app(api: httpx2.Client) -> list[str]:
    """Set up an authenticator app for the account of the client; return its recovery codes."""
    app = api.post("/users/me/second-factors/app/new").json()
    code = pyotp.TOTP(app["secret"]).now()
    activated = api.put("/users/me/second-factors/app", json={"state": app["state"], "code": code})
    codes: list[str] = activated.json()["recovery_codes"]
    return codes


def test_an_organization_that_requires_a_second_factor(
    hub: HytheServer, docker: Docker, podman: ContainersTool, busybox_tar: Path
) -> None:
    """A member without one logs in, and the push is refused with what to do; with an app and a token, it works."""
    clients = {}
    for name in ("ann", "max"):
        hub.create_user(name, PASSWORD)
        clients[name] = httpx2.Client(base_url=f"{hub.url}/api/v1", auth=(name, PASSWORD))
    owner, member = clients["ann"], clients["max"]
    owner_token = owner.post("/tokens", json={"name": "api", "rights": ["account", "repo:admin"]}).json()["token"]
    assert owner.post("/organizations", json={"name": "acme"}).is_success
    assert owner.post("/organizations/acme/invitations", json={"username": "max"}).is_success
    assert member.post("/invitations/1/accept").is_success
    _set_up_app(owner)
    settings = {"require_second_factor": True, "member_role": "write", "members_create": True}
    as_owner = {"Authorization": f"Bearer {owner_token}"}
    changed = httpx2.patch(f"{hub.url}/api/v1/organizations/acme", json=settings, headers=as_owner)
    assert changed.is_success, changed.text
    podman.allow_http(hub.host)
    image = f"{hub.host}/acme/app"
    docker.import_image(busybox_tar, image)
    podman.ok("import", "--quiet", busybox_tar, image)

    assert docker.login(hub.host, "max", PASSWORD).returncode == 0
    assert podman.login(hub.host, "max", PASSWORD).returncode == 0
    refused = {"docker": docker.run("push", image), "podman": podman.run("push", image)}

    for name, pushed in refused.items():
        assert pushed.returncode != 0, name
        words = pushed.stdout + pushed.stderr
        assert "acme requires two-factor authentication" in words, (name, words)
        assert "personal access token" in words, (name, words)
    token = member.post("/tokens", json={"name": "ci", "rights": ["repo:read", "repo:write"]}).json()["token"]
    assert _set_up_app(member)
    assert docker.login(hub.host, "max", token).returncode == 0
    assert podman.login(hub.host, "max", token).returncode == 0
    docker.ok("push", image)
    podman.ok("push", image, f"{image}:podman")
