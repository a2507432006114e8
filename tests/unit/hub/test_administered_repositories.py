"""Administrators handle every kind of repository, with an entry each; curators do not; one administrator stays."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from tests.unit.hub.services import Services

from hythe.hub.accounts.accounts import RolesChange
from hythe.hub.accounts.namespaces import AccountKind
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.administration.abuse_reports import ReportClosing, ReportState
from hythe.hub.administration.blocked_digests import NewBlockedDigest
from hythe.hub.administration.blocked_names import NewBlockedName
from hythe.hub.administration.takedowns import TakedownReason
from hythe.hub.errors import Invalid, NotFound, Refused, SignInNeeded
from hythe.hub.logs.audit_log import AuditFilter
from hythe.hub.organizations.organizations import NewOrganization
from hythe.hub.page import Page, Paging
from hythe.hub.renaming.transfers import NewTransfer
from hythe.hub.repositories.repositories import NewRepository
from hythe.hub.roles import HubRole
from hythe.registry.sql.garbage_collection import GarbageRun

MALWARE = TakedownReason("malware")


def entries(services: Services, reader: HubActor, namespace: str) -> list[tuple[str, str]]:
    """Return (actor, action) of each entry of a namespace, oldest first."""
    filters = AuditFilter(namespace=namespace)
    page = services.run(services.hub.audit_log.entries(reader, filters, Paging(page_size=100)))
    return [(entry.actor, entry.action) for entry in reversed(page.items)]


@pytest.mark.parametrize("visibility", list(Visibility))
@pytest.mark.parametrize("namespace", ["ann", "acme"])
def test_every_kind_of_repository(
    namespace: str, visibility: Visibility, services: Services, ann: HubActor, ben: HubActor, curator: HubActor
) -> None:
    """Of users and organizations, public, internal and private: taken down, opened, marked, handed over, deleted."""
    run, hub, administration = services.run, services.hub, services.hub.hub_administration
    run(hub.organizations.create(ann, NewOrganization("acme")))
    for name in ("app", "old"):
        run(hub.repositories.create(ann, NewRepository(namespace, name, visibility=visibility)))
    app = f"{namespace}/app"

    run(administration.takedowns.take_down(curator, app, MALWARE))
    with pytest.raises(NotFound):
        run(hub.repositories.get(curator, app))
    run(administration.access.open(curator, app, "ticket 7"))
    assert run(hub.repositories.get(curator, app)).full_name == app
    with pytest.raises(Refused, match="taken down already"):
        run(administration.takedowns.take_down(curator, app, MALWARE))
    with pytest.raises(Refused, match="restore it first"):
        run(administration.takedowns.hand_over(curator, app, NewTransfer("ben")))
    run(administration.takedowns.restore(curator, app))
    assert run(hub.repositories.get(ann, app)).visibility is visibility
    run(administration.access.close(curator, app))
    run(administration.takedowns.set_official(curator, app, official=True))
    run(administration.takedowns.hand_over(curator, app, NewTransfer("ben")))
    run(administration.takedowns.delete(curator, f"{namespace}/old", MALWARE))

    assert run(hub.repositories.get(ben, "ben/app")).visibility is visibility
    found = [action for actor, action in entries(services, ann, namespace) if actor == "curator"]
    assert [each for each in found if each not in ("repository.transfer", "repository.delete")] == [
        "repository.take-down",
        "repository.open",
        "repository.restore",
        "repository.open",
        "repository.set-official",
        "repository.hand-over",
        "repository.remove",
    ]


def calls(services: Services, actor: HubActor) -> list[Coroutine[Any, Any, Any]]:
    """Return a call of everything that only administrators do."""
    hub, administration, page = services.hub, services.hub.hub_administration, Paging()
    return [
        administration.access.open(actor, "ann/app", "x"),
        administration.access.close(actor, "ann/app"),
        administration.takedowns.list(actor, page),
        administration.takedowns.take_down(actor, "ann/app", MALWARE),
        administration.takedowns.restore(actor, "ann/app"),
        administration.takedowns.delete(actor, "ann/app", MALWARE),
        administration.takedowns.hand_over(actor, "ann/app", NewTransfer("ben")),
        administration.takedowns.set_official(actor, "ann/app", official=True),
        administration.repositories.find(actor, "", page),
        administration.reports.list(actor, ReportState.OPEN, page),
        administration.reports.close(actor, 1, ReportClosing(ReportState.DISMISSED)),
        administration.blocked_names.list(actor),
        administration.blocked_names.block(actor, NewBlockedName("x")),
        administration.blocked_names.unblock(actor, "x"),
        administration.blocked_digests.list(actor, page),
        administration.blocked_digests.block(actor, NewBlockedDigest(f"sha256:{64 * '0'}")),
        administration.blocked_digests.unblock(actor, f"sha256:{64 * '0'}"),
        administration.accounts.find(actor, "", page),
        administration.accounts.sign_out(actor, "ann"),
        administration.accounts.set_roles(actor, "ben", RolesChange(curator=True)),
        hub.members.appoint_owner(actor, "acme", "ben"),
        administration.storage.report(actor),
        administration.garbage.state(actor),
        administration.garbage.runs(actor, page),
        administration.garbage.start(actor),
        administration.settings.list(actor),
        administration.overview.get(actor),
        hub.administration.block(actor, "ann"),
        hub.administration.unblock(actor, "ann"),
        hub.administration.delete(actor, "ann", "ann"),
        hub.second_factors.reset(actor, "ann"),
        hub.mail.list(actor, page),
        hub.audit_log.entries(actor, AuditFilter(), page),
    ]


def test_curators_only_push_top_level_repositories(
    services: Services, ann: HubActor, ben: HubActor, curator: HubActor
) -> None:
    """Nothing that administrators do is theirs; what they tried changed nothing and left no entry."""
    services.push(ann, "ann/app")
    services.run(services.hub.hub_administration.accounts.set_roles(curator, "ben", RolesChange(curator=True)))
    services.push(ben, "tool")
    before = entries(services, curator, "ann")

    for refused in calls(services, ben):
        with pytest.raises(Refused):
            services.run(refused)
    for refused in calls(services, ANONYMOUS):
        with pytest.raises(SignInNeeded):
            services.run(refused)

    assert entries(services, curator, "ann") == before
    services.run(services.hub.hub_administration.accounts.set_roles(curator, "ben", RolesChange(curator=False)))
    with pytest.raises(Exception, match="only curators"):
        services.push(ben, "other")


def test_one_administrator_stays(services: Services, ben: HubActor, curator: HubActor) -> None:
    """Not even the operator ends, blocks or deletes the last one; another one first makes it possible."""
    operator, accounts = HubActor.operator(), services.hub.hub_administration.accounts
    no_longer = RolesChange(administrator=False)

    def endings() -> list[Coroutine[Any, Any, Any]]:
        return [
            accounts.set_roles(operator, "curator", no_longer),
            services.hub.administration.block(operator, "curator"),
            services.hub.administration.delete(operator, "curator", "curator"),
        ]

    for refused in endings():
        with pytest.raises(Refused, match="last administrator"):
            services.run(refused)
    services.run(accounts.set_roles(curator, "ben", RolesChange(administrator=True)))
    with pytest.raises(Refused, match="your own"):
        services.run(accounts.set_roles(curator, "curator", no_longer))
    services.run(services.hub.administration.block(ben, "curator"))
    for refused in (accounts.set_roles(operator, "ben", no_longer), services.hub.administration.block(operator, "ben")):
        with pytest.raises(Refused, match="last administrator"):
            services.run(refused)


def test_an_administrator_starts_a_garbage_collection(services: Services, ann: HubActor, curator: HubActor) -> None:
    """The server's next run is theirs; what is due is counted, and then freed."""
    garbage = services.hub.hub_administration.garbage
    services.push(ann, "ann/app", content=b"old")
    services.run(services.hub.hub_administration.takedowns.delete(curator, "ann/app", MALWARE))
    services.run(services.registry.deletions.finish())
    services.clock.forward(days=2)
    before = services.run(garbage.state(curator))
    services.run(garbage.start(curator))

    async def collect() -> Page[GarbageRun]:
        rounds = asyncio.create_task(services.registry.garbage.run())
        async with asyncio.timeout(60):
            while True:
                found = await garbage.runs(curator, Paging())
                if found.items:
                    break
                await asyncio.sleep(0.01)
        rounds.cancel()
        await asyncio.wait([rounds])
        return found

    (run,) = services.run(collect()).items
    after = services.run(garbage.state(curator))

    assert (run.started_by, run.failure, run.blobs) == ("curator", "", before.due.blobs)
    assert before.due.bytes == run.bytes > 0
    assert (after.due.blobs, after.due.exact, after.running_since) == (0, True, None)
    page = services.run(services.hub.audit_log.entries(curator, AuditFilter(action="garbage.collect"), Paging()))
    assert [entry.actor for entry in page.items] == ["curator"]


