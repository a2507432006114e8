"""The audit log: who may read it, filters, export, and that nothing changes an entry."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Executable, delete, update
from sqlalchemy.exc import DBAPIError
from tests.parts.authenticator import Authenticator
from tests.unit.hub.services import PASSWORD, Services
from tests.unit.hub.test_identities import HUB, Company, company
from tests.unit.hub.test_second_factors import PARTY, Account, plain

from hythe.database import DatabaseError, Session
from hythe.database.tables.audit import audit_entries
from hythe.hub.access.actions import HubAction
from hythe.hub.accounts.user import Visibility
from hythe.hub.accounts.users import NewUser
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.errors import NotFound, Refused, SignInNeeded
from hythe.hub.logs import audit, audit_log
from hythe.hub.logs.audit import AuditEntry
from hythe.hub.logs.audit_log import AuditFilter
from hythe.hub.organizations.organizations import Conversion
from hythe.hub.page import Paging
from hythe.hub.renaming.transfers import NewTransfer
from hythe.hub.repositories.repositories import NewRepository, RepositoryChange
from hythe.hub.sql import audit as store
from hythe.settings import Settings

__all__ = ["company"]  # a fixture

OPERATOR = HubActor.operator()


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


def test_entries_follow_the_account_and_not_its_name(services: Services, ann: HubActor, curator: HubActor) -> None:
    """After a rename the owner sees what happened under the former name; who gets that name later does not."""
    services.push(ann, "ann/app")
    services.run(services.hub.renames.rename_account(ann, "ann", "anna"))
    services.run(services.hub.renames.follow_all())
    anna: HubActor = services.run(services.hub.credentials.by_password("anna", PASSWORD))
    services.run(services.hub.renames.end_redirect(anna, "ann"))
    services.clock.forward(days=1)
    new = NewUser("ann", "other@example.com", PASSWORD)
    services.run(services.hub.users.create(OPERATOR, new))
    successor: HubActor = services.run(services.hub.credentials.by_password("ann", PASSWORD))
    services.push(successor, "ann/other")

    seen = entries(services, anna, namespace="anna")
    assert {entry.namespace for entry in seen} == {"ann", "anna"}
    assert "ann/app:latest" in {entry.target for entry in seen}
    assert not {"ann/other", "ann/other:latest"} & {entry.target for entry in seen}
    own = {entry.target for entry in entries(services, successor, namespace="ann")}
    assert own == {"ann", "ann/other", "ann/other:latest"}
    assert entries(services, curator, namespace="anna") == seen


def test_the_log_of_a_person_does_not_become_that_of_an_organization(
    services: Services, ann: HubActor, ben: HubActor, curator: HubActor
) -> None:
    """Owners see the conversion and what comes; only administrators, where and how the former user signed in."""
    services.run(services.hub.sessions.sign_in("ann", PASSWORD, "192.0.2.9"))
    services.push(ann, "ann/app", "before")
    services.run(services.hub.organizations.convert(ann, Conversion("ben", "ann")))
    services.push(ben, "ann/app", "after")

    found = [(entry.action, entry.target) for entry in entries(services, ben, namespace="ann")]
    assert found == [("tag.move", "ann/app:after"), ("organization.convert-account", "ann")]
    assert entries(services, ben, namespace="ann", action="session.start") == ()
    assert len(entries(services, ben, namespace="ann", repository="ann/app")) == 1
    (session,) = entries(services, curator, actor="ann", action="session.start")
    assert session.address == "192.0.2.9"


def test_a_new_account_sees_nothing_of_a_deleted_one(services: Services, curator: HubActor) -> None:
    """Not even with the same name or, in SQLite, the same id. Administrators still find the entries by the name."""
    eve = services.user("eve")
    services.push(eve, "eve/app")
    services.run(services.hub.administration.delete(curator, "eve", "eve"))
    assert "eve/app:latest" in {entry.target for entry in entries(services, curator, namespace="eve")}
    services.clock.forward(days=1)
    successor = services.user("eve")

    assert [entry.action for entry in entries(services, successor, namespace="eve")] == ["user.create"]


def test_the_history_of_a_repository_stays_with_its_owners(services: Services, ann: HubActor, ben: HubActor) -> None:
    """After a transfer, the new owner sees the transfer and what comes; the former one, what was and the transfer."""
    services.push(ann, "ann/app", "before")
    services.run(services.hub.transfers.transfer(ann, "ann/app", NewTransfer("ben")))
    offered = services.run(services.hub.transfers.offer(ann, "ann/app"))
    services.run(services.hub.transfers.accept(ben, "ben", offered.repository_id))
    services.push(ben, "ben/app", "after")

    former = {(entry.action, entry.target) for entry in entries(services, ann, namespace="ann")}
    present = {(entry.action, entry.target) for entry in entries(services, ben, namespace="ben")}
    assert former >= {("tag.move", "ann/app:before"), ("repository.transfer", "ben/app")}
    assert present >= {("tag.move", "ben/app:after"), ("repository.transfer", "ben/app")}
    assert not {("tag.move", "ben/app:after")} & former
    assert not {("tag.move", "ann/app:before")} & present


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
    """By actor, action, target, repository and time, alone and together."""
    for actor, name in ((ann, "ann/one"), (ann, "ann/two"), (ben, "ben/one")):
        services.clock.forward(minutes=1)
        services.push(actor, name)
    every = entries(services, curator)

    assert {entry.actor for entry in entries(services, curator, actor="ben")} == {"ben"}
    moves = entries(services, curator, action="tag.move")
    assert [entry.target for entry in moves] == ["ben/one:latest", "ann/two:latest", "ann/one:latest"]
    assert entries(services, curator, namespace="ann", action="tag.move", target="ann/one:latest") == moves[2:]
    assert entries(services, curator, namespace="ann", actor="ben") == ()
    for reader, namespace in ((ann, "ann"), (curator, "ann"), (curator, "")):
        about = entries(services, reader, namespace=namespace, repository="ann/one")
        assert [entry.target for entry in about] == ["ann/one:latest", "ann/one"]
        assert entries(services, reader, namespace=namespace, repository="ann/one", action="tag.move") == about[:1]
        assert entries(services, reader, namespace=namespace, repository="ann/one", actor="ben") == ()
    assert len(entries(services, curator, since=moves[0].at)) < len(every)
    assert entries(services, curator, since=moves[0].at) == tuple(entry for entry in every if entry.at >= moves[0].at)
    assert moves[0] not in entries(services, curator, until=moves[0].at)


def test_times_of_entries_are_not_in_the_order_of_their_ids(services: Services, ann: HubActor) -> None:
    """Servers' clocks differ, and transactions overlap: the filters by time still find exactly the entries between."""
    begun = services.clock.now + timedelta(days=1)
    minutes = (12, 2, 1, 4, 3, 60, 50, 61, 200, 199)

    async def add_all() -> None:
        async with services.database.writing() as session:
            for minute in minutes:
                at = begun + timedelta(minutes=minute)
                await audit.record(session, ann, HubAction.CREATE_TEAM, f"ann/{minute}", namespace="ann", at=at)

    services.run(add_all())

    for first in (0, *minutes):
        for last in (*minutes, 500):
            since, until = begun + timedelta(minutes=first), begun + timedelta(minutes=last)
            expected = [f"ann/{minute}" for minute in reversed(minutes) if first <= minute < last]
            for namespace in ("", "ann"):
                found = entries(services, OPERATOR, namespace=namespace, since=since, until=until)
                assert [entry.target for entry in found] == expected
    offset = timezone(timedelta(hours=14))
    assert entries(services, ann, namespace="ann", since=datetime.max.replace(tzinfo=offset)) == ()
    assert entries(services, ann, namespace="ann", until=datetime.min.replace(tzinfo=offset)) == ()


