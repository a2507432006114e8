"""The verbs of ``hythe admin`` that list what the hub has: accounts, repositories, reports, the audit log and more."""

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from hythe.cli.accounts import WithHub
from hythe.cli.administration import Verb, add_verb
from hythe.cli.output import Column, Row, add_json_flag, add_list_flags, on_one_line, print_list
from hythe.cli.plan_limits import PLAN_LIMITS

if TYPE_CHECKING:
    from hythe.hub.accounts.namespaces import AccountKind
    from hythe.hub.page import Page, Paging
    from hythe.hub.roles import HubRole
    from hythe.hub.service import HubServices
    from hythe.hub.sql.blocked_digests import BlockedDigest
    from hythe.hub.sql.blocked_names import BlockedName

T = TypeVar("T")

LIMIT = 100
"""How many items the lists print unless --limit says so."""


def add_hub_lists(verbs: Any, with_hub: WithHub) -> None:
    """Add the verbs to those of ``hythe admin``; ``verbs`` is the result of ``add_subparsers``."""
    add_list_flags(add_verb(verbs, with_hub, "list-users", "list all accounts with what they use", _list_users))
    for name, meaning, verb in (
        ("users", "find users by the beginning of a name or e-mail address", _users),
        ("organizations", "find organizations by the beginning of a name", _organizations),
        ("repositories", "find repositories by the beginning of a name, such as ann/", _repositories),
    ):
        found = _list(verbs, with_hub, name, meaning, verb)
        found.add_argument("beginning", nargs="?", default="", metavar="BEGINNING", help="default: all")
        if verb is _users:
            found.add_argument(
                "--role", choices=("administrator", "curator"), help="only users with this role, by name"
            )
        if verb is _repositories:
            found.add_argument("--official", action="store_true", help="only official ones; names without NAMESPACE/")
    members = _list(verbs, with_hub, "members", "list the members of an organization", _members)
    members.add_argument("organization", metavar="ORGANIZATION", help="name of the organization")
    reports = _list(verbs, with_hub, "reports", "list reports of abuse, newest first", _reports)
    reports.add_argument("--state", default="open", choices=("open", "resolved", "dismissed"), help="default: open")
    _list(verbs, with_hub, "taken-down", "list the repositories that are taken down", _taken_down)
    blocked = add_verb(verbs, with_hub, "blocked-names", "list blocked names", _blocked_names)
    add_list_flags(blocked)
    _list(verbs, with_hub, "blocked-digests", "list blocked manifests and layers", _blocked_digests)
    _list(verbs, with_hub, "garbage", "list the last garbage collections, and what is due", _garbage)
    storage = add_verb(verbs, with_hub, "storage", "show the storage in use, and the largest namespaces", _storage)
    add_list_flags(storage)
    audit = add_verb(verbs, with_hub, "audit", "list entries of the audit log, newest first", _audit)
    _add_limit(audit)
    add_json_flag(audit)
    for flag, meaning in (
        ("--namespace", "only entries of a user or organization"),
        ("--actor", "only what this user did; 'operator' for 'hythe admin'"),
        ("--action", "only this action, such as repository.take-down (docs/roles.md lists them)"),
        ("--target", "only what was done to this repository or account"),
    ):
        audit.add_argument(flag, default="", metavar=flag.removeprefix("--").upper(), help=meaning)
    audit.add_argument("--since", type=parse_time, metavar="TIME", help="the earliest, such as 2026-11-30T12:00 (UTC)")
    audit.add_argument("--until", type=parse_time, metavar="TIME", help="only entries before this time")


def _list(verbs: Any, with_hub: WithHub, name: str, meaning: str, verb: Verb) -> ArgumentParser:
    parser = add_verb(verbs, with_hub, name, meaning, verb)
    _add_limit(parser)
    add_list_flags(parser)
    return parser


def _add_limit(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--limit", type=parse_limit, default=LIMIT, metavar="N", help=f"most that are printed (default: {LIMIT})"
    )


