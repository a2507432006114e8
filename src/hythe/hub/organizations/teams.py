"""Teams: members of an organization who get a role on repositories, named singly or by patterns.

The grants are applied to each repository in advance, so that an access decision reads one row for each team. A pattern
that matches very many repositories is applied step by step; until then the earlier roles hold.
"""

import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.exc import IntegrityError

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.namespaces import could_be_name
from hythe.hub.actor import HubActor
from hythe.hub.errors import NotFound, Refused, Taken
from hythe.hub.logs import audit
from hythe.hub.organizations.name_patterns import pattern_problem
from hythe.hub.organizations.organization import RoleWord
from hythe.hub.organizations.team import Team, TeamGrant, TeamMember
from hythe.hub.page import Page, Paging
from hythe.hub.sql import members as member_store
from hythe.hub.sql import organizations as organization_store
from hythe.hub.sql import team_repositories
from hythe.hub.sql import teams as store
from hythe.hub.validation import Checked, Precondition, problems_by
from hythe.periodic import repeat
from hythe.wake_ups import WakeUp

MAX_TEAMS = 500
"""Maximum number of teams of an organization."""

MAX_GRANTS = 1000
"""Maximum number of grants of a team."""

MAX_PATTERNS = 20
"""Maximum number of a team's grants on patterns; each new repository is compared with all of them."""

DESCRIPTION_LENGTH = 200

REPLY_TIME = 3.0
"""Seconds that a request applies a changed pattern; after that, the background task continues."""

INTERVAL = 15.0
"""Seconds between two looks for patterns that another process left unapplied."""

_PATTERN = re.compile(r"[a-z0-9*][a-z0-9._/*-]*")


def _name_problem(name: str) -> str | None:
    if could_be_name(name):
        return None
    return "must be 1 to 39 lowercase letters, digits and '-', with no '-' at either end and no two in a row"


def _description_problem(text: str) -> str | None:
    return None if len(text) <= DESCRIPTION_LENGTH else f"must have at most {DESCRIPTION_LENGTH} characters"


def _repositories_problem(text: str) -> str | None:
    if problem := pattern_problem(text):
        return problem
    return None if _PATTERN.fullmatch(text) else "must be the name of a repository, or a pattern such as web-*"


class NewTeam(Checked, frozen=True):
    """A team to create."""

    name: str
    description: str = ""

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> dict[str, str]:
        """See Checked."""
        return problems_by(values, name=_name_problem, description=_description_problem)


