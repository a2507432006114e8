"""Trusted Builds and webhooks of an organization's repository, run by a member with the role admin."""

from __future__ import annotations

from typing import Any

from tests.builds.forge_hub import ForgeHub, forge_hub
from tests.builds.services import PASSWORD, USER

__all__ = ["forge_hub"]

APP = "/api/v1/repositories/acme/app"


def _found_acme(forge_hub: ForgeHub) -> None:
    """Let olga own acme, and alice be a member whose team has the role admin on app; mallory is a plain member."""

    def olga(method: str, path: str, body: Any = None) -> Any:
        return forge_hub.call(method, path, body, user="olga")

    for name in ("olga", "mallory"):
        forge_hub.services.hub.create_user(name, PASSWORD)
    olga("POST", "/api/v1/organizations", {"name": "acme"})
    olga("PATCH", "/api/v1/organizations/acme", {"member_role": "read"})
    olga("POST", "/api/v1/repositories", {"namespace": "acme", "name": "app", "visibility": "private"})
    for name in (USER, "mallory"):
        olga("POST", "/api/v1/organizations/acme/invitations", {"username": name})
        [invitation] = forge_hub.call("GET", "/api/v1/invitations", user=name)["items"]
        forge_hub.call("POST", f"/api/v1/invitations/{invitation['id']}/accept", user=name)
    olga("POST", "/api/v1/organizations/acme/teams", {"name": "app"})
    olga("PUT", f"/api/v1/organizations/acme/teams/app/members/{USER}")
    olga("PUT", "/api/v1/organizations/acme/teams/app/grants", {"repositories": "app", "role": "admin"})


def test_a_member_with_the_role_admin_runs_builds_until_they_leave(forge_hub: ForgeHub) -> None:
    """They use their linked account, which the organization loses with them; builds and webhooks stay."""
    _found_acme(forge_hub)
    forge = forge_hub.forges["github"]
    git = forge_hub.services.git.create("src/acme-app")
    git.commit({"Dockerfile": "FROM scratch\n"}, "First")
    project = forge.add(git, private=True, admin=True)
    account = forge_hub.link("github")
    source = {"url": git.url, "forge": "github", "forge_repository": project.name, "linked_account_id": account["id"]}
    configuration = {"source": source, "rules": [{"source": "main"}]}

    plain = {"source": {"url": git.url}}
    refused, _ = forge_hub.try_call("POST", f"{APP}/build-configuration", plain, user="mallory")
    forge_hub.call("POST", f"{APP}/build-configuration", configuration)
    forge_hub.install_webhook(APP)
    forge_hub.call("POST", f"{APP}/webhooks", {"url": "https://receiver.example/hook"})
    [started] = forge_hub.call("POST", f"{APP}/builds", {})["items"]
    seen = forge_hub.call("GET", f"{APP}/builds", user="mallory")["items"]
    forge_hub.call("DELETE", "/api/v1/users/me/organizations/acme")
    left, _ = forge_hub.try_call("GET", f"{APP}/build-configuration")
    kept = forge_hub.call("GET", f"{APP}/build-configuration", user="olga")
    webhook = forge_hub.call("GET", f"{APP}/build-configuration/forge-webhook", user="olga")

    assert refused == 403
    assert [build["number"] for build in seen] == [started["number"]]
    assert left == 404
    assert kept["source"]["linked_account_id"] is None
    assert "left the organization" in webhook["problem"]
    assert len(forge_hub.call("GET", f"{APP}/webhooks", user="olga")["items"]) == 1
    assert forge_hub.try_call("POST", f"{APP}/builds", {}, user="olga")[0] < 300
    [own] = forge_hub.call("GET", "/api/v1/linked-accounts")["items"]
    assert own["id"] == account["id"]
