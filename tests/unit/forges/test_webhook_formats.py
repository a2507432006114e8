"""The bodies of webhooks: annotated tags, deletions, several changes at once, unusual refs."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from hythe.forges.bitbucket import BitbucketWebhooks
from hythe.forges.gitea import GiteaWebhooks
from hythe.forges.github import GitHubWebhooks
from hythe.forges.gitlab import GitLabWebhooks
from hythe.forges.port import ForgeEvent, InvalidEvent, WebhookFormat
from hythe.forges.source_ref import SourceRef, SourceType
from hythe.forges.webhook_format import MAX_OBJECTS, CommitDetails, parse_body

A, B, TAG_OBJECT, ZERO = "a" * 40, "b" * 40, "c" * 40, "0" * 40
GITHUB_PUSH = {"x-github-event": "push"}
BITBUCKET_PUSH = {"x-event-key": "repo:push"}
REPOSITORY = {"repository": {"full_name": "o/r"}}
DELETED = SourceRef(SourceType.BRANCH, "feature/x")


def parse(webhooks: WebhookFormat, headers: dict[str, str], body: Any) -> ForgeEvent:
    """Parse a JSON body."""
    return webhooks.parse(headers, json.dumps(body).encode())


def bitbucket_ref(kind: str, name: str, commit: str) -> dict[str, Any]:
    """One side of a change in Bitbucket's push event."""
    return {"type": kind, "name": name, "target": {"hash": commit}}


def test_githubs_commit_of_an_annotated_tag() -> None:
    """ "after" is the tag object; the head commit is what builds."""
    commit = {"id": A, "message": "m", "author": {"name": "Ann", "email": "ann@example.com"}}
    body = {"ref": "refs/tags/v1", "before": ZERO, "after": TAG_OBJECT, "head_commit": commit, **REPOSITORY}

    [update] = parse(GitHubWebhooks(), GITHUB_PUSH, body).updates

    assert update.ref == SourceRef(SourceType.TAG, "v1", A)
    assert (update.before, update.author) == ("", "Ann <ann@example.com>")


def test_githubs_default_content_type() -> None:
    """By default, GitHub sends the JSON in a field of a form."""
    body = {"ref": "refs/heads/main", "before": ZERO, "after": A, **REPOSITORY}
    headers = {**GITHUB_PUSH, "content-type": "application/x-www-form-urlencoded"}

    event = GitHubWebhooks().parse(headers, urlencode({"payload": json.dumps(body)}).encode())

    assert [update.ref for update in event.updates] == [SourceRef(SourceType.BRANCH, "main", A)]
    for invalid in (b"", b"payload=", b"&".join([b"a=b"] * 20), b"\xff"):
        with pytest.raises(InvalidEvent):
            GitHubWebhooks().parse(headers, invalid)


def test_gitlabs_commit_of_an_annotated_tag() -> None:
    """ "checkout_sha" is the commit."""
    body = {"ref": "refs/tags/v1", "before": ZERO, "after": TAG_OBJECT, "checkout_sha": A}
    project = {"project": {"path_with_namespace": "g/s/p"}}

    event = parse(GitLabWebhooks(), {"x-gitlab-event": "Tag Push Hook"}, body | project)

    assert event.repository == "g/s/p"
    assert [update.ref.commit for update in event.updates] == [A]


@pytest.mark.parametrize(
    ("webhooks", "headers", "body"),
    [
        (
            GitHubWebhooks(),
            GITHUB_PUSH,
            {
                "ref": "refs/heads/feature/x",
                "before": A,
                "after": ZERO,
                "deleted": True,
                "head_commit": None,
                **REPOSITORY,
            },
        ),
        (
            GiteaWebhooks(),
            {"x-gitea-event": "delete"},
            {"ref": "feature/x", "ref_type": "branch", **REPOSITORY},
        ),
        (
            GitLabWebhooks(),
            {"x-gitlab-event": "Push Hook"},
            {
                "ref": "refs/heads/feature/x",
                "before": A,
                "after": ZERO,
                "checkout_sha": None,
                "project": {"path_with_namespace": "o/r"},
            },
        ),
        (
            BitbucketWebhooks(),
            BITBUCKET_PUSH,
            {**REPOSITORY, "push": {"changes": [{"new": None, "old": bitbucket_ref("branch", "feature/x", A)}]}},
        ),
    ],
    ids=["github", "gitea", "gitlab", "bitbucket"],
)
def test_deletions(webhooks: WebhookFormat, headers: dict[str, str], body: Any) -> None:
    """A deleted branch is reported as deleted, not as updated."""
    event = parse(webhooks, headers, body)

    assert (event.updates, event.deleted) == ((), (DELETED,))


def test_bitbuckets_push_of_several_refs() -> None:
    """Branches and tags become updates; other refs are ignored."""
    changes = [
        {"old": bitbucket_ref("branch", "main", A), "new": bitbucket_ref("branch", "main", B)},
        {"old": None, "new": bitbucket_ref("tag", "v1", B)},
        {"old": None, "new": bitbucket_ref("bookmark", "x", B)},
    ]

    event = parse(BitbucketWebhooks(), BITBUCKET_PUSH, {**REPOSITORY, "push": {"changes": changes}})

    assert [(update.ref.type.value, update.ref.name, update.before) for update in event.updates] == [
        ("branch", "main", A),
        ("tag", "v1", ""),
    ]


@pytest.mark.parametrize("ref", ["refs/pull/1/head", "refs/heads/", "main", "refs/notes/x", f"refs/heads/{'x' * 251}"])
def test_other_refs_are_ignored(ref: str) -> None:
    """Only branches and tags build."""
    body = {"ref": ref, "after": A, "head_commit": {"id": A}, **REPOSITORY}

    assert parse(GitHubWebhooks(), GITHUB_PUSH, body).updates == ()


def test_an_invalid_commit_id_is_ignored() -> None:
    """Text that is not a commit id never reaches git."""
    body = {"ref": "refs/heads/main", "after": "--upload-pack=x", **REPOSITORY}

    assert parse(GitHubWebhooks(), GITHUB_PUSH, body).updates == ()


@pytest.mark.parametrize(
    "body",
    [b'{"commits": [' + b"{}," * 300_000 + b"{}]}", b'{"ref": "' + b"\\u0000" * 300_000 + b'"}'],
    ids=["objects", "NUL characters"],
)
def test_bodies_that_take_long_to_parse_are_refused(body: bytes) -> None:
    """No forge sends them; whoever knows a webhook's secret may."""
    with pytest.raises(InvalidEvent, match=str(MAX_OBJECTS)):
        parse_body(body, CommitDetails)
