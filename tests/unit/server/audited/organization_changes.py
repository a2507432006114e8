"""Changes of organizations, teams, members, invitations and collaborators."""

from tests.unit.server.audited.world import Steps, World, change

from hythe.hub.access.actions import HubAction
from hythe.hub.organizations.invitations import NewInvitation
from hythe.hub.organizations.members import MemberChange
from hythe.hub.organizations.organization import MemberWord, RoleWord
from hythe.hub.organizations.organizations import Conversion, NewOrganization, OrganizationChange
from hythe.hub.organizations.teams import NewGrant, NewTeam, TeamChange
from hythe.hub.repositories.collaborators import CollaboratorChange, NewCollaborator


@change("organizations.create", HubAction.CREATE_ORGANIZATION, "other", namespace="other")
async def create_organization(world: World) -> Steps:
    yield
    await world.hub.organizations.create(world.ann, NewOrganization("other"))


@change("organizations.change", HubAction.CHANGE_ORGANIZATION, "acme", namespace="acme")
async def change_organization(world: World) -> Steps:
    yield
    await world.hub.organizations.change(world.ann, "acme", OrganizationChange(members_create=False))


@change("organizations.convert", HubAction.CONVERT_ACCOUNT, "eve", namespace="eve", by="eve")
async def convert_account(world: World) -> Steps:
    yield
    await world.hub.organizations.convert(world.eve, Conversion("ben", "eve"))


@change("organizations.delete", HubAction.DELETE_ORGANIZATION, "acme", namespace="acme")
async def delete_organization(world: World) -> Steps:
    yield
    await world.hub.organizations.delete(world.ann, "acme", "acme")


@change("members.set_role", HubAction.CHANGE_MEMBER, "acme/ben", namespace="acme")
async def set_role_of_member(world: World) -> Steps:
    yield
    await world.hub.members.set_role(world.ann, "acme", "ben", MemberChange(MemberWord.OWNER))


@change("members.appoint_owner", HubAction.APPOINT_OWNER, "acme/eve", namespace="acme", by="max")
async def appoint_owner(world: World) -> Steps:
    yield
    await world.hub.members.appoint_owner(world.max, "acme", "eve")


@change("members.remove", HubAction.REMOVE_MEMBER, "acme/ben", namespace="acme")
async def remove_member(world: World) -> Steps:
    yield
    await world.hub.members.remove(world.ann, "acme", "ben")


@change("members.leave", HubAction.LEAVE_ORGANIZATION, "acme/ben", namespace="acme", by="ben")
async def leave_organization(world: World) -> Steps:
    yield
    await world.hub.members.leave(world.ben, "acme")


async def team(world: World) -> None:
    """Create a team."""
    await world.hub.teams.create(world.ann, "acme", NewTeam("core"))


@change("teams.create", HubAction.CREATE_TEAM, "acme/core", namespace="acme")
async def create_team(world: World) -> Steps:
    yield
    await team(world)


@change("teams.change", HubAction.CHANGE_TEAM, "acme/core", namespace="acme")
async def change_team(world: World) -> Steps:
    await team(world)
    yield
    await world.hub.teams.change(world.ann, "acme", "core", TeamChange(description="builds the base"))


@change("teams.delete", HubAction.DELETE_TEAM, "acme/core", namespace="acme")
async def delete_team(world: World) -> Steps:
    await team(world)
    yield
    await world.hub.teams.delete(world.ann, "acme", "core")


@change("teams.add_member", HubAction.ADD_TEAM_MEMBER, "acme/core", namespace="acme")
async def add_team_member(world: World) -> Steps:
    await team(world)
    yield
    await world.hub.teams.add_member(world.ann, "acme", "core", "ben")


@change("teams.remove_member", HubAction.REMOVE_TEAM_MEMBER, "acme/core", namespace="acme")
async def remove_team_member(world: World) -> Steps:
    await team(world)
    await world.hub.teams.add_member(world.ann, "acme", "core", "ben")
    yield
    await world.hub.teams.remove_member(world.ann, "acme", "core", "ben")


