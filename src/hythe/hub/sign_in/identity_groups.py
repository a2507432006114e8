"""Groups at an identity provider give membership in teams, and make administrators, as the setting says.

The provider decides about the teams of its setting alone: users who leave a group leave its teams at the next sign-in.
All other teams stay as they are, and administrators that no group made stay.
"""

import logging
from collections.abc import Callable
from datetime import datetime

import msgspec

from hythe.database import Session
from hythe.hub.access.actions import HubAction
from hythe.hub.actor import HubActor
from hythe.hub.logs import audit
from hythe.hub.organizations.team import Team
from hythe.hub.roles import OrganizationRole
from hythe.hub.sql import identities as store
from hythe.hub.sql import members as member_store
from hythe.hub.sql import organizations as organization_store
from hythe.hub.sql import teams as team_store
from hythe.hub.sql import user_administration as administration_store
from hythe.hub.sql.identities import IdentityHolder
from hythe.identity_providers.account_rules import AccountRules
from hythe.identity_providers.external_identity import ExternalIdentity

log = logging.getLogger(__name__)


class _TeamState(msgspec.Struct, frozen=True):
    """A team of the setting, whether the user is in it, and whether they should be."""

    organization: str
    team: Team
    is_member: bool
    should_be: bool


class GroupMapping:
    """Compares and applies memberships."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock

    async def is_current(
        self, session: Session, holder: IdentityHolder, identity: ExternalIdentity, rules: AccountRules
    ) -> bool:
        """Return whether there is nothing to change."""
        if _wanted_admin(holder, identity, rules) is not None:
            return False
        states = await self._states(session, holder.account.id, identity, rules)
        return all(each.is_member == each.should_be for each in states)

    async def apply(
        self,
        session: Session,
        holder: IdentityHolder,
        identity: ExternalIdentity,
        rules: AccountRules,
        actor: HubActor,
    ) -> None:
        """Change what is to be changed, with entries in the audit log."""
        account = holder.account
        by = msgspec.structs.replace(actor, name=account.name, user_id=account.id)
        wanted = _wanted_admin(holder, identity, rules)
        if wanted is not None:
            await self._set_admin(session, holder, by, admin=wanted)
        for each in await self._states(session, account.id, identity, rules):
            if each.is_member == each.should_be:
                continue
            if each.should_be:
                await self._join(session, each, account.id)
            else:
                await team_store.remove_member(session, each.team.id, account.id)
            action = HubAction.ADD_TEAM_MEMBER if each.should_be else HubAction.REMOVE_TEAM_MEMBER
            where = f"{each.organization}/{each.team.name}"
            detail = {"user": account.name, "by": "groups of the identity provider"}
            await audit.record(session, by, action, where, namespace=each.organization, detail=detail, at=self._clock())

    async def _states(
        self, session: Session, user_id: int, identity: ExternalIdentity, rules: AccountRules
    ) -> list[_TeamState]:
        wanted: dict[tuple[str, str], bool] = {}
        for mapping in rules.teams:
            key = (mapping.organization, mapping.team)
            wanted[key] = wanted.get(key, False) or mapping.group in identity.groups
        states = []
        for (name, team_name), should_be in wanted.items():
            organization = await organization_store.by_name(session, name)
            team = await team_store.by_name(session, organization.id, team_name) if organization else None
            if organization is None or team is None:
                log.warning("identity provider: the team %s/%s does not exist: create it", name, team_name)
                continue
            own = {each.id for each in await team_store.of_user(session, organization.id, user_id)}
            states.append(_TeamState(name, team, team.id in own, should_be))
        return states

    async def _join(self, session: Session, state: _TeamState, user_id: int) -> None:
        """Add a user to a team, and before to its organization."""
        organization_id = state.team.organization_id
        await organization_store.lock(session, organization_id)
        if not await member_store.is_member(session, organization_id, user_id):
            await member_store.add(session, organization_id, user_id, OrganizationRole.MEMBER, self._clock())
        await team_store.add_member(session, state.team.id, user_id, self._clock())

    async def _set_admin(self, session: Session, holder: IdentityHolder, by: HubActor, *, admin: bool) -> None:
        account = holder.account
        if not admin and await administration_store.lock_active_admins(session) == {account.id}:
            log.warning("%s left the group of administrators, but is the last administrator", account.name)
            return
        await store.set_made_admin(session, holder.identity.id, account.id, admin=admin)
        detail = {"administrator": "yes" if admin else "no"}
        await audit.record(session, by, HubAction.MAP_ADMINISTRATOR, account.name, detail=detail, at=self._clock())


def _wanted_admin(holder: IdentityHolder, identity: ExternalIdentity, rules: AccountRules) -> bool | None:
    """Return whether the account has to become an administrator or to be one no longer; None: neither."""
    if not rules.administrators:
        return None
    is_in_group = rules.administrators in identity.groups
    if is_in_group and not holder.account.admin:
        return True
    return False if holder.made_admin and holder.account.admin and not is_in_group else None
