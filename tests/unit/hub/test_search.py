"""Search: results, their order and who sees them; equal on both databases."""

import string

import pytest
from sqlalchemy import select, update
from tests.unit.hub.services import Services

from hythe.database import QueryTimeout
from hythe.database.tables.hub import hub_repositories, search_documents
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.page import Paging
from hythe.hub.repositories.repositories import NewRepository, RepositoryChange
from hythe.hub.sql import search_postings


def make(services: Services, actor: HubActor, name: str, description: str = "", *, private: bool = False) -> None:
    """Create a repository."""
    namespace, _, rest = name.partition("/")
    visibility = Visibility.PRIVATE if private else Visibility.PUBLIC
    services.run(services.hub.repositories.create(actor, NewRepository(namespace, rest, visibility, description)))


def found(services: Services, typed: str, actor: HubActor = ANONYMOUS) -> list[str]:
    """Return the names in the results, in order."""
    return [each.short_name for each in services.run(services.hub.search.find(actor, typed, Paging())).items]


def set_counts(services: Services, name: str, **counts: int) -> None:
    """Set the stars and pulls of a repository."""

    async def change() -> None:
        async with services.database.writing() as session:
            await session.run(update(hub_repositories).where(hub_repositories.c.name == name).values(counts))

    services.run(change())


def test_by_beginning_of_name_user_and_words(services: Services, ann: HubActor, curator: HubActor) -> None:
    """``cent`` finds the official ``centos``, repositories of ``centuser``, and descriptions with the word."""
    centuser = services.user("centuser")
    make(services, ann, "ann/base", "Built on CentOS 7")
    make(services, centuser, "centuser/tool")
    make(services, ann, "ann/other", "Nothing of the kind")
    services.push(curator, "centos")

    assert found(services, "cent") == ["centos", "centuser/tool", "ann/base"]
    assert found(services, "CentOS") == ["centos", "ann/base"]


def test_order(services: Services, ann: HubActor, curator: HubActor) -> None:
    """Exact names first, then prefixes, official ones before others; then by text, stars and pulls."""
    make(services, ann, "ann/web-tools")
    make(services, ann, "ann/web")
    make(services, ann, "ann/dull", "a web thing")
    make(services, ann, "ann/loved", "a web thing")
    services.push(curator, "web-server")
    set_counts(services, "loved", stars=50, pulls=10_000)

    assert found(services, "web") == ["ann/web", "web-server", "ann/web-tools", "ann/loved", "ann/dull"]
    assert found(services, "ann/web")[0] == "ann/web"


def test_several_words(services: Services, ann: HubActor) -> None:
    """All words must match, in any order."""
    make(services, ann, "ann/one", "small static web server")
    make(services, ann, "ann/two", "static pages")

    assert found(services, "server static") == ["ann/one"]
    assert set(found(services, "static")) == {"ann/one", "ann/two"}
    assert found(services, "static nowhere") == []


def test_middle_of_a_name(services: Services, ann: HubActor) -> None:
    """A part of a name in the middle of a word matches, too."""
    make(services, ann, "ann/mycentos")

    assert found(services, "centos") == ["ann/mycentos"]


def test_typos(services: Services, ann: HubActor) -> None:
    """A text without a match finds similar names."""
    make(services, ann, "ann/postgresql")
    make(services, ann, "ann/unrelated")

    assert found(services, "postgersql") == ["ann/postgresql"]
    assert found(services, "zzzzzz") == []


def test_typo_in_one_of_several_words(services: Services, ann: HubActor) -> None:
    """The word that nothing contains is replaced; the others must match as they are."""
    make(services, ann, "ann/web-static-17")
    make(services, ann, "ann/web-other-17")

    assert found(services, "web-statik-17") == ["ann/web-static-17"]
    assert found(services, "mail statik") == []


