"""The verbs ``reset-password``, ``set-email`` and ``mail`` of ``hythe admin``; the server can keep running."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from hythe.cli.accounts import WithHub
from hythe.cli.output import add_json_flag, print_json
from hythe.cli.setting_flags import DATABASE_FLAGS, add_setting_flags

if TYPE_CHECKING:
    from hythe.hub.mail.mail_message import MailMessage
    from hythe.hub.service import HubServices


def add_account_recovery(verbs: Any, with_hub: WithHub) -> None:
    """Add the verbs to those of ``hythe admin``; ``verbs`` is the result of ``add_subparsers``."""
    reset: ArgumentParser = verbs.add_parser(
        "reset-password", help="print a link with which a user sets a new password"
    )
    reset.add_argument("name", metavar="NAME", help="name of the account")
    reset.set_defaults(handler=lambda arguments: _reset(arguments, with_hub))
    email: ArgumentParser = verbs.add_parser("set-email", help="set or confirm the e-mail address of an account")
    email.add_argument("name", metavar="NAME", help="name of the account")
    email.add_argument("email", metavar="EMAIL", help="e-mail address that belongs to the user")
    email.set_defaults(handler=lambda arguments: _set_email(arguments, with_hub))
    mail: ArgumentParser = verbs.add_parser(
        "mail", help="list the last e-mail; with its text if there is no mail server"
    )
    mail.add_argument("--limit", type=int, default=20, metavar="N", help="number of messages (default: 20)")
    add_json_flag(mail)
    mail.set_defaults(handler=lambda arguments: _mail(arguments, with_hub))
    for verb in (reset, email, mail):
        add_setting_flags(verb, [*DATABASE_FLAGS, *_OF_LINKS])


_OF_LINKS = ("public_url", "listen", "mail_server")
"""Settings that decide the address in links, and whether messages are shown."""


def _reset(arguments: Namespace, with_hub: WithHub) -> int:
    from hythe.hub.actor import HubActor

    async def reset(hub: "HubServices") -> None:
        print(await hub.password_resets.link(HubActor.operator(), arguments.name))

    with_hub(arguments, reset)
    return 0


def _set_email(arguments: Namespace, with_hub: WithHub) -> int:
    from hythe.hub.actor import HubActor

    async def set_email(hub: "HubServices") -> None:
        user = await hub.emails.set(HubActor.operator(), arguments.name, arguments.email)
        print(f"the e-mail address of {user.name} is {user.email}, and counts as confirmed")

    with_hub(arguments, set_email)
    return 0


def _mail(arguments: Namespace, with_hub: WithHub) -> int:
    from hythe.hub.actor import HubActor
    from hythe.hub.page import MAX_PAGE_SIZE, Paging

    size = min(max(arguments.limit, 1), MAX_PAGE_SIZE)

    async def show(hub: "HubServices") -> None:
        page = await hub.mail.list(HubActor.operator(), Paging(page_size=size))
        if arguments.json:
            print_json(page.items)
            return
        for message in page.items:
            print(f"{message.created_at:%Y-%m-%d %H:%M}  {message.recipient}  {message.subject}  [{_state(message)}]")
            if not hub.mail.configured and message.sent_at is None:
                print("".join(f"    {line}\n" for line in message.text.splitlines()))

    with_hub(arguments, show)
    return 0


def _state(message: "MailMessage") -> str:
    if message.sent_at is not None:
        return "sent"
    if message.due_at is None:
        return f"given up: {message.outcome}"
    return message.outcome or "waiting"
