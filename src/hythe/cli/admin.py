"""``admin``: manage a hub on its own host; the hub can keep running."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from getpass import getpass
from typing import TYPE_CHECKING

from hythe.cli.account_recovery import add_account_recovery
from hythe.cli.accounts import add_accounts
from hythe.cli.administration import add_administration
from hythe.cli.backup import add_backup
from hythe.cli.build_queue import add_build_queue
from hythe.cli.command import Command, CommandFailed
from hythe.cli.doctor import add_doctor
from hythe.cli.housekeeping import add_housekeeping
from hythe.cli.hub_lists import add_hub_lists
from hythe.cli.plan_limits import PLAN_LIMITS, UNLIMITED
from hythe.cli.replicate import add_replicate
from hythe.cli.setting_flags import DATABASE_FLAGS, add_setting_flags, load_settings

if TYPE_CHECKING:
    from hythe.builds.service import BuildsServices
    from hythe.hub.service import HubServices
    from hythe.registry.service import RegistryServices
    from hythe.server.hub import Services
    from hythe.settings import Settings

EXAMPLES = """\
hythe admin create-user ann --email ann@example.org --admin
echo "$PASSWORD" | hythe admin set-password ann --password-stdin
hythe admin reset-password ann
hythe admin list-users
hythe admin set-plan ann --storage 50GiB --repositories 100 --private-repositories 5
hythe admin block-user mallory
hythe admin delete-user mallory
hythe admin reset-second-factors ann
hythe admin take-down mallory/miner --reason "mines coins"
hythe admin block-digest sha256:4f53..
hythe admin set-role ann curator
hythe admin open ann/app --to root --reason "ticket 7"
hythe admin users ann
hythe admin audit --namespace ann --since 2026-11-01 --json
hythe admin replicate add dr push https://hub2.example.org --username ann --password-stdin < token
hythe admin replicate status
hythe admin queue
hythe admin drain-worker builder1:/var/lib/hythe-worker
hythe admin storage
hythe admin rotate-keys
hythe admin gc --dry-run
hythe admin backup /mnt/backups --keep 7
hythe admin restore-backup /mnt/backups --data /srv/hythe
hythe admin migrate --to postgresql://hythe@db/hythe
hythe admin copy-blobs --to s3://hythe-blobs
hythe admin upgrade --database-url postgresql://hythe@db/hythe"""


def _configure(parser: ArgumentParser) -> None:
    verbs = parser.add_subparsers(title="verbs", dest="verb", required=True, metavar="VERB")

    create = verbs.add_parser("create-user", help="create an account")
    create.add_argument("name", metavar="NAME", help="user name")
    create.add_argument("--email", required=True, metavar="EMAIL", help="e-mail address")
    create.add_argument("--admin", action="store_true", help="make the account an administrator")
    create.set_defaults(handler=_create_user)

    set_password = verbs.add_parser("set-password", help="change the password of an account and end its sessions")
    set_password.add_argument("name", metavar="NAME", help="user name")
    set_password.set_defaults(handler=_set_password)

    set_plan = verbs.add_parser("set-plan", help="set the limits of an account; limits that are not given stay")
    set_plan.add_argument("name", metavar="NAME", help="name of the account")
    for limit in PLAN_LIMITS:
        set_plan.add_argument(
            limit.flag, dest=limit.field, type=limit.parse, metavar=limit.placeholder, help=f"maximum {limit.meaning}"
        )
    set_plan.set_defaults(handler=_set_plan)

    add_accounts(verbs, _with_hub)
    add_account_recovery(verbs, _with_hub)
    add_administration(verbs, _with_hub)
    add_hub_lists(verbs, _with_hub)
    add_build_queue(verbs, _with_builds)
    add_replicate(verbs, _with_services)

    rotate_keys = verbs.add_parser("rotate-keys", help="replace the keys that sign access tokens and provenance")
    rotate_keys.set_defaults(handler=_rotate_keys)

    upgrade = verbs.add_parser("upgrade", help="upgrade the database schema")
    upgrade.set_defaults(handler=_upgrade)

    add_doctor(verbs)
    add_housekeeping(verbs, _registry, "hub", {})
    add_backup(verbs, "hub", {})

    for verb in (create, set_password):
        verb.add_argument("--password-stdin", action="store_true", help="read the password from stdin")
    for verb in (create, set_password, set_plan, rotate_keys, upgrade):
        add_setting_flags(verb, DATABASE_FLAGS)


def _run(arguments: Namespace) -> int:
    handler: Callable[[Namespace], int] = arguments.handler
    return handler(arguments)


