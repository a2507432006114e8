"""The audit log: who may read it, filters, export, and that nothing changes an entry."""

from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError
from tests.unit.hub.services import Services

from hythe.database import DatabaseError
from hythe.database.tables.audit import audit_entries
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.errors import NotFound, Refused, SignInNeeded
from hythe.hub.logs.audit import AuditEntry
from hythe.hub.logs.audit_log import AuditFilter
from hythe.hub.page import Paging
from hythe.hub.repositories.repositories import NewRepository, RepositoryChange
from hythe.settings import Settings


def entries(services: Services, reader: HubActor, /, **filters: Any) -> tuple[AuditEntry, ...]:
    """Return the first page of the log."""
    page = services.run(services.hub.audit_log.entries(reader, AuditFilter(**filters), Paging(page_size=100)))
    return tuple(page.items)


def test_owners_see_what_happened_in_their_namespace(services: Services, ann: HubActor, curator: HubActor) -> None:
    """Each entry says who did what, from where, with which credential; administrators see every namespace."""
    services.run(services.hub.repositories.create(ann, NewRepository("ann", "app")))
    services.push(ann, "ann/app")
    services.run(services.hub.repositories.edit(ann, "ann/app", RepositoryChange(visibility=Visibility.PRIVATE)))
    services.run(services.hub.repositories.delete(ann, "ann/app"))

    own = entries(services, ann, namespace="ann")
    actions = [entry.action for entry in reversed(own) if entry.target.startswith("ann/app")]
    assert actions == ["repository.create", "tag.move", "repository.set-visibility", "repository.delete"]
    moved = next(entry for entry in own if entry.action == "tag.move")
    assert (moved.actor, moved.target, moved.detail["digest"][:7]) == ("ann", "ann/app:latest", "sha256:")
    assert entries(services, curator, namespace="ann") == own
    every = entries(services, curator)
    assert all(entry in every for entry in own)


def test_it_is_the_owners_alone(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Others are refused, and nobody but administrators sees the log of the hub."""
    services.push(ann, "ann/app")

    for actor, error in ((ben, Refused), (ANONYMOUS, SignInNeeded)):
        for namespace in ("ann", ""):
            with pytest.raises(error):
                entries(services, actor, namespace=namespace)
    with pytest.raises(Refused):
        entries(services, ann)
    with pytest.raises(NotFound):
        entries(services, ann, namespace="nowhere")


def test_filters(services: Services, ann: HubActor, ben: HubActor, curator: HubActor) -> None:
    """By actor, action, target and time, alone and together."""
    for actor, name in ((ann, "ann/one"), (ann, "ann/two"), (ben, "ben/one")):
        services.push(actor, name)
    every = entries(services, curator)

    assert {entry.actor for entry in entries(services, curator, actor="ben")} == {"ben"}
    moves = entries(services, curator, action="tag.move")
    assert [entry.target for entry in moves] == ["ben/one:latest", "ann/two:latest", "ann/one:latest"]
    assert entries(services, curator, namespace="ann", action="tag.move", target="ann/one:latest") == moves[2:]
    assert entries(services, curator, namespace="ann", actor="ben") == ()
    assert entries(services, curator, since=moves[0].at) == tuple(entry for entry in every if entry.at >= moves[0].at)
    assert moves[0] not in entries(services, curator, until=moves[0].at)


def test_export_has_every_entry(services: Services, ann: HubActor) -> None:
    """Whatever the size of a page is."""
    for number in range(120):
        services.push(ann, "ann/app", f"t{number}")

    async def exported() -> list[AuditEntry]:
        return [entry async for entry in services.hub.audit_log.export(ann, AuditFilter(namespace="ann"))]

    found = services.run(exported())
    assert len([entry for entry in found if entry.action == "tag.move"]) == 120
    assert found == sorted(found, key=lambda entry: -entry.id)


def test_no_entry_can_be_changed(services: Services, ann: HubActor) -> None:
    """The database itself refuses."""
    services.push(ann, "ann/app")

    async def change() -> None:
        async with services.database.writing() as session:
            await session.run(update(audit_entries).values(actor="ben"))

    with pytest.raises((DBAPIError, DatabaseError), match="cannot be changed"):
        services.run(change())
    assert entries(services, ann, namespace="ann", action="tag.move")[0].actor == "ann"


def test_entries_expire(services: Services, ann: HubActor, settings: Settings) -> None:
    """After the time of the setting; with 0 never."""
    services.push(ann, "ann/app")
    services.clock.forward(days=500)

    services.hub.audit_log.apply(0)
    assert services.run(services.hub.audit_log.prune()) == 0
    services.hub.audit_log.apply(settings.audit_retention)
    assert services.run(services.hub.audit_log.prune()) > 0
    assert entries(services, ann, namespace="ann") == ()
