"""The verbs of ``hythe admin`` for repositories, blocked content and roles; the server can keep running."""

from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from hythe.cli.accounts import WithHub
from hythe.cli.setting_flags import DATABASE_FLAGS, add_setting_flags

if TYPE_CHECKING:
    from hythe.hub.service import HubServices

Verb = Callable[["HubServices", Namespace], Awaitable[str | None]]
"""Does the work of a verb and returns the message that is printed; None: it has printed everything."""


def add_administration(verbs: Any, with_hub: WithHub) -> None:
    """Add the verbs to those of ``hythe admin``; ``verbs`` is the result of ``add_subparsers``."""
    take_down = add_verb(verbs, with_hub, "take-down", "hide a repository from all but its owners", _take_down)
    restore = add_verb(verbs, with_hub, "restore", "restore a repository that was taken down", _restore)
    hand_over = add_verb(verbs, with_hub, "hand-over", "give a repository to another owner", _hand_over)
    opening = add_verb(verbs, with_hub, "open", "let an administrator read a private repository for an hour", _open)
    official = add_verb(verbs, with_hub, "official", "mark a repository as official", _official)
    delete = add_verb(verbs, with_hub, "delete-repository", "delete a repository with all its content", _delete)
    for verb in (take_down, restore, hand_over, opening, official, delete):
        verb.add_argument("repository", metavar="REPOSITORY", help="NAMESPACE/NAME")
    take_down.add_argument("--reason", required=True, metavar="TEXT", help="why; the owners read it")
    hand_over.add_argument("to", metavar="OWNER", help="user or organization")
    opening.add_argument("--to", required=True, metavar="ADMINISTRATOR", help="the account that reads it")
    opening.add_argument("--reason", required=True, metavar="TEXT", help="why; the owners see it in their audit log")
    delete.add_argument("--reason", required=True, metavar="TEXT", help="why; the owners see it in their audit log")
    delete.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    official.add_argument("--undo", action="store_true", help="remove the mark")
    block_name = add_verb(verbs, with_hub, "block-name", "block names of new accounts and repositories", _block_name)
    block_name.add_argument("pattern", metavar="PATTERN", help="a name; * stands for any text")
    block_digest = add_verb(
        verbs, with_hub, "block-digest", "block a manifest or layer, and delete it from every repository", _block_digest
    )
    block_digest.add_argument("digest", metavar="DIGEST", help="such as sha256:4f53...")
    for verb in (block_name, block_digest):
        verb.add_argument("--reason", default="", metavar="TEXT", help="why")
        verb.add_argument("--undo", action="store_true", help="unblock it")
    sign_out = add_verb(verbs, with_hub, "sign-out-user", "end every session and login of an account", _sign_out)
    set_role = add_verb(verbs, with_hub, "set-role", "make an account a curator or an administrator", _set_role)
    for verb in (sign_out, set_role):
        verb.add_argument("name", metavar="NAME", help="name of the account")
    set_role.add_argument("role", choices=("user", "curator", "administrator"), help="its role on the hub")
    close = add_verb(verbs, with_hub, "close-report", "resolve a report of abuse", _close_report)
    close.add_argument("report", type=int, metavar="NUMBER", help="number of the report")
    close.add_argument("--dismiss", action="store_true", help="nothing is wrong")
    close.add_argument("--note", default="", metavar="TEXT", help="for other administrators")
    close.add_argument("--take-down", default="", metavar="REASON", help="take the repository down, too")


def add_verb(verbs: Any, with_hub: WithHub, name: str, meaning: str, verb: Verb) -> ArgumentParser:
    """Add a verb that works on the hub, and return its parser."""
    parser: ArgumentParser = verbs.add_parser(name, help=meaning)

    def handle(arguments: Namespace) -> int:
        async def work(hub: "HubServices") -> None:
            message = await verb(hub, arguments)
            if message is not None:
                print(message)

        with_hub(arguments, work)
        return 0

    parser.set_defaults(handler=handle)
    add_setting_flags(parser, DATABASE_FLAGS)
    return parser


async def _take_down(hub: "HubServices", arguments: Namespace) -> str:
    from hythe.hub.actor import HubActor
    from hythe.hub.administration.takedowns import TakedownReason

    reason = TakedownReason(arguments.reason)
    await hub.hub_administration.takedowns.take_down(HubActor.operator(), arguments.repository, reason)
    return f"took {arguments.repository} down; 'hythe admin restore {arguments.repository}' restores it"


