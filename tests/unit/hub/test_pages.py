"""Pages of lists: forwards and backwards by cursors, by numbers within a bound, with bounded counts."""

import pytest
from tests.unit.hub.services import Services

from hythe.hub import page as pages
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.errors import Invalid
from hythe.hub.page import Page, Paging
from hythe.hub.repositories.repositories import NewRepository
from hythe.hub.repositories.repository import Repository
from hythe.hub.sql import sorted_list
from hythe.hub.sql import tags as tag_store


def make(services: Services, owner: HubActor, *names: str, visibility: Visibility = Visibility.PUBLIC) -> None:
    """Create repositories at the same moment, so that times alone do not order them."""
    for name in names:
        services.run(services.hub.repositories.create(owner, NewRepository(owner.name, name, visibility)))


def newest(services: Services, paging: Paging) -> Page[Repository]:
    """Return a page of the newest repositories."""
    return services.run(services.hub.repositories.newest(paging))


def test_there_and_back(services: Services, ann: HubActor) -> None:
    """Cursors lead through all pages and back; every item is on one page, though all have the same time."""
    make(services, ann, *(f"r{number}" for number in range(7)))
    found = [newest(services, Paging(page_size=3))]
    while found[-1].next:
        found.append(newest(services, Paging(page_size=3, cursor=found[-1].next)))
    back = newest(services, Paging(page_size=3, cursor=found[-1].previous))
    first = newest(services, Paging(page_size=3, cursor=back.previous))

    names = [[each.name for each in page.items] for page in found]
    assert [len(each) for each in names] == [3, 3, 1]
    assert len({name for each in names for name in each}) == 7
    assert (back.items, first.items) == (found[1].items, found[0].items)
    assert (found[0].previous, first.previous, found[-1].next) == ("", "", "")
    assert [each.name for each in newest(services, Paging(2, 3)).items] == names[1]
    assert newest(services, Paging(9, 3)).items == ()


def test_what_is_private_is_neither_listed_nor_counted(services: Services, ann: HubActor, ben: HubActor) -> None:
    """A stranger pages through the public repositories of a namespace only."""
    make(services, ann, "open", "open-2")
    make(services, ann, "secret", visibility=Visibility.PRIVATE)

    def listed(actor: HubActor) -> tuple[int, int]:
        page = services.run(services.hub.repositories.in_namespace(actor, "ann", Paging()))
        return len(page.items), page.total

    assert (listed(ann), listed(ben), listed(ANONYMOUS)) == ((3, 3), (2, 2), (2, 2))


def test_counts_are_bounded(services: Services, ann: HubActor, monkeypatch: pytest.MonkeyPatch) -> None:
    """More items than the bound are not counted."""
    monkeypatch.setattr(sorted_list, "MAX_COUNTED", 2)
    make(services, ann, "a", "b")
    few = newest(services, Paging())
    make(services, ann, "c")
    many = newest(services, Paging())

    assert (few.total, few.total_exact) == (2, True)
    assert (many.total, many.total_exact, len(many.items)) == (2, False, 3)


@pytest.mark.parametrize("cursor", ["x", "AAAA", "W10", "W2ZhbHNlLFsiYSJdXQ", "é", "=" * 9])
def test_cursors_of_other_lists(services: Services, cursor: str) -> None:
    """Texts that are no cursors of this list are refused."""
    with pytest.raises(Invalid) as error:
        newest(services, Paging(cursor=cursor))
    assert set(error.value.fields) == {"cursor"}


def test_page_numbers_have_a_bound() -> None:
    """Numbers reach the first MAX_DEPTH items; cursors have no bound."""
    assert Paging(pages.MAX_DEPTH // 100, 100).offset == pages.MAX_DEPTH - 100
    with pytest.raises(Invalid):
        Paging(pages.MAX_DEPTH // 100 + 1, 100)


def test_names_of_many_tags(services: Services, ann: HubActor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page compares a bounded number of names; the next one continues behind them, and the way back works."""
    for number in range(6):
        services.push(ann, "ann/app", f"{'odd' if number % 2 else 'even'}-{number}")
    monkeypatch.setattr(tag_store, "EXAMINED_AT_ONCE", 1)
    monkeypatch.setattr(tag_store, "MAX_EXAMINED", 2)
    paging: Paging | None = Paging()
    found: list[list[str]] = []
    previous = ""
    while paging is not None:
        page = services.run(services.hub.tags.list(ANONYMOUS, "ann/app", paging, "ODD"))
        found.append([tag.name for tag in page.items])
        previous = page.previous
        paging = Paging(cursor=page.next) if page.next else None

    assert sorted(name for names in found for name in names) == ["odd-1", "odd-3", "odd-5"]
    assert len(found) >= 3
    assert services.run(services.hub.tags.list(ANONYMOUS, "ann/app", Paging(cursor=previous), "ODD")) is not None
