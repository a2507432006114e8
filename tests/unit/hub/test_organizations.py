"""Organizations, members, teams, collaborators and invitations, as services."""

import asyncio
from typing import Any

import msgspec
import pytest
from tests.unit.hub.services import Services

from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.errors import Invalid, NotFound, Refused, SignInNeeded, Taken, TooManyAttempts
from hythe.hub.logs.audit_log import AuditFilter
from hythe.hub.organizations.invitations import LIMIT, NewInvitation
from hythe.hub.organizations.members import MemberChange
from hythe.hub.organizations.organization import DefaultRole, MemberWord, Organization, RoleWord
from hythe.hub.organizations.organizations import Conversion, NewOrganization, OrganizationChange
from hythe.hub.organizations.teams import NewGrant, NewTeam
from hythe.hub.page import Paging
from hythe.hub.repositories.collaborators import CollaboratorChange, NewCollaborator
from hythe.hub.repositories.repositories import NewRepository, RepositoryChange
from hythe.hub.sql import repository_lists
from hythe.oci.errors import WireError
from hythe.oci.scope import Scope
from hythe.registry.access import Action

PRIVATE, INTERNAL, PUBLIC = Visibility.PRIVATE, Visibility.INTERNAL, Visibility.PUBLIC
FIRST = Paging()


def create(services: Services, owner: HubActor, name: str = "acme") -> Organization:
    """Create an organization."""
    made: Organization = services.run(services.hub.organizations.create(owner, NewOrganization(name)))
    return made


def join(services: Services, owner: HubActor, user: HubActor, role: MemberWord = MemberWord.MEMBER) -> None:
    """Invite a user to acme, who accepts."""
    invitation = services.run(services.hub.invitations.invite(owner, "acme", NewInvitation(user.name, role=role)))
    services.run(services.hub.invitations.accept(user, invitation.id))


def may(services: Services, actor: HubActor, repository: str) -> set[Action]:
    """Return what the registry allows."""
    context = services.run(services.hub.access.context(actor, repository))
    return set(services.hub.access.reached(actor, repository, context))


def team(services: Services, owner: HubActor, name: str, *members: HubActor) -> None:
    """Create a team of acme."""
    services.run(services.hub.teams.create(owner, "acme", NewTeam(name)))
    for member in members:
        services.run(services.hub.teams.add_member(owner, "acme", name, member.name))


def grant(services: Services, owner: HubActor, name: str, repositories: str, role: RoleWord) -> None:
    """Give a team of acme a role."""
    services.run(services.hub.teams.grant(owner, "acme", name, NewGrant(repositories, role)))


def test_roles_in_an_organization(services: Services, ann: HubActor, ben: HubActor, curator: HubActor) -> None:
    """Owners do everything, members what the default role and creation allow, others and administrators nothing."""
    create(services, ann)
    services.push(ann, "acme/app")
    services.run(services.hub.repositories.create(ann, NewRepository("acme", "secret", PRIVATE)))
    with pytest.raises(WireError, match="not a member of acme"):
        services.push(ben, "acme/mine")

    join(services, ann, ben)

    assert may(services, ben, "acme/secret") == set()
    services.push(ben, "acme/mine")
    assert may(services, ben, "acme/mine") == set(Action)
    with pytest.raises(WireError, match="ask an owner of acme"):
        services.push(ben, "acme/app")
    services.run(services.hub.organizations.change(ann, "acme", OrganizationChange(member_role=DefaultRole.WRITE)))
    assert may(services, ben, "acme/secret") == set(Action)
    with pytest.raises(Refused, match="needs the role 'admin'"):
        services.run(services.hub.repositories.delete(ben, "acme/secret"))
    services.run(services.hub.organizations.change(ann, "acme", OrganizationChange(members_create=False)))
    with pytest.raises(WireError, match="only owners of acme may create"):
        services.push(ben, "acme/another")
    assert may(services, curator, "acme/secret") == set()


def test_names_are_shared_with_users(services: Services, ann: HubActor, ben: HubActor) -> None:
    """An organization has no name of a user, and the other way around; it cannot sign in."""
    create(services, ann)

    for name in ("ben", "acme"):
        with pytest.raises(Taken):
            create(services, ann, name)
    with pytest.raises(Invalid, match="reserved"):
        create(services, ann, "admin")
    with pytest.raises(Taken):
        services.user("acme")
    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_password("acme", ""))


