"""Renamed accounts and repositories: everything goes on under the old name, except pushes."""

import asyncio
from itertools import pairwise

import pytest
from msgspec.structs import replace
from tests.unit.hub.services import PASSWORD, Services

from hythe.database import Session, UnavailableError
from hythe.hub.accounts.account_events import AccountListener
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import ANONYMOUS, HubActor, Right
from hythe.hub.errors import Invalid, Moved, NotFound, Refused, SignInNeeded, Taken, TooManyAttempts
from hythe.hub.mail.mail_message import MailMessage, Purpose
from hythe.hub.organizations.invitations import NewInvitation
from hythe.hub.organizations.organization import MemberWord, RoleWord
from hythe.hub.organizations.organizations import NewOrganization
from hythe.hub.organizations.teams import NewGrant, NewTeam
from hythe.hub.page import Paging
from hythe.hub.renaming.relocation import Relocation
from hythe.hub.renaming.renames import RenameService
from hythe.hub.renaming.transfers import MAX_MAIL, NewTransfer
from hythe.hub.repositories.repositories import NewRepository, RepositoryChange
from hythe.hub.tokens.personal_tokens import NewPersonalToken
from hythe.hub.tokens.robots import NewRobot
from hythe.hub.tokens.trust_rules import NewTrustRule
from hythe.oci.errors import ErrorCode, WireError
from hythe.oci.scope import Scope
from hythe.registry.access import Action, RepositoryRenamed
from hythe.registry.sql import usage_check


def _pulled(services: Services, actor: HubActor, name: str, tag: str = "latest") -> str:
    """Pull as the registry's routes do."""
    registry = services.registry
    try:
        found = services.run(registry.manifests.get(actor, name, tag))
    except RepositoryRenamed as renamed:
        found = services.run(registry.manifests.get(renamed.actor, renamed.repository, tag))
    return str(found.digest)


def _refused(services: Services, actor: HubActor, name: str) -> str:
    with pytest.raises(WireError) as refused:
        services.push(actor, name)
    assert refused.value.code is ErrorCode.DENIED
    return refused.value.message


def _assert_counted(services: Services, *namespaces: str) -> None:
    for namespace in namespaces:

        async def compare(name: str = namespace) -> object:
            async with services.database.reading() as session:
                return await usage_check.compare(session, name)

        counted, actual = services.run(compare())
        assert counted == actual, namespace


def test_a_renamed_repository_is_pulled_by_each_name_it_had(services: Services, ann: HubActor) -> None:
    digest = services.push(ann, "ann/app")
    assert services.run(services.hub.renames.rename_repository(ann, "ann/app", "web")) == "ann/web"
    assert services.run(services.hub.renames.rename_repository(ann, "ann/web", "site")) == "ann/site"
    for name in ("ann/app", "ann/web", "ann/site"):
        assert _pulled(services, ANONYMOUS, name) == digest
    assert _refused(services, ann, "ann/app") == "ann/app is now ann/site: push to ann/site"
    assert services.push(ann, "ann/site") == digest
    with pytest.raises(Moved, match="ann/site"):
        services.run(services.hub.repositories.get(ANONYMOUS, "ann/app"))
    assert services.run(services.hub.repositories.get(ANONYMOUS, "ann/site")).full_name == "ann/site"
    _assert_counted(services, "ann")


def test_renaming_back_and_ending_a_redirect(services: Services, ann: HubActor) -> None:
    services.push(ann, "ann/app")
    hub = services.hub
    services.run(hub.renames.rename_repository(ann, "ann/app", "web"))
    with pytest.raises(Refused, match="end its redirect first"):
        services.run(hub.repositories.create(ann, NewRepository("ann", "app")))
    services.run(hub.renames.rename_repository(ann, "ann/web", "app"))
    listed = services.run(hub.renames.redirects(ann, "ann", Paging()))
    assert [(each.name, each.target) for each in listed.items] == [("ann/web", "ann/app")]
    services.run(hub.renames.end_redirect(ann, "ann/web"))
    services.push(ann, "ann/web", content=b'{"os":"other"}')
    with pytest.raises(Taken):
        services.run(hub.renames.rename_repository(ann, "ann/app", "web"))
    services.run(hub.renames.rename_repository(ann, "ann/app", "old"))
    services.run(hub.repositories.delete(ann, "ann/old"))
    services.run(hub.repositories.create(ann, NewRepository("ann", "app")))


