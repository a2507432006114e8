"""The verbs of ``hythe admin`` that change an existing account; the server can keep running."""

from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from hythe.cli.setting_flags import DATABASE_FLAGS, add_setting_flags

if TYPE_CHECKING:
    from hythe.hub.service import HubServices


class WithHub(Protocol):
    """Opens the hub that the arguments name and runs a function with it."""

    def __call__(self, arguments: Namespace, work: "Callable[[HubServices], Awaitable[None]]", /) -> None:
        """Raise CommandFailed if the function raises an error of the hub."""


def add_accounts(verbs: Any, with_hub: WithHub) -> None:
    """Add the verbs to those of ``hythe admin``; ``verbs`` is the result of ``add_subparsers``."""
    block: ArgumentParser = verbs.add_parser(
        "block-user", help="end every session, token and build of an account; it keeps what it has"
    )
    block.add_argument("--reason", default="", metavar="TEXT", help="why; the audit log has it")
    block.set_defaults(handler=lambda arguments: _block(arguments, with_hub))
    unblock: ArgumentParser = verbs.add_parser("unblock-user", help="let a blocked account sign in again")
    unblock.set_defaults(handler=lambda arguments: _unblock(arguments, with_hub))
    delete: ArgumentParser = verbs.add_parser("delete-user", help="delete an account with everything it has")
    delete.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    delete.set_defaults(handler=lambda arguments: _delete(arguments, with_hub))
    reset: ArgumentParser = verbs.add_parser(
        "reset-second-factors", help="remove the authenticator app, passkeys and recovery codes of an account"
    )
    reset.set_defaults(handler=lambda arguments: _reset_second_factors(arguments, with_hub))
    rename: ArgumentParser = verbs.add_parser(
        "rename-user", help="rename an account with its repositories; pulls of the old name continue"
    )
    rename.set_defaults(handler=lambda arguments: _rename(arguments, with_hub))
    owner: ArgumentParser = verbs.add_parser(
        "set-owner", help="make a user an owner of an organization, for example if its only owner has left"
    )
    owner.set_defaults(handler=lambda arguments: _set_owner(arguments, with_hub))
    owner.add_argument("name", metavar="ORGANIZATION", help="name of the organization")
    owner.add_argument("user", metavar="USER", help="the new owner, a member or not")
    add_setting_flags(owner, DATABASE_FLAGS)
    for verb in (block, unblock, delete, reset, rename):
        verb.add_argument("name", metavar="NAME", help="name of the account")
        if verb is rename:
            verb.add_argument("new_name", metavar="NEW-NAME", help="its new name")
        add_setting_flags(verb, DATABASE_FLAGS)


def _rename(arguments: Namespace, with_hub: WithHub) -> int:
    from hythe.hub.actor import HubActor

    async def rename(hub: "HubServices") -> None:
        await hub.renames.rename_account(HubActor.operator(), arguments.name, arguments.new_name)

    with_hub(arguments, rename)
    print(f"renamed {arguments.name} to {arguments.new_name}: pulls of the old name continue, pushes need the new one")
    return 0


def _set_owner(arguments: Namespace, with_hub: WithHub) -> int:
    from hythe.hub.actor import HubActor

    async def appoint(hub: "HubServices") -> None:
        await hub.members.appoint_owner(HubActor.operator(), arguments.name, arguments.user)

    with_hub(arguments, appoint)
    print(f"{arguments.user} is now an owner of {arguments.name}")
    return 0


def _block(arguments: Namespace, with_hub: WithHub) -> int:
    from hythe.hub.actor import HubActor

    async def block(hub: "HubServices") -> None:
        await hub.administration.block(HubActor.operator(), arguments.name, arguments.reason)

    with_hub(arguments, block)
    print(f"blocked {arguments.name}: its sessions, tokens and builds have ended")
    return 0


def _unblock(arguments: Namespace, with_hub: WithHub) -> int:
    from hythe.hub.actor import HubActor

    async def unblock(hub: "HubServices") -> None:
        await hub.administration.unblock(HubActor.operator(), arguments.name)

    with_hub(arguments, unblock)
    print(f"unblocked {arguments.name}: its password and personal tokens work again")
    return 0


def _reset_second_factors(arguments: Namespace, with_hub: WithHub) -> int:
    from hythe.hub.actor import HubActor

    async def reset(hub: "HubServices") -> None:
        await hub.second_factors.reset(HubActor.operator(), arguments.name)

    with_hub(arguments, reset)
    print(f"removed the second factors of {arguments.name}: its sessions have ended, and the password alone signs in")
    return 0


def _delete(arguments: Namespace, with_hub: WithHub) -> int:
    from hythe.cli.hub_verbs import require_yes
    from hythe.hub.accounts.user_administration import described
    from hythe.hub.actor import HubActor

    name: str = arguments.name

    async def delete(hub: "HubServices") -> None:
        contents = await hub.administration.contents(HubActor.operator(), name)
        print(f"{name} has {described(contents)}")
        require_yes(arguments, f"Delete {name} with all of this?")
        done = await hub.administration.delete(HubActor.operator(), name, name)
        print(f"deleted {name}; only an administrator can create an account with this name again")
        for remaining in done.remaining:
            print(f"not removed: {remaining}")

    with_hub(arguments, delete)
    return 0
