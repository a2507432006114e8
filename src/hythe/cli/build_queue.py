"""The verbs of ``hythe admin`` for the build queue and its workers; the server can keep running."""

from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from hythe.cli.command import CommandFailed
from hythe.cli.hub_lists import LIMIT, as_row, first_items, parse_limit, shown_time
from hythe.cli.output import Column, add_list_flags, print_list
from hythe.cli.setting_flags import DATABASE_FLAGS, add_setting_flags

if TYPE_CHECKING:
    from hythe.builds.service import BuildsServices
    from hythe.builds.worker_administration import ListedWorker


class WithBuilds(Protocol):
    """Opens the hub that the arguments name and runs a function with its Trusted Builds."""

    def __call__(self, arguments: Namespace, work: "Callable[[BuildsServices], Awaitable[None]]", /) -> None:
        """Raise CommandFailed if the function raises an error of the hub."""


def add_build_queue(verbs: Any, with_builds: WithBuilds) -> None:
    """Add the verbs to those of ``hythe admin``; ``verbs`` is the result of ``add_subparsers``."""
    queue = _add(verbs, with_builds, "queue", "list builds that run or wait, and why they wait", _queue)
    queue.add_argument(
        "--limit", type=parse_limit, default=LIMIT, metavar="N", help=f"most that are printed (default: {LIMIT})"
    )
    workers = _add(verbs, with_builds, "workers", "list workers and their builds", _workers)
    for verb in (queue, workers):
        add_list_flags(verb)
    cancel = _add(verbs, with_builds, "cancel-build", "cancel a build of any repository", _cancel)
    cancel.add_argument("build", type=int, metavar="ID", help="its id in 'hythe admin queue'")
    drain = _add(verbs, with_builds, "drain-worker", "give a worker no more builds; it finishes those it has", _drain)
    drain.add_argument("--undo", action="store_true", help="give it builds again")
    remove = _add(verbs, with_builds, "remove-worker", "remove a worker that has stopped from the list", _remove)
    for verb in (drain, remove):
        verb.add_argument("worker", metavar="NAME|ID", help="its name or id in 'hythe admin workers'")


def _add(
    verbs: Any,
    with_builds: WithBuilds,
    name: str,
    meaning: str,
    verb: "Callable[[BuildsServices, Namespace], Awaitable[None]]",
) -> ArgumentParser:
    parser: ArgumentParser = verbs.add_parser(name, help=meaning)

    def handle(arguments: Namespace) -> int:
        with_builds(arguments, lambda builds: verb(builds, arguments))
        return 0

    parser.set_defaults(handler=handle)
    add_setting_flags(parser, DATABASE_FLAGS)
    return parser


async def _queue(builds: "BuildsServices", arguments: Namespace) -> None:
    from hythe.hub.actor import HubActor

    found = await first_items(
        lambda paging: builds.queue_administration.list(HubActor.operator(), paging), arguments.limit
    )
    rows = [
        as_row(
            each,
            ID=str(each.id),
            Position=str(each.position or "-"),
            Build=f"{each.repository}#{each.number}",
            Source=each.ref.name,
            Status=each.status.value,
            Since=shown_time(each.started_at or each.created_at),
            Worker=each.worker or "-",
            Reason=each.explanation or "-",
        )
        for each in found
    ]
    columns = (
        Column("ID", "ID"),
        Column("POSITION", "Position"),
        Column("BUILD", "Build"),
        Column("SOURCE", "Source"),
        Column("STATUS", "Status"),
        Column("SINCE", "Since"),
        Column("WORKER", "Worker"),
        Column("REASON", "Reason"),
    )
    print_list(rows, columns, arguments)


async def _workers(builds: "BuildsServices", arguments: Namespace) -> None:
    from hythe.hub.actor import HubActor

    rows = [
        as_row(
            each,
            ID=str(each.id),
            Name=each.name,
            State=_state(each),
            Platform=each.platform or "-",
            Builder=each.builder or "-",
            Version=each.version or "-",
            LastHeartbeat=shown_time(each.last_heartbeat),
            Running=f"{len(each.builds)}/{each.concurrency}",
            Builds=", ".join(f"{build.repository}#{build.number}" for build in each.builds) or "-",
        )
        for each in await builds.worker_administration.list(HubActor.operator())
    ]
    columns = (
        Column("ID", "ID"),
        Column("NAME", "Name"),
        Column("STATE", "State"),
        Column("PLATFORM", "Platform"),
        Column("BUILDER", "Builder"),
        Column("VERSION", "Version"),
        Column("LAST HEARTBEAT", "LastHeartbeat"),
        Column("RUNNING", "Running"),
        Column("BUILDS", "Builds"),
    )
    print_list(rows, columns, arguments)


def _state(worker: "ListedWorker") -> str:
    connected = "connected" if worker.connected else "lost"
    return f"{connected}, draining" if worker.draining else connected


async def _cancel(builds: "BuildsServices", arguments: Namespace) -> None:
    from hythe.hub.actor import HubActor

    build = await builds.queue_administration.cancel(HubActor.operator(), arguments.build)
    print(f"cancelled {build.repository}#{build.number}")


async def _drain(builds: "BuildsServices", arguments: Namespace) -> None:
    from hythe.hub.actor import HubActor

    worker_id = await _worker_id(builds, arguments.worker)
    draining = not arguments.undo
    worker = await builds.worker_administration.drain(HubActor.operator(), worker_id, draining=draining)
    print(f"{worker.name} gets {'no more builds, and finishes those it has' if draining else 'builds again'}")


async def _remove(builds: "BuildsServices", arguments: Namespace) -> None:
    from hythe.hub.actor import HubActor

    worker_id = await _worker_id(builds, arguments.worker)
    await builds.worker_administration.remove(HubActor.operator(), worker_id)
    print(f"removed {arguments.worker}")


async def _worker_id(builds: "BuildsServices", worker: str) -> int:
    from hythe.hub.actor import HubActor

    for each in await builds.worker_administration.list(HubActor.operator()):
        if worker in (each.name, str(each.id)):
            return each.id
    raise CommandFailed(f"there is no worker {worker!r}", "'hythe admin workers' lists them")
