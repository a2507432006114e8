"""Repositories in the index: made by hand and by pushes, described, hidden, deleted, listed, counted."""

import asyncio
from collections.abc import Sequence

import pytest
from tests.unit.hub.house import Services

from hythe.hub.actor import ANONYMOUS, BuildLease, HubActor
from hythe.hub.errors import Invalid, NotFound, Refused, SignInNeeded, Taken
from hythe.hub.image_config import MAX_CONFIG_SIZE
from hythe.hub.page import Page, Paging
from hythe.hub.repositories import NewRepository, RepositoryChange
from hythe.hub.repository import Repository
from hythe.hub.user import Visibility
from hythe.hub.users import PlanChange, UserChange
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError

PUBLIC, PRIVATE = Visibility.PUBLIC, Visibility.PRIVATE


def names(page: Page[Repository]) -> Sequence[str]:
    return [each.full_name for each in page.items]


def test_made_by_hand(house: Services, ann: HubActor) -> None:
    """It is there with what was said of it, and nothing was pushed yet."""
    made = house.run(house.hub.repositories.create(ann, NewRepository("ann", "app", PRIVATE, " An app ", "# App")))

    found = house.run(house.hub.repositories.get(ann, "ann/app"))
    assert found == made
    assert (made.visibility, made.description, made.full_description) == (PRIVATE, "An app", "# App")
    assert (made.official, made.pushed_at, made.created_at) == (False, None, house.clock.now)


def test_made_by_a_push(house: Services, ann: HubActor) -> None:
    """The first push makes it, with the account's default visibility."""
    house.push(ann, "ann/app")
    house.run(house.hub.users.change_me(ann, UserChange(default_visibility=PRIVATE)))
    house.push(ann, "ann/hidden")

    assert house.run(house.hub.repositories.get(ANONYMOUS, "ann/app")).pushed_at == house.clock.now
    assert house.run(house.hub.repositories.get(ann, "ann/hidden")).private
    with pytest.raises(NotFound):
        house.run(house.hub.repositories.get(ANONYMOUS, "ann/hidden"))


def test_listed_from_its_first_push(house: Services, ann: HubActor) -> None:
    """What an engine began to upload is in no list until its manifest is there."""
    blob = b"layer"

    async def pieces() -> object:
        yield blob

    house.run(house.registry.uploads.put(ann, "ann/app", Digest.of(blob), pieces()))
    before = house.run(house.hub.repositories.newest(Paging()))
    house.push(ann, "ann/app")

    assert names(before) == []
    assert names(house.run(house.hub.repositories.newest(Paging()))) == ["ann/app"]
    assert names(house.run(house.hub.repositories.in_namespace(ANONYMOUS, "ann", Paging()))) == ["ann/app"]


def test_top_level(house: Services, curator: HubActor, ann: HubActor) -> None:
    """Curators make official ones; the short and the long name are the same."""
    house.push(curator, "centos")

    short = house.run(house.hub.repositories.get(ANONYMOUS, "centos"))
    assert short == house.run(house.hub.repositories.get(ANONYMOUS, "library/centos"))
    assert (short.official, short.short_name) == (True, "centos")
    with pytest.raises(Refused):
        house.run(house.hub.repositories.create(ann, NewRepository("library", "mine")))
    with pytest.raises(Invalid):
        house.run(house.hub.repositories.edit(curator, "centos", RepositoryChange(visibility=PRIVATE)))


def test_only_in_ones_own_namespace(house: Services, ann: HubActor, ben: HubActor) -> None:
    """Strangers and nobody make nothing there, and there is nothing where there is no namespace."""
    for actor, namespace, error in (
        (ben, "ann", Refused),
        (ANONYMOUS, "ann", SignInNeeded),
        (ann, "ghost", Refused),
        (ann, "a\0b", Invalid),
    ):
        with pytest.raises(error):
            house.run(house.hub.repositories.create(actor, NewRepository(namespace, "app")))


