"""Plans: what an account may store and create, whose pushes count, and who has no limits."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.unit.hub.services import Services

from hythe.hub.accounts.plan import PlanUsage
from hythe.hub.accounts.users import PlanChange
from hythe.hub.actor import BuildLease, HubActor
from hythe.hub.errors import Refused
from hythe.hub.organizations.invitations import NewInvitation
from hythe.hub.organizations.organization import DefaultRole
from hythe.hub.organizations.organizations import NewOrganization, OrganizationChange
from hythe.hub.repositories.repositories import NewRepository
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.oci.scope import Scope


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content


def limit(services: Services, name: str, **limits: int | None) -> None:
    """Change a plan."""
    services.run(services.hub.users.set_plan(HubActor.operator(), name, PlanChange(**limits)))


def usage(services: Services, name: str) -> PlanUsage:
    """Return what the account uses, as administrators see it."""
    used: PlanUsage = services.run(services.hub.users.get(HubActor.operator(), name)).usage
    return used


def put(services: Services, actor: HubActor, repository: str, content: bytes) -> ErrorCode | None:
    """Push a blob; return the code of the refusal."""
    call: Any = services.registry.uploads.put(actor, repository, Digest.of(content), _pieces(content), len(content))
    try:
        services.run(call)
    except WireError as error:
        return error.code
    return None


def test_storage_of_an_account(services: Services, ann: HubActor, ben: HubActor) -> None:
    """The limit is the account's, across its repositories; ``None`` removes it; the account shows what is used."""
    limit(services, "ann", storage_limit=10)

    codes = [
        put(services, ann, "ann/a", b"12345"),
        put(services, ann, "ann/b", b"67890"),
        put(services, ann, "ann/b", b"!"),
    ]
    full = usage(services, "ann")
    limit(services, "ann", storage_limit=None)

    assert codes == [None, None, ErrorCode.DENIED]
    assert (full.storage_used, full.repository_count, full.upload_count) == (10, 2, 0)
    assert put(services, ann, "ann/b", b"!") is None
    assert usage(services, "ben") == PlanUsage()


def test_number_of_repositories(services: Services, ann: HubActor) -> None:
    """Creation and a first push are refused at the limit and leave nothing; deletion makes room."""
    limit(services, "ann", repository_limit=2)
    services.run(services.hub.repositories.create(ann, NewRepository("ann", "one")))
    assert put(services, ann, "ann/two", b"two") is None

    with pytest.raises(Refused, match="your plan allows 2 repositories, which you have"):
        services.run(services.hub.repositories.create(ann, NewRepository("ann", "three")))
    assert put(services, ann, "ann/three", b"three") is ErrorCode.DENIED
    assert (usage(services, "ann").repository_count, usage(services, "ann").upload_count) == (2, 0)
    collected = services.run(services.registry.garbage.collect())
    assert [blob.digest for blob in collected.blobs] == [str(Digest.of(b"three"))]
    services.run(services.hub.repositories.delete(ann, "ann/one"))
    assert put(services, ann, "ann/three", b"two") is None

    assert usage(services, "ann").storage_used == 3


def test_uploads_of_an_account(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Sessions are counted by account; those of others do not matter."""
    limit(services, "ann", upload_limit=2)
    for number in range(2):
        services.run(services.registry.uploads.start(ann, f"ann/{number}"))

    with pytest.raises(WireError) as refused:
        services.run(services.registry.uploads.start(ann, "ann/2"))

    assert refused.value.code is ErrorCode.TOOMANYREQUESTS
    assert usage(services, "ann").upload_count == 2
    assert services.run(services.registry.uploads.start(ben, "ben/a"))


def test_builds_push_on_account_of_the_owner(services: Services, ann: HubActor) -> None:
    """A build's token belongs to no user; what it pushes counts in the namespace."""
    limit(services, "ann", storage_limit=10)
    scopes = (Scope.repository("ann/built", "pull", "push"),)
    build = HubActor("build", granted=scopes, build=BuildLease(1, 1, "key"))

    assert put(services, build, "ann/built", b"12345") is None
    assert put(services, build, "ann/built", b"1234567890") is ErrorCode.DENIED
    assert usage(services, "ann").storage_used == 5


def test_what_members_push_counts_for_the_organization(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Bytes and repositories count against the organization's plan, whoever pushes, and not against the member's."""
    organizations = services.hub.organizations
    services.run(organizations.create(ann, NewOrganization("acme")))
    invited = services.run(services.hub.invitations.invite(ann, "acme", NewInvitation("ben")))
    services.run(services.hub.invitations.accept(ben, invited.id))
    change = OrganizationChange(members_create=True, member_role=DefaultRole.WRITE)
    services.run(organizations.change(ann, "acme", change))
    limit(services, "acme", storage_limit=10, repository_limit=2)
    limit(services, "ben", storage_limit=3, repository_limit=0)

    codes = [
        put(services, ben, "acme/a", b"12345"),
        put(services, ann, "acme/b", b"67890"),
        put(services, ben, "acme/b", b"!"),
        put(services, ben, "acme/c", b"12345"),
    ]

    assert codes == [None, None, ErrorCode.DENIED, ErrorCode.DENIED]
    owned = services.run(organizations.account(ann, "acme")).usage
    assert (owned.storage_used, owned.repository_count) == (10, 2)
    assert usage(services, "ben") == usage(services, "ann") == PlanUsage()
    limit(services, "acme", storage_limit=11)
    assert put(services, ben, "acme/b", b"!") is None


def test_administrators_and_official_images_have_no_limits(services: Services, curator: HubActor) -> None:
    """Their plans are not enforced, and are shown without limits."""
    limit(services, "curator", storage_limit=0, repository_limit=0, upload_limit=0, private_limit=0)

    assert put(services, curator, "curator/a", b"12345") is None
    assert put(services, curator, "library/centos", b"12345") is None
    assert services.run(services.hub.users.me(curator)).plan.storage_limit is None
    assert usage(services, "curator").storage_used == 5