class TeamChange(Checked, frozen=True, omit_defaults=True):
    """Changes to a team; unset fields stay."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    description: str | msgspec.UnsetType = msgspec.UNSET

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> dict[str, str]:
        """See Checked."""
        return problems_by(values, name=_name_problem, description=_description_problem)


class NewGrant(Checked, frozen=True):
    """A role on ``repositories``: the name of one without its organization, or a pattern (``*``, ``web-*``)."""

    repositories: str
    role: RoleWord

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> dict[str, str]:
        """See Checked."""
        return problems_by(values, repositories=_repositories_problem)


class TeamService:
    """The teams of organizations. Calls raise NotFound, SignInNeeded and Refused."""

    def __init__(self, database: Database, access: HubAccess, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._access = access
        self._clock = clock
        self.unfinished = WakeUp()
        """Set when ``run`` has to continue what a request began."""

    async def list(self, actor: HubActor, organization: str, paging: Paging) -> Page[Team]:
        """Return the teams by name, for members."""
        async with self._database.reading() as session:
            context = await self._access.require_organization(actor, organization, HubAction.VIEW_TEAMS, session)
            return await store.listed(session, context.owner_id or 0, paging)

    async def get(self, actor: HubActor, organization: str, name: str) -> Team:
        """Return a team, for members."""
        async with self._database.reading() as session:
            return await self._team(session, actor, organization, name, HubAction.VIEW_TEAMS)

    async def members(self, actor: HubActor, organization: str, name: str, paging: Paging) -> Page[TeamMember]:
        """Return the members of a team, for members of the organization."""
        async with self._database.reading() as session:
            team = await self._team(session, actor, organization, name, HubAction.VIEW_TEAMS)
            return await store.members(session, team.id, paging)

    async def grants(self, actor: HubActor, organization: str, name: str, paging: Paging) -> Page[TeamGrant]:
        """Return the grants of a team, for its members and the owners."""
        async with self._database.reading() as session:
            team = await self._team(session, actor, organization, name, HubAction.VIEW_TEAMS)
            own = await store.of_user(session, team.organization_id, actor.user_id or 0)
            if all(each.id != team.id for each in own):
                await self._access.require_organization(actor, organization, HubAction.GRANT_TEAM, session)
            return await store.grants(session, team.id, paging)

    async def create(self, actor: HubActor, organization: str, new: NewTeam) -> Team:
        """Create a team. Raises Invalid, Taken."""
        new.check()
        try:
            async with self._database.writing() as session:
                organization_id = await self._locked(session, actor, organization, HubAction.CREATE_TEAM)
                if await store.count(session, organization_id, MAX_TEAMS) >= MAX_TEAMS:
                    raise Refused(f"an organization can have at most {MAX_TEAMS} teams", "delete one first")
                await store.add(session, organization_id, new.name, new.description.strip(), self._clock())
                await self._record(session, actor, HubAction.CREATE_TEAM, organization, new.name)
                return await _named(session, organization_id, organization, new.name)
        except IntegrityError as error:
            raise _taken(new.name) from error

    async def change(
        self,
        actor: HubActor,
        organization: str,
        name: str,
        change: TeamChange,
        unchanged: Precondition | None = None,
    ) -> Team:
        """Rename or describe a team. Raises Invalid, Taken."""
        change.check()
        values = {
            field: value.strip()
            for field, value in msgspec.structs.asdict(change).items()
            if value is not msgspec.UNSET
        }
        new_name = values.get("name", name)
        try:
            async with self._database.writing() as session:
                team = await self._locked_team(session, actor, organization, name, HubAction.CHANGE_TEAM)
                if unchanged is not None:
                    await unchanged(session)
                if values:
                    await store.change(session, team.id, values)
                    await self._record(session, actor, HubAction.CHANGE_TEAM, organization, name, **values)
                return await _named(session, team.organization_id, organization, new_name)
        except IntegrityError as error:
            raise _taken(new_name) from error

    async def delete(
        self, actor: HubActor, organization: str, name: str, unchanged: Precondition | None = None
    ) -> None:
        """Delete a team; its members lose its roles at once."""
        async with self._database.writing() as session:
            team = await self._locked_team(session, actor, organization, name, HubAction.DELETE_TEAM)
            if unchanged is not None:
                await unchanged(session)
            await store.empty(session, team.id)
            await self._record(session, actor, HubAction.DELETE_TEAM, organization, name)
        await self._apply(team.id)

    async def add_member(self, actor: HubActor, organization: str, name: str, user: str) -> None:
        """Add a member of the organization to a team."""
        async with self._database.writing() as session:
            team = await self._locked_team(session, actor, organization, name, HubAction.ADD_TEAM_MEMBER)
            member = await member_store.by_name(session, team.organization_id, user) if could_be_name(user) else None
            if member is None:
                raise NotFound(f"{user!r} is not a member of {organization}", "invite them to the organization first")
            if await store.add_member(session, team.id, member.user_id, self._clock()):
                await self._record(session, actor, HubAction.ADD_TEAM_MEMBER, organization, name, user=user)

    async def remove_member(self, actor: HubActor, organization: str, name: str, user: str) -> None:
        """Remove a member from a team."""
        async with self._database.writing() as session:
            team = await self._locked_team(session, actor, organization, name, HubAction.REMOVE_TEAM_MEMBER)
            member = await member_store.by_name(session, team.organization_id, user) if could_be_name(user) else None
            if member is None or not await store.remove_member(session, team.id, member.user_id):
                raise NotFound(f"{user!r} is not a member of the team {name}")
            await self._record(session, actor, HubAction.REMOVE_TEAM_MEMBER, organization, name, user=user)

    async def grant(self, actor: HubActor, organization: str, name: str, new: NewGrant) -> None:
        """Give a team a role on a repository or a pattern, instead of the one that it has there. Raises Invalid."""
        new.check()
        async with self._database.writing() as session:
            team = await self._locked_team(session, actor, organization, name, HubAction.GRANT_TEAM)
            await _require_room(session, team.id, new)
            if "*" in new.repositories:
                like = _like(new.repositories)
                await store.grant_pattern(session, team.id, new.repositories, like, new.role.role)
                await team_repositories.begin(session, team.id)
            else:
                repository_id = await self._repository(session, actor, organization, new.repositories)
                await store.grant_repository(session, team.id, repository_id, new.role.role)
                await team_repositories.apply_one(session, team.id, repository_id)
            detail = {"repositories": new.repositories, "role": new.role.value}
            await self._record(session, actor, HubAction.GRANT_TEAM, organization, name, **detail)
        await self._apply(team.id)

    async def revoke(self, actor: HubActor, organization: str, name: str, repositories: str) -> None:
        """Take the role on a repository or a pattern from a team."""
        async with self._database.writing() as session:
            team = await self._locked_team(session, actor, organization, name, HubAction.REVOKE_TEAM_GRANT)
            if "*" in repositories:
                found = await store.revoke_pattern(session, team.id, repositories)
                await team_repositories.begin(session, team.id)
            else:
                repository_id = await self._repository(session, actor, organization, repositories)
                found = await store.revoke_repository(session, team.id, repository_id)
                await team_repositories.apply_one(session, team.id, repository_id)
            if not found:
                raise NotFound(f"the team {name} has no role on {repositories!r}")
            detail = {"repositories": repositories}
            await self._record(session, actor, HubAction.REVOKE_TEAM_GRANT, organization, name, **detail)
        await self._apply(team.id)

    async def run(self) -> None:
        """Apply the patterns that requests or other processes left, until cancelled."""
        await repeat(self.apply_all, INTERVAL, "grants of teams", self.unfinished)

    async def apply_all(self) -> None:
        """Apply all changed patterns."""
        async with self._database.reading() as session:
            found = await team_repositories.unapplied(session)
        for team_id in found:
            while await self._step(team_id):
                pass

    async def _apply(self, team_id: int) -> None:
        """Apply changed patterns for some seconds; ``run`` continues."""
        end = time.monotonic() + REPLY_TIME
        while await self._step(team_id):
            if time.monotonic() > end:
                self.unfinished.set()
                return

    async def _step(self, team_id: int) -> bool:
        async with self._database.writing() as session:
            return await team_repositories.step(session, team_id)

    async def _repository(self, session: Session, actor: HubActor, organization: str, name: str) -> int:
        context = await self._access.require_repository(
            actor, f"{organization}/{name}", HubAction.VIEW_REPOSITORY, session
        )
        if context.repository_id is None:
            raise NotFound(f"repository {organization}/{name} does not exist")
        return context.repository_id

    async def _team(self, session: Session, actor: HubActor, organization: str, name: str, action: HubAction) -> Team:
        context = await self._access.require_organization(actor, organization, action, session)
        return await _named(session, context.owner_id or 0, organization, name)

    async def _locked(self, session: Session, actor: HubActor, organization: str, action: HubAction) -> int:
        context = await self._access.require_organization(actor, organization, action, session)
        organization_id = context.owner_id or 0
        # New repositories wait for this lock, too: each is seen either by them or by the steps.
        await organization_store.lock(session, organization_id)
        return organization_id

    async def _locked_team(
        self, session: Session, actor: HubActor, organization: str, name: str, action: HubAction
    ) -> Team:
        return await _named(session, await self._locked(session, actor, organization, action), organization, name)

    async def _record(
        self, session: Session, actor: HubActor, action: HubAction, organization: str, team: str, **detail: str
    ) -> None:
        await audit.record(
            session, actor, action, f"{organization}/{team}", namespace=organization, detail=detail, at=self._clock()
        )


async def _named(session: Session, organization_id: int, organization: str, name: str) -> Team:
    team = await store.by_name(session, organization_id, name) if could_be_name(name) else None
    if team is None:
        raise NotFound(f"team {name!r} of {organization} does not exist")
    return team


async def _require_room(session: Session, team_id: int, new: NewGrant) -> None:
    if await store.count_grants(session, team_id, MAX_GRANTS) >= MAX_GRANTS:
        raise Refused(f"a team can have at most {MAX_GRANTS} grants", "use a pattern for several repositories")
    if "*" in new.repositories and await store.count_patterns(session, team_id, MAX_PATTERNS) >= MAX_PATTERNS:
        raise Refused(f"a team can have at most {MAX_PATTERNS} patterns", "delete one first")


def _like(pattern: str) -> str:
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return re.sub(r"\*+", "%", escaped)


def _taken(name: str) -> Taken:
    return Taken(f"the organization has a team {name}", {"name": "is taken"}, "choose another name")
