"""The tables of ``docs/roles.md``, from the table of actions; ``scripts/roles`` writes them into the page."""

from collections.abc import Iterable

from hythe.hub.access.actions import HubAction
from hythe.hub.access.route_rules import RouteRule
from hythe.hub.access.table import TABLE, ActionRule, Needed
from hythe.hub.roles import Everyone, HubRole, OrganizationRole, RepositoryRole

_SECTIONS: tuple[tuple[str, type[Needed]], ...] = (
    ("On a repository", RepositoryRole),
    ("In a namespace", OrganizationRole),
    ("On the hub", HubRole),
    ("Without a role", Everyone),
)


def tables() -> str:
    """Return the end of the page, from its first table."""
    parts = []
    for title, kind in _SECTIONS:
        rows = [action for action in TABLE if isinstance(TABLE[action].needs, kind)]
        parts.append(f"## {title}\n\n{_table(rows)}")
    parts.append(f"## Other clients\n\n{_other_clients()}")
    return "\n".join(parts)


def _other_clients() -> str:
    lines = ["| routes | who may use them |", "|---|---|"]
    lines += [f"| {rule.routes} | {rule.who} |" for rule in RouteRule]
    return "\n".join([*lines, ""])


def _table(actions: Iterable[HubAction]) -> str:
    lines = ["| what | action | needs | right of a token |", "|---|---|---|---|"]
    for action in actions:
        rule = TABLE[action]
        marked = f"`{action.value}`{' *' if rule.changes else ''}"
        lines.append(f"| {rule.meaning} | {marked} | {_needed(rule)} | `{rule.right.value}` |")
    return "\n".join([*lines, "", "\\* leaves an entry in the audit log.", ""])


def _needed(rule: ActionRule) -> str:
    return _word(rule.needs) + (f", or {rule.also.value}" if rule.also else "")


def _word(needed: Needed) -> str:
    match needed:
        case RepositoryRole() | OrganizationRole():
            return needed.word
        case HubRole():
            return needed.value
        case Everyone.ANYONE:
            return "nothing"
    return "to be signed in"