def test_taken(house: Services, ann: HubActor) -> None:
    """A name is given once, be it by hand or by a push."""
    house.push(ann, "ann/app")

    with pytest.raises(Taken):
        house.run(house.hub.repositories.create(ann, NewRepository("ann", "app")))


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({"name": "Upper"}, {"name"}),
        ({"name": ""}, {"name"}),
        ({"name": "a" * 201}, {"name"}),
        ({"name": "a\0"}, {"name"}),
        ({"description": "x" * 101, "full_description": "x" * 25_001}, {"description", "full_description"}),
        ({"name": "deep/er", "description": "fine"}, set()),
    ],
)
def test_bad_fields(values: dict[str, str], fields: set[str]) -> None:
    """Each bad field is named."""
    assert set(NewRepository.problems(values)) == fields


def test_made_twice_at_once(house: Services, ann: HubActor) -> None:
    """Of many that make the same repository at once one does, and the others hear that the name is taken."""

    async def scenario() -> list[object]:
        new = NewRepository("ann", "app")
        attempts = (house.hub.repositories.create(ann, new) for _ in range(8))
        return await asyncio.gather(*attempts, return_exceptions=True)

    outcomes = house.run(scenario())

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Repository", *["Taken"] * 7]


def test_edit(house: Services, ann: HubActor, ben: HubActor) -> None:
    """What is named changes, the rest stays; strangers may not."""
    house.run(house.hub.repositories.create(ann, NewRepository("ann", "app", PUBLIC, "Old", "# Old")))
    house.clock.forward(hours=1)

    changed = house.run(house.hub.repositories.edit(ann, "ann/app", RepositoryChange(description="New")))

    assert (changed.description, changed.full_description, changed.visibility) == ("New", "# Old", PUBLIC)
    assert changed.updated_at == house.clock.now
    with pytest.raises(Refused):
        house.run(house.hub.repositories.edit(ben, "ann/app", RepositoryChange(visibility=PRIVATE)))
    assert house.run(house.hub.repositories.edit(ann, "ann/app", RepositoryChange(visibility=PRIVATE))).private
    with pytest.raises(NotFound):
        house.run(house.hub.repositories.edit(ben, "ann/app", RepositoryChange(visibility=PUBLIC)))


def test_delete(house: Services, ann: HubActor, ben: HubActor) -> None:
    """It goes with all that was pushed, out of lists and search, and the name is free again."""
    house.push(ann, "ann/app")
    with pytest.raises(Refused):
        house.run(house.hub.repositories.delete(ben, "ann/app"))

    house.run(house.hub.repositories.delete(ann, "ann/app"))

    with pytest.raises(NotFound):
        house.run(house.hub.repositories.get(ann, "ann/app"))
    assert house.run(house.hub.search.find(ann, "app", Paging())).total == 0
    house.push(ann, "ann/app")
    assert house.run(house.hub.search.find(ann, "app", Paging())).total == 1


def test_plan(house: Services, ann: HubActor) -> None:
    """A plan's private repositories are counted however they come to be; public ones are not."""
    house.run(house.hub.users.set_plan(HubActor.operator(), "ann", PlanChange(1)))
    house.run(house.hub.repositories.create(ann, NewRepository("ann", "one", PRIVATE)))
    house.run(house.hub.repositories.create(ann, NewRepository("ann", "open", PUBLIC)))
    house.run(house.hub.users.change_me(ann, UserChange(default_visibility=PRIVATE)))

    assert house.run(house.hub.users.me(ann)).private_count == 1
    with pytest.raises(Refused, match=r"your plan allows 1 .*ask an administrator"):
        house.run(house.hub.repositories.create(ann, NewRepository("ann", "two", PRIVATE)))
    with pytest.raises(Refused):
        house.run(house.hub.repositories.edit(ann, "ann/open", RepositoryChange(visibility=PRIVATE)))
    with pytest.raises(WireError) as caught:
        house.push(ann, "ann/pushed")

    assert caught.value.code is ErrorCode.DENIED
    assert "your plan allows 1" in caught.value.message
    assert "make one public, delete one" in caught.value.message
    house.run(house.hub.repositories.edit(ann, "ann/one", RepositoryChange(visibility=PRIVATE)))
    house.run(house.hub.repositories.edit(ann, "ann/one", RepositoryChange(visibility=PUBLIC)))
    house.push(ann, "ann/pushed")


