"""The tables of ``docs/roles.md``, from the table of actions; ``scripts/roles`` writes them into the page."""

from collections.abc import Iterable

from hythe.hub.access.actions import HubAction
from hythe.hub.access.table import TABLE, Needed
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
    return "\n".join(parts)


def _table(actions: Iterable[HubAction]) -> str:
    lines = ["| what | action | needs | right of a token |", "|---|---|---|---|"]
    for action in actions:
        rule = TABLE[action]
        marked = f"`{action.value}`{' *' if rule.changes else ''}"
        lines.append(f"| {rule.meaning} | {marked} | {_word(rule.needs)} | `{rule.right.value}` |")
    return "\n".join([*lines, "", "\\* leaves an entry in the audit log.", ""])


def _word(needed: Needed) -> str:
    match needed:
        case RepositoryRole() | OrganizationRole():
            return needed.word
        case HubRole():
            return needed.value
        case Everyone.ANYONE:
            return "nothing"
    return "to be signed in"
