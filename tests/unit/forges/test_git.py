"""Listing the refs of a git URL: responses of a real git server, and URLs that the hub refuses."""

from __future__ import annotations

import asyncio

import pytest
from tests.parts.git_server import GitServer

from hythe.egress.policy import EgressPolicy
from hythe.forges.configured import open_forges
from hythe.forges.errors import ForgeError
from hythe.forges.source_ref import SourceRef, SourceType


def list_refs(url: str) -> tuple[str, tuple[SourceRef, ...]]:
    """List the refs of a URL, as a hub without forges does."""

    async def query() -> tuple[str, tuple[SourceRef, ...]]:
        async with open_forges("", EgressPolicy.parse("127.0.0.0/8")) as forges:
            return await forges.list_refs(url)

    return asyncio.run(query())


def test_branches_and_tags(git_server: GitServer) -> None:
    """Branches and tags with their commits, also of annotated tags, and the default branch from HEAD."""
    git = git_server.create("o/r")
    first = git.commit({"a": "1"})
    git.tag("v1")
    second = git.commit({"a": "2"}, branch="feature/x")

    default, refs = list_refs(git.url)

    assert default == "main"
    assert refs == (
        SourceRef(SourceType.BRANCH, "feature/x", second),
        SourceRef(SourceType.BRANCH, "main", first),
        SourceRef(SourceType.TAG, "v1", first),
    )


def test_an_empty_repository(git_server: GitServer) -> None:
    """An empty repository has no refs."""
    assert list_refs(git_server.create("o/empty").url)[1] == ()


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "http://[fe80::1]/x",
        "http://100.100.100.200/x",
        "file:///etc",
        "http://[",
        "http://host:99999/x",
        "",
        "ssh://git@host/x",
        "http://127.0.0.1:1/x",
        "http://no-such-host.invalid/x",
    ],
)
def test_refused_urls(url: str) -> None:
    """Metadata addresses, other schemes, unreachable hosts: a ForgeError."""
    with pytest.raises(ForgeError):
        list_refs(url)
