"""Paginated lists of a forge that does not behave as documented."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.parts.forges import running_forge
from tests.parts.forges.gitea import FakeGitea
from tests.parts.forges.messages import ForgeRequest, ForgeResponse
from tests.parts.git_server import GitServer

from hythe.egress.policy import EgressPolicy
from hythe.forges.configured import open_forges
from hythe.forges.source_ref import SourceRef


class EndlessGitea(FakeGitea):
    """Every page is empty, and names a next page."""

    def paginate(self, request: ForgeRequest, items: list[Any]) -> ForgeResponse:
        return ForgeResponse(200, [], {"Link": f'<{self.url}{request.path}>; rel="next"'})


def test_an_empty_page_ends_a_list(git_server: GitServer) -> None:
    """A forge whose pages never end cannot keep the hub requesting them."""

    async def list_refs(forge: EndlessGitea) -> tuple[SourceRef, ...]:
        async with open_forges(forge.setting, EgressPolicy()) as forges:
            return await forges.get(forge.url).client(forge.token()).refs("o/r")

    with running_forge(EndlessGitea) as forge:
        forge.add(git_server.create("o/r"))

        assert asyncio.run(list_refs(forge)) == ()
        assert forge.requests == ["GET /api/v1/repos/o/r/branches", "GET /api/v1/repos/o/r/tags"]
