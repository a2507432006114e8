"""Reports of abuse, blocked names and digests, roles on the hub: what administrators do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
from tests.unit.hub.services import PASSWORD, Services

from hythe.hub.accounts.accounts import RolesChange
from hythe.hub.accounts.user import Visibility
from hythe.hub.accounts.users import NewUser
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.administration.abuse_reports import Category, NewReport, ReportClosing, ReportState
from hythe.hub.administration.blocked_digests import NewBlockedDigest
from hythe.hub.administration.blocked_names import NewBlockedName
from hythe.hub.administration.takedowns import TakedownReason
from hythe.hub.errors import ConfirmationNeeded, Invalid, NotFound, Refused, SignInNeeded, TooManyAttempts
from hythe.hub.logs.audit_log import AuditFilter
from hythe.hub.organizations.organizations import NewOrganization
from hythe.hub.page import Paging
from hythe.hub.renaming.transfers import NewTransfer
from hythe.hub.repositories.repositories import NewRepository
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError

REPORT = NewReport(Category.MALWARE, "mines coins")


def test_a_report_takes_a_repository_down(services: Services, ann: HubActor, ben: HubActor, curator: HubActor) -> None:
    """Users report, a bounded number of times a day; only administrators read and close reports."""
    services.push(ann, "ann/app")
    reports = services.hub.hub_administration.reports
    with pytest.raises(SignInNeeded):
        services.run(reports.report(ANONYMOUS, "ann/app", REPORT))
    with pytest.raises(NotFound):
        services.run(reports.report(ben, "ann/other", REPORT))
    for _ in range(20):
        services.run(reports.report(ben, "ann/app", REPORT))
    with pytest.raises(TooManyAttempts):
        services.run(reports.report(ben, "ann/app", REPORT))
    with pytest.raises(Refused):
        services.run(reports.list(ann, ReportState.OPEN, Paging()))

    first, second, *_ = services.run(reports.list(curator, ReportState.OPEN, Paging())).items
    assert (first.repository, first.reporter, first.text) == ("ann/app", "ben", "mines coins")
    services.run(reports.close(curator, first.id, ReportClosing(ReportState.RESOLVED, "thanks", "malware")))
    services.run(reports.close(curator, second.id, ReportClosing(ReportState.DISMISSED, "again")))

    with pytest.raises(Refused, match="closed already: dismissed by curator"):
        services.run(reports.close(curator, second.id, ReportClosing(ReportState.RESOLVED)))
    with pytest.raises(NotFound):
        services.run(services.hub.repositories.get(ben, "ann/app"))
    (dismissed,) = services.run(reports.list(curator, ReportState.DISMISSED, Paging())).items
    assert (dismissed.note, dismissed.closed_by) == ("again", "curator")


def test_blocked_names_are_for_no_one(services: Services, ann: HubActor, curator: HubActor) -> None:
    """Neither accounts nor repositories take them, created or pushed; administrators can still give one."""
    names = services.hub.hub_administration.blocked_names
    with pytest.raises(Invalid):
        services.run(names.block(curator, NewBlockedName("*")))
    services.run(names.block(curator, NewBlockedName("support_*", "phishing")))
    services.run(names.block(curator, NewBlockedName("*coin*")))

    with pytest.raises(Invalid, match="reserved"):
        services.run(services.hub.users.create(ANONYMOUS, NewUser("coins", "c@example.com", PASSWORD), "192.0.2.7"))
    with pytest.raises(Refused, match="reserved on this hub"):
        services.run(services.hub.repositories.create(ann, NewRepository("ann", "bitcoin")))
    with pytest.raises(WireError, match="reserved on this hub"):
        services.push(ann, "ann/bitcoin")
    services.run(services.hub.repositories.create(ann, NewRepository("ann", "supportx1")))  # _ is no wildcard
    services.user("coins")

    services.run(names.unblock(curator, "*coin*"))
    services.push(ann, "ann/bitcoin")


def test_a_blocked_digest_is_deleted_everywhere(
    services: Services, ann: HubActor, ben: HubActor, curator: HubActor
) -> None:
    """A manifest, or a blob with the images that contain it; pushes of it are refused until it is unblocked."""
    bad = Digest.of(b"bad")
    manifest = services.push(ann, "ann/app", content=b"bad")
    services.push(ben, "ben/copy", "one", content=b"bad")
    services.push(ben, "ben/copy", "good", content=b"good")
    digests = services.hub.hub_administration.blocked_digests

    result = services.run(digests.block(curator, NewBlockedDigest(str(bad), "malware")))

    assert result.repositories == 2
    assert services.run(services.registry.tags.names(ben, "ben/copy")).names == ("good",)
    with pytest.raises(WireError):
        services.run(services.registry.blobs.get(ann, "ann/app", bad))
    with pytest.raises(WireError, match="blocked") as refused:
        services.push(ann, "ann/new", content=b"bad")
    assert refused.value.code is ErrorCode.DENIED

    services.run(digests.unblock(curator, str(bad)))
    services.run(digests.block(curator, NewBlockedDigest(manifest)))
    with pytest.raises(WireError, match="blocked"):
        services.push(ann, "ann/app", content=b"bad")
    assert [each.digest for each in services.run(digests.list(curator, Paging())).items] == [manifest]


def test_roles_on_the_hub(services: Services, ann: HubActor, curator: HubActor) -> None:
    """Accounts are found by name or address, become curators or administrators, and are signed out."""
    accounts = services.hub.hub_administration.accounts
    for beginning in ("an", "ann@"):
        (found,) = services.run(accounts.find(curator, beginning, Paging())).items
        assert (found.name, found.curator) == ("ann", False)
    with pytest.raises(WireError):
        services.push(ann, "tool")

    services.run(accounts.set_roles(curator, "ann", RolesChange(curator=True)))
    services.push(ann, "tool")
    session = services.run(services.hub.sessions.sign_in("ann", PASSWORD, "here"))
    services.run(accounts.sign_out(curator, "ann"))
    assert services.run(services.hub.sessions.actor(session.token)) == ANONYMOUS

    with pytest.raises(Refused):
        services.run(accounts.set_roles(ann, "ann", RolesChange(administrator=True)))
    with pytest.raises(Refused):
        services.run(accounts.set_roles(curator, "curator", RolesChange(administrator=False)))
    assert services.run(services.hub.hub_administration.storage.report(curator)).repositories == 1


def test_a_stolen_session_of_an_administrator_takes_over_nothing(
    services: Services, ann: HubActor, ben: HubActor, curator: HubActor
) -> None:
    """Ten minutes after the sign-in it needs the password again; a token never suffices; the operator needs none."""
    hub, run = services.hub, services.run
    run(hub.organizations.create(ben, NewOrganization("acme")))
    run(hub.repositories.create(ben, NewRepository("ben", "app", Visibility.PRIVATE)))

    def changes(actor: HubActor) -> list[Callable[[], Coroutine[Any, Any, Any]]]:
        opened = {"administrator": "curator"} if actor.operating else {}
        former, owner = ("curator", "ben") if actor.operating else ("ben", "curator")
        return [
            lambda: hub.hub_administration.accounts.set_roles(actor, "ann", RolesChange(administrator=True)),
            lambda: hub.second_factors.reset(actor, "ann"),
            lambda: hub.emails.set(actor, "ann", "thief@example.com"),
            lambda: hub.password_resets.link(actor, "ann"),
            lambda: hub.users.set_password(actor, "ann", "staple battery"),
            lambda: hub.mail.list(actor, Paging()),
            lambda: hub.members.appoint_owner(actor, "acme", owner),
            lambda: hub.hub_administration.access.open(actor, f"{former}/app", "asked for help", **opened),
            lambda: hub.hub_administration.takedowns.hand_over(actor, f"{former}/app", NewTransfer(owner)),
        ]

    session = run(hub.sessions.actor(run(hub.sessions.sign_in("curator", PASSWORD, "here")).token))
    services.clock.forward(minutes=11)
    for change in changes(session):
        with pytest.raises(ConfirmationNeeded):
            run(change())
    for change in changes(msgspec.structs.replace(curator, password_given=False)):
        with pytest.raises(Refused, match="a token may not"):
            run(change())
    shown = run(hub.hub_administration.accounts.get(curator, "ann"))
    assert (shown.administrator, run(hub.users.get(curator, "ann")).email) == (False, "ann@example.com")
    assert [member.name for member in run(hub.members.list(curator, "acme", Paging())).items] == ["ben"]
    with pytest.raises(NotFound):
        run(hub.repositories.get(curator, "ben/app"))

    run(hub.confirmations.by_password(session, PASSWORD))
    for change in (*changes(session), *changes(HubActor.operator())):
        run(change())


def test_the_name_of_a_deleted_account_is_not_for_thieves(
    services: Services, ann: HubActor, ben: HubActor, curator: HubActor
) -> None:
    """Engines may still pull its images. A token creates accounts, and organizations, with any other name."""
    hub, run = services.hub, services.run
    for name in ("ann", "ben"):
        run(hub.administration.delete(curator, name, name))
    token = msgspec.structs.replace(curator, password_given=False)
    session = run(hub.sessions.actor(run(hub.sessions.sign_in("curator", PASSWORD, "here")).token))
    services.clock.forward(minutes=11)

    def creations(actor: HubActor, user: str, organization: str) -> list[Coroutine[Any, Any, Any]]:
        new = NewUser(user, f"{user}@example.com", PASSWORD)
        return [hub.users.create(actor, new), hub.organizations.create(actor, NewOrganization(organization))]

    for creation in creations(token, "ann", "ben"):
        with pytest.raises(Refused, match="a token may not give an account a reserved name"):
            run(creation)
    for creation in creations(session, "ann", "ben"):
        with pytest.raises(ConfirmationNeeded):
            run(creation)
    for creation in creations(token, "anna", "bento"):
        run(creation)
    run(hub.confirmations.by_password(session, PASSWORD))
    for creation in creations(session, "ann", "ben"):
        run(creation)


def test_administrators_change_how_they_sign_in_as_others_do(services: Services, curator: HubActor) -> None:
    """With their password, not by what they do to other accounts."""
    for change in (
        services.hub.emails.set(curator, "curator", "thief@example.com"),
        services.hub.password_resets.link(curator, "curator"),
    ):
        with pytest.raises(Refused, match="your own"):
            services.run(change)


def test_an_organization_gets_no_password(services: Services, ann: HubActor, curator: HubActor) -> None:
    """Else it could sign in."""
    services.run(services.hub.organizations.create(ann, NewOrganization("acme")))
    with pytest.raises(Refused, match="acme is an organization"):
        services.run(services.hub.users.set_password(curator, "acme", PASSWORD))
    with pytest.raises(Refused, match="acme is an organization"):
        services.run(services.hub.hub_administration.accounts.set_roles(curator, "acme", RolesChange(curator=True)))


def test_any_repository_is_found(services: Services, ann: HubActor, ben: HubActor, curator: HubActor) -> None:
    """By the beginning of its name, also a private one, with what it was before it was taken down; page by page."""
    for name in ("app", "api", "zoo"):
        services.run(services.hub.repositories.create(ann, NewRepository("ann", name, Visibility.PRIVATE)))
    services.push(ben, "ben/app")
    repositories, takedowns = services.hub.hub_administration.repositories, services.hub.hub_administration.takedowns
    services.run(takedowns.take_down(curator, "ann/api", TakedownReason("malware")))

    found = services.run(repositories.find(curator, " Ann/A", Paging(page_size=1)))
    (api,) = found.items
    assert (found.total, api.repository, api.visibility) == (2, "ann/api", Visibility.PRIVATE)
    assert (api.taken_down_at, api.taken_down_reason) == (services.clock.now, "malware")
    (app,) = services.run(repositories.find(curator, "ann/a", Paging(page_size=1, cursor=found.next))).items
    assert (app.repository, app.taken_down_at, app.pushed_at) == ("ann/app", None, None)
    assert services.run(repositories.get(curator, "ben/app")).pushed_at == services.clock.now

    for refused in (ann, ANONYMOUS):
        with pytest.raises((Refused, SignInNeeded)):
            services.run(repositories.find(refused, "", Paging()))
        with pytest.raises((Refused, SignInNeeded)):
            services.run(repositories.get(refused, "ben/app"))
    with pytest.raises(NotFound):
        services.run(repositories.get(curator, "ben/none"))
    with pytest.raises(Invalid):
        services.run(repositories.find(curator, "a\0", Paging()))


def test_the_hub_in_numbers(services: Services, ann: HubActor, ben: HubActor, curator: HubActor) -> None:
    """Users, organizations, what they store, and what waits for an administrator."""
    services.run(services.hub.organizations.create(ann, NewOrganization("acme")))
    services.run(services.hub.users.create(ANONYMOUS, NewUser("eve", "eve@example.com", PASSWORD), "192.0.2.7"))
    services.push(ben, "ben/app")
    services.push(ann, "ann/app")
    administration = services.hub.hub_administration
    services.run(administration.reports.report(ann, "ben/app", REPORT))
    services.run(administration.takedowns.take_down(curator, "ann/app", TakedownReason("malware")))
    services.run(services.hub.administration.block(curator, "eve", "  sends\nspam "))

    numbers = services.run(administration.overview.get(curator))

    assert (numbers.users, numbers.organizations, numbers.blocked) == (4, 1, 1)
    assert (numbers.repositories, numbers.taken_down, numbers.open_reports) == (2, 1, 1)
    assert numbers.bytes
    assert numbers.waiting_mail == 1
    services.clock.forward(days=30)
    assert services.run(administration.overview.get(curator)).waiting_mail == 0
    with pytest.raises(Refused):
        services.run(administration.overview.get(ann))
    (blocked,) = services.run(services.hub.audit_log.entries(curator, AuditFilter(action="user.block"), Paging())).items
    assert blocked.detail == {"reason": "sends spam"}
    with pytest.raises(Invalid, match="at most 500"):
        services.run(services.hub.administration.block(curator, "ben", "x" * 501))