def test_private_ones_for_those_who_see_them(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Only the owner finds private repositories, by name or description; they do not count for others."""
    make(services, ann, "ann/secret", "hush", private=True)
    make(services, ann, "ann/open", "hush hush")

    assert set(found(services, "hush", ann)) == {"ann/secret", "ann/open"}
    for actor in (ben, ANONYMOUS):
        assert found(services, "hush", actor) == ["ann/open"]
        assert found(services, "secret", actor) == []
        assert services.run(services.hub.search.find(actor, "", Paging())).total == 1


def test_changes_are_found_at_once(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Changes of description and visibility apply at once."""
    make(services, ann, "ann/app", "first words")
    services.run(services.hub.repositories.edit(ann, "ann/app", RepositoryChange(description="second words")))

    assert found(services, "first") == []
    assert found(services, "second") == ["ann/app"]
    services.run(services.hub.repositories.edit(ann, "ann/app", RepositoryChange(visibility=Visibility.PRIVATE)))
    assert found(services, "second", ben) == []
    services.run(services.hub.repositories.edit(ann, "ann/app", RepositoryChange(visibility=Visibility.PUBLIC)))
    assert found(services, "second", ben) == ["ann/app"]


def test_pages(services: Services, ann: HubActor) -> None:
    """Each result is on exactly one page."""
    for number in range(7):
        make(services, ann, f"ann/tool-{number}")

    pages = [services.run(services.hub.search.find(ANONYMOUS, "tool", Paging(number, 3))) for number in (1, 2, 3, 4)]

    assert [len(page.items) for page in pages] == [3, 3, 1, 0]
    assert {page.total for page in pages} == {7}
    assert len({each.name for page in pages for each in page.items}) == 7


WITHOUT_WORDS = (
    *string.punctuation,
    "--",
    "& |",
    "()",
    '""',
    "\0",
    "\x1b[31m",
    "\x1f",
    "\u200b",
    "🐳",
    "🐳🐳",
    "…",
    "_" * 500,
)
"""Texts without a letter or digit: nothing matches them."""

WITH_WORDS = (
    "a OR zz",
    "zz NOT yy",
    "NEAR(zz",
    "name:x",
    "name : x",
    "zz*",
    "^zz",
    "{name}: zz",
    "zz AND (",
    "zz\\",
    "日本語",
    "x" * 5000,
    "' OR 1=1 --",
    "zz%",
    "z_z",
    "\ud800zz",
)
"""Texts with words that no repository contains, in the syntax of SQL and full-text search."""


def test_what_matches_nothing(services: Services, ann: HubActor) -> None:
    """Punctuation, control characters, emoji and the syntax of databases have no meaning, and nothing fails."""
    make(services, ann, "ann/c-plus", "100% C++ \"quoted\" 'tools' & more...")

    assert [typed for typed in (*WITHOUT_WORDS, *WITH_WORDS) if found(services, typed)] == []
    for typed in ('100% "quoted"', "C++", "'tools'", "plus*", "^plus", "tools, quoted!"):
        assert found(services, typed) == ["ann/c-plus"], typed


def test_nothing_typed(services: Services, ann: HubActor) -> None:
    """An empty text, spaces and the default namespace alone show popular repositories."""
    make(services, ann, "ann/one")

    assert found(services, "") == found(services, " \t\n") == found(services, "library/") == ["ann/one"]


def test_private_repositories_of_others_hide_nothing(
    services: Services, ann: HubActor, ben: HubActor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many private repositories match, the public ones are found; the full-text search has no private ones."""
    for number in range(4):
        make(services, ann, f"ann/thing-{number}", "words", private=True)
    make(services, ben, "ben/thing", "words")
    services.run(services.hub.repositories.edit(ann, "ann/thing-0", RepositoryChange(visibility=Visibility.PUBLIC)))
    services.run(services.hub.repositories.edit(ann, "ann/thing-0", RepositoryChange(visibility=Visibility.PRIVATE)))

    async def documents() -> list[str]:
        async with services.database.reading() as session:
            return [row.name for row in await session.rows(select(search_documents.c.name))]

    assert services.run(documents()) == ["ben/thing"]
    assert found(services, "thing") == found(services, "words") == ["ben/thing"]
    assert len(found(services, "words", ann)) == 5


def test_a_search_that_takes_too_long(services: Services, ann: HubActor, monkeypatch: pytest.MonkeyPatch) -> None:
    """It still finds names with the typed beginning."""
    make(services, ann, "ann/slow", "a turtle")

    async def never(*_arguments: object) -> None:
        raise QueryTimeout("the query took longer than its time limit")

    monkeypatch.setattr(search_postings, "plan", never)

    assert found(services, "slow") == ["ann/slow"]
    assert found(services, "turtle") == []
