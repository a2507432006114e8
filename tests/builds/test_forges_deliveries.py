"""Incoming webhooks: only signed ones are accepted, once and in order, and all of them are listed."""

from __future__ import annotations

import contextlib
import json
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from tests.builds.forge_hub import ForgeHub, forge_hub
from tests.parts.forges import KINDS
from tests.parts.forges.fake_forge import ZERO
from tests.parts.forges.gitea import FakeGitea
from tests.parts.forges.messages import SentWebhook

__all__ = ["forge_hub"]

MAIN = "refs/heads/main"


def commit(number: int) -> str:
    """Return a commit id."""
    return f"{number:040x}"


@pytest.mark.parametrize("kind", list(KINDS))
def test_branches_and_tags_become_builds(forge_hub: ForgeHub, kind: str) -> None:
    """Refs that a rule matches are queued at their commits; others are listed as ignored."""
    connected = forge_hub.connect(kind, f"pushed-{kind}")
    forge, project = connected.forge, connected.project

    sent = [
        forge.push(project, MAIN, commit(1))[0],
        forge.push(project, "refs/tags/v2.0", commit(2))[0],
        forge.push(project, "refs/heads/elsewhere", commit(3))[0],
        forge.push(project, "refs/tags/v2.0", ZERO)[0],
    ]

    assert [each.status for each in sent] == [202, 202, 200, 200]
    assert forge_hub.builds(connected) == [("v2.0", commit(2), "queued"), ("main", commit(1), "queued")]
    outcomes = [(each["outcome"], each["detail"]) for each in forge_hub.deliveries(connected)]
    assert [outcome for outcome, _ in outcomes] == ["ignored", "ignored", "accepted", "accepted"]
    assert outcomes[1][1] == "no rule matches branch elsewhere"


@pytest.mark.parametrize("kind", list(KINDS))
def test_invalid_signatures_are_refused_and_listed(forge_hub: ForgeHub, kind: str) -> None:
    """A changed body, another secret, no signature."""
    connected = forge_hub.connect(kind, f"unsigned-{kind}")
    forge, project = connected.forge, connected.project
    event = forge.push_event(project, MAIN, ZERO, commit(1))
    good = forge.send(connected.installed, *event)
    other = forge.push_event(project, MAIN, commit(1), commit(2))

    wrong = forge.send(connected.installed, *other, secret="another")
    unsigned = forge.deliver(SentWebhook(connected.installed["url"], dict(other[0]), json.dumps(other[1]).encode()))
    changed = forge.deliver(
        SentWebhook(good.url, good.headers, good.body.replace(commit(1).encode(), commit(9).encode()))
    )

    assert good.status == 202
    assert (wrong.status, unsigned.status) == (401, 401)
    # GitLab's secret does not sign the body: the delivery id rejects the changed one.
    assert changed.status == (200 if kind == "gitlab" else 401)
    assert forge_hub.builds(connected) == [("main", commit(1), "queued")]
    refused = [each for each in forge_hub.deliveries(connected) if each["outcome"] == "refused"]
    assert len(refused) == (2 if kind == "gitlab" else 3)
    assert all("signature is missing or wrong" in each["detail"] for each in refused)


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_delivery_is_processed_once(forge_hub: ForgeHub, kind: str) -> None:
    """A forge that got no response sends the delivery again, which builds nothing."""
    connected = forge_hub.connect(kind, f"once-{kind}")
    [sent] = connected.forge.push(connected.project, MAIN, commit(1))

    again = [connected.forge.deliver(sent) for _ in range(3)]

    assert {(each.status, each.reply["outcome"]) for each in again} == {(200, "duplicate")}
    assert len(forge_hub.builds(connected)) == 1


@pytest.mark.parametrize("kind", list(KINDS))
def test_stale_deliveries_are_rejected(forge_hub: ForgeHub, kind: str) -> None:
    """A delayed delivery, or a repeated one with another id, does not reset a branch."""
    connected = forge_hub.connect(kind, f"stale-{kind}")
    forge, project, hook = connected.forge, connected.project, connected.installed
    forge.send(hook, *forge.push_event(project, MAIN, ZERO, commit(1)))
    forge.send(hook, *forge.push_event(project, MAIN, commit(1), commit(2)))
    forge.send(hook, *forge.push_event(project, MAIN, commit(2), commit(3)))

    late = forge.send(hook, *forge.push_event(project, MAIN, commit(1), commit(2)))

    assert (late.status, late.reply["outcome"]) == (409, "stale")
    assert forge_hub.builds(connected)[0] == ("main", commit(3), "queued")
    assert forge_hub.deliveries(connected)[0]["outcome"] == "stale"


def test_a_forced_push_to_an_earlier_commit_is_built(forge_hub: ForgeHub) -> None:
    """It starts at the last known commit of the branch, so it is not stale."""
    connected = forge_hub.connect("github", "forced")
    forge, project = connected.forge, connected.project
    for number in (1, 2, 1):
        forge.push(project, MAIN, commit(number))
    forge.push(project, MAIN, ZERO)

    [sent] = forge.push(project, MAIN, commit(1))

    assert sent.reply["outcome"] == "accepted"
    assert [sha for _, sha, _ in forge_hub.builds(connected)] == [commit(number) for number in (1, 1, 2, 1)]