@change("teams.grant", HubAction.GRANT_TEAM, "acme/core", namespace="acme")
async def grant(world: World) -> Steps:
    await team(world)
    yield
    await world.hub.teams.grant(world.ann, "acme", "core", NewGrant("web", RoleWord.WRITE))


@change("teams.revoke", HubAction.REVOKE_TEAM_GRANT, "acme/core", namespace="acme")
async def revoke_grant(world: World) -> Steps:
    await team(world)
    await world.hub.teams.grant(world.ann, "acme", "core", NewGrant("web", RoleWord.WRITE))
    yield
    await world.hub.teams.revoke(world.ann, "acme", "core", "web")


@change("invitations.invite", HubAction.INVITE_MEMBER, "acme/eve", namespace="acme")
async def invite(world: World) -> Steps:
    yield
    await world.hub.invitations.invite(world.ann, "acme", NewInvitation("eve"))


@change("invitations.cancel", HubAction.CANCEL_INVITATION, "acme", namespace="acme")
async def cancel_invitation(world: World) -> Steps:
    invited = await world.hub.invitations.invite(world.ann, "acme", NewInvitation("eve"))
    yield
    await world.hub.invitations.cancel(world.ann, "acme", invited.id)


@change("invitations.accept", HubAction.ACCEPT_INVITATION, "acme", namespace="acme", by="eve")
async def accept_invitation(world: World) -> Steps:
    invited = await world.hub.invitations.invite(world.ann, "acme", NewInvitation("eve"))
    yield
    await world.hub.invitations.accept(world.eve, invited.id)


@change("invitations.decline", HubAction.DECLINE_INVITATION, "acme", namespace="acme", by="eve")
async def decline_invitation(world: World) -> Steps:
    invited = await world.hub.invitations.invite(world.ann, "acme", NewInvitation("eve"))
    yield
    await world.hub.invitations.decline(world.eve, invited.id)


@change("invitations.accept_link", HubAction.ACCEPT_INVITATION, "acme", namespace="acme", by="eve")
async def accept_link(world: World) -> Steps:
    await world.hub.invitations.invite(world.ann, "acme", NewInvitation(email="new@example.com"))
    secret = await world.secret("new@example.com", "/invitations/link")
    yield
    await world.hub.invitations.accept_link(world.eve, secret)


@change("invitations.decline_link", HubAction.DECLINE_INVITATION, "acme", namespace="acme", by="eve")
async def decline_link(world: World) -> Steps:
    await world.hub.invitations.invite(world.ann, "acme", NewInvitation(email="new@example.com"))
    secret = await world.secret("new@example.com", "/invitations/link")
    yield
    await world.hub.invitations.decline_link(world.eve, secret)


async def collaborator(world: World) -> None:
    """Make Ben a collaborator."""
    await world.hub.collaborators.add(world.ann, "acme/web", NewCollaborator("ben"))


@change("collaborators.add", HubAction.INVITE_COLLABORATOR, "acme/web", namespace="acme")
async def add_collaborator(world: World) -> Steps:
    yield
    await collaborator(world)


@change("collaborators.set_role", HubAction.CHANGE_COLLABORATOR, "acme/web", namespace="acme")
async def change_collaborator(world: World) -> Steps:
    await collaborator(world)
    yield
    await world.hub.collaborators.set_role(world.ann, "acme/web", "ben", CollaboratorChange(RoleWord.READ))


@change("collaborators.remove", HubAction.REMOVE_COLLABORATOR, "acme/web", namespace="acme")
async def remove_collaborator(world: World) -> Steps:
    await collaborator(world)
    yield
    await world.hub.collaborators.remove(world.ann, "acme/web", "ben")


@change("collaborators.leave", HubAction.LEAVE_REPOSITORY, "acme/web", namespace="acme", by="ben")
async def leave_repository(world: World) -> Steps:
    await collaborator(world)
    yield
    await world.hub.collaborators.leave(world.ben, "acme/web")