def test_only_administrators_create_organizations(services: Services, ann: HubActor, curator: HubActor) -> None:
    """The setting says who may."""
    closed = msgspec.structs.replace(services.hub.settings, organizations_by="administrators")
    services.hub.organizations.apply(closed)

    with pytest.raises(Refused, match="only administrators"):
        create(services, ann)
    create(services, curator)


def test_the_last_owner_stays(services: Services, ann: HubActor, ben: HubActor, curator: HubActor) -> None:
    """The last owner cannot leave, be demoted, removed or deleted; two owners cannot leave at the same time."""
    create(services, ann)
    members = services.hub.members
    for call in (
        members.leave(ann, "acme"),
        members.remove(ann, "acme", "ann"),
        members.set_role(ann, "acme", "ann", MemberChange(MemberWord.MEMBER)),
        services.hub.administration.delete(curator, "ann", "ann"),
    ):
        with pytest.raises(Refused, match="last owner"):
            services.run(call)
    join(services, ann, ben, MemberWord.OWNER)

    async def both_leave() -> list[Any]:
        return await asyncio.gather(members.leave(ann, "acme"), members.leave(ben, "acme"), return_exceptions=True)

    results = services.run(both_leave())

    assert sorted(type(result).__name__ for result in results) == ["NoneType", "Refused"]


def test_administrators_appoint_an_owner(services: Services, ann: HubActor, ben: HubActor, curator: HubActor) -> None:
    """They see the members, and make a user or a member an owner, which the audit log has once; others cannot."""
    create(services, ann)
    create(services, ann, "other")
    members = services.hub.members
    eve = services.user("eve")
    services.run(services.hub.administration.block(curator, "eve"))
    assert [member.name for member in services.run(members.list(curator, "acme", FIRST)).items] == ["ann"]
    for actor, organization, user, error in (
        (ann, "acme", "ben", Refused),
        (ANONYMOUS, "acme", "ben", SignInNeeded),
        (curator, "ann", "ben", NotFound),
        (curator, "acme", "other", NotFound),
        (curator, "acme", "no one", NotFound),
        (curator, "acme", eve.name, Refused),
    ):
        with pytest.raises(error):
            services.run(members.appoint_owner(actor, organization, user))

    for _ in range(2):
        assert services.run(members.appoint_owner(curator, "acme", "ben")).role is MemberWord.OWNER
    services.run(members.set_role(ben, "acme", "ann", MemberChange(MemberWord.MEMBER)))
    services.run(members.appoint_owner(curator, "acme", "ann"))
    services.run(members.leave(ann, "acme"))

    entries = services.run(
        services.hub.audit_log.entries(ben, AuditFilter(namespace="acme", action="member.appoint-owner"), FIRST)
    )
    assert [(entry.target, entry.actor) for entry in entries.items] == [
        ("acme/ann", "curator"),
        ("acme/ben", "curator"),
    ]
    assert may(services, curator, "acme/secret") == set()