def test_official_repositories_are_listed(services: Services, ann: HubActor, curator: HubActor) -> None:
    """By the beginning of the name without the namespace, page by page; a filter finds no others."""
    run, administration = services.run, services.hub.hub_administration
    for actor, name in (
        (curator, "nginx"),
        (ann, "ann/api"),
        (ann, "ann/app"),
        (ann, "ann/nginx"),
        (curator, "alpine"),
    ):
        services.push(actor, name)
        if name != "ann/api":
            run(administration.takedowns.set_official(curator, name, official=True))

    def found(beginning: str, **paging: Any) -> tuple[list[str], Page[Any]]:
        page = run(administration.repositories.find(curator, beginning, Paging(**paging), official=True))
        return [each.repository for each in page.items], page

    first, page = found("", page_size=2)
    assert (first, page.total) == (["alpine", "ann/app"], 4)
    assert sorted(found("", page_size=2, cursor=page.next)[0]) == ["ann/nginx", "nginx"]
    assert found("", page_size=2, page=2)[0] == found("", page_size=2, cursor=page.next)[0]
    assert found("AP")[0] == ["ann/app"]
    assert found("ann/")[0] == []
    run(administration.takedowns.set_official(curator, "nginx", official=False))
    assert found("nginx")[0] == ["ann/nginx"]


def test_accounts_with_a_role_are_listed(services: Services, ann: HubActor, ben: HubActor, curator: HubActor) -> None:
    """By the beginning of their names; organizations have no role."""
    run, accounts = services.run, services.hub.hub_administration.accounts
    run(accounts.set_roles(HubActor.operator(), "ann", RolesChange(curator=True)))

    def found(role: HubRole, beginning: str = "") -> list[str]:
        return [each.name for each in run(accounts.find(curator, beginning, Paging(), role=role)).items]

    assert (found(HubRole.CURATOR), found(HubRole.ADMINISTRATOR)) == (["ann"], ["curator"])
    assert (found(HubRole.CURATOR, "an"), found(HubRole.CURATOR, "cur")) == (["ann"], [])
    run(accounts.set_roles(HubActor.operator(), "ben", RolesChange(administrator=True)))
    assert found(HubRole.ADMINISTRATOR) == [ben.name, "curator"]
    with pytest.raises(Invalid, match="role"):
        run(accounts.find(curator, "", Paging(), AccountKind.ORGANIZATION, HubRole.CURATOR))