def test_owners_see_the_first_entries(services: Services, ann: HubActor) -> None:
    """Also if the entry with the earliest time was written last."""
    created = services.run(services.hub.users.me(ann)).created_at

    async def add_all() -> None:
        async with services.database.writing() as session:
            for seconds in (2, 1, 0, -1):
                at = created + timedelta(seconds=seconds)
                await audit.record(session, ann, HubAction.CREATE_TEAM, f"ann/{seconds}", namespace="ann", at=at)

    services.run(add_all())

    seen = entries(services, ann, namespace="ann", action=HubAction.CREATE_TEAM.value)
    assert [entry.target for entry in seen] == ["ann/0", "ann/1", "ann/2"]


def test_export_has_every_entry(services: Services, ann: HubActor, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are read at once."""
    monkeypatch.setattr(audit_log, "EXPORTED_AT_ONCE", 50)
    for number in range(120):
        services.push(ann, "ann/app", f"t{number}")

    async def exported() -> list[AuditEntry]:
        return [entry async for entry in services.hub.audit_log.export(ann, AuditFilter(namespace="ann"))]

    found = services.run(exported())
    assert len([entry for entry in found if entry.action == "tag.move"]) == 120
    assert found == sorted(found, key=lambda entry: -entry.id)


@pytest.mark.parametrize("statement", [update(audit_entries).values(actor="ben"), delete(audit_entries)])
def test_no_entry_can_be_changed_or_deleted(services: Services, ann: HubActor, statement: Executable) -> None:
    """The database itself refuses."""
    services.push(ann, "ann/app")

    async def change() -> None:
        async with services.database.writing() as session:
            await session.run(statement)

    with pytest.raises((DBAPIError, DatabaseError), match="entries of the audit log cannot be"):
        services.run(change())
    assert entries(services, ann, namespace="ann", action="tag.move")[0].actor == "ann"


def test_entries_expire_in_small_steps(
    services: Services, ann: HubActor, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time of the setting, a few in a transaction; with 0 never. Younger entries stay, and are protected."""
    steps = []

    async def removed(session: Session, before: datetime, at_most: int) -> int:
        steps.append(await store.remove_expired(session, before, at_most))
        return steps[-1]

    monkeypatch.setattr(audit_log, "store", SimpleNamespace(**{**vars(store), "remove_expired": removed}))
    monkeypatch.setattr(audit_log, "PRUNED_AT_ONCE", 3)
    for number in range(5):
        services.push(ann, "ann/app", f"t{number}")
    services.clock.forward(days=500)
    services.push(ann, "ann/app", "young")

    services.hub.audit_log.apply(0)
    assert services.run(services.hub.audit_log.prune()) == 0
    services.hub.audit_log.apply(settings.audit_retention)
    count = services.run(services.hub.audit_log.prune())
    assert (count, steps) == (7, [3, 3, 1])
    (young,) = entries(services, ann, namespace="ann")
    assert (young.target, young.at) == ("ann/app:young", services.clock.now)

    async def delete_all() -> None:
        async with services.database.writing() as session:
            await session.run(delete(audit_entries))

    with pytest.raises((DBAPIError, DatabaseError), match="cannot be deleted before they expire"):
        services.run(delete_all())


def test_two_servers_delete_at_the_same_time(
    services: Services, ann: HubActor, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that keeps entries longer does not stop the other one."""
    allowed_elsewhere = services.clock.now - timedelta(days=1)

    class Shared:
        """A database in which another server allows less after every transaction."""

        dialect = services.database.dialect

        @asynccontextmanager
        async def writing(self) -> AsyncIterator[Session]:
            async with services.database.writing() as session:
                yield session
            async with services.database.writing() as session:
                await store.allow_deletion(session, allowed_elsewhere)

    monkeypatch.setattr(audit_log, "PRUNED_AT_ONCE", 2)
    for number in range(5):
        services.push(ann, "ann/app", f"t{number}")
    services.clock.forward(days=500)
    log = audit_log.AuditLog(Shared(), services.hub.access, services.clock, settings.audit_retention)  # type: ignore[arg-type]

    assert services.run(log.prune()) == 7
    assert entries(services, ann, namespace="ann") == ()


def test_sign_ins_by_an_identity(company: Company) -> None:
    """The entries of an account's making, its sessions and its links name the provider as the credential."""
    services, by = company.services, HubActor(address="192.0.2.1")
    hub = services.hub
    claims = {"email_verified": True, "groups": []}
    company.provider.put("21", preferred_username="zoe", email="zoe@company.example", **claims)
    company.provider.put("22", preferred_username="zoe", email="zoe2@company.example", **claims)
    company.provider.put("23", preferred_username="third", email="zoe3@company.example", **claims)
    url, cookie = company.begin()
    completed = company.complete(company.respond(url, "21"), cookie, by)
    assert completed.actor is not None
    started = services.run(hub.sessions.start(completed.actor, "192.0.2.1"))
    url, cookie = company.begin()
    unnamed = company.complete(company.respond(url, "22"), cookie, by)
    services.run(company.identities.create_account(unnamed.cookie, "zoe2", "zoe2@company.example", "192.0.2.1"))
    session = services.run(hub.sessions.actor(started.token, "192.0.2.1"))
    redirection = services.run(company.identities.begin_link(session, "company", HUB))
    company.complete(company.respond(redirection.url, "23"), redirection.cookie, session)
    linked = services.run(company.identities.list(session))
    services.run(company.identities.unlink(session, linked[-1].id))
    redirection = services.run(company.identities.begin_confirmation(session, "company", HUB, "/"))
    company.complete(company.respond(redirection.url, "21"), redirection.cookie, session)

    found = [(entry.action, entry.actor, entry.credential, entry.address) for entry in entries(services, OPERATOR)]
    at_provider, in_session = "identity company", "session"
    assert found[::-1] == [
        ("account.create", "zoe", at_provider, "192.0.2.1"),
        ("session.start", "zoe", at_provider, "192.0.2.1"),
        ("account.create", "zoe2", at_provider, "192.0.2.1"),
        ("identity.link", "zoe", in_session, "192.0.2.1"),
        ("identity.unlink", "zoe", in_session, "192.0.2.1"),
        ("session.confirm", "zoe", in_session, "192.0.2.1"),
    ]


def test_sign_ins_by_a_passkey(services: Services) -> None:
    """A passkey alone is another credential than a password with a passkey."""
    account, key = Account(services), Authenticator()
    account.add_passkey(key)
    pending, browser = services.hub.pending_sign_ins, "secret of the browser"
    response = key.get(plain(pending.passkey_options(PARTY, browser)))
    alone = services.run(pending.by_passkey_alone(PARTY, browser, json.dumps(response), "192.0.2.1"))
    state = account.pending()
    response = key.get(plain(services.run(pending.get(state, PARTY)).passkeys))
    second = services.run(pending.by_passkey(state, PARTY, json.dumps(response), "192.0.2.1"))
    for actor in (alone, second):
        services.run(services.hub.sessions.start(actor, "192.0.2.1"))

    found = entries(services, OPERATOR, action="session.start")
    assert [entry.credential for entry in found[:2]] == ["password and passkey", "passkey"]