def test_a_private_repository_leaves_no_trace(services: Services, ann: HubActor, ben: HubActor) -> None:
    services.push(ann, "ann/app")
    services.run(services.hub.repositories.edit(ann, "ann/app", RepositoryChange(visibility=Visibility.PRIVATE)))
    services.run(services.hub.renames.rename_repository(ann, "ann/app", "secret"))
    for actor in (ANONYMOUS, ben):
        with pytest.raises(NotFound):
            services.run(services.hub.repositories.get(actor, "ann/app"))
        with pytest.raises(WireError) as refused:
            services.run(services.foundation.access.require(actor, "ann/app", Action.PULL))
        assert refused.value.code is ErrorCode.UNAUTHORIZED
        assert "secret" not in f"{refused.value.detail}{refused.value.headers}"
        granted = services.run(services.foundation.access.granted(actor, Scope.repository("ann/app", "pull")))
        assert not granted.actions
    assert "secret" not in _refused(services, ben, "ann/app")


def test_a_token_for_the_old_name_pulls(services: Services, ann: HubActor) -> None:
    digest = services.push(ann, "ann/app")
    hub = services.hub
    services.run(hub.repositories.edit(ann, "ann/app", RepositoryChange(visibility=Visibility.PRIVATE)))
    services.run(hub.renames.rename_repository(ann, "ann/app", "web"))
    granted = services.run(services.foundation.access.granted(ann, Scope.repository("ann/app", "pull", "push")))
    assert granted.actions == {"pull"}
    holder = replace(ann, granted=(granted,))
    assert _pulled(services, holder, "ann/app") == digest
    assert _refused(services, holder, "ann/app") == "ann/app is now ann/web: push to ann/web"
    with pytest.raises(WireError):
        _pulled(services, holder, "ann/web")
    limited = replace(ann, repositories=("ann/app",))
    assert _pulled(services, limited, "ann/app") == digest


def test_a_renamed_account_keeps_everything(services: Services, ann: HubActor, ben: HubActor) -> None:
    digest = services.push(ann, "ann/app")
    services.push(ann, "ann/tool", content=b'{"os":"tool"}')
    hub = services.hub
    services.run(hub.renames.rename_repository(ann, "ann/tool", "util"))
    assert services.run(hub.renames.rename_account(ann, "ann", "anna")) == "anna"
    anna = services.run(hub.credentials.by_password("anna", PASSWORD))
    for name in ("ann/app", "anna/app"):
        assert _pulled(services, ANONYMOUS, name) == digest
    assert _pulled(services, ANONYMOUS, "ann/tool") == _pulled(services, ANONYMOUS, "anna/util")
    assert _refused(services, anna, "ann/app") == "ann/app is now anna/app: push to anna/app"
    assert _refused(services, anna, "ann/new") == "ann/new is now anna/new: push to anna/new"
    services.push(anna, "anna/new")
    _assert_counted(services, "ann", "anna")
    with pytest.raises(Moved):
        services.run(hub.users.get(ben, "ann"))
    with pytest.raises(SignInNeeded, match="docker login -u anna"):
        services.run(hub.credentials.by_password("ann", PASSWORD))
    with pytest.raises(SignInNeeded, match="incorrect"):
        services.run(hub.credentials.by_password("ann", "wrong horse"))
    with pytest.raises(Taken):
        services.user("ann")
    with pytest.raises(Taken):
        services.run(hub.organizations.create(ben, NewOrganization("ann")))
    with pytest.raises(Taken):
        services.run(hub.renames.rename_account(ben, "ben", "ann"))
    services.run(hub.renames.follow_all())
    assert services.run(hub.search.find(ben, "anna", Paging())).total == 3
    assert services.run(services.registry.catalog.names(ben, "", 10)).names == ("anna/app", "anna/new", "anna/util")


def test_an_account_is_renamed_back_and_few_times_a_day(services: Services, ann: HubActor) -> None:
    digest = services.push(ann, "ann/app")
    renames = services.hub.renames
    names = ["ann", "b-one", "b-two", "ann", "b-two", "ann"]
    for old, new in pairwise(names):
        actor = services.run(services.hub.credentials.by_password(old, PASSWORD))
        services.run(renames.rename_account(actor, old, new))
        assert _pulled(services, ANONYMOUS, "b-one/app" if new != "b-one" else "ann/app") == digest
    actor = services.run(services.hub.credentials.by_password("ann", PASSWORD))
    with pytest.raises(TooManyAttempts):
        services.run(renames.rename_account(actor, "ann", "b-three"))
    services.run(renames.follow_all())
    services.run(renames.end_redirect(actor, "b-one"))
    with pytest.raises(WireError):
        _pulled(services, ANONYMOUS, "b-one/app")
    with pytest.raises(Invalid):
        services.run(renames.rename_account(actor, "ann", "library"))