def test_smaller_plan(house: Services, ann: HubActor) -> None:
    """What is beyond it stays private, and no more is let in; a plan may allow none at all, or any number."""
    for name in ("one", "two"):
        house.run(house.hub.repositories.create(ann, NewRepository("ann", name, PRIVATE)))
    house.run(house.hub.users.set_plan(HubActor.operator(), "ann", PlanChange(0)))

    with pytest.raises(Refused, match=r"no private repositories .*make it public"):
        house.run(house.hub.repositories.create(ann, NewRepository("ann", "three", PRIVATE)))
    assert house.run(house.hub.repositories.get(ann, "ann/two")).private
    house.run(house.hub.users.set_plan(HubActor.operator(), "ann", PlanChange(None)))
    house.run(house.hub.repositories.create(ann, NewRepository("ann", "three", PRIVATE)))


def test_lists(house: Services, ann: HubActor, ben: HubActor) -> None:
    """The latest changed first, in pages; private ones for their owner alone; newest shows public ones."""
    for name, visibility in (("one", PUBLIC), ("two", PRIVATE), ("three", PUBLIC)):
        house.run(house.hub.repositories.create(ann, NewRepository("ann", name, visibility)))
        house.clock.forward(minutes=1)
    house.run(house.hub.repositories.edit(ann, "ann/one", RepositoryChange(description="changed")))

    own = house.run(house.hub.repositories.in_namespace(ann, "ann", Paging()))
    others = house.run(house.hub.repositories.in_namespace(ben, "ann", Paging(1, 1)))

    assert names(own) == ["ann/one", "ann/three", "ann/two"]
    assert (names(others), others.total, others.more) == (["ann/one"], 2, True)
    assert names(house.run(house.hub.repositories.newest(Paging()))) == ["ann/three", "ann/one"]
    with pytest.raises(NotFound):
        house.run(house.hub.repositories.in_namespace(ann, "ghost", Paging()))


def test_pulls_are_counted(house: Services, ann: HubActor) -> None:
    """Reads of manifests are counted, and written together."""
    digest = Digest.parse(house.push(ann, "ann/app"))
    found = house.run(house.registry.repositories.get(ann, "ann/app"))
    for _ in range(3):
        house.run(house.identity.listener.manifest_pulled(found, "latest", digest, ANONYMOUS))

    house.run(house.identity.pulls.flush())
    house.run(house.identity.pulls.flush())

    assert house.run(house.hub.repositories.get(ann, "ann/app")).pulls == 3


def test_reads_of_builds_are_no_pulls(house: Services, ann: HubActor) -> None:
    """What a Trusted Build reads, its base images and what it pushed itself, shows nobody's interest."""
    digest = Digest.parse(house.push(ann, "ann/app"))
    found = house.run(house.registry.repositories.get(ann, "ann/app"))
    build = HubActor("build 1", build=BuildLease(1, 1, "key"))
    for reader in (build, ann, build):
        house.run(house.identity.listener.manifest_pulled(found, "latest", digest, reader))

    house.run(house.identity.pulls.flush())

    assert house.run(house.hub.repositories.get(ann, "ann/app")).pulls == 1


