"""Repositories in the index: created explicitly and by pushes, described, hidden, deleted, listed, counted."""

import asyncio
from collections.abc import Sequence

import pytest
from tests.unit.hub.services import Services

from hythe.hub.accounts.user import Visibility
from hythe.hub.accounts.users import PlanChange, UserChange
from hythe.hub.actor import ANONYMOUS, BuildLease, HubActor
from hythe.hub.errors import Invalid, NotFound, Refused, SignInNeeded, Taken
from hythe.hub.page import Page, Paging
from hythe.hub.repositories.image_config import MAX_CONFIG_SIZE
from hythe.hub.repositories.repositories import NewRepository, RepositoryChange
from hythe.hub.repositories.repository import Repository
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.events import PulledManifest

PUBLIC, PRIVATE = Visibility.PUBLIC, Visibility.PRIVATE


def names(page: Page[Repository]) -> Sequence[str]:
    return [each.full_name for each in page.items]


def test_made_by_hand(services: Services, ann: HubActor) -> None:
    """A new repository has its description and no push."""
    made = services.run(
        services.hub.repositories.create(ann, NewRepository("ann", "app", PRIVATE, " An app ", "# App"))
    )

    found = services.run(services.hub.repositories.get(ann, "ann/app"))
    assert found == made
    assert (made.visibility, made.description, made.full_description) == (PRIVATE, "An app", "# App")
    assert (made.official, made.pushed_at, made.created_at) == (False, None, services.clock.now)


def test_made_by_a_push(services: Services, ann: HubActor) -> None:
    """The first push creates it with the account's default visibility."""
    services.push(ann, "ann/app")
    services.run(services.hub.users.change_me(ann, UserChange(default_visibility=PRIVATE)))
    services.push(ann, "ann/hidden")

    assert services.run(services.hub.repositories.get(ANONYMOUS, "ann/app")).pushed_at == services.clock.now
    assert services.run(services.hub.repositories.get(ann, "ann/hidden")).private
    with pytest.raises(NotFound):
        services.run(services.hub.repositories.get(ANONYMOUS, "ann/hidden"))


def test_listed_from_its_first_push(services: Services, ann: HubActor) -> None:
    """An unfinished first push is not listed until its manifest exists."""
    blob = b"layer"

    async def pieces() -> object:
        yield blob

    services.run(services.registry.uploads.put(ann, "ann/app", Digest.of(blob), pieces()))
    before = services.run(services.hub.repositories.newest(Paging()))
    services.push(ann, "ann/app")

    assert names(before) == []
    assert names(services.run(services.hub.repositories.newest(Paging()))) == ["ann/app"]
    assert names(services.run(services.hub.repositories.in_namespace(ANONYMOUS, "ann", Paging()))) == ["ann/app"]


def test_top_level(services: Services, curator: HubActor, ann: HubActor) -> None:
    """Curators create official ones; the short and the long name are the same."""
    services.push(curator, "centos")

    short = services.run(services.hub.repositories.get(ANONYMOUS, "centos"))
    assert short == services.run(services.hub.repositories.get(ANONYMOUS, "library/centos"))
    assert (short.official, short.short_name) == (True, "centos")
    with pytest.raises(Refused):
        services.run(services.hub.repositories.create(ann, NewRepository("library", "mine")))
    with pytest.raises(Invalid):
        services.run(services.hub.repositories.edit(curator, "centos", RepositoryChange(visibility=PRIVATE)))


