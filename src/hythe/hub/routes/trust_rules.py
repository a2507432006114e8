"""Trust rules of namespaces in the JSON API, and the exchange of ID tokens."""

from datetime import datetime
from http import HTTPStatus

import msgspec

from hythe.hub.access.actions import HubAction
from hythe.hub.actor import Right
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing
from hythe.hub.service import HubServices
from hythe.hub.tokens.robots import robot_name
from hythe.hub.tokens.token_exchange import ExchangedToken, ExchangeRequest
from hythe.hub.tokens.trust_rule import TrustRule
from hythe.hub.tokens.trust_rules import NewTrustRule, TrustRuleChange


class TrustRuleReply(msgspec.Struct, frozen=True, kw_only=True):
    """A trust rule. CI jobs log in as ``username``.

    ``used_at``: when it last gave a token; ``used_from``: to which address; empty: never, or before that was recorded.
    """

    name: str
    username: str
    issuer: str
    subject: str
    claims: dict[str, str]
    rights: tuple[Right, ...]
    repositories: tuple[str, ...]
    lifetime_minutes: int
    created_at: datetime
    used_at: datetime | None
    used_from: str


class TrustRulesReply(msgspec.Struct, frozen=True):
    """All trust rules of the namespace, by name. ``audience`` is what ID tokens must be requested for."""

    items: tuple[TrustRuleReply, ...]
    audience: str


def _shown(namespace: str, rule: TrustRule) -> TrustRuleReply:
    values = msgspec.structs.asdict(rule)
    del values["id"]
    return TrustRuleReply(**values, username=robot_name(namespace, rule.name))


async def _create(hub: HubServices, call: ApiRequest[NewTrustRule, Nothing]) -> TrustRuleReply:
    namespace = call.path["namespace"]
    return _shown(namespace, await hub.trust_rules.create(call.actor, namespace, call.body))


async def _list(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> TrustRulesReply:
    namespace = call.path["namespace"]
    rules = await hub.trust_rules.list(call.actor, namespace)
    return TrustRulesReply(tuple(_shown(namespace, rule) for rule in rules), hub.token_exchange.audience)


async def _get(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> TrustRuleReply:
    namespace = call.path["namespace"]
    return _shown(namespace, await hub.trust_rules.get(call.actor, namespace, call.path["rule"]))


async def _change(hub: HubServices, call: ApiRequest[TrustRuleChange, Nothing]) -> TrustRuleReply:
    namespace = call.path["namespace"]
    return _shown(namespace, await hub.trust_rules.change(call.actor, namespace, call.path["rule"], call.body))


async def _delete(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.trust_rules.delete(call.actor, call.path["namespace"], call.path["rule"])


async def _exchange(hub: HubServices, call: ApiRequest[ExchangeRequest, Nothing]) -> ExchangedToken:
    return await hub.token_exchange.exchange(call.body, call.address)


_ALL = "/api/v1/namespaces/{namespace}/trust-rules"
_ONE = f"{_ALL}/{{rule}}"

ENDPOINTS = (
    Endpoint(
        "POST",
        _ALL,
        "Create a trust rule",
        _create,
        action=HubAction.CREATE_TRUST_RULE,
        body=NewTrustRule,
        reply=TrustRuleReply,
        status=HTTPStatus.CREATED,
    ),
    Endpoint(
        "GET",
        _ALL,
        "List the trust rules of a namespace",
        _list,
        action=HubAction.VIEW_TRUST_RULES,
        reply=TrustRulesReply,
    ),
    Endpoint("GET", _ONE, "Get a trust rule", _get, action=HubAction.VIEW_TRUST_RULES, reply=TrustRuleReply),
    Endpoint(
        "PATCH",
        _ONE,
        "Change a trust rule; ends the tokens that it gave",
        _change,
        action=HubAction.CHANGE_TRUST_RULE,
        body=TrustRuleChange,
        reply=TrustRuleReply,
    ),
    Endpoint(
        "DELETE",
        _ONE,
        "Delete a trust rule; ends the tokens that it gave",
        _delete,
        action=HubAction.DELETE_TRUST_RULE,
        status=HTTPStatus.NO_CONTENT,
    ),
    Endpoint(
        "POST",
        "/api/v1/oidc/token",
        "Exchange the ID token of a CI job for a token, by a trust rule (RFC 8693)",
        _exchange,
        action=HubAction.EXCHANGE_ID_TOKEN,
        body=ExchangeRequest,
        reply=ExchangedToken,
    ),
)
