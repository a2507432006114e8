"""``hythe admin replicate``: keep repositories in step with another registry; the server can keep running."""

import sys
from argparse import ArgumentParser, ArgumentTypeError, BooleanOptionalAction, Namespace
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from hythe.cli.command import CommandFailed
from hythe.cli.hub_lists import as_row, shown_time
from hythe.cli.output import Column, add_json_flag, add_list_flags, print_json, print_list
from hythe.cli.setting_flags import add_setting_flags
from hythe.cli.task_progress import TaskBar
from hythe.cli.units import human_duration, human_size
from hythe.settings import InvalidValue, format_bytes, parse_bytes

if TYPE_CHECKING:
    from hythe.replication.item import ReplicationBacklog
    from hythe.replication.replications import ReplicationStatus
    from hythe.replication.routes.replications import ReplicationRuleReply
    from hythe.server.hub import Services

FLAGS = ("data", "database_url", "blob_store", "secret_key", "internal_networks")

_COLUMNS = (
    Column("NAME", "Name"),
    Column("DIRECTION", "Direction"),
    Column("REGISTRY", "Registry"),
    Column("REPOSITORIES", "Repositories"),
    Column("BEHIND", "Behind"),
    Column("SIZE", "Size"),
    Column("OLDEST", "Oldest"),
    Column("COMPARED", "Compared"),
    Column("PROBLEM", "Problem"),
)


class WithServices(Protocol):
    """Opens the hub that the arguments name and runs a function with its services."""

    def __call__(
        self, arguments: Namespace, work: "Callable[[Services], Awaitable[None]]", /, *, use_blobs: bool
    ) -> None:
        """Raise CommandFailed if the function raises an error of the hub."""


Verb = Callable[["Services", Namespace], Awaitable[None]]


def add_replicate(verbs: Any, with_services: WithServices) -> None:
    """Add the verb to those of ``hythe admin``; ``verbs`` is the result of ``add_subparsers``."""
    replicate: ArgumentParser = verbs.add_parser("replicate", help="keep repositories in step with another registry")
    actions = replicate.add_subparsers(title="verbs", dest="replicate_verb", required=True, metavar="VERB")

    def add(name: str, meaning: str, verb: Verb) -> ArgumentParser:
        parser: ArgumentParser = actions.add_parser(name, help=meaning)

        def handle(arguments: Namespace) -> int:
            with_services(arguments, lambda services: verb(services, arguments), use_blobs=verb is _run)
            return 0

        parser.set_defaults(handler=handle)
        add_setting_flags(parser, FLAGS)
        return parser

    _configure_add(add("add", "add a rule", _add))
    _configure_change(add("change", "change, disable or enable a rule", _change))
    add_list_flags(add("list", "list rules, and how much is behind", _list))
    show = add("show", "show a rule, what is behind, and what was done", _show)
    remove = add("remove", "remove a rule; what it copied stays", _remove)
    run = add("run", "compare both sides now, and copy what is behind", _run)
    status = add("status", "show how much is behind; fails if something cannot be copied", _status)
    for parser in (show, remove, run):
        parser.add_argument("name", metavar="NAME", help="name of the rule")
    status.add_argument("name", nargs="?", default="", metavar="NAME", help="name of the rule (default: all)")
    for parser in (show, run, status):
        add_json_flag(parser)


def _configure_add(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="name of the rule")
    parser.add_argument("direction", choices=("push", "pull"), help="push to, or pull from, the other registry")
    parser.add_argument("url", metavar="URL", help="address of the other registry, such as https://hub2.example.org")
    parser.add_argument("--username", default="", metavar="NAME", help="user name at the other registry")
    parser.add_argument("--password-stdin", action="store_true", help="read its password or token from stdin")
    parser.add_argument(
        "--repository", action="append", metavar="PATTERN", help="repositories, such as 'ann/*' (default: all)"
    )
    parser.add_argument("--tag", action="append", metavar="PATTERN", help="tags, such as 'v*' (default: all)")
    parser.add_argument(
        "--destination",
        default="{repository}",
        metavar="NAME",
        help="name at the destination, such as 'backup/{name}' or '{namespace}/{name}' (default: '{repository}')",
    )
    parser.add_argument("--deletions", action="store_true", help="delete tags that were deleted at the source")
    parser.add_argument("--no-override", action="store_true", help="keep tags that differ at the destination")
    parser.add_argument("--no-events", action="store_true", help="do not copy at once what is pushed here")
    parser.add_argument(
        "--interval", type=int, default=3600, metavar="SECONDS", help="between comparisons; 0: none (default: 3600)"
    )
    parser.add_argument("--concurrency", type=int, default=2, metavar="N", help="copies at once (default: 2)")
    parser.add_argument("--rate", type=_rate, default=0, metavar="SIZE", help="bytes a second (default: unlimited)")


