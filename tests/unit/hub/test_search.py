"""Search: results, their order and who sees them; equal on both databases."""

from sqlalchemy import text, update
from tests.unit.hub.services import Services

from hythe.database.tables.hub import hub_repositories
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.page import Paging
from hythe.hub.repositories import NewRepository, RepositoryChange
from hythe.hub.user import Visibility


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


def test_without_the_extension(services: Services, ann: HubActor) -> None:
    """Without pg_trgm search finds no similar names, and nothing fails."""
    make(services, ann, "ann/postgresql")
    if services.database.dialect == "postgresql":

        async def take_away() -> None:
            async with services.database.writing() as session:
                await session.run(text("DROP EXTENSION pg_trgm CASCADE"))

        services.run(take_away())
        assert found(services, "postgersql") == []

    assert found(services, "postg") == found(services, "gresq") == ["ann/postgresql"]


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


def test_anything_can_be_typed(services: Services, ann: HubActor) -> None:
    """Characters with a meaning in SQL are searched for or ignored, and nothing fails."""
    make(services, ann, "ann/c-plus", "100% C++ \"quoted\" 'tools'")

    for typed in (
        '"',
        "'",
        "%",
        "_",
        "*",
        "a OR b",
        "NEAR(",
        "--",
        "\\",
        "\0",
        "(",
        "name:x",
        "ä",
        "日本語",
        "& |",
        "x" * 5000,
    ):
        found(services, typed)
    assert found(services, "%") == found(services, "_") == found(services, "")
    assert found(services, '100% "quoted"') == ["ann/c-plus"]
    assert found(services, "library/") == found(services, "")