@pytest.mark.parametrize(
    "config",
    [b'{"os":"\xff"}', b'{"os":"linux","config":{"Volumes":{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}}}", b"[]", b""],
    ids=["no UTF-8", "deep", "no object", "empty"],
)
def test_configurations_that_cannot_be_read(house: Services, ann: HubActor, config: bytes) -> None:
    """An image whose configuration is nonsense is listed and shown like any other, without a platform."""
    digest = house.push(ann, "ann/odd", "v1", config)

    (tag,) = house.run(house.hub.tags.list(ANONYMOUS, "ann/odd", Paging())).items
    image = house.run(house.hub.images.get(ANONYMOUS, "ann/odd", "v1"))

    assert (tag.digest, tag.images[0].platform) == (digest, "")
    assert [platform.platform for platform in image.platforms] == [""]


def test_a_configuration_larger_than_its_descriptor_says(house: Services, ann: HubActor) -> None:
    """What a page reads into memory is bounded by what is stored, not by what a manifest says of it."""
    content = b'{"os":"linux","architecture":"amd64"}'
    house.push(ann, "ann/app", "honest", content)
    house.push(ann, "ann/app", "liar", content + b" " * MAX_CONFIG_SIZE, said=len(content))

    platforms = [
        house.run(house.hub.tags.get(ANONYMOUS, "ann/app", tag)).images[0].platform for tag in ("honest", "liar")
    ]

    assert platforms == ["linux/amd64", ""]


def test_tags_by_a_part_of_their_name(house: Services, ann: HubActor) -> None:
    """Every character of the part stands for itself."""
    for tag in ("1.0", "1.1-alpine", "1_0", "2.0-alpine"):
        house.push(ann, "ann/app", tag)

    def found(part: str) -> tuple[set[str], int]:
        page = house.run(house.hub.tags.list(ANONYMOUS, "ann/app", Paging(1, 1), part))
        rest = house.run(house.hub.tags.list(ANONYMOUS, "ann/app", Paging(2, 1), part))
        return {each.name for each in (*page.items, *rest.items)}, page.total

    assert found("ALPINE") == ({"1.1-alpine", "2.0-alpine"}, 2)
    assert found("1_") == ({"1_0"}, 1)
    assert found("%") == (set(), 0)


def test_what_signs_an_image_is_no_tag_of_it(house: Services, ann: HubActor) -> None:
    """Lists leave out cosign's tags, whose names are digests; whoever asks for one by name gets it."""
    house.push(ann, "ann/app", "v1")
    digest = "sha256-" + "0" * 64
    for tag in (digest, f"{digest}.att", f"{digest}.sig", "sha256-is-a-nice-name"):
        house.push(ann, "ann/app", tag)

    page = house.run(house.hub.tags.list(ANONYMOUS, "ann/app", Paging()))
    assert {each.name for each in page.items} == {"v1", "sha256-is-a-nice-name"}
    assert page.total == 2
    assert house.run(house.hub.tags.get(ANONYMOUS, "ann/app", f"{digest}.att")).name == f"{digest}.att"


def test_tags(house: Services, ann: HubActor, ben: HubActor) -> None:
    """Tags with digest, size, platform and who pushed them; history, restore and immutable ones."""
    first = house.push(ann, "ann/app", "v1", b'{"os":"linux","architecture":"amd64"}')
    house.clock.forward(minutes=1)
    second = house.push(ann, "ann/app", "v1", b'{"os":"linux","architecture":"arm64","variant":"v8"}')
    house.push(ann, "ann/app", "v2", b"{}")

    page = house.run(house.hub.tags.list(ANONYMOUS, "ann/app", Paging()))
    tag = house.run(house.hub.tags.get(ANONYMOUS, "ann/app", "v1"))
    moves = house.run(house.hub.tags.history(ANONYMOUS, "ann/app", "v1"))

    assert {each.name for each in page.items} == {"v1", "v2"}
    assert (tag.digest, tag.pushed_by, tag.images[0].platform) == (second, "ann", "linux/arm64/v8")
    assert tag.size == tag.images[0].size == 52
    assert [(move.digest, move.previous) for move in moves] == [(second, first), (first, None)]
    house.run(house.hub.tags.restore(ann, "ann/app", "v1", Digest.parse(first)))
    assert house.run(house.hub.tags.get(ANONYMOUS, "ann/app", "v1")).digest == first
    house.run(house.hub.tags.set_immutable(ann, "ann/app", ("v*",)))
    with pytest.raises(WireError):
        house.run(house.hub.tags.restore(ann, "ann/app", "v1", Digest.parse(second)))
    for attempt in (
        house.hub.tags.delete(ben, "ann/app", "v2"),
        house.hub.tags.restore(ben, "ann/app", "v1", Digest.parse(second)),
        house.hub.tags.set_immutable(ben, "ann/app", ()),
    ):
        with pytest.raises(Refused):
            house.run(attempt)
