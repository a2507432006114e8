"""Webhooks and deploy keys at the forges: installed, shown where rights lack, and never left behind."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from tests.builds.forge_hub import ForgeHub, eventually, forge_hub
from tests.parts.forges import KINDS

__all__ = ["forge_hub"]


@pytest.mark.parametrize("kind", list(KINDS))
def test_private_code_gets_a_key_that_only_reads(forge_hub: ForgeHub, kind: str) -> None:
    """The webhook and the deploy key are installed; builds clone by SSH from then on."""
    connected = forge_hub.connect(kind, f"private-{kind}", private=True)

    [key] = connected.project.deploy_keys.values()
    configuration = forge_hub.call("GET", f"{connected.path}/build-configuration")
    assert connected.webhook["installed"]
    assert connected.webhook["key_installed"]
    assert key["key"] == connected.webhook["public_key"]
    assert configuration["source"]["url"].startswith("ssh://git@127.0.0.1/src/private")


@pytest.mark.parametrize("kind", list(KINDS))
def test_what_rights_lack_for_is_shown_for_pasting(forge_hub: ForgeHub, kind: str) -> None:
    """Somebody who does not administer the repository gets address, secret and key to hand on."""
    connected = forge_hub.connect(kind, f"lacking-{kind}", private=True, admin=False)

    hook = connected.webhook
    assert not hook["installed"]
    assert not hook["key_installed"]
    assert hook["url"].startswith(f"{forge_hub.services.hub.url}/hooks/")
    assert len(hook["secret"]) >= 32
    assert hook["public_key"].startswith("ssh-ed25519 ")
    assert "the webhook: " in hook["problem"]
    assert "the deploy key: " in hook["problem"]


def test_installing_again_adds_what_was_missing(forge_hub: ForgeHub) -> None:
    """Once the rights are there, the same webhook is installed, and once only."""
    connected = forge_hub.connect("github", "later", admin=False)
    connected.project.admin = True

    hooks = [
        forge_hub.call(
            "POST", f"{connected.path}/build-configuration/forge-webhook", {"hub_url": forge_hub.services.hub.url}
        )
        for _ in range(2)
    ]

    assert [hook["installed"] for hook in hooks] == [True, True]
    assert connected.installed["url"] == connected.webhook["url"]
    assert connected.installed["secret"] == connected.webhook["secret"]


@pytest.mark.parametrize("kind", list(KINDS))
def test_unlinking_leaves_nothing_behind(forge_hub: ForgeHub, kind: str) -> None:
    """Webhook and key are gone at the forge; what was pasted by hand is named."""
    connected = forge_hub.connect(kind, f"unlinked-{kind}", private=True)

    answer = forge_hub.call("DELETE", f"/api/v1/linked-accounts/{connected.account['id']}")

    assert connected.project.webhooks == {}
    assert connected.project.deploy_keys == {}
    assert f"the webhook of src/unlinked-{kind}" in answer["removed"]
    assert f"the deploy key of src/unlinked-{kind}" in answer["removed"]
    assert len(answer["left"]) == 1
    assert "the token that you pasted" in answer["left"][0]
    assert connected.account["id"] not in [
        link["id"] for link in forge_hub.call("GET", "/api/v1/linked-accounts")["items"]
    ]


def test_unlinking_says_what_it_could_not_remove(forge_hub: ForgeHub) -> None:
    """A forge that refuses keeps its webhook, and the user learns which; deliveries to it are refused from then on."""
    connected = forge_hub.connect("gitea", "kept")
    there = connected.installed
    connected.project.admin = False

    answer = forge_hub.call("DELETE", f"/api/v1/linked-accounts/{connected.account['id']}")
    sent = forge_hub.forges["gitea"].send(
        there, *forge_hub.forges["gitea"].push_event(connected.project, "refs/heads/main", "0" * 40, "1" * 40)
    )

    assert any(left.startswith("the webhook of src/kept: ") for left in answer["left"])
    assert sent.status == 404


def test_deleting_the_set_up_removes_its_webhook(forge_hub: ForgeHub) -> None:
    """Also when the forge is away at that moment: it is tried again."""
    connected = forge_hub.connect("gitlab", "deleted", private=True)
    connected.forge.fail_next.append(503)

    forge_hub.call("DELETE", f"{connected.path}/build-configuration")

    eventually(lambda: not (connected.project.webhooks and connected.project.deploy_keys))
    eventually(lambda: not connected.project.webhooks and not connected.project.deploy_keys, seconds=50)


def test_deleting_the_repository_removes_its_webhook(forge_hub: ForgeHub) -> None:
    """A hook is never left behind, whatever goes away here."""
    connected = forge_hub.connect("bitbucket", "gone-with-all")

    forge_hub.call("DELETE", connected.path)

    eventually(lambda: not connected.project.webhooks)


@pytest.mark.parametrize("url", ["http://[", "https://host:port/", "ftp://x", "", "http://" + "x" * 300])
def test_bad_addresses_are_said(forge_hub: ForgeHub, url: str) -> None:
    """What is no address of a source, and what is none of a hub, is refused in words."""
    git = forge_hub.services.git.create(f"src/addressed-{abs(hash(url))}")
    git.commit({"Dockerfile": "FROM scratch\n"})
    path = forge_hub.services.configure(f"addressed-{abs(hash(url))}", git)

    source, _ = forge_hub.try_call("PATCH", f"{path}/build-configuration", {"source": {"url": url}})
    hub, _ = forge_hub.try_call("POST", f"{path}/build-configuration/forge-webhook", {"hub_url": url})
    seen, _ = forge_hub.try_call("GET", f"/api/v1/git-refs?url={quote(url)}")

    assert (source, hub) == (422, 422)
    assert seen in (422, 502)


def test_a_plain_address_gets_a_webhook_to_paste(forge_hub: ForgeHub) -> None:
    """Without an account any forge's webhook can be pasted; an SSH address gets a key."""
    path = "/api/v1/repositories/alice/plain-ssh"
    forge_hub.call("POST", f"{path}/build-configuration", {"source": {"url": "git@git.example.com:team/app.git"}})

    hook = forge_hub.call("POST", f"{path}/build-configuration/forge-webhook", {"hub_url": forge_hub.services.hub.url})

    assert not hook["installed"]
    assert hook["public_key"].startswith("ssh-ed25519 ")
    assert hook["problem"] == ""


def test_a_source_that_changed_gets_its_own_webhook(forge_hub: ForgeHub) -> None:
    """Installed again, the webhook is at the new repository, and the old repository's is removed."""
    old = forge_hub.connect("github", "moved-here")
    git = forge_hub.services.git.create("src/moved-there")
    git.commit({"Dockerfile": "FROM scratch\n"}, "First")
    new = old.forge.add(git, private=False, admin=True)
    source = {"url": git.url, "forge": "github", "forge_repository": new.name, "linked_account_id": old.account["id"]}
    forge_hub.call("PATCH", f"{old.path}/build-configuration", {"source": source})

    shown = forge_hub.call(
        "POST", f"{old.path}/build-configuration/forge-webhook", {"hub_url": forge_hub.services.hub.url}
    )

    assert (shown["forge_repository"], shown["installed"]) == (new.name, True)
    [there] = new.webhooks.values()
    assert there["url"] == shown["url"]
    eventually(lambda: not old.project.webhooks)
    [sent] = old.forge.push(new, "refs/heads/main", git.head("main"))
    assert sent.reply["outcome"] == "accepted"
