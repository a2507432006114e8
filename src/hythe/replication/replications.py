"""What administrators can do with replication rules."""

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.errors import NotFound, Refused, Taken
from hythe.hub.logs import audit
from hythe.hub.secret_box import SecretBox
from hythe.replication.item import ReplicationBacklog, ReplicationItem, ReplicationResult
from hythe.replication.registry_listener import RULES_LIFETIME
from hythe.replication.remotes import SECRET
from hythe.replication.rule import (
    DISABLED_UNTIL,
    Direction,
    NewReplicationRule,
    ReplicationRule,
    ReplicationRuleChange,
)
from hythe.replication.sql import items as item_store
from hythe.replication.sql import results as result_store
from hythe.replication.sql import rules as store

MAX_RULES = 100
"""All of them are matched with every push."""

SHOWN = 50
"""Items and results of a rule that are shown."""


_SELECTING = frozenset({"repositories", "tags", "destination", "deletions", "override"})
"""The fields that say what a rule copies, and to where."""


class ReplicationOverview(msgspec.Struct, frozen=True):
    """A rule and what is behind."""

    rule: ReplicationRule
    backlog: ReplicationBacklog


class ReplicationStatus(msgspec.Struct, frozen=True):
    """A rule, what is behind, the oldest of it, and the last results, newest first."""

    rule: ReplicationRule
    backlog: ReplicationBacklog
    items: tuple[ReplicationItem, ...]
    results: tuple[ReplicationResult, ...]


class ReplicationService:
    """Replication rules. Every call raises SignInNeeded or Refused unless an administrator calls."""

    def __init__(
        self, database: Database, access: HubAccess, secret_box: SecretBox, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._access = access
        self._secret_box = secret_box
        self._clock = clock

    async def list(self, actor: HubActor) -> tuple[ReplicationOverview, ...]:
        """Return all rules, with what is behind."""
        await self._access.require_hub(actor, HubAction.VIEW_REPLICATION)
        async with self._database.reading() as session:
            return tuple(
                [
                    ReplicationOverview(rule, await item_store.backlog(session, rule.id))
                    for rule in await store.listed(session)
                ]
            )

    async def status(self, actor: HubActor, name: str) -> ReplicationStatus:
        """Return a rule with what is behind and what was done. Raises NotFound."""
        await self._access.require_hub(actor, HubAction.VIEW_REPLICATION)
        async with self._database.reading() as session:
            rule = await _existing(session, name)
            return ReplicationStatus(
                rule,
                await item_store.backlog(session, rule.id),
                tuple(await item_store.oldest(session, rule.id, SHOWN)),
                await result_store.latest(session, rule.id, SHOWN),
            )

    async def add(self, actor: HubActor, new: NewReplicationRule) -> ReplicationRule:
        """Add a rule; both sides are compared soon. Raises Invalid, Taken."""
        await self._access.require_hub(actor, HubAction.ADD_REPLICATION)
        new.check()
        now = self._clock()
        # Once every server knows the rule, no push is missed between the comparison and the events.
        first = now + timedelta(seconds=2 * RULES_LIFETIME if new.direction is Direction.PUSH else 0)
        values = {name: getattr(new, name) for name in NewReplicationRule.__struct_fields__ if name != "password"}
        values |= {
            "secret": self._secret_box.seal(SECRET, new.password) if new.password else "",
            "created_at": now,
            "created_by": actor.name,
            "compare_at": first,
            "compare_lease": "",
            "compared_at": None,
            "paused_until": None,
            "failures": 0,
            "problem": "",
        }
        async with self._database.writing() as session:
            if await store.by_name(session, new.name) is not None:
                problem = {"name": "is the name of another rule; choose another name"}
                raise Taken(f"there is a replication rule {new.name} already", problem, "choose another name")
            if await store.count(session) >= MAX_RULES:
                raise Refused(f"there are {MAX_RULES} replication rules already", "remove one first")
            await store.add(session, values)
            detail = {"direction": new.direction.value, "url": new.url, "repositories": " ".join(new.repositories)}
            await audit.record(session, actor, HubAction.ADD_REPLICATION, new.name, detail=detail, at=now)
            return await _existing(session, new.name)

    async def change(self, actor: HubActor, name: str, change: ReplicationRuleChange) -> ReplicationRule:
        """Change a rule; both sides are compared soon. Raises NotFound, Invalid."""
        await self._access.require_hub(actor, HubAction.CHANGE_REPLICATION)
        now = self._clock()
        async with self._database.writing() as session:
            rule = await _existing(session, name)
            await store.lock(session, rule.id)
            rule = await _existing(session, name)
            change.check(rule.direction)
            given = change.given
            if not given:
                return rule
            password = given.pop("password", None)
            if password is not None:
                given["sealed"] = self._secret_box.seal(SECRET, password) if password else ""
            enabled = given.pop("enabled", rule.enabled)
            given |= {
                "compare_at": now + timedelta(seconds=2 * RULES_LIFETIME),
                "compare_lease": "",
                "paused_until": None if enabled else DISABLED_UNTIL,
                "failures": 0,
                "problem": "",
            }
            await store.change(session, msgspec.structs.replace(rule, **given))
            if not given.keys().isdisjoint(_SELECTING):
                # What no longer belongs to the rule must not be copied; the comparison finds what still does.
                await item_store.forget(session, rule.id)
            detail = {field: _shown(value) for field, value in change.given.items() if field != "password"}
            if password is not None:
                detail["password"] = "changed" if password else "removed"
            await audit.record(session, actor, HubAction.CHANGE_REPLICATION, name, detail=detail, at=now)
            return await _existing(session, name)

    async def remove(self, actor: HubActor, name: str) -> None:
        """Remove a rule; what it copied stays. Raises NotFound."""
        await self._access.require_hub(actor, HubAction.REMOVE_REPLICATION)
        async with self._database.writing() as session:
            rule = await _existing(session, name)
            await store.remove(session, rule.id)
            await audit.record(session, actor, HubAction.REMOVE_REPLICATION, name, at=self._clock())

    async def start(self, actor: HubActor, name: str) -> ReplicationRule:
        """Compare both sides now, and try what failed again. Raises NotFound."""
        await self._access.require_hub(actor, HubAction.RUN_REPLICATION)
        now = self._clock()
        async with self._database.writing() as session:
            rule = await _existing(session, name)
            if not rule.enabled:
                raise Refused(f"the replication rule {name} is disabled", "enable it first")
            await store.request_comparison(session, rule.id, now)
            await item_store.hurry(session, rule.id, now)
            await audit.record(session, actor, HubAction.RUN_REPLICATION, name, at=now)
        return rule

    async def backlog(self) -> ReplicationBacklog:
        """Return what is behind of all rules, for metrics; one cheap query for each rule."""
        async with self._database.reading() as session:
            found = [await item_store.backlog(session, rule.id) for rule in await store.listed(session)]
        return ReplicationBacklog(
            sum(each.items for each in found),
            sum(each.bytes for each in found),
            min((each.oldest for each in found if each.oldest is not None), default=None),
            sum(each.failed for each in found),
            all(each.exact for each in found),
        )


async def _existing(session: Session, name: str) -> ReplicationRule:
    rule = await store.by_name(session, name)
    if rule is None:
        raise NotFound(f"there is no replication rule {name[:64]!r}")
    return rule


def _shown(value: object) -> str:
    """Return a value of a rule for the audit log."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