def test_an_old_delivery_of_github_is_rejected(forge_hub: ForgeHub) -> None:
    """GitHub signs the time of the push, so that the hub can reject old deliveries."""
    connected = forge_hub.connect("github", "old")
    headers, body = connected.forge.push_event(connected.project, MAIN, ZERO, commit(1))
    body["repository"]["pushed_at"] = int(time.time()) - 5 * 86400

    sent = connected.forge.send(connected.installed, headers, body)

    assert (sent.status, sent.reply["outcome"]) == (409, "stale")
    assert forge_hub.builds(connected) == []


def test_headers_of_forgejo_select_gitea(forge_hub: ForgeHub) -> None:
    """Gitea and Forgejo send GitHub's headers, too; they are matched first."""
    connected = forge_hub.connect("gitea", "forgejo")
    assert isinstance(connected.forge, FakeGitea)
    connected.forge.forgejo = True

    [sent] = connected.forge.push(connected.project, MAIN, commit(1))

    connected.forge.forgejo = False
    assert "X-GitHub-Event" in sent.headers
    assert sent.reply["outcome"] == "accepted"


def test_a_webhook_of_another_source_builds_nothing(forge_hub: ForgeHub) -> None:
    """Another forge, or another project, with the correct secret."""
    connected = forge_hub.connect("github", "this-source")
    gitlab = forge_hub.forges["gitlab"]
    other = forge_hub.connect("github", "other-source")

    foreign = gitlab.send(connected.installed, *gitlab.push_event(connected.project, MAIN, ZERO, commit(1)))
    elsewhere = connected.forge.send(
        connected.installed, *connected.forge.push_event(other.project, MAIN, ZERO, commit(1))
    )

    assert foreign.status == 401
    assert "comes from gitlab" in foreign.reply["detail"]
    assert elsewhere.reply["detail"] == "the event is for src/other-source, but the source is src/this-source"
    assert forge_hub.builds(connected) == []


def test_a_git_url_accepts_webhooks_of_any_forge(forge_hub: ForgeHub) -> None:
    """Without a linked account, a user can paste the webhook at any forge."""
    git = forge_hub.services.git.create("src/pasted")
    git.commit({"Dockerfile": "FROM scratch\n"})
    path = forge_hub.services.configure("pasted", git)
    hook = forge_hub.call("POST", f"{path}/build-configuration/forge-webhook", {"hub_url": forge_hub.services.hub.url})
    gitea = forge_hub.forges["gitea"]
    project = gitea.add(git)

    sent = gitea.send(hook, *gitea.push_event(project, MAIN, ZERO, git.head("main")))

    assert sent.reply["outcome"] == "accepted"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"null", b'{"ref": 1}', b"\xff\xfe", b"[" * 100_000])
@pytest.mark.parametrize("kind", list(KINDS))
def test_bad_bodies_are_refused(forge_hub: ForgeHub, kind: str, body: bytes) -> None:
    """An invalid body is an error 4xx even with a valid signature."""
    name = f"invalid-{kind}"
    known = forge_hub.forges[kind].projects.get(f"src/{name}")
    if known is None:
        known = forge_hub.connect(kind, name).project
    [hook] = known.webhooks.values()
    headers, _ = forge_hub.forges[kind].push_event(known, MAIN, ZERO, commit(1))

    sent = forge_hub.forges[kind].deliver(
        SentWebhook(hook["url"], headers | forge_hub.forges[kind].signature(body, hook["secret"]), body)
    )

    assert sent.status == 401
    assert "not in this forge's documented format" in sent.reply["detail"]


def test_unknown_webhooks_and_large_bodies(forge_hub: ForgeHub) -> None:
    """An unknown webhook is 404 before its body is read; a body over 25 MB is 413."""
    connected = forge_hub.connect("github", "large")
    forge = connected.forge
    event = forge.push_event(connected.project, MAIN, ZERO, commit(1))

    unknown = forge.send({"url": f"{forge_hub.services.hub.url}/hooks/nothing-here", "secret": "x"}, *event)
    with contextlib.closing(HTTPConnection(forge_hub.services.hub.host, timeout=20)) as connection:
        connection.putrequest("POST", urlsplit(connected.installed["url"]).path)
        for name, value in {**event[0], "Content-Length": str((25 << 20) + 1)}.items():
            connection.putheader(name, value)
        connection.endheaders()
        large = connection.getresponse()

    assert (unknown.status, large.status) == (404, 413)


def test_a_ping_is_ignored(forge_hub: ForgeHub) -> None:
    """GitHub tests a new webhook with a ping."""
    connected = forge_hub.connect("github", "pinged")

    [sent] = forge_hub.forges["github"].ping(connected.project)  # type: ignore[attr-defined]

    assert (sent.status, sent.reply["outcome"]) == (200, "ignored")


def test_inactive_configurations_build_nothing(forge_hub: ForgeHub) -> None:
    """Pushes are listed, but build nothing, while the build configuration is inactive."""
    connected = forge_hub.connect("gitea", "inactive")
    forge_hub.call("PATCH", f"{connected.path}/build-configuration", {"active": False})

    [sent] = connected.forge.push(connected.project, MAIN, commit(1))

    assert sent.reply["detail"] == "builds of this repository are disabled"
    assert forge_hub.builds(connected) == []