def test_only_in_ones_own_namespace(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Other users and anonymous clients cannot create repositories in a namespace; nor can anyone in a missing one."""
    for actor, namespace, error in (
        (ben, "ann", Refused),
        (ANONYMOUS, "ann", SignInNeeded),
        (ann, "ghost", Refused),
        (ann, "a\0b", Invalid),
    ):
        with pytest.raises(error):
            services.run(services.hub.repositories.create(actor, NewRepository(namespace, "app")))


def test_taken(services: Services, ann: HubActor) -> None:
    """A name can be used once, whether created explicitly or by a push."""
    services.push(ann, "ann/app")

    with pytest.raises(Taken):
        services.run(services.hub.repositories.create(ann, NewRepository("ann", "app")))


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


def test_made_twice_at_once(services: Services, ann: HubActor) -> None:
    """Of many concurrent requests for one name a single one succeeds; the others learn that it is taken."""

    async def scenario() -> list[object]:
        new = NewRepository("ann", "app")
        attempts = (services.hub.repositories.create(ann, new) for _ in range(8))
        return await asyncio.gather(*attempts, return_exceptions=True)

    outcomes = services.run(scenario())

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Repository", *["Taken"] * 7]


def test_edit(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Given fields change, others stay; other users are refused."""
    services.run(services.hub.repositories.create(ann, NewRepository("ann", "app", PUBLIC, "Old", "# Old")))
    services.clock.forward(hours=1)

    changed = services.run(services.hub.repositories.edit(ann, "ann/app", RepositoryChange(description="New")))

    assert (changed.description, changed.full_description, changed.visibility) == ("New", "# Old", PUBLIC)
    assert changed.updated_at == services.clock.now
    with pytest.raises(Refused):
        services.run(services.hub.repositories.edit(ben, "ann/app", RepositoryChange(visibility=PRIVATE)))
    assert services.run(services.hub.repositories.edit(ann, "ann/app", RepositoryChange(visibility=PRIVATE))).private
    with pytest.raises(NotFound):
        services.run(services.hub.repositories.edit(ben, "ann/app", RepositoryChange(visibility=PUBLIC)))


def test_delete(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Everything is deleted, also from lists and search, and the name is free again."""
    services.push(ann, "ann/app")
    with pytest.raises(Refused):
        services.run(services.hub.repositories.delete(ben, "ann/app"))

    services.run(services.hub.repositories.delete(ann, "ann/app"))

    with pytest.raises(NotFound):
        services.run(services.hub.repositories.get(ann, "ann/app"))
    assert services.run(services.hub.search.find(ann, "app", Paging())).total == 0
    services.push(ann, "ann/app")
    assert services.run(services.hub.search.find(ann, "app", Paging())).total == 1


def test_plan(services: Services, ann: HubActor) -> None:
    """A plan counts private repositories however they were created; public ones do not count."""
    services.run(services.hub.users.set_plan(HubActor.operator(), "ann", PlanChange(private_limit=1)))
    services.run(services.hub.repositories.create(ann, NewRepository("ann", "one", PRIVATE)))
    services.run(services.hub.repositories.create(ann, NewRepository("ann", "open", PUBLIC)))
    services.run(services.hub.users.change_me(ann, UserChange(default_visibility=PRIVATE)))

    assert services.run(services.hub.users.me(ann)).usage.private_count == 1
    with pytest.raises(Refused, match=r"your plan allows 1 .*ask an administrator"):
        services.run(services.hub.repositories.create(ann, NewRepository("ann", "two", PRIVATE)))
    with pytest.raises(Refused):
        services.run(services.hub.repositories.edit(ann, "ann/open", RepositoryChange(visibility=PRIVATE)))
    with pytest.raises(WireError) as caught:
        services.push(ann, "ann/pushed")

    assert caught.value.code is ErrorCode.DENIED
    assert "your plan allows 1" in caught.value.message
    assert "make one public, delete one" in caught.value.message
    services.run(services.hub.repositories.edit(ann, "ann/one", RepositoryChange(visibility=PRIVATE)))
    services.run(services.hub.repositories.edit(ann, "ann/one", RepositoryChange(visibility=PUBLIC)))
    services.push(ann, "ann/pushed")


def test_smaller_plan(services: Services, ann: HubActor) -> None:
    """Repositories beyond the plan stay private, but no more are allowed; a plan may allow none, or any number."""
    for name in ("one", "two"):
        services.run(services.hub.repositories.create(ann, NewRepository("ann", name, PRIVATE)))
    services.run(services.hub.users.set_plan(HubActor.operator(), "ann", PlanChange(private_limit=0)))

    with pytest.raises(Refused, match=r"no private repositories .*make it public"):
        services.run(services.hub.repositories.create(ann, NewRepository("ann", "three", PRIVATE)))
    assert services.run(services.hub.repositories.get(ann, "ann/two")).private
    services.run(services.hub.users.set_plan(HubActor.operator(), "ann", PlanChange(private_limit=None)))
    services.run(services.hub.repositories.create(ann, NewRepository("ann", "three", PRIVATE)))


def test_lists(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Most recently changed first, in pages; private ones only for their owner; newest lists public ones."""
    for name, visibility in (("one", PUBLIC), ("two", PRIVATE), ("three", PUBLIC)):
        services.run(services.hub.repositories.create(ann, NewRepository("ann", name, visibility)))
        services.clock.forward(minutes=1)
    services.run(services.hub.repositories.edit(ann, "ann/one", RepositoryChange(description="changed")))

    own = services.run(services.hub.repositories.in_namespace(ann, "ann", Paging()))
    others = services.run(services.hub.repositories.in_namespace(ben, "ann", Paging(1, 1)))

    assert names(own) == ["ann/one", "ann/three", "ann/two"]
    assert (names(others), others.total, others.more) == (["ann/one"], 2, True)
    assert names(services.run(services.hub.repositories.newest(Paging()))) == ["ann/three", "ann/one"]
    with pytest.raises(NotFound):
        services.run(services.hub.repositories.in_namespace(ann, "ghost", Paging()))


def test_pulls_are_counted(services: Services, ann: HubActor) -> None:
    """Pulls are counted and written in batches."""
    digest = Digest.parse(services.push(ann, "ann/app"))
    found = services.run(services.registry.repositories.get(ann, "ann/app"))
    for _ in range(3):
        services.run(
            services.foundation.listener.manifest_pulled(found, PulledManifest("latest", digest, False, 1), ANONYMOUS)
        )

    services.run(services.foundation.pulls.flush())
    services.run(services.foundation.pulls.flush())

    assert services.run(services.hub.repositories.get(ann, "ann/app")).pulls == 3


def test_reads_of_builds_are_no_pulls(services: Services, ann: HubActor) -> None:
    """What a Trusted Build reads does not count as a pull."""
    digest = Digest.parse(services.push(ann, "ann/app"))
    found = services.run(services.registry.repositories.get(ann, "ann/app"))
    build = HubActor("build 1", build=BuildLease(1, 1, "key"))
    for reader in (build, ann, build):
        services.run(
            services.foundation.listener.manifest_pulled(found, PulledManifest("latest", digest, False, 1), reader)
        )

    services.run(services.foundation.pulls.flush())

    assert services.run(services.hub.repositories.get(ann, "ann/app")).pulls == 1


@pytest.mark.parametrize(
    "config",
    [b'{"os":"\xff"}', b'{"os":"linux","config":{"Volumes":{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}}}", b"[]", b""],
    ids=["no UTF-8", "deep", "no object", "empty"],
)
def test_configurations_that_cannot_be_read(services: Services, ann: HubActor, config: bytes) -> None:
    """An image with an invalid configuration is shown like any other, without a platform."""
    digest = services.push(ann, "ann/odd", "v1", config)

    (tag,) = services.run(services.hub.tags.list(ANONYMOUS, "ann/odd", Paging())).items
    image = services.run(services.hub.images.get(ANONYMOUS, "ann/odd", "v1"))

    assert (tag.digest, tag.images[0].platform) == (digest, "")
    assert [platform.platform for platform in image.platforms] == [""]


def test_a_configuration_larger_than_its_descriptor_says(services: Services, ann: HubActor) -> None:
    """A page reads no more into memory than what is stored, whatever a manifest claims."""
    content = b'{"os":"linux","architecture":"amd64"}'
    services.push(ann, "ann/app", "honest", content)
    services.push(ann, "ann/app", "liar", content + b" " * MAX_CONFIG_SIZE, said=len(content))

    platforms = [
        services.run(services.hub.tags.get(ANONYMOUS, "ann/app", tag)).images[0].platform for tag in ("honest", "liar")
    ]

    assert platforms == ["linux/amd64", ""]


def test_tags_by_a_part_of_their_name(services: Services, ann: HubActor) -> None:
    """Every character of the part is taken literally."""
    for tag in ("1.0", "1.1-alpine", "1_0", "2.0-alpine"):
        services.push(ann, "ann/app", tag)

    def found(part: str) -> tuple[set[str], int]:
        page = services.run(services.hub.tags.list(ANONYMOUS, "ann/app", Paging(1, 1), part))
        rest = services.run(services.hub.tags.list(ANONYMOUS, "ann/app", Paging(2, 1), part))
        return {each.name for each in (*page.items, *rest.items)}, page.total

    assert found("ALPINE") == ({"1.1-alpine", "2.0-alpine"}, 2)
    assert found("1_") == ({"1_0"}, 1)
    assert found("%") == (set(), 0)


def test_what_signs_an_image_is_no_tag_of_it(services: Services, ann: HubActor) -> None:
    """Lists leave out cosign's tags, whose names are digests; they can be requested by name."""
    services.push(ann, "ann/app", "v1")
    digest = "sha256-" + "0" * 64
    for tag in (digest, f"{digest}.att", f"{digest}.sig", "sha256-is-a-nice-name"):
        services.push(ann, "ann/app", tag)

    page = services.run(services.hub.tags.list(ANONYMOUS, "ann/app", Paging()))
    assert {each.name for each in page.items} == {"v1", "sha256-is-a-nice-name"}
    assert page.total == 2
    assert services.run(services.hub.tags.get(ANONYMOUS, "ann/app", f"{digest}.att")).name == f"{digest}.att"


def test_tags(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Tags with digest, size, platform and who pushed them; history, restore and immutable ones."""
    first = services.push(ann, "ann/app", "v1", b'{"os":"linux","architecture":"amd64"}')
    services.clock.forward(minutes=1)
    second = services.push(ann, "ann/app", "v1", b'{"os":"linux","architecture":"arm64","variant":"v8"}')
    services.push(ann, "ann/app", "v2", b"{}")

    page = services.run(services.hub.tags.list(ANONYMOUS, "ann/app", Paging()))
    tag = services.run(services.hub.tags.get(ANONYMOUS, "ann/app", "v1"))
    moves = services.run(services.hub.tags.history(ANONYMOUS, "ann/app", "v1"))

    assert {each.name for each in page.items} == {"v1", "v2"}
    assert (tag.digest, tag.pushed_by, tag.images[0].platform) == (second, "ann", "linux/arm64/v8")
    assert tag.size == tag.images[0].size == 52
    assert [(move.digest, move.previous) for move in moves] == [(second, first), (first, None)]
    services.run(services.hub.tags.restore(ann, "ann/app", "v1", Digest.parse(first)))
    assert services.run(services.hub.tags.get(ANONYMOUS, "ann/app", "v1")).digest == first
    services.run(services.hub.tags.set_immutable(ann, "ann/app", ("v*",)))
    with pytest.raises(WireError):
        services.run(services.hub.tags.restore(ann, "ann/app", "v1", Digest.parse(second)))
    for attempt in (
        services.hub.tags.delete(ben, "ann/app", "v2"),
        services.hub.tags.restore(ben, "ann/app", "v1", Digest.parse(second)),
        services.hub.tags.set_immutable(ben, "ann/app", ()),
    ):
        with pytest.raises(Refused):
            services.run(attempt)
