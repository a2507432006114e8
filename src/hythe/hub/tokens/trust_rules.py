"""The trust rules of namespaces: keyless CI, also called trusted publishing."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy.exc import IntegrityError

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import HubActor, Right
from hythe.hub.errors import Invalid, NotFound, Refused, Taken
from hythe.hub.logs import audit
from hythe.hub.sql import tokens as token_store
from hythe.hub.sql import trust_rules as store
from hythe.hub.tokens.robots import Name, checked_name, limits_in, require_owner, robot_name
from hythe.hub.tokens.token_terms import ROBOT_RIGHTS, LimitsChange, Patterns, checked_rights
from hythe.hub.tokens.trust_rule import TrustRule, TrustTerms, claims_problem, issuer_problem, subject_problem

MAX_RULES = 50
"""Maximum number of rules of a namespace."""

DEFAULT_LIFETIME = 15

Text = Annotated[str, Meta(min_length=1, max_length=255)]
Minutes = Annotated[int, Meta(ge=1, le=60)]


class NewTrustRule(msgspec.Struct, frozen=True):
    """A rule to create. ``issuer`` is the claim ``iss``; ``subject`` and the values of ``claims`` are patterns.

    ``repositories`` None: all of the namespace. A token that the rule gives works for ``lifetime_minutes``.
    """

    name: Name
    issuer: Text
    subject: Text
    rights: tuple[Right, ...]
    claims: dict[str, Text] = {}
    repositories: Patterns | None = None
    lifetime_minutes: Minutes = DEFAULT_LIFETIME


class TrustRuleChange(LimitsChange, frozen=True):
    """What to change of a rule; tokens that it gave end. ``repositories`` None: all of the namespace."""

    name: Name | UnsetType = UNSET
    issuer: Text | UnsetType = UNSET
    subject: Text | UnsetType = UNSET
    claims: dict[str, Text] | UnsetType = UNSET
    lifetime_minutes: Minutes | UnsetType = UNSET


class TrustRuleService:
    """The trust rules of namespaces. Their owners manage them."""

    def __init__(self, database: Database, access: HubAccess, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._access = access
        self._clock = clock

    async def create(self, actor: HubActor, namespace: str, new: NewTrustRule) -> TrustRule:
        """Create a rule. Raises NotFound, Refused, Invalid, Taken."""
        repositories = limits_in(namespace, new.repositories)
        values = msgspec.structs.asdict(new) | {"repositories": repositories}
        terms = _checked(TrustTerms(**values))
        try:
            async with self._database.writing() as session:
                owner_id = await require_owner(self._access, session, actor, namespace, HubAction.CREATE_TRUST_RULE)
                if await store.count(session, owner_id, MAX_RULES) >= MAX_RULES:
                    raise Refused(f"a namespace can have {MAX_RULES} trust rules", "delete those that nothing uses")
                await _require_free(session, owner_id, namespace, terms.name)
                await store.add(session, owner_id, terms, self._clock())
                await self._record(session, actor, HubAction.CREATE_TRUST_RULE, namespace, terms)
                return await _found(session, owner_id, namespace, terms.name)
        except IntegrityError as error:
            raise _taken(namespace, terms.name) from error

    async def list(self, actor: HubActor, namespace: str) -> tuple[TrustRule, ...]:
        """Return the rules of a namespace, by name. Raises NotFound, SignInNeeded, Refused."""
        async with self._database.reading() as session:
            owner_id = await require_owner(self._access, session, actor, namespace, HubAction.VIEW_TRUST_RULES)
            return await store.listed(session, owner_id)

    async def get(self, actor: HubActor, namespace: str, name: str) -> TrustRule:
        """Return a rule. Raises NotFound."""
        async with self._database.reading() as session:
            owner_id = await require_owner(self._access, session, actor, namespace, HubAction.VIEW_TRUST_RULES)
            return await _found(session, owner_id, namespace, name)

    async def change(self, actor: HubActor, namespace: str, name: str, change: TrustRuleChange) -> TrustRule:
        """Change a rule; tokens that it gave end at once. Raises NotFound, Invalid, Taken."""
        given = {field: value for field, value in msgspec.structs.asdict(change).items() if value is not UNSET}
        if "repositories" in given:
            given["repositories"] = limits_in(namespace, given["repositories"])
        new_name = given.get("name", name)
        try:
            async with self._database.writing() as session:
                owner_id = await require_owner(self._access, session, actor, namespace, HubAction.CHANGE_TRUST_RULE)
                rule = await _found(session, owner_id, namespace, name)
                if new_name != name:
                    await _require_free(session, owner_id, namespace, new_name)
                old = {field: getattr(rule, field) for field in TrustTerms.__struct_fields__}
                terms = _checked(TrustTerms(**old | given))
                await store.change(session, rule.id, terms)
                await self._record(session, actor, HubAction.CHANGE_TRUST_RULE, namespace, terms)
                await token_store.remove_of_rule(session, rule.id)
                return await _found(session, owner_id, namespace, new_name)
        except IntegrityError as error:
            raise _taken(namespace, new_name) from error

    async def delete(self, actor: HubActor, namespace: str, name: str) -> None:
        """Delete a rule; tokens that it gave end at once. Raises NotFound."""
        async with self._database.writing() as session:
            owner_id = await require_owner(self._access, session, actor, namespace, HubAction.DELETE_TRUST_RULE)
            rule = await _found(session, owner_id, namespace, name)
            await token_store.remove_of_rule(session, rule.id)
            await store.remove(session, rule.id)
            await self._record(session, actor, HubAction.DELETE_TRUST_RULE, namespace, rule)

    async def _record(
        self, session: Session, actor: HubActor, action: HubAction, namespace: str, terms: TrustTerms
    ) -> None:
        detail = {
            "issuer": terms.issuer,
            "subject": terms.subject,
            "rights": " ".join(right.value for right in terms.rights),
            "repositories": " ".join(terms.repositories),
        }
        target = robot_name(namespace, terms.name)
        await audit.record(session, actor, action, target, at=self._clock(), namespace=namespace, detail=detail)


def _checked(terms: TrustTerms) -> TrustTerms:
    checked_name(terms.name)
    checked_rights(terms.rights, ROBOT_RIGHTS)
    problems = {
        "issuer": issuer_problem(terms.issuer),
        "claims": claims_problem(terms.claims),
        "subject": subject_problem(terms.subject, terms.issuer, terms.claims),
    }
    found = {field: problem for field, problem in problems.items() if problem}
    if found:
        raise Invalid(found)
    return terms


async def _require_free(session: Session, owner_id: int, namespace: str, name: str) -> None:
    if await token_store.robot_by_name(session, owner_id, name) is not None:
        raise _taken(namespace, name)


def _taken(namespace: str, name: str) -> Taken:
    message = f"{robot_name(namespace, name)} exists: a robot or a trust rule has that name"
    return Taken(message, {"name": "is in use"})


async def _found(session: Session, owner_id: int, namespace: str, name: str) -> TrustRule:
    rule = await store.by_name(session, owner_id, name)
    if rule is None:
        raise NotFound(f"{namespace} has no trust rule {name!r}")
    return rule