def _create_user(arguments: Namespace) -> int:
    from hythe.hub.accounts.users import NewUser
    from hythe.hub.actor import HubActor

    password = _new_password(arguments)

    async def create(hub: "HubServices") -> None:
        new = NewUser(arguments.name, arguments.email, password)
        await hub.users.create(HubActor.operator(), new, admin=arguments.admin)

    _with_hub(arguments, create, new=True)
    print(f"created {arguments.name}{' (administrator)' if arguments.admin else ''}")
    return 0


def _set_password(arguments: Namespace) -> int:
    from hythe.hub.actor import HubActor

    password = _new_password(arguments)
    _with_hub(arguments, lambda hub: hub.users.set_password(HubActor.operator(), arguments.name, password))
    print(f"set the password of {arguments.name}; every session and login of the account has ended")
    return 0


def _set_plan(arguments: Namespace) -> int:
    from hythe.hub.accounts.users import PlanChange
    from hythe.hub.actor import HubActor

    given = {limit.field: getattr(arguments, limit.field) for limit in PLAN_LIMITS}
    changed = {field: None if value == UNLIMITED else value for field, value in given.items() if value is not None}
    if not changed:
        raise CommandFailed("no limit is given", f"use one or more of {', '.join(limit.flag for limit in PLAN_LIMITS)}")

    async def change(hub: "HubServices") -> None:
        user = await hub.users.set_plan(HubActor.operator(), arguments.name, PlanChange(**changed))
        for limit in PLAN_LIMITS:
            print(f"{limit.meaning}: {limit.shown(user)}")

    _with_hub(arguments, change)
    return 0


def _rotate_keys(arguments: Namespace) -> int:
    async def rotate(hub: "HubServices") -> None:
        unused = await hub.keys.rotate()
        print(f"created new keys, which sign in {unused.seconds} seconds, when every server knows them")
        print("older keys verify tokens until these expire, and provenance permanently")

    _with_hub(arguments, rotate)
    return 0


def _upgrade(arguments: Namespace) -> int:
    import asyncio

    from hythe.database.migration import upgrade
    from hythe.database.schema import newest_revision

    settings = load_settings(arguments).settings
    asyncio.run(upgrade(settings.data_folder, settings.database_url))
    print(f"the database schema is at revision {newest_revision()}")
    return 0


def _with_hub(arguments: Namespace, work: Callable[["HubServices"], Awaitable[None]], *, new: bool = False) -> None:
    """Open the hub that the settings name and run ``work`` with it. The server can keep running.

    With ``new``, the hub does not have to exist yet.
    """
    _with_services(arguments, lambda services: work(services.hub), new=new)


def _with_builds(arguments: Namespace, work: Callable[["BuildsServices"], Awaitable[None]]) -> None:
    """Do the same with the hub's Trusted Builds."""
    _with_services(arguments, lambda services: work(services.builds))


def _with_services(
    arguments: Namespace, work: Callable[["Services"], Awaitable[None]], *, new: bool = False, use_blobs: bool = False
) -> None:
    import asyncio

    from hythe.hub.errors import HubError
    from hythe.server.hub import open_hub

    settings = load_settings(arguments).settings
    _require_hub(settings, new=new)

    async def run() -> None:
        # The flags of most verbs lack blob_store, so this may be another blob store.
        async with open_hub(settings, use_blobs=use_blobs, pace=True) as services:
            await work(services)

    try:
        asyncio.run(run())
    except HubError as error:
        raise CommandFailed(error.message, error.hint) from error


@asynccontextmanager
async def _registry(arguments: Namespace) -> AsyncIterator["RegistryServices"]:
    from hythe.server.hub import open_hub

    settings = load_settings(arguments).settings
    _require_hub(settings)
    async with open_hub(settings, pace=True) as services:
        yield services.registry


def _require_hub(settings: "Settings", *, new: bool = False) -> None:
    """Raise CommandFailed if the folder has no hub, instead of creating an empty one."""
    from hythe.database.opening import sqlite_in_use

    folder = settings.data_folder
    if settings.database_url or sqlite_in_use(folder):
        return
    if not new:
        raise CommandFailed(
            f"there is no hub in {folder}", "use --data FOLDER with the folder that 'hythe serve' prints"
        )
    print(f"no hub in {folder} yet: creating one", file=sys.stderr)


def _new_password(arguments: Namespace) -> str:
    if arguments.password_stdin:
        return sys.stdin.readline().rstrip("\n")
    if not sys.stdin.isatty():
        raise CommandFailed("cannot prompt for a password without a terminal", "use --password-stdin")
    password = getpass("Password: ")
    if getpass("Password again: ") != password:
        raise CommandFailed("passwords do not match", "try again")
    return password


command = Command(_configure, _run, EXAMPLES)
