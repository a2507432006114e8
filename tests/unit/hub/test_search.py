"""Search: what is found, in which order, and by whom; the same on both databases."""

from sqlalchemy import text, update
from tests.unit.hub.house import Services

from hythe.database.tables.hub import hub_repositories
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.page import Paging
from hythe.hub.repositories import NewRepository, RepositoryChange
from hythe.hub.user import Visibility


def make(house: Services, actor: HubActor, name: str, description: str = "", *, private: bool = False) -> None:
    """Make a repository by hand."""
    namespace, _, rest = name.partition("/")
    visibility = Visibility.PRIVATE if private else Visibility.PUBLIC
    house.run(house.hub.repositories.create(actor, NewRepository(namespace, rest, visibility, description)))


def found(house: Services, typed: str, actor: HubActor = ANONYMOUS) -> list[str]:
    """The names that a search gives, in order."""
    return [each.short_name for each in house.run(house.hub.search.find(actor, typed, Paging())).items]


def set_counts(house: Services, name: str, **counts: int) -> None:
    """Give a repository stars and pulls."""

    async def change() -> None:
        async with house.database.writing() as session:
            await session.run(update(hub_repositories).where(hub_repositories.c.name == name).values(counts))

    house.run(change())


def test_by_beginning_of_name_user_and_words(house: Services, ann: HubActor, curator: HubActor) -> None:
    """``cent`` finds the official ``centos``, what ``centuser`` has, and what says so in its description."""
    centuser = house.user("centuser")
    make(house, ann, "ann/base", "Built on CentOS 7")
    make(house, centuser, "centuser/tool")
    make(house, ann, "ann/other", "Nothing of the kind")
    house.push(curator, "centos")

    assert found(house, "cent") == ["centos", "centuser/tool", "ann/base"]
    assert found(house, "CentOS") == ["centos", "ann/base"]


def test_order(house: Services, ann: HubActor, curator: HubActor) -> None:
    """Exact names first, then beginnings, official ones before others; then by words, stars and pulls."""
    make(house, ann, "ann/web-tools")
    make(house, ann, "ann/web")
    make(house, ann, "ann/dull", "a web thing")
    make(house, ann, "ann/loved", "a web thing")
    house.push(curator, "web-server")
    set_counts(house, "loved", stars=50, pulls=10_000)

    assert found(house, "web") == ["ann/web", "web-server", "ann/web-tools", "ann/loved", "ann/dull"]
    assert found(house, "ann/web")[0] == "ann/web"


def test_several_words(house: Services, ann: HubActor) -> None:
    """All of them must be there, in whatever order."""
    make(house, ann, "ann/one", "small static web server")
    make(house, ann, "ann/two", "static pages")

    assert found(house, "server static") == ["ann/one"]
    assert set(found(house, "static")) == {"ann/one", "ann/two"}
    assert found(house, "static nowhere") == []


def test_middle_of_a_name(house: Services, ann: HubActor) -> None:
    """A part of a name that begins no word is found, too."""
    make(house, ann, "ann/mycentos")

    assert found(house, "centos") == ["ann/mycentos"]


def test_typos(house: Services, ann: HubActor) -> None:
    """What is nowhere as typed finds names that look like it."""
    make(house, ann, "ann/postgresql")
    make(house, ann, "ann/unrelated")

    assert found(house, "postgersql") == ["ann/postgresql"]
    assert found(house, "zzzzzz") == []


def test_without_the_extension(house: Services, ann: HubActor) -> None:
    """Where pg_trgm may not be installed search does without likeness, and nothing fails."""
    make(house, ann, "ann/postgresql")
    if house.database.dialect == "postgresql":

        async def take_away() -> None:
            async with house.database.writing() as session:
                await session.run(text("DROP EXTENSION pg_trgm CASCADE"))

        house.run(take_away())
        assert found(house, "postgersql") == []

    assert found(house, "postg") == found(house, "gresq") == ["ann/postgresql"]


def test_private_ones_for_those_who_see_them(house: Services, ann: HubActor, ben: HubActor) -> None:
    """The owner finds them, nobody else, be it by name or by description; nor do they count."""
    make(house, ann, "ann/secret", "hush", private=True)
    make(house, ann, "ann/open", "hush hush")

    assert set(found(house, "hush", ann)) == {"ann/secret", "ann/open"}
    for actor in (ben, ANONYMOUS):
        assert found(house, "hush", actor) == ["ann/open"]
        assert found(house, "secret", actor) == []
        assert house.run(house.hub.search.find(actor, "", Paging())).total == 1


def test_changes_are_found_at_once(house: Services, ann: HubActor, ben: HubActor) -> None:
    """A new description, a repository made private or public."""
    make(house, ann, "ann/app", "first words")
    house.run(house.hub.repositories.edit(ann, "ann/app", RepositoryChange(description="second words")))

    assert found(house, "first") == []
    assert found(house, "second") == ["ann/app"]
    house.run(house.hub.repositories.edit(ann, "ann/app", RepositoryChange(visibility=Visibility.PRIVATE)))
    assert found(house, "second", ben) == []
    house.run(house.hub.repositories.edit(ann, "ann/app", RepositoryChange(visibility=Visibility.PUBLIC)))
    assert found(house, "second", ben) == ["ann/app"]


def test_pages(house: Services, ann: HubActor) -> None:
    """Every result is on one page, none on two."""
    for number in range(7):
        make(house, ann, f"ann/tool-{number}")

    pages = [house.run(house.hub.search.find(ANONYMOUS, "tool", Paging(number, 3))) for number in (1, 2, 3, 4)]

    assert [len(page.items) for page in pages] == [3, 3, 1, 0]
    assert {page.total for page in pages} == {7}
    assert len({each.name for page in pages for each in page.items}) == 7


def test_anything_can_be_typed(house: Services, ann: HubActor) -> None:
    """Signs that mean something to a database are looked for or passed over, and nothing fails."""
    make(house, ann, "ann/c-plus", "100% C++ \"quoted\" 'tools'")

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
        found(house, typed)
    assert found(house, "%") == found(house, "_") == found(house, "")
    assert found(house, '100% "quoted"') == ["ann/c-plus"]
    assert found(house, "library/") == found(house, "")
