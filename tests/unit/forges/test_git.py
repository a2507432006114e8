"""Looking at a git address: what real git answers, and hosts that the hub does not look at."""

from __future__ import annotations

import asyncio

import pytest
from tests.parts.git_server import GitServer

from hythe.forges.errors import ForgeError
from hythe.forges.known import open_forges
from hythe.forges.source_ref import SourceRef, SourceType


def look(url: str) -> tuple[str, tuple[SourceRef, ...]]:
    """Look at an address as a hub without forges."""

    async def ask() -> tuple[str, tuple[SourceRef, ...]]:
        async with open_forges("") as forges:
            return await forges.advertised(url)

    return asyncio.run(ask())


def test_real_git(git_server: GitServer) -> None:
    """Branches and tags with their commits, annotated tags too; the default branch by HEAD."""
    git = git_server.create("o/r")
    first = git.commit({"a": "1"})
    git.tag("v1")
    second = git.commit({"a": "2"}, branch="feature/x")

    default, refs = look(git.url)

    assert default == "main"
    assert refs == (
        SourceRef(SourceType.BRANCH, "feature/x", second),
        SourceRef(SourceType.BRANCH, "main", first),
        SourceRef(SourceType.TAG, "v1", first),
    )


def test_an_empty_repository(git_server: GitServer) -> None:
    """No branches, no error."""
    assert look(git_server.create("o/empty").url)[1] == ()


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
def test_what_is_not_looked_at(url: str) -> None:
    """Metadata addresses, other schemes, nobody there: an error in words."""
    with pytest.raises(ForgeError):
        look(url)