def _configure_change(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="name of the rule")
    parser.add_argument("--username", metavar="NAME", help="user name at the other registry; '' for no credentials")
    parser.add_argument("--password-stdin", action="store_true", help="read its password or token from stdin")
    parser.add_argument("--repository", action="append", metavar="PATTERN", help="repositories, in place of the former")
    parser.add_argument("--tag", action="append", metavar="PATTERN", help="tags, in place of the former")
    parser.add_argument("--destination", metavar="NAME", help="name at the destination")
    for flag, meaning in (
        ("deletions", "delete tags that were deleted at the source"),
        ("override", "move tags that differ at the destination"),
        ("events", "copy at once what is pushed here"),
        ("enabled", "work on the rule; what is pushed while it is disabled stays behind"),
    ):
        parser.add_argument(f"--{flag}", action=BooleanOptionalAction, default=None, help=meaning)
    parser.add_argument("--interval", type=int, metavar="SECONDS", help="between comparisons; 0: none")
    parser.add_argument("--concurrency", type=int, metavar="N", help="copies at once")
    parser.add_argument("--rate", type=_rate, metavar="SIZE", help="bytes a second; 0: unlimited")


def _rate(text: str) -> int:
    try:
        return parse_bytes(text)
    except InvalidValue as error:
        raise ArgumentTypeError(str(error)) from error


async def _add(services: "Services", arguments: Namespace) -> None:
    import msgspec

    from hythe.hub.actor import HubActor
    from hythe.hub.errors import Invalid
    from hythe.replication.rule import NewReplicationRule

    fields = {
        "name": arguments.name,
        "direction": arguments.direction,
        "url": arguments.url,
        "username": arguments.username,
        "password": sys.stdin.readline().rstrip("\n") if arguments.password_stdin else "",
        "repositories": arguments.repository or ["*"],
        "tags": arguments.tag or ["*"],
        "destination": arguments.destination,
        "deletions": arguments.deletions,
        "override": not arguments.no_override,
        "events": not arguments.no_events,
        "interval": arguments.interval,
        "concurrency": arguments.concurrency,
        "rate": arguments.rate,
    }
    try:
        new = msgspec.convert(fields, NewReplicationRule)
        rule = await services.replication.rules.add(HubActor.operator(), new)
    except msgspec.ValidationError as error:
        raise CommandFailed(str(error), "'hythe admin replicate add --help' describes the values") from error
    except Invalid as error:
        raise CommandFailed("; ".join(f"{name} {problem}" for name, problem in error.fields.items())) from error
    print(f"added {rule.name}; the server compares both sides now, 'hythe admin replicate status' shows what is behind")


async def _change(services: "Services", arguments: Namespace) -> None:
    import msgspec

    from hythe.hub.actor import HubActor
    from hythe.hub.errors import Invalid
    from hythe.replication.rule import ReplicationRuleChange

    flags = {"repositories": arguments.repository, "tags": arguments.tag}
    flags |= {
        name: getattr(arguments, name, None) for name in ReplicationRuleChange.__struct_fields__ if name not in flags
    }
    if arguments.password_stdin:
        flags["password"] = sys.stdin.readline().rstrip("\n")
    elif arguments.username == "":
        flags["password"] = ""
    fields = {name: value for name, value in flags.items() if value is not None}
    if not fields:
        raise CommandFailed("nothing to change", "'hythe admin replicate change --help' lists what can change")
    try:
        change = msgspec.convert(fields, ReplicationRuleChange)
        rule = await services.replication.rules.change(HubActor.operator(), arguments.name, change)
    except msgspec.ValidationError as error:
        raise CommandFailed(str(error), "'hythe admin replicate change --help' describes the values") from error
    except Invalid as error:
        raise CommandFailed("; ".join(f"{name} {problem}" for name, problem in error.fields.items())) from error
    print(f"changed {rule.name}; " + ("the server compares both sides now" if rule.enabled else "it is disabled"))


async def _list(services: "Services", arguments: Namespace) -> None:
    rows = [
        as_row(
            reply,
            Name=reply.name,
            Direction=reply.direction.value,
            Registry=reply.url,
            Repositories=" ".join(reply.repositories),
            Behind=str(reply.behind.items),
            Size=human_size(reply.behind.bytes),
            Oldest=_age(reply.behind.oldest),
            Compared=shown_time(reply.compared_at),
            Problem=reply.problem or ("-" if reply.enabled else "disabled"),
        )
        for reply in await _replies(services)
    ]
    print_list(rows, _COLUMNS, arguments)


async def _replies(services: "Services") -> "list[ReplicationRuleReply]":
    from hythe.hub.actor import HubActor
    from hythe.replication.routes.replications import rule_reply

    found = await services.replication.rules.list(HubActor.operator())
    return [rule_reply(each.rule, each.backlog) for each in found]


