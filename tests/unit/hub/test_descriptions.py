"""Descriptions are rendered once, when they are written, in a process with bounds."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from sqlalchemy import select, update
from tests.unit.hub.services import Services

from hythe.database.tables.hub import hub_repositories
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import HubActor
from hythe.hub.errors import NotFound, Refused
from hythe.hub.repositories.descriptions import MAX_HTML_SIZE
from hythe.hub.repositories.repositories import NewRepository, RepositoryChange
from hythe.hub.repositories.repository import FULL_DESCRIPTION_LENGTH

WIDE_TABLE = "|a" * 1500 + "|\n" + "|-" * 1500 + "|\n" + "a\n" * 9000
HEAVY = {
    "a wide table with short rows": WIDE_TABLE,
    "the same in a list": "- " + WIDE_TABLE.replace("\n", "\n  "),
    "the same in a quote": "> " + WIDE_TABLE.replace("\n", "\n> "),
    "several tables": ("|a" * 400 + "|\n" + "|-" * 400 + "|\n" + "a\n" * 2000 + "\n") * 4,
    "tables between details": "<details>\n\n" + WIDE_TABLE,
}


def described(services: Services, actor: HubActor, text: str) -> str:
    """Create ``ann/app`` with this description; return its name."""
    services.run(services.hub.repositories.create(actor, NewRepository("ann", "app", None, "", text)))
    return "ann/app"


def row(services: Services) -> Any:
    """The stored description of the only repository."""

    async def read() -> Any:
        async with services.database.reading() as session:
            return await session.row(select(hub_repositories))

    return services.run(read())


def shown(services: Services, actor: HubActor, name: str = "ann/app") -> str | None:
    """What the page shows as HTML."""
    repository = services.run(services.hub.repositories.get(actor, name))
    html: str | None = services.run(services.hub.descriptions.of(repository)).html
    return html


def test_rendered_when_written(services: Services, ann: HubActor) -> None:
    """Creating and editing store the HTML, and reading only reads it."""
    described(services, ann, "# Hello")
    assert row(services).description_html == "<h2>Hello</h2>\n"
    services.run(services.hub.repositories.edit(ann, "ann/app", RepositoryChange(full_description="*x*")))
    assert row(services).description_html == shown(services, ann) == "<p><em>x</em></p>\n"


def test_other_changes_keep_the_html(services: Services, ann: HubActor) -> None:
    """Changing the visibility renders nothing."""
    described(services, ann, "# Hello")
    services.run(services.hub.repositories.edit(ann, "ann/app", RepositoryChange(visibility=Visibility.PRIVATE)))
    assert shown(services, ann) == "<h2>Hello</h2>\n"


@pytest.mark.parametrize("text", HEAVY.values(), ids=HEAVY.keys())
def test_heavy_markdown_is_shown_as_written(services: Services, ann: HubActor, text: str) -> None:
    """What exceeds a bound is stored and shown as text; the next description is rendered as ever."""
    described(services, ann, text[:FULL_DESCRIPTION_LENGTH])
    assert shown(services, ann) is None or len(shown(services, ann) or "") <= MAX_HTML_SIZE
    services.run(services.hub.repositories.edit(ann, "ann/app", RepositoryChange(full_description="fine")))
    assert shown(services, ann) == "<p>fine</p>\n"


def test_the_reported_table_is_not_rendered(services: Services, ann: HubActor) -> None:
    """A page of 142 MB is beyond the bounds."""
    described(services, ann, WIDE_TABLE[:FULL_DESCRIPTION_LENGTH])
    assert row(services).description_html is None
    assert shown(services, ann) is None


def test_a_text_that_changed_alone_is_rendered_once(services: Services, ann: HubActor) -> None:
    """Builds, and servers of an earlier version, change the text alone: the first page renders it and stores it."""
    described(services, ann, "# Hello")

    async def change() -> None:
        async with services.database.writing() as session:
            await session.run(update(hub_repositories).values(full_description="# Built"))

    services.run(change())
    assert shown(services, ann) == "<h2>Built</h2>\n"
    assert row(services).description_html == "<h2>Built</h2>\n"


def test_many_readers_have_it_rendered_once(services: Services, ann: HubActor) -> None:
    """Readers who ask at the same time for what a build changed wait for one rendering."""
    described(services, ann, "")

    async def read() -> int:
        async with services.database.writing() as session:
            await session.run(update(hub_repositories).values(full_description=WIDE_TABLE[:FULL_DESCRIPTION_LENGTH]))
        repository = await services.hub.repositories.get(ann, "ann/app")
        await services.foundation.offload.run("ann", len, "start")
        began = time.monotonic()
        shown = await asyncio.gather(*(services.hub.descriptions.of(repository) for _ in range(20)))
        assert {each.html for each in shown} == {None}
        return int(time.monotonic() - began)

    assert services.run(read()) < 10


def test_strangers_do_not_make_us_render(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Who may not write is refused before anything is rendered."""
    described(services, ann, "")
    services.foundation.offload.close()
    services.run(services.hub.repositories.edit(ann, "ann/app", RepositoryChange(visibility=Visibility.PRIVATE)))
    with pytest.raises(NotFound):
        services.run(services.hub.repositories.edit(ben, "ann/app", RepositoryChange(full_description=WIDE_TABLE)))
    with pytest.raises(Refused):
        services.run(services.hub.repositories.create(ben, NewRepository("ann", "new", None, "", WIDE_TABLE[:100])))
    assert not services.foundation.offload.started