async def _restore(hub: "HubServices", arguments: Namespace) -> str:
    from hythe.hub.actor import HubActor

    await hub.hub_administration.takedowns.restore(HubActor.operator(), arguments.repository)
    return f"restored {arguments.repository}"


async def _hand_over(hub: "HubServices", arguments: Namespace) -> str:
    from hythe.hub.actor import HubActor
    from hythe.hub.renaming.transfers import NewTransfer

    new = NewTransfer(arguments.to)
    result = await hub.hub_administration.takedowns.hand_over(HubActor.operator(), arguments.repository, new)
    return f"{arguments.repository} is now {result.repository}"


async def _open(hub: "HubServices", arguments: Namespace) -> str:
    from hythe.hub.actor import HubActor

    opened = await hub.hub_administration.access.open(
        HubActor.operator(), arguments.repository, arguments.reason, administrator=arguments.to
    )
    return f"{arguments.to} may read {opened.repository} until {opened.until:%Y-%m-%d %H:%M} UTC"


async def _official(hub: "HubServices", arguments: Namespace) -> str:
    from hythe.hub.actor import HubActor

    official = not arguments.undo
    takedowns = hub.hub_administration.takedowns
    await takedowns.set_official(HubActor.operator(), arguments.repository, official=official)
    return f"{arguments.repository} is {'' if official else 'no longer '}an official repository"


async def _delete(hub: "HubServices", arguments: Namespace) -> str:
    from hythe.cli.hub_verbs import require_yes
    from hythe.hub.actor import HubActor
    from hythe.hub.administration.takedowns import TakedownReason

    require_yes(arguments, f"Delete {arguments.repository} with all tags and images?")
    reason = TakedownReason(arguments.reason)
    await hub.hub_administration.takedowns.delete(HubActor.operator(), arguments.repository, reason)
    return f"deleted {arguments.repository}"


async def _block_name(hub: "HubServices", arguments: Namespace) -> str:
    from hythe.hub.actor import HubActor
    from hythe.hub.administration.blocked_names import NewBlockedName

    names = hub.hub_administration.blocked_names
    if arguments.undo:
        await names.unblock(HubActor.operator(), arguments.pattern)
        return f"unblocked {arguments.pattern}"
    await names.block(HubActor.operator(), NewBlockedName(arguments.pattern, arguments.reason))
    return f"blocked {arguments.pattern}"


async def _block_digest(hub: "HubServices", arguments: Namespace) -> str:
    from hythe.hub.actor import HubActor
    from hythe.hub.administration.blocked_digests import NewBlockedDigest
    from hythe.hub.wording import counted

    digests = hub.hub_administration.blocked_digests
    if arguments.undo:
        await digests.unblock(HubActor.operator(), arguments.digest)
        return f"unblocked {arguments.digest}"
    result = await digests.block(HubActor.operator(), NewBlockedDigest(arguments.digest, arguments.reason))
    return (
        f"blocked {arguments.digest}, and deleted it from {counted(result.repositories, 'repository', 'repositories')}"
    )


async def _sign_out(hub: "HubServices", arguments: Namespace) -> str:
    from hythe.hub.actor import HubActor

    await hub.hub_administration.accounts.sign_out(HubActor.operator(), arguments.name)
    return f"ended every session and login of {arguments.name}"


async def _set_role(hub: "HubServices", arguments: Namespace) -> str:
    from hythe.hub.accounts.accounts import RolesChange
    from hythe.hub.actor import HubActor

    role = arguments.role
    change = RolesChange(administrator=role == "administrator", curator=role == "curator")
    await hub.hub_administration.accounts.set_roles(HubActor.operator(), arguments.name, change)
    return f"{arguments.name} is now {'an' if role == 'administrator' else 'a'} {role}"


async def _close_report(hub: "HubServices", arguments: Namespace) -> str:
    from hythe.hub.actor import HubActor
    from hythe.hub.administration.abuse_reports import ReportClosing, ReportState

    outcome = ReportState.DISMISSED if arguments.dismiss else ReportState.RESOLVED
    closing = ReportClosing(outcome, arguments.note, arguments.take_down)
    report = await hub.hub_administration.reports.close(HubActor.operator(), arguments.report, closing)
    return f"report {report.id} is {report.state.value}"