def test_a_transfer_to_an_own_organization_happens_at_once(services: Services, ann: HubActor, ben: HubActor) -> None:
    digest = services.push(ann, "ann/app")
    services.push(ann, "ann/same")
    hub = services.hub
    services.run(hub.organizations.create(ann, NewOrganization("acme")))
    done = services.run(hub.transfers.transfer(ann, "ann/app", NewTransfer("acme")))
    assert (done.repository, done.done) == ("acme/app", True)
    assert _pulled(services, ANONYMOUS, "ann/app") == digest
    _assert_counted(services, "ann", "acme")
    assert _refused(services, ann, "ann/app") == "ann/app is now acme/app: push to acme/app"
    with pytest.raises(Refused):
        services.run(hub.transfers.transfer(ben, "acme/app", NewTransfer("ben")))


def test_an_offer_is_accepted_declined_or_expires(services: Services, ann: HubActor, ben: HubActor) -> None:
    services.push(ann, "ann/app")
    transfers = services.hub.transfers
    offered = services.run(transfers.transfer(ann, "ann/app", NewTransfer("ben", "mine")))
    assert not offered.done
    (offer,) = services.run(transfers.offers_to(ben, "ben", Paging())).items
    assert (offer.repository, offer.name, offer.requested_by) == ("ann/app", "mine", "ann")
    with pytest.raises(Refused):
        services.run(transfers.accept(ann, "ben", offer.repository_id))
    services.run(transfers.decline(ben, "ben", offer.repository_id))
    services.run(transfers.transfer(ann, "ann/app", NewTransfer("ben", "mine")))
    services.clock.forward(days=8)
    with pytest.raises(NotFound):
        services.run(transfers.accept(ben, "ben", offer.repository_id))
    services.run(transfers.transfer(ann, "ann/app", NewTransfer("ben", "mine")))
    assert services.run(transfers.accept(ben, "ben", offer.repository_id)).repository == "ben/mine"
    _assert_counted(services, "ann", "ben")
    with pytest.raises(Moved):
        services.run(services.hub.repositories.get(ann, "ann/app"))


def _letters(services: Services) -> list[MailMessage]:
    found = services.run(services.hub.mail.list(HubActor.operator(), Paging(page_size=100))).items
    return [each for each in found if each.purpose == Purpose.TRANSFER_OFFERED.value]


def test_an_offer_is_told_by_mail(services: Services, ann: HubActor, ben: HubActor) -> None:
    """A user gets it, or each owner of an organization, and no one when the transfer happens at once."""
    carol = services.user("carol")
    services.run(services.hub.organizations.create(ben, NewOrganization("acme")))
    invitation = NewInvitation(username="carol", role=MemberWord.OWNER)
    invited = services.run(services.hub.invitations.invite(ben, "acme", invitation))
    services.run(services.hub.invitations.accept(carol, invited.id))
    services.push(ann, "ann/app")

    services.run(services.hub.transfers.transfer(ann, "ann/app", NewTransfer("ben", "mine")))
    (letter,) = _letters(services)
    assert letter.recipient == "ben@example.com"
    assert "ann offers the repository ann/app" in letter.text
    assert "it becomes ben/mine" in letter.text
    assert letter.text.count("://") == letter.text.count("/account/names\n") == 1
    services.run(services.hub.transfers.transfer(ann, "ann/app", NewTransfer("acme")))
    letters = _letters(services)[:2]
    assert {each.recipient for each in letters} == {"ben@example.com", "carol@example.com"}
    assert all("your organization acme" in each.text and "/acme/-/names\n" in each.text for each in letters)
    services.run(services.hub.organizations.create(ann, NewOrganization("own")))
    services.run(services.hub.transfers.transfer(ann, "ann/app", NewTransfer("own")))
    assert len(_letters(services)) == 3