def parse_limit(text: str) -> int:
    """Parse a positive number. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**31):
        raise ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def parse_time(text: str) -> datetime:
    """Parse a date, or a date and time, in UTC unless it has an offset. Raises ArgumentTypeError."""
    try:
        time = datetime.fromisoformat(text)
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a time: use 2026-11-30 or 2026-11-30T12:00") from error


async def first_items(fetch: "Callable[[Paging], Awaitable[Page[T]]]", limit: int) -> list[T]:
    """Return the first items of a list, page by page."""
    from hythe.hub.page import MAX_PAGE_SIZE, Paging

    found: list[T] = []
    paging: Paging | None = Paging(page_size=min(limit, MAX_PAGE_SIZE))
    while paging is not None and len(found) < limit:
        page = await fetch(paging)
        found += page.items
        paging = Paging(page_size=paging.page_size, cursor=page.next) if page.next else None
    return found[:limit]


def shown_time(time: datetime | None) -> str:
    """Return a time as tables show it, in UTC; ``-`` for none."""
    return f"{time:%Y-%m-%d %H:%M}" if time else "-"


def as_row(value: Any, **fields: str) -> Row:
    """Return a row with the value of the JSON API for ``--json``."""
    import msgspec

    return Row(fields, msgspec.to_builtins(value))


async def _list_users(hub: "HubServices", arguments: Namespace) -> None:
    from hythe.hub.actor import HubActor
    from hythe.hub.routes.users import user_reply

    found = await first_items(lambda paging: hub.users.list(HubActor.operator(), paging), sys.maxsize)
    rows = [
        as_row(
            user_reply(each),
            Name=each.name,
            Email="-" if each.organization else each.email,
            Admin="yes" if each.admin else "no",
            Blocked="yes" if each.blocked else "no",
            Kind="organization" if each.organization else "user",
            CreatedAt=f"{each.created_at:%Y-%m-%d}",
            **{limit.column.field: limit.shown(each) for limit in PLAN_LIMITS},
        )
        for each in found
    ]
    columns = (
        Column("NAME", "Name"),
        Column("E-MAIL", "Email"),
        Column("ADMIN", "Admin"),
        Column("BLOCKED", "Blocked"),
        Column("KIND", "Kind"),
        Column("CREATED", "CreatedAt"),
        *(limit.column for limit in PLAN_LIMITS),
    )
    print_list(rows, columns, arguments)


async def _users(hub: "HubServices", arguments: Namespace) -> None:
    from hythe.hub.accounts.namespaces import AccountKind
    from hythe.hub.roles import HubRole

    role = HubRole(arguments.role) if arguments.role else None
    # With an e-mail address only users are found.
    await _accounts(hub, arguments, None if "@" in arguments.beginning and not role else AccountKind.USER, role)


async def _organizations(hub: "HubServices", arguments: Namespace) -> None:
    from hythe.hub.accounts.namespaces import AccountKind

    await _accounts(hub, arguments, AccountKind.ORGANIZATION)


async def _accounts(
    hub: "HubServices", arguments: Namespace, kind: "AccountKind | None", role: "HubRole | None" = None
) -> None:
    from hythe.hub.actor import HubActor
    from hythe.hub.administration.administration import Administration

    administration: Administration = hub.hub_administration
    found = await first_items(
        lambda paging: administration.accounts.find(HubActor.operator(), arguments.beginning, paging, kind, role),
        arguments.limit,
    )
    rows = [
        as_row(
            each,
            Name=each.name,
            Email=each.email or "-",
            Role="administrator" if each.administrator else "curator" if each.curator else "user",
            SecondFactor="yes" if each.second_factor else "no",
            Blocked="yes" if each.blocked else "no",
            CreatedAt=shown_time(each.created_at),
        )
        for each in found
    ]
    columns = [Column("NAME", "Name")]
    if arguments.verb == "users":
        columns += [Column("E-MAIL", "Email"), Column("ROLE", "Role"), Column("SECOND FACTOR", "SecondFactor")]
    print_list(rows, [*columns, Column("BLOCKED", "Blocked"), Column("CREATED", "CreatedAt")], arguments)


async def _members(hub: "HubServices", arguments: Namespace) -> None:
    from hythe.hub.actor import HubActor

    found = await first_items(
        lambda paging: hub.members.list(HubActor.operator(), arguments.organization, paging), arguments.limit
    )
    rows = [as_row(each, Name=each.name, Role=each.role.value, JoinedAt=shown_time(each.joined_at)) for each in found]
    print_list(rows, (Column("NAME", "Name"), Column("ROLE", "Role"), Column("JOINED", "JoinedAt")), arguments)


async def _reports(hub: "HubServices", arguments: Namespace) -> None:
    from hythe.hub.actor import HubActor
    from hythe.hub.administration.abuse_reports import ReportState

    state = ReportState(arguments.state)
    found = await first_items(
        lambda paging: hub.hub_administration.reports.list(HubActor.operator(), state, paging), arguments.limit
    )
    rows = [
        as_row(
            each,
            ID=str(each.id),
            Repository=each.repository,
            Category=each.category.value,
            Reporter=each.reporter,
            CreatedAt=shown_time(each.created_at),
            Text=" ".join(each.text.split()),
        )
        for each in found
    ]
    columns = (
        Column("ID", "ID"),
        Column("REPOSITORY", "Repository"),
        Column("CATEGORY", "Category"),
        Column("REPORTER", "Reporter"),
        Column("CREATED", "CreatedAt"),
        Column("TEXT", "Text"),
    )
    print_list(rows, columns, arguments)


async def _repositories(hub: "HubServices", arguments: Namespace) -> None:
    from hythe.hub.actor import HubActor

    found = await first_items(
        lambda paging: hub.hub_administration.repositories.find(
            HubActor.operator(), arguments.beginning, paging, official=arguments.official
        ),
        arguments.limit,
    )
    rows = [
        as_row(
            each,
            Repository=each.repository,
            Visibility=each.visibility.value,
            LastPush=shown_time(each.pushed_at),
            TakenDown=each.taken_down_reason,
        )
        for each in found
    ]
    columns = (
        Column("REPOSITORY", "Repository"),
        Column("VISIBILITY", "Visibility"),
        Column("LAST PUSH", "LastPush"),
        Column("TAKEN DOWN", "TakenDown"),
    )
    print_list(rows, columns, arguments)


async def _taken_down(hub: "HubServices", arguments: Namespace) -> None:
    from hythe.hub.actor import HubActor

    found = await first_items(
        lambda paging: hub.hub_administration.takedowns.list(HubActor.operator(), paging), arguments.limit
    )
    rows = [
        as_row(each, Repository=each.repository, TakenDownAt=shown_time(each.at), Reason=each.reason) for each in found
    ]
    columns = (Column("REPOSITORY", "Repository"), Column("TAKEN DOWN", "TakenDownAt"), Column("REASON", "Reason"))
    print_list(rows, columns, arguments)


async def _blocked_names(hub: "HubServices", arguments: Namespace) -> None:
    from hythe.hub.actor import HubActor

    found = await hub.hub_administration.blocked_names.list(HubActor.operator())
    _print_blocked([(each.pattern, each) for each in found], Column("PATTERN", "Pattern"), arguments)


async def _blocked_digests(hub: "HubServices", arguments: Namespace) -> None:
    from hythe.hub.actor import HubActor

    found = await first_items(
        lambda paging: hub.hub_administration.blocked_digests.list(HubActor.operator(), paging), arguments.limit
    )
    _print_blocked([(each.digest, each) for each in found], Column("DIGEST", "Digest"), arguments)


def _print_blocked(
    found: "Sequence[tuple[str, BlockedName | BlockedDigest]]", column: Column, arguments: Namespace
) -> None:
    rows = [
        as_row(
            each,
            **{column.field: name},
            BlockedBy=each.blocked_by,
            BlockedAt=shown_time(each.blocked_at),
            Reason=each.reason,
        )
        for name, each in found
    ]
    columns = (column, Column("BY", "BlockedBy"), Column("SINCE", "BlockedAt"), Column("REASON", "Reason"))
    print_list(rows, columns, arguments)


async def _storage(hub: "HubServices", arguments: Namespace) -> None:
    from hythe.cli.output import print_json
    from hythe.hub.actor import HubActor
    from hythe.settings import format_bytes

    report = await hub.hub_administration.storage.report(HubActor.operator())
    if arguments.json:
        print_json(report)
        return
    total = ("total", report.repositories, report.bytes)
    rows = [
        Row({"Namespace": name, "Repositories": str(repositories), "Size": format_bytes(size)}, {})
        for name, repositories, size in (
            *((each.namespace, each.repositories, each.bytes) for each in report.largest),
            total,
        )
    ]
    columns = (Column("NAMESPACE", "Namespace"), Column("REPOSITORIES", "Repositories"), Column("SIZE", "Size"))
    print_list(rows, columns, arguments)


async def _garbage(hub: "HubServices", arguments: Namespace) -> None:
    from hythe.cli.output import print_message
    from hythe.hub.actor import HubActor
    from hythe.settings import format_bytes

    garbage = hub.hub_administration.garbage
    runs = await first_items(lambda paging: garbage.runs(HubActor.operator(), paging), arguments.limit)
    state = await garbage.state(HubActor.operator())
    rows = [
        as_row(
            each,
            StartedAt=shown_time(each.started_at),
            Took=f"{(each.finished_at - each.started_at).total_seconds():.1f} s",
            StartedBy=each.started_by or "server",
            Manifests=str(each.manifests),
            Blobs=str(each.blobs),
            Freed=format_bytes(each.bytes),
            Outcome=each.failure or "succeeded",
        )
        for each in runs
    ]
    columns = (
        Column("STARTED", "StartedAt"),
        Column("TOOK", "Took"),
        Column("BY", "StartedBy"),
        Column("MANIFESTS", "Manifests"),
        Column("BLOBS", "Blobs"),
        Column("FREED", "Freed"),
        Column("OUTCOME", "Outcome"),
    )
    print_list(rows, columns, arguments)
    due, more = state.due, "" if state.due.exact else " or more"
    print_message(
        f"due now: {due.manifests} manifests and {due.blobs} blobs ({format_bytes(due.bytes)}){more}; "
        f"first due: {shown_time(state.next_due)}"
    )


def print_audit_entry(entry: dict[str, Any], arguments: Namespace) -> None:
    """Print an entry of the audit log, as the JSON API has it, on one line; with ``--json`` as JSON."""
    if arguments.json:
        print(json.dumps(entry, ensure_ascii=False))
        return
    detail = ", ".join(f"{name}={value}" for name, value in entry["detail"].items())
    who = f"{entry['actor']} ({', '.join(filter(None, (entry['credential'], entry['address'])))})"
    at = datetime.fromisoformat(entry["at"])
    print(on_one_line(f"{at:%Y-%m-%d %H:%M:%S}  {entry['action']}  {entry['target']}  {who}  {detail}".rstrip()))


async def _audit(hub: "HubServices", arguments: Namespace) -> None:
    import msgspec

    from hythe.hub.actor import HubActor
    from hythe.hub.logs.audit_log import AuditFilter

    filters = AuditFilter(
        namespace=arguments.namespace,
        actor=arguments.actor,
        action=arguments.action,
        target=arguments.target,
        since=arguments.since,
        until=arguments.until,
    )
    left = arguments.limit
    async for entry in hub.audit_log.export(HubActor.operator(), filters):
        print_audit_entry(msgspec.to_builtins(entry), arguments)
        left -= 1
        if not left:
            return