def _age(time: datetime | None) -> str:
    return human_duration((datetime.now(UTC) - time).total_seconds()) if time else "-"


async def _show(services: "Services", arguments: Namespace) -> None:
    from hythe.hub.actor import HubActor

    found = await services.replication.rules.status(HubActor.operator(), arguments.name)
    if arguments.json:
        _print_status(found)
        return
    rule = found.rule
    place = "to" if rule.direction.value == "push" else "from"
    print(f"{rule.name}: {rule.direction.value} {' '.join(rule.repositories)} {place} {rule.url}")
    print(f"  tags {' '.join(rule.tags)}, as {rule.destination}, user {rule.username or '-'}")
    print(f"  deletions {_yes(rule.deletions)}, override {_yes(rule.override)}, events {_yes(rule.events)}")
    rate = f"{format_bytes(rule.rate)}/s" if rule.rate else "unlimited"
    print(f"  every {rule.interval} s, {rule.concurrency} at once, {rate}")
    if not rule.enabled:
        print("  disabled: 'hythe admin replicate change --enabled' continues it")
    print(f"  {_summary(found.backlog)}; compared {shown_time(rule.compared_at)}")
    if rule.problem:
        print(f"  {rule.problem}; tried again {shown_time(rule.paused_until)}")
    for item in found.items:
        print(
            f"behind  {shown_time(item.created_at)}  {_name(item.repository, item.reference)}  {item.problem}".rstrip()
        )
    for result in found.results:
        what = _name(result.repository, result.reference) or "both sides"
        size = f"  {human_size(result.bytes)}" if result.bytes else ""
        print(f"{result.outcome.value}  {shown_time(result.at)}  {what}{size}  {result.problem}".rstrip())


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _name(repository: str, reference: str) -> str:
    mark = "@" if ":" in reference else ":" if reference else ""
    return f"{repository}{mark}{reference}"


def _summary(backlog: "ReplicationBacklog") -> str:
    if not backlog.items:
        return "nothing is behind"
    failed = f", {backlog.failed} failed" if backlog.failed else ""
    size = human_size(backlog.bytes)
    return f"{backlog.items} behind with at least {size}, the oldest for {_age(backlog.oldest)}{failed}"


def _print_status(found: "ReplicationStatus") -> None:
    import msgspec

    from hythe.replication.routes.replications import status_reply

    print_json(msgspec.to_builtins(status_reply(found)))


async def _remove(services: "Services", arguments: Namespace) -> None:
    from hythe.hub.actor import HubActor

    await services.replication.rules.remove(HubActor.operator(), arguments.name)
    print(f"removed {arguments.name}; what it copied stays")


async def _run(services: "Services", arguments: Namespace) -> None:
    from hythe.hub.actor import HubActor
    from hythe.replication.copying import CopyProgress

    rule = await services.replication.rules.start(HubActor.operator(), arguments.name)
    with TaskBar() as bar:
        bar.begin("comparing and copying", 0)
        shown = 0

        def report(_backlog: "ReplicationBacklog", progress: CopyProgress) -> None:
            nonlocal shown
            bar.expect(progress.size)
            bar.advance(progress.sent - shown)
            shown = progress.sent

        await services.replication.runner.run_rule(rule.id, report)
    found = await services.replication.rules.status(HubActor.operator(), arguments.name)
    if arguments.json:
        _print_status(found)
    else:
        print(f"{arguments.name}: {_summary(found.backlog)}")
    _require_nothing_behind([(arguments.name, found.backlog, found.rule.problem or _first_problem(found))])


def _first_problem(found: "ReplicationStatus") -> str:
    return next((item.problem for item in found.items if item.problem), "")


async def _status(services: "Services", arguments: Namespace) -> None:
    replies = await _replies(services)
    if arguments.name:
        replies = [reply for reply in replies if reply.name == arguments.name]
        if not replies:
            raise CommandFailed(f"there is no replication rule {arguments.name!r}", "'hythe admin replicate list'")
    if arguments.json:
        import msgspec

        print_json([msgspec.to_builtins(reply) for reply in replies])
    else:
        for reply in replies:
            print(f"{reply.name}: {_summary(reply.behind)}")
    _require_nothing_behind([(reply.name, reply.behind, reply.problem) for reply in replies])


def _require_nothing_behind(rules: "list[tuple[str, ReplicationBacklog, str]]") -> None:
    """Raise CommandFailed if one of the rules has a problem: scripts and monitors see it."""
    for name, backlog, problem in rules:
        if problem or backlog.failed:
            text = problem or f"{backlog.failed} could not be copied"
            raise CommandFailed(f"{name}: {text}", f"'hythe admin replicate show {name}' lists what is behind")