def test_offers_do_not_flood_a_mailbox(services: Services, ann: HubActor, ben: HubActor) -> None:
    services.push(ann, "ann/app")
    for _ in range(MAX_MAIL + 2):
        services.run(services.hub.transfers.transfer(ann, "ann/app", NewTransfer("ben")))
    assert len(_letters(services)) == MAX_MAIL
    services.clock.forward(days=1, seconds=1)
    services.run(services.hub.transfers.transfer(ann, "ann/app", NewTransfer("ben")))
    assert len(_letters(services)) == MAX_MAIL + 1


def test_limits_follow_a_renamed_organization(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Its robots and trust rules are limited to the same repositories; a team's patterns go on, too.

    A member's token that is limited to an old name pulls, and pushes nothing.
    """
    hub, run, rights = services.hub, services.run, (Right.READ, Right.WRITE)
    run(hub.organizations.create(ann, NewOrganization("acme")))
    digest = services.push(ann, "acme/web")
    secret, _ = run(hub.robots.create(ann, "acme", NewRobot("ci", rights)))
    issuer = "https://ci.example.com"
    run(hub.trust_rules.create(ann, "acme", NewTrustRule("job", issuer, "x", rights, repositories=("acme/web",))))
    own, _ = run(hub.personal_tokens.create(ann, NewPersonalToken("laptop", rights, repositories=("acme/web",))))
    invited = run(hub.invitations.invite(ann, "acme", NewInvitation("ben")))
    run(hub.invitations.accept(ben, invited.id))
    run(hub.teams.create(ann, "acme", NewTeam("web")))
    run(hub.teams.add_member(ann, "acme", "web", "ben"))
    run(hub.teams.grant(ann, "acme", "web", NewGrant("we*", RoleWord.WRITE)))

    run(hub.renames.rename_account(ann, "acme", "umbrella"))

    robot = run(hub.credentials.by_token(secret))
    assert robot.repositories == ("umbrella/*",)
    services.push(robot, "umbrella/web", "by-robot")
    assert _pulled(services, robot, "acme/web") == digest
    assert run(hub.trust_rules.get(ann, "umbrella", "job")).repositories == ("umbrella/web",)
    services.push(ben, "umbrella/web", "by-team")
    laptop = run(hub.credentials.by_token(own))
    assert _pulled(services, laptop, "acme/web") == digest
    with pytest.raises(WireError):
        services.push(laptop, "umbrella/web")


class _Crashing(AccountListener):
    async def account_renamed(self, session: Session, former: str, present: str) -> None:
        raise ConnectionAbortedError("the process ends here")


def test_a_crash_in_the_middle_leaves_the_old_name(services: Services, ann: HubActor) -> None:
    """No request sees a part of a rename, and it can be repeated."""
    for number in range(3):
        services.push(ann, f"ann/app-{number}", content=b'{"os":"%d"}' % number)
    access, clock = services.foundation.access, services.clock
    listeners = (_Crashing(),)
    crashing = RenameService(services.database, access, Relocation(listeners, clock), listeners, clock)

    with pytest.raises((ConnectionAbortedError, UnavailableError)):
        services.run(crashing.rename_account(ann, "ann", "anna"))

    assert _pulled(services, ANONYMOUS, "ann/app-1")
    with pytest.raises(WireError):
        _pulled(services, ANONYMOUS, "anna/app-1")
    _assert_counted(services, "ann", "anna")
    services.run(services.hub.renames.rename_account(ann, "ann", "anna"))
    assert _pulled(services, ANONYMOUS, "anna/app-1") == _pulled(services, ANONYMOUS, "ann/app-1")
    _assert_counted(services, "ann", "anna")


def test_a_push_during_a_rename(services: Services, ann: HubActor) -> None:
    """Each of concurrent pushes succeeds or is refused naming the new name; nothing is lost or stored twice."""
    services.push(ann, "ann/app")

    async def push(number: int) -> str:
        try:
            await services._push(ann, "ann/app", f"v{number}", b'{"os":"%d"}' % number)
        except WireError as error:
            return error.message
        return ""

    async def both() -> list[str]:
        renaming = services.hub.renames.rename_account(ann, "ann", "anna")
        *pushed, _ = await asyncio.gather(push(1), push(2), push(3), renaming, return_exceptions=False)
        return pushed

    results = services.run(both())

    for number, refusal in enumerate(results, 1):
        assert "anna/app" in refusal or _pulled(services, ANONYMOUS, "anna/app", f"v{number}")
    _assert_counted(services, "ann", "anna")
