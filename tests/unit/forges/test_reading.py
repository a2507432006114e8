"""What the bodies of webhooks say: annotated tags, deletions, several changes at once, odd refs."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from hythe.forges.bitbucket import BitbucketHooks
from hythe.forges.gitea import GiteaHooks
from hythe.forges.github import GitHubHooks
from hythe.forges.gitlab import GitLabHooks
from hythe.forges.port import Delivery, Hooks, UnreadableDelivery
from hythe.forges.source_ref import SourceRef, SourceType

A, B, TAG_OBJECT, ZERO = "a" * 40, "b" * 40, "c" * 40, "0" * 40


def read(hooks: Hooks, headers: dict[str, str], body: Any) -> Delivery:
    """Read a body."""
    return hooks.read(headers, json.dumps(body).encode())


def test_github_names_the_commit_of_an_annotated_tag() -> None:
    """ "after" is the tag object there, the head commit is what builds."""
    commit = {"id": A, "message": "m", "author": {"name": "Ann", "email": "ann@example.com"}}
    body = {"ref": "refs/tags/v1", "before": ZERO, "after": TAG_OBJECT, "head_commit": commit}

    delivery = read(GitHubHooks(), {"x-github-event": "push"}, body | {"repository": {"full_name": "o/r"}})

    [move] = delivery.moves
    assert move.ref == SourceRef(SourceType.TAG, "v1", A)
    assert (move.before, move.author) == ("", "Ann <ann@example.com>")


def test_github_sends_forms_where_nothing_else_was_chosen() -> None:
    """The content type that GitHub proposes holds the same JSON in a field of a form."""
    body = {"ref": "refs/heads/main", "before": ZERO, "after": A, "repository": {"full_name": "o/r"}}
    headers = {"x-github-event": "push", "content-type": "application/x-www-form-urlencoded"}

    delivery = GitHubHooks().read(headers, urlencode({"payload": json.dumps(body)}).encode())

    assert [move.ref for move in delivery.moves] == [SourceRef(SourceType.BRANCH, "main", A)]
    for bad in (b"", b"payload=", b"&".join([b"a=b"] * 20), b"\xff"):
        with pytest.raises(UnreadableDelivery):
            GitHubHooks().read(headers, bad)


def test_gitlab_names_the_commit_of_an_annotated_tag() -> None:
    """ "checkout_sha" is the commit."""
    body = {"ref": "refs/tags/v1", "before": ZERO, "after": TAG_OBJECT, "checkout_sha": A}

    delivery = read(
        GitLabHooks(), {"x-gitlab-event": "Tag Push Hook"}, body | {"project": {"path_with_namespace": "g/s/p"}}
    )

    assert delivery.repository == "g/s/p"
    assert [move.ref.commit for move in delivery.moves] == [A]


GONE = SourceRef(SourceType.BRANCH, "feature/x")


@pytest.mark.parametrize(
    ("hooks", "headers", "body"),
    [
        (
            GitHubHooks(),
            {"x-github-event": "push"},
            {
                "ref": "refs/heads/feature/x",
                "before": A,
                "after": ZERO,
                "deleted": True,
                "head_commit": None,
                "repository": {"full_name": "o/r"},
            },
        ),
        (
            GiteaHooks(),
            {"x-gitea-event": "delete"},
            {"ref": "feature/x", "ref_type": "branch", "repository": {"full_name": "o/r"}},
        ),
        (
            GitLabHooks(),
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
            BitbucketHooks(),
            {"x-event-key": "repo:push"},
            {
                "repository": {"full_name": "o/r"},
                "push": {
                    "changes": [{"new": None, "old": {"type": "branch", "name": "feature/x", "target": {"hash": A}}}]
                },
            },
        ),
    ],
)
def test_deletions_move_nothing(hooks: Hooks, headers: dict[str, str], body: Any) -> None:
    """A branch that was deleted is gone, and builds nothing."""
    delivery = read(hooks, headers, body)

    assert (delivery.moves, delivery.gone) == ((), (GONE,))


def test_bitbucket_tells_many_changes_at_once() -> None:
    """Branches and tags become moves; what is neither is left out."""

    def side(kind: str, name: str, commit: str) -> dict[str, Any]:
        return {"type": kind, "name": name, "target": {"hash": commit}}

    changes = [
        {"old": side("branch", "main", A), "new": side("branch", "main", B)},
        {"old": None, "new": side("tag", "v1", B)},
        {"old": None, "new": side("bookmark", "x", B)},
    ]

    delivery = read(
        BitbucketHooks(),
        {"x-event-key": "repo:push"},
        {"repository": {"full_name": "o/r"}, "push": {"changes": changes}},
    )

    assert [(move.ref.type.value, move.ref.name, move.before) for move in delivery.moves] == [
        ("branch", "main", A),
        ("tag", "v1", ""),
    ]


@pytest.mark.parametrize("ref", ["refs/pull/1/head", "refs/heads/", "main", "refs/notes/x", f"refs/heads/{'x' * 251}"])
def test_other_refs_are_left_alone(ref: str) -> None:
    """Only branches and tags build."""
    body = {"ref": ref, "after": A, "head_commit": {"id": A}, "repository": {"full_name": "o/r"}}

    assert read(GitHubHooks(), {"x-github-event": "push"}, body).moves == ()


def test_a_commit_that_is_none_moves_nothing() -> None:
    """What is not a commit's id never reaches git."""
    body = {"ref": "refs/heads/main", "after": "--upload-pack=x", "repository": {"full_name": "o/r"}}

    assert read(GitHubHooks(), {"x-github-event": "push"}, body).moves == ()