def test_leaving_takes_everything(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Who leaves or is removed has no role of teams or as collaborator any more."""
    create(services, ann)
    join(services, ann, ben)
    services.push(ben, "acme/mine")
    team(services, ann, "devs", ben)
    grant(services, ann, "devs", "*", RoleWord.WRITE)

    services.run(services.hub.members.leave(ben, "acme"))

    assert may(services, ben, "acme/mine") == {Action.PULL}
    join(services, ann, ben)
    assert may(services, ben, "acme/mine") == {Action.PULL}


def test_teams_get_roles_by_names_and_patterns(services: Services, ann: HubActor, ben: HubActor) -> None:
    """The highest grant counts, for repositories of now and later; patterns match whole names."""
    create(services, ann)
    join(services, ann, ben)
    for name in ("app-web", "app_x", "other"):
        services.run(services.hub.repositories.create(ann, NewRepository("acme", name, PRIVATE)))
    team(services, ann, "devs", ben)

    grant(services, ann, "devs", "app-*", RoleWord.READ)
    grant(services, ann, "devs", "app-web", RoleWord.WRITE)
    services.run(services.hub.repositories.create(ann, NewRepository("acme", "app-later", PRIVATE)))

    assert may(services, ben, "acme/app-web") == set(Action)
    assert may(services, ben, "acme/app-later") == {Action.PULL}
    assert may(services, ben, "acme/app_x") == may(services, ben, "acme/other") == set()
    grant(services, ann, "devs", "new-*", RoleWord.WRITE)
    services.run(services.hub.organizations.change(ann, "acme", OrganizationChange(members_create=False)))
    services.push(ben, "acme/new-one")
    services.run(services.hub.teams.revoke(ann, "acme", "devs", "app-web"))
    assert may(services, ben, "acme/app-web") == {Action.PULL}
    services.run(services.hub.teams.delete(ann, "acme", "devs"))
    assert may(services, ben, "acme/app-web") == set()
    team(services, ann, "devs")


def test_who_sees_and_manages_teams(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Members see teams, owners manage them, strangers see nothing; teams have members of the organization only."""
    create(services, ann)
    carl = services.user("carl")
    join(services, ann, ben)
    team(services, ann, "devs", ben)

    assert services.run(services.hub.teams.list(ben, "acme", FIRST)).total == 1
    assert services.run(services.hub.teams.grants(ben, "acme", "devs", FIRST)).total == 0
    with pytest.raises(Refused, match="only owners"):
        team(services, ben, "more")
    for call in (services.hub.teams.list, services.hub.members.list):
        with pytest.raises(Refused, match="only members"):
            services.run(call(carl, "acme", FIRST))
        with pytest.raises(SignInNeeded):
            services.run(call(ANONYMOUS, "acme", FIRST))
        with pytest.raises(NotFound):
            services.run(call(carl, "ben", FIRST))
    with pytest.raises(NotFound, match="invite them"):
        services.run(services.hub.teams.add_member(ann, "acme", "devs", "carl"))


def test_invitations_by_mail(services: Services, ann: HubActor, ben: HubActor) -> None:
    """The link of the message works once, for whoever opens it; the sender learns nothing about the address."""
    create(services, ann)
    team(services, ann, "devs")
    new = NewInvitation(email="Ben@Example.com", team="devs")
    invitation = services.run(services.hub.invitations.invite(ann, "acme", new))
    assert (invitation.email, invitation.user, invitation.team) == ("ben@example.com", "", "devs")
    secret = _last_secret(services)

    with pytest.raises(SignInNeeded):
        services.run(services.hub.invitations.accept_link(ANONYMOUS, secret))
    assert services.run(services.hub.invitations.by_link(ANONYMOUS, secret)).organization == "acme"
    services.run(services.hub.invitations.accept_link(ben, secret))

    with pytest.raises(NotFound):
        services.run(services.hub.invitations.accept_link(services.user("carl"), secret))
    assert services.run(services.hub.teams.members(ben, "acme", "devs", FIRST)).items[0].name == "ben"
    assert services.run(services.hub.organizations.of_actor(ben, FIRST)).items[0].organization == "acme"


def _last_secret(services: Services) -> str:
    async def read() -> str:
        from hythe.hub.sql import mail

        async with services.database.reading() as session:
            page = await mail.listed(session, FIRST)
        return page.items[0].text.partition("token=")[2].split()[0]

    return str(services.run(read()))


def test_invitations_end(services: Services, ann: HubActor, ben: HubActor) -> None:
    """An invitation ends declined, withdrawn, replaced or expired; only its user accepts; senders have a limit."""
    create(services, ann)
    invite = services.hub.invitations.invite
    first = services.run(invite(ann, "acme", NewInvitation("ben")))
    second = services.run(invite(ann, "acme", NewInvitation("ben", role=MemberWord.OWNER)))
    assert [each.id for each in services.run(services.hub.invitations.of_actor(ben, FIRST)).items] == [second.id]
    for actor, number in ((ben, first.id), (services.user("carl"), second.id), (ben, 99999)):
        with pytest.raises(NotFound):
            services.run(services.hub.invitations.accept(actor, number))
    services.run(services.hub.invitations.decline(ben, second.id))
    third = services.run(invite(ann, "acme", NewInvitation("ben")))
    services.run(services.hub.invitations.cancel(ann, "acme", third.id))
    fourth = services.run(invite(ann, "acme", NewInvitation("ben")))
    services.clock.forward(days=8)
    for number in (second.id, third.id, fourth.id):
        with pytest.raises(NotFound):
            services.run(services.hub.invitations.accept(ben, number))
    for _ in range(LIMIT):
        services.run(invite(ann, "acme", NewInvitation("ben")))
    with pytest.raises(TooManyAttempts):
        services.run(invite(ann, "acme", NewInvitation("ben")))


def test_collaborators(services: Services, ann: HubActor, ben: HubActor) -> None:
    """A collaborator gets a role on one repository of a user after accepting; the owner changes and ends it."""
    services.run(services.hub.repositories.create(ann, NewRepository("ann", "app", PRIVATE)))
    collaborators = services.hub.collaborators
    added = services.run(collaborators.add(ann, "ann/app", NewCollaborator("ben", RoleWord.READ)))
    assert added.pending
    assert may(services, ben, "ann/app") == set()
    (invitation,) = services.run(services.hub.invitations.of_actor(ben, FIRST)).items
    services.run(services.hub.invitations.accept(ben, invitation.id))
    assert may(services, ben, "ann/app") == {Action.PULL}
    services.run(collaborators.set_role(ann, "ann/app", "ben", CollaboratorChange(RoleWord.WRITE)))
    services.push(ben, "ann/app")
    with pytest.raises(Refused, match="needs the role 'admin'"):
        services.run(collaborators.list(ben, "ann/app", FIRST))
    services.run(collaborators.leave(ben, "ann/app"))
    assert may(services, ben, "ann/app") == set()
    for name in ("ann", "nobody", "Ä"):
        with pytest.raises(Invalid):
            services.run(collaborators.add(ann, "ann/app", NewCollaborator(name)))


def test_converting_a_user(services: Services, ann: HubActor, ben: HubActor) -> None:
    """The new organization keeps the repositories; the user's sign-in ends, and another user owns it."""
    services.push(ann, "ann/app")
    with pytest.raises(Invalid, match="another user"):
        services.run(services.hub.organizations.convert(ann, Conversion("ann", "ann")))

    services.run(services.hub.organizations.convert(ann, Conversion("ben", "ann")))

    services.push(ben, "ann/app", "two")
    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_password("ann", "correct horse"))


