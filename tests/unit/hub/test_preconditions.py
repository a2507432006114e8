"""Conditional changes: what a client has read is compared in the transaction of the change."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.unit.hub.services import Services

from hythe.database import Session, reads_in
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import HubActor
from hythe.hub.organizations.organization import DefaultRole
from hythe.hub.organizations.organizations import NewOrganization, OrganizationChange
from hythe.hub.organizations.teams import NewTeam, TeamChange
from hythe.hub.repositories.repositories import NewRepository, RepositoryChange
from hythe.hub.routes.preconditions import PreconditionFailed
from hythe.hub.validation import Precondition

Change = Callable[[Precondition], Awaitable[Any]]


def _organization(services: Services, ann: HubActor) -> tuple[Callable[[], Awaitable[Any]], Change, Change]:
    organizations = services.hub.organizations
    one, other = OrganizationChange(member_role=DefaultRole.READ), OrganizationChange(members_create=True)
    return (
        lambda: organizations.get(ann, "acme"),
        lambda unchanged: organizations.change(ann, "acme", one, unchanged),
        lambda unchanged: organizations.change(ann, "acme", other, unchanged),
    )


def _deleted_organization(services: Services, ann: HubActor) -> tuple[Callable[[], Awaitable[Any]], Change, Change]:
    organizations = services.hub.organizations
    read, change, _ = _organization(services, ann)
    return read, change, lambda unchanged: organizations.delete(ann, "acme", "acme", unchanged)


def _team(services: Services, ann: HubActor) -> tuple[Callable[[], Awaitable[Any]], Change, Change]:
    teams = services.hub.teams
    return (
        lambda: teams.get(ann, "acme", "web"),
        lambda unchanged: teams.change(ann, "acme", "web", TeamChange(description="one"), unchanged),
        lambda unchanged: teams.delete(ann, "acme", "web", unchanged),
    )


def _repository(services: Services, ann: HubActor) -> tuple[Callable[[], Awaitable[Any]], Change, Change]:
    repositories = services.hub.repositories
    one, other = RepositoryChange(description="one"), RepositoryChange(visibility=Visibility.PRIVATE)
    return (
        lambda: repositories.get(ann, "acme/app"),
        lambda unchanged: repositories.edit(ann, "acme/app", one, unchanged),
        lambda unchanged: repositories.edit(ann, "acme/app", other, unchanged),
    )


def _deleted_repository(services: Services, ann: HubActor) -> tuple[Callable[[], Awaitable[Any]], Change, Change]:
    read, change, _ = _repository(services, ann)
    return read, change, lambda unchanged: services.hub.repositories.delete(ann, "acme/app", unchanged)


@pytest.mark.parametrize("kind", [_organization, _deleted_organization, _team, _repository, _deleted_repository])
def test_one_of_two_changes_of_the_same_state_is_refused(
    services: Services, ann: HubActor, kind: Callable[[Services, HubActor], Any]
) -> None:
    """The second one waits for the first, as it would on another server, and then sees its change."""
    services.run(services.hub.organizations.create(ann, NewOrganization("acme")))
    services.run(services.hub.teams.create(ann, "acme", NewTeam("web")))
    services.run(services.hub.repositories.create(ann, NewRepository("acme", "app")))
    read, *changes = kind(services, ann)
    before = services.run(read())

    async def unchanged(session: Session) -> None:
        with reads_in(session):
            now = await read()
        await asyncio.sleep(0.05)  # while the other one reads, too, if nothing stops it
        if now != before:
            raise PreconditionFailed("it has changed")

    async def both() -> list[Any]:
        return await asyncio.gather(*(change(unchanged) for change in changes), return_exceptions=True)

    refused = [each for each in services.run(both()) if isinstance(each, Exception)]

    assert len(refused) == 1
    # What was deleted is not even there to compare.
    assert type(refused[0]).__name__ in ("PreconditionFailed", "NotFound")
