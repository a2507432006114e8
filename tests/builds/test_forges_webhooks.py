"""Webhooks and deploy keys at the forges: installed, shown to paste, and removed again."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from tests.builds.forge_hub import ForgeHub, eventually, forge_hub
from tests.parts.forges import KINDS

__all__ = ["forge_hub"]


@pytest.mark.parametrize("kind", list(KINDS))
def test_private_code_gets_a_read_only_deploy_key(forge_hub: ForgeHub, kind: str) -> None:
    """The webhook and the deploy key are installed, and builds clone over SSH."""
    connected = forge_hub.connect(kind, f"private-{kind}", private=True)

    [key] = connected.project.deploy_keys.values()
    configuration = forge_hub.call("GET", f"{connected.path}/build-configuration")
    assert connected.webhook["installed"]
    assert connected.webhook["key_installed"]
    assert key["key"] == connected.webhook["public_key"]
    assert configuration["source"]["url"].startswith("ssh://git@127.0.0.1/src/private")


@pytest.mark.parametrize("kind", list(KINDS))
def test_without_permissions_the_values_are_shown_to_paste(forge_hub: ForgeHub, kind: str) -> None:
    """A user who does not administer the project gets the URL, the secret and the public key."""
    connected = forge_hub.connect(kind, f"lacking-{kind}", private=True, admin=False)

    webhook = connected.webhook
    assert not webhook["installed"]
    assert not webhook["key_installed"]
    assert webhook["url"].startswith(f"{forge_hub.services.hub.url}/hooks/")
    assert len(webhook["secret"]) >= 32
    assert webhook["public_key"].startswith("ssh-ed25519 ")
    assert "the webhook: " in webhook["problem"]
    assert "the deploy key: " in webhook["problem"]


def test_a_second_installation_adds_what_is_missing(forge_hub: ForgeHub) -> None:
    """With the permissions granted later, the same webhook is installed, and only once."""
    connected = forge_hub.connect("github", "later", admin=False)
    connected.project.admin = True

    webhooks = [forge_hub.install_webhook(connected.path) for _ in range(2)]

    assert [webhook["installed"] for webhook in webhooks] == [True, True]
    assert connected.installed["url"] == connected.webhook["url"]
    assert connected.installed["secret"] == connected.webhook["secret"]


@pytest.mark.parametrize("kind", list(KINDS))
def test_unlinking_removes_everything_at_the_forge(forge_hub: ForgeHub, kind: str) -> None:
    """The webhook and the deploy key are removed; the reply names the pasted token, which the hub cannot revoke."""
    connected = forge_hub.connect(kind, f"unlinked-{kind}", private=True)

    report = forge_hub.call("DELETE", f"/api/v1/linked-accounts/{connected.account['id']}")

    assert connected.project.webhooks == {}
    assert connected.project.deploy_keys == {}
    assert f"the webhook of src/unlinked-{kind}" in report["removed"]
    assert f"the deploy key of src/unlinked-{kind}" in report["removed"]
    assert len(report["remaining"]) == 1
    assert "token" in report["remaining"][0]
    assert connected.account["id"] not in [
        account["id"] for account in forge_hub.call("GET", "/api/v1/linked-accounts")["items"]
    ]


def test_unlinking_lists_what_it_could_not_remove(forge_hub: ForgeHub) -> None:
    """If the forge refuses to remove the webhook, the reply names it, and the hub rejects its deliveries."""
    connected = forge_hub.connect("gitea", "kept")
    installed = connected.installed
    connected.project.admin = False

    report = forge_hub.call("DELETE", f"/api/v1/linked-accounts/{connected.account['id']}")
    sent = connected.forge.send(
        installed, *connected.forge.push_event(connected.project, "refs/heads/main", "0" * 40, "1" * 40)
    )

    assert any(name.startswith("the webhook of src/kept: ") for name in report["remaining"])
    assert sent.status == 404


def test_deleting_the_build_configuration_removes_its_webhook(forge_hub: ForgeHub) -> None:
    """It removes what it can, also if the forge is unavailable for one request.

    tests/unit/builds/forge_integration/test_orphaned_webhooks.py tests the retries, without waiting for them.
    """
    connected = forge_hub.connect("gitlab", "deleted", private=True)
    connected.forge.fail_next.append(503)

    forge_hub.call("DELETE", f"{connected.path}/build-configuration")

    eventually(lambda: len(connected.project.webhooks) + len(connected.project.deploy_keys) == 1)


def test_deleting_the_repository_removes_its_webhook(forge_hub: ForgeHub) -> None:
    """The hub removes the webhooks of deleted repositories in the background."""
    connected = forge_hub.connect("bitbucket", "deleted-repository")

    forge_hub.call("DELETE", connected.path)

    eventually(lambda: not connected.project.webhooks)


@pytest.mark.parametrize("url", ["http://[", "https://host:port/", "ftp://x", "", "http://" + "x" * 300])
def test_invalid_urls_are_rejected(forge_hub: ForgeHub, url: str) -> None:
    """An invalid URL of a source or of the hub is an error of the request, not of the server."""
    name = f"addressed-{abs(hash(url))}"
    git = forge_hub.services.git.create(f"src/{name}")
    git.commit({"Dockerfile": "FROM scratch\n"})
    path = forge_hub.services.configure(name, git)

    source, _ = forge_hub.try_call("PATCH", f"{path}/build-configuration", {"source": {"url": url}})
    hub, _ = forge_hub.try_call("POST", f"{path}/build-configuration/forge-webhook", {"hub_url": url})
    refs, _ = forge_hub.try_call("GET", f"/api/v1/git-refs?url={quote(url)}")

    assert (source, hub) == (422, 422)
    assert refs in (422, 502)


def test_a_git_url_gets_a_webhook_to_paste(forge_hub: ForgeHub) -> None:
    """Without a linked account, users paste the webhook at any forge; an SSH URL also gets a key."""
    path = "/api/v1/repositories/alice/plain-ssh"
    forge_hub.call("POST", f"{path}/build-configuration", {"source": {"url": "git@git.example.com:team/app.git"}})

    webhook = forge_hub.install_webhook(path)

    assert not webhook["installed"]
    assert webhook["public_key"].startswith("ssh-ed25519 ")
    assert webhook["problem"] == ""


def test_a_new_source_gets_its_own_webhook(forge_hub: ForgeHub) -> None:
    """After a change of the source, the webhook is installed at the new project and removed from the old one."""
    old = forge_hub.connect("github", "old-source")
    git = forge_hub.services.git.create("src/new-source")
    git.commit({"Dockerfile": "FROM scratch\n"}, "First")
    new = old.forge.add(git)
    source = {"url": git.url, "forge": "github", "forge_repository": new.name, "linked_account_id": old.account["id"]}
    forge_hub.call("PATCH", f"{old.path}/build-configuration", {"source": source})

    webhook = forge_hub.install_webhook(old.path)

    assert (webhook["forge_repository"], webhook["installed"]) == (new.name, True)
    [installed] = new.webhooks.values()
    assert installed["url"] == webhook["url"]
    eventually(lambda: not old.project.webhooks)
    [sent] = old.forge.push(new, "refs/heads/main", git.head("main"))
    assert sent.reply["outcome"] == "accepted"