def test_deleting_an_organization(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Owners delete it with everything by typing its name; the name stays reserved."""
    create(services, ann)
    join(services, ann, ben)
    services.push(ann, "acme/app")
    with pytest.raises(Refused, match="only owners"):
        services.run(services.hub.organizations.delete(ben, "acme", "acme"))
    with pytest.raises(Invalid):
        services.run(services.hub.organizations.delete(ann, "acme", "other"))

    services.run(services.hub.organizations.delete(ann, "acme", "acme"))

    with pytest.raises(NotFound):
        services.run(services.hub.organizations.get(ann, "acme"))
    with pytest.raises(Taken):
        create(services, ann)


def test_a_required_second_factor(services: Services, ann: HubActor, ben: HubActor) -> None:
    """A member without one has no role, and learns why; an owner without one cannot require it."""
    from hythe.hub.sql import users as user_store

    create(services, ann)
    join(services, ann, ben)
    services.push(ben, "acme/mine")
    change = OrganizationChange(require_second_factor=True)
    with pytest.raises(Invalid, match="your own"):
        services.run(services.hub.organizations.change(ann, "acme", change))

    async def enable() -> None:
        async with services.database.writing() as session:
            await user_store.change(session, ann.user_id or 0, {"second_factor": True})

    services.run(enable())
    services.run(services.hub.organizations.change(ann, "acme", change))

    services.push(ann, "acme/mine", "two")
    with pytest.raises(WireError, match="requires two-factor authentication"):
        services.push(ben, "acme/mine", "three")


def require_second_factor(services: Services, owner: HubActor) -> None:
    """Require a second factor from everyone with whom an account shares repositories."""
    from hythe.hub.sql import users as user_store

    async def require() -> None:
        async with services.database.writing() as session:
            await user_store.change(session, owner.user_id or 0, {"require_second_factor": True})

    services.run(require())


def names(page: Any) -> list[str]:
    """Return the names of a page of repositories."""
    return [repository.name for repository in page.items]


def test_lists_show_what_each_reader_may_see(services: Services, ann: HubActor, ben: HubActor) -> None:
    """A namespace's list, one's own list, search and catalog have public, internal and shared repositories."""
    create(services, ann)
    join(services, ann, ben)
    carl = services.user("carl")
    for name, visibility in (("open", PUBLIC), ("inside", INTERNAL), ("hidden", PRIVATE), ("shared", PRIVATE)):
        services.push(ann, f"acme/{name}")
        services.clock.forward(seconds=1)
        services.run(services.hub.repositories.edit(ann, f"acme/{name}", RepositoryChange(visibility=visibility)))
    team(services, ann, "devs", ben)
    grant(services, ann, "devs", "shared", RoleWord.READ)
    require_second_factor(services, services.user("strict"))  # of another namespace: it changes nothing here
    seen = {
        ANONYMOUS: ["open"],
        carl: ["inside", "open"],
        ben: ["shared", "inside", "open"],
        ann: ["shared", "hidden", "inside", "open"],
    }

    for actor, expected in seen.items():
        listed = services.hub.repositories.in_namespace
        page = services.run(listed(actor, "acme", FIRST))
        assert (names(page), page.total) == (expected, len(expected))
        pages = [services.run(listed(actor, "acme", Paging(page, 1))) for page in range(1, 5)]
        assert [name for page in pages for name in names(page)] == expected
        second = services.run(listed(actor, "acme", Paging(1, 1)))
        if second.next:
            assert names(services.run(listed(actor, "acme", Paging(page_size=1, cursor=second.next)))) == [expected[1]]
        assert sorted(names(services.run(services.hub.search.find(actor, "acme", FIRST)))) == sorted(expected)
        assert sorted(names(services.run(services.hub.search.find(actor, "", FIRST)))) == sorted(expected)
        catalog = msgspec.structs.replace(actor, granted=(Scope("registry", "catalog", frozenset({"*"})),))
        found = services.run(services.registry.catalog.names(catalog)).names
        assert sorted(found) == sorted(f"acme/{name}" for name in expected)
    own = services.hub.repositories.of_actor
    assert names(services.run(own(ben, FIRST))) == ["shared"]
    assert names(services.run(own(ann, FIRST))) == ["shared", "hidden", "inside", "open"]
    assert names(services.run(own(carl, FIRST))) == []


def test_a_user_with_very_many_grants(
    services: Services, ann: HubActor, ben: HubActor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists are the same if a walk through the organization's repositories makes them."""
    monkeypatch.setattr(repository_lists, "FEW", 1)
    create(services, ann)
    join(services, ann, ben)
    for name in ("a", "b", "c"):
        services.run(services.hub.repositories.create(ann, NewRepository("acme", name, PRIVATE)))
    services.run(services.hub.repositories.create(ann, NewRepository("ann", "d", PRIVATE)))
    create(services, ann, "acme-two")
    services.run(services.hub.repositories.create(ann, NewRepository("acme-two", "x", PRIVATE)))
    invited = services.run(services.hub.invitations.invite(ann, "acme-two", NewInvitation("ben")))
    services.run(services.hub.invitations.accept(ben, invited.id))
    services.run(services.hub.teams.create(ann, "acme-two", NewTeam("all")))
    services.run(services.hub.teams.add_member(ann, "acme-two", "all", "ben"))
    services.run(services.hub.teams.grant(ann, "acme-two", "all", NewGrant("*", RoleWord.READ)))
    team(services, ann, "devs", ben)
    for name in ("a", "b"):
        grant(services, ann, "devs", name, RoleWord.READ)
    services.run(services.hub.collaborators.add(ann, "ann/d", NewCollaborator("ben", RoleWord.READ)))
    (invitation,) = services.run(services.hub.invitations.of_actor(ben, FIRST)).items
    services.run(services.hub.invitations.accept(ben, invitation.id))

    assert sorted(names(services.run(services.hub.repositories.in_namespace(ben, "acme", FIRST)))) == ["a", "b"]
    assert sorted(names(services.run(services.hub.repositories.of_actor(ben, FIRST)))) == ["a", "b", "d", "x"]
    for name in ("acme/a", "acme/b", "acme/c", "acme-two/x", "ann/d"):
        services.push(ann, name)
    catalog = msgspec.structs.replace(ben, granted=(Scope("registry", "catalog", frozenset({"*"})),))
    shown: list[str] = []
    while page := services.run(services.registry.catalog.names(catalog, shown[-1] if shown else "", 1)).names:
        shown += page
    assert shown == ["acme-two/x", "acme/a", "acme/b", "ann/d"]


def test_a_closed_hub(services: Services, ann: HubActor, anonymous: HubActor) -> None:
    """With require_sign_in, anonymous clients and their tokens see and pull nothing."""
    services.push(ann, "ann/app")
    access = services.hub.access
    access.closed = True
    token = msgspec.structs.replace(anonymous, granted=(Scope.repository("ann/app", "pull"),))

    assert may(services, anonymous, "ann/app") == may(services, token, "ann/app") == set()
    assert services.run(access.granted(anonymous, Scope.repository("ann/app", "pull"))).actions == frozenset()
    for actor in (anonymous, token):
        with pytest.raises(WireError):
            services.run(access.enter(actor))
        for call in (
            services.hub.repositories.in_namespace(actor, "ann", FIRST),
            services.hub.search.find(actor, "app", FIRST),
        ):
            with pytest.raises(SignInNeeded):
                services.run(call)
        assert services.run(access.visible(actor, ["ann/app"])) == frozenset()
    assert may(services, ann, "ann/app") == set(Action)
