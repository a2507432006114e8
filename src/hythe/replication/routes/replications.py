"""Replication rules for administrators, in the JSON API."""

from datetime import datetime
from http import HTTPStatus

import msgspec

from hythe.hub.access.actions import HubAction
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing
from hythe.hub.service import HubServices
from hythe.replication.item import ReplicationBacklog, ReplicationResult
from hythe.replication.replications import ReplicationService, ReplicationStatus
from hythe.replication.rule import Direction, NewReplicationRule, ReplicationRule, ReplicationRuleChange


class ReplicationRuleReply(msgspec.Struct, frozen=True):
    """A rule and what is behind; its password is never returned.

    ``compared_at`` is when the last comparison ended, ``compare_at`` when the next one begins. ``problem`` says why
    nothing is tried before ``paused_until``.
    """

    name: str
    direction: Direction
    url: str
    username: str
    repositories: tuple[str, ...]
    tags: tuple[str, ...]
    destination: str
    deletions: bool
    override: bool
    events: bool
    interval: int
    concurrency: int
    rate: int
    enabled: bool
    created_at: datetime
    created_by: str
    compare_at: datetime | None
    compared_at: datetime | None
    paused_until: datetime | None
    problem: str
    behind: ReplicationBacklog


class ReplicationRulesReply(msgspec.Struct, frozen=True):
    """All rules, by name."""

    items: tuple[ReplicationRuleReply, ...]


class BehindReply(msgspec.Struct, frozen=True):
    """A tag or manifest that is behind; ``bytes`` is what has to be sent, as far as that is known.

    ``reference`` is empty for a repository that has to be compared.
    """

    repository: str
    reference: str
    bytes: int
    since: datetime
    attempts: int
    problem: str


class ReplicationStatusReply(msgspec.Struct, frozen=True):
    """A rule, the tags that are behind for the longest time, and the last results, newest first."""

    rule: ReplicationRuleReply
    items: tuple[BehindReply, ...]
    results: tuple[ReplicationResult, ...]


class ReplicationEndpoints:
    """Handlers of the JSON API."""

    def __init__(self, service: ReplicationService) -> None:
        self._service = service

    async def list(self, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> ReplicationRulesReply:
        """List all rules."""
        found = await self._service.list(call.actor)
        return ReplicationRulesReply(tuple(rule_reply(each.rule, each.backlog) for each in found))

    async def add(self, _hub: HubServices, call: ApiRequest[NewReplicationRule, Nothing]) -> ReplicationRuleReply:
        """Add a rule."""
        rule = await self._service.add(call.actor, call.body)
        return rule_reply(rule, ReplicationBacklog(0, 0, None, 0))

    async def status(self, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> ReplicationStatusReply:
        """Return a rule with what is behind."""
        return status_reply(await self._service.status(call.actor, call.path["rule"]))

    async def change(self, _hub: HubServices, call: ApiRequest[ReplicationRuleChange, Nothing]) -> ReplicationRuleReply:
        """Change a rule."""
        await self._service.change(call.actor, call.path["rule"], call.body)
        found = await self._service.status(call.actor, call.path["rule"])
        return rule_reply(found.rule, found.backlog)

    async def remove(self, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
        """Remove a rule."""
        await self._service.remove(call.actor, call.path["rule"])

    async def start(self, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
        """Compare both sides now."""
        await self._service.start(call.actor, call.path["rule"])


def rule_reply(rule: ReplicationRule, backlog: ReplicationBacklog) -> ReplicationRuleReply:
    """Return a rule as the API and the command show it."""
    names = set(ReplicationRuleReply.__struct_fields__) - {"behind"}
    values = {name: getattr(rule, name) for name in names}
    if not rule.enabled:
        values["paused_until"] = None
    return ReplicationRuleReply(**values, behind=backlog)


def status_reply(found: ReplicationStatus) -> ReplicationStatusReply:
    """Return the status of a rule as the API and the command show it."""
    items = tuple(
        BehindReply(each.repository, each.reference, each.bytes, each.created_at, each.attempts, each.problem)
        for each in found.items
    )
    return ReplicationStatusReply(rule_reply(found.rule, found.backlog), items, found.results)


_RULES = "/api/v1/admin/replications"


def endpoints(service: ReplicationService) -> tuple[Endpoint, ...]:
    """Return the endpoints of the JSON API."""
    handlers = ReplicationEndpoints(service)
    return (
        Endpoint(
            "GET",
            _RULES,
            "List replication rules, and what is behind (administrators only)",
            handlers.list,
            reply=ReplicationRulesReply,
            action=HubAction.VIEW_REPLICATION,
        ),
        Endpoint(
            "POST",
            _RULES,
            "Add a replication rule (administrators only)",
            handlers.add,
            NewReplicationRule,
            reply=ReplicationRuleReply,
            status=HTTPStatus.CREATED,
            action=HubAction.ADD_REPLICATION,
        ),
        *_of_one_rule(handlers),
    )


def _of_one_rule(handlers: ReplicationEndpoints) -> tuple[Endpoint, ...]:
    one = f"{_RULES}/{{rule}}"
    return (
        Endpoint(
            "GET",
            one,
            "Show a replication rule, what is behind, and what was done (administrators only)",
            handlers.status,
            reply=ReplicationStatusReply,
            action=HubAction.VIEW_REPLICATION,
        ),
        Endpoint(
            "PATCH",
            one,
            "Change, disable or enable a replication rule (administrators only)",
            handlers.change,
            ReplicationRuleChange,
            reply=ReplicationRuleReply,
            action=HubAction.CHANGE_REPLICATION,
        ),
        Endpoint(
            "DELETE",
            one,
            "Remove a replication rule; what it copied stays (administrators only)",
            handlers.remove,
            status=HTTPStatus.NO_CONTENT,
            action=HubAction.REMOVE_REPLICATION,
        ),
        Endpoint(
            "POST",
            f"{one}/run",
            "Compare both sides of a replication rule now, and retry what failed (administrators only)",
            handlers.start,
            status=HTTPStatus.NO_CONTENT,
            action=HubAction.RUN_REPLICATION,
        ),
    )
