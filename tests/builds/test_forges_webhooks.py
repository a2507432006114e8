"""Webhooks and deploy keys at the forges: installed, shown where rights lack, and never left behind."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from tests.builds.forge_house import ForgeHouse, eventually, forged
from tests.parts.forges import KINDS

__all__ = ["forged"]


@pytest.mark.parametrize("kind", list(KINDS))
def test_private_code_gets_a_key_that_only_reads(forged: ForgeHouse, kind: str) -> None:
    """The webhook and the deploy key are installed; builds clone by SSH from then on."""
    connected = forged.connect(kind, f"private-{kind}", private=True)

    [key] = connected.project.keys.values()
    configuration = forged.services.call("GET", f"{connected.path}/build-configuration")
    assert connected.hook["installed"]
    assert connected.hook["key_installed"]
    assert key["key"] == connected.hook["public_key"]
    assert configuration["source"]["url"].startswith("ssh://git@127.0.0.1/src/private")


@pytest.mark.parametrize("kind", list(KINDS))
def test_what_rights_lack_for_is_shown_for_pasting(forged: ForgeHouse, kind: str) -> None:
    """Somebody who does not administer the repository gets address, secret and key to hand on."""
    connected = forged.connect(kind, f"lacking-{kind}", private=True, admin=False)

    hook = connected.hook
    assert not hook["installed"]
    assert not hook["key_installed"]
    assert hook["url"].startswith(f"{forged.services.hub.url}/hooks/")
    assert len(hook["secret"]) >= 32
    assert hook["public_key"].startswith("ssh-ed25519 ")
    assert "the webhook: " in hook["problem"]
    assert "the deploy key: " in hook["problem"]


def test_installing_again_adds_what_was_missing(forged: ForgeHouse) -> None:
    """Once the rights are there, the same webhook is installed, and once only."""
    connected = forged.connect("github", "later", admin=False)
    connected.project.admin = True

    hooks = [
        forged.services.call(
            "POST", f"{connected.path}/build-configuration/forge-webhook", {"hub_url": forged.services.hub.url}
        )
        for _ in range(2)
    ]

    assert [hook["installed"] for hook in hooks] == [True, True]
    assert connected.there["url"] == connected.hook["url"]
    assert connected.there["secret"] == connected.hook["secret"]


@pytest.mark.parametrize("kind", list(KINDS))
def test_unlinking_leaves_nothing_behind(forged: ForgeHouse, kind: str) -> None:
    """Webhook and key are gone at the forge; what was pasted by hand is named."""
    connected = forged.connect(kind, f"unlinked-{kind}", private=True)

    answer = forged.services.call("DELETE", f"/api/v1/linked-accounts/{connected.link['id']}")

    assert connected.project.hooks == {}
    assert connected.project.keys == {}
    assert f"the webhook of src/unlinked-{kind}" in answer["removed"]
    assert f"the deploy key of src/unlinked-{kind}" in answer["removed"]
    assert len(answer["left"]) == 1
    assert "the token that you pasted" in answer["left"][0]
    assert connected.link["id"] not in [
        link["id"] for link in forged.services.call("GET", "/api/v1/linked-accounts")["items"]
    ]


def test_unlinking_says_what_it_could_not_remove(forged: ForgeHouse) -> None:
    """A forge that refuses keeps its webhook, and the user learns which; deliveries to it are refused from then on."""
    connected = forged.connect("gitea", "kept")
    there = connected.there
    connected.project.admin = False

    answer = forged.services.call("DELETE", f"/api/v1/linked-accounts/{connected.link['id']}")
    sent = forged.forges["gitea"].send(
        there, *forged.forges["gitea"].push_event(connected.project, "refs/heads/main", "0" * 40, "1" * 40)
    )

    assert any(left.startswith("the webhook of src/kept: ") for left in answer["left"])
    assert sent.status == 404


def test_deleting_the_set_up_removes_its_webhook(forged: ForgeHouse) -> None:
    """Also when the forge is away at that moment: it is tried again."""
    connected = forged.connect("gitlab", "deleted", private=True)
    connected.forge.fail_next.append(503)

    forged.services.call("DELETE", f"{connected.path}/build-configuration")

    eventually(lambda: not (connected.project.hooks and connected.project.keys))
    eventually(lambda: not connected.project.hooks and not connected.project.keys, seconds=50)


def test_deleting_the_repository_removes_its_webhook(forged: ForgeHouse) -> None:
    """A hook is never left behind, whatever goes away here."""
    connected = forged.connect("bitbucket", "gone-with-all")

    forged.services.call("DELETE", connected.path)

    eventually(lambda: not connected.project.hooks)


@pytest.mark.parametrize("url", ["http://[", "https://host:port/", "ftp://x", "", "http://" + "x" * 300])
def test_bad_addresses_are_said(forged: ForgeHouse, url: str) -> None:
    """What is no address of a source, and what is none of a hub, is refused in words."""
    git = forged.services.git.create(f"src/addressed-{abs(hash(url))}")
    git.commit({"Dockerfile": "FROM scratch\n"})
    path = forged.services.configure(f"addressed-{abs(hash(url))}", git)

    source, _ = forged.services.try_call("PATCH", f"{path}/build-configuration", {"source": {"url": url}})
    hub, _ = forged.services.try_call("POST", f"{path}/build-configuration/forge-webhook", {"hub_url": url})
    seen, _ = forged.services.try_call("GET", f"/api/v1/git-refs?url={quote(url)}")

    assert (source, hub) == (422, 422)
    assert seen in (422, 502)


def test_a_plain_address_gets_a_webhook_to_paste(forged: ForgeHouse) -> None:
    """Without an account any forge's webhook can be pasted; an SSH address gets a key."""
    path = "/api/v1/repositories/alice/plain-ssh"
    forged.services.call("POST", f"{path}/build-configuration", {"source": {"url": "git@git.example.com:team/app.git"}})

    hook = forged.services.call(
        "POST", f"{path}/build-configuration/forge-webhook", {"hub_url": forged.services.hub.url}
    )

    assert not hook["installed"]
    assert hook["public_key"].startswith("ssh-ed25519 ")
    assert hook["problem"] == ""


def test_a_source_that_changed_gets_its_own_webhook(forged: ForgeHouse) -> None:
    """Installed again, the webhook is at the new repository, and the old repository's is removed."""
    old = forged.connect("github", "moved-here")
    git = forged.services.git.create("src/moved-there")
    git.commit({"Dockerfile": "FROM scratch\n"}, "First")
    new = old.forge.add(git, private=False, admin=True)
    source = {"url": git.url, "forge": "github", "forge_repository": new.name, "linked_account_id": old.link["id"]}
    forged.services.call("PATCH", f"{old.path}/build-configuration", {"source": source})

    shown = forged.services.call(
        "POST", f"{old.path}/build-configuration/forge-webhook", {"hub_url": forged.services.hub.url}
    )

    assert (shown["forge_repository"], shown["installed"]) == (new.name, True)
    [there] = new.hooks.values()
    assert there["url"] == shown["url"]
    eventually(lambda: not old.project.hooks)
    [sent] = old.forge.push(new, "refs/heads/main", git.head("main"))
    assert sent.answer["outcome"] == "accepted"
