"""``ps``, ``logs``, ``stop``, ``rm``, ``diff``, ``export``: looking at containers, and ending them."""

import math
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hythe.cli.command import Command, CommandFailed
from hythe.cli.container_images import open_store
from hythe.cli.container_report import Report, configure_names
from hythe.cli.failure import INTERRUPTED
from hythe.cli.output import add_json_flag, print_json
from hythe.containers import lifecycle
from hythe.containers.changes import list_changes
from hythe.containers.container import Container, ContainerState
from hythe.containers.errors import NoSuchContainer
from hythe.containers.export import export as write_export
from hythe.containers.layers import LayerCache
from hythe.containers.lifecycle import kill
from hythe.containers.lifecycle import stop as stop_container
from hythe.containers.log import LogEntry, read_log
from hythe.containers.namespace import become_root
from hythe.containers.root import Root
from hythe.containers.store import ContainerStore
from hythe.oci.digest import Digest


def _configure_stop(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-t", "--time", "--timeout", type=float, help="seconds until SIGKILL (default: the container's, 10)"
    )
    parser.add_argument("-s", "--signal", default="", help="signal to send (default: the image's, else SIGTERM)")
    configure_names(parser)


def _stop(arguments: Namespace) -> int:
    store = ContainerStore()
    report = Report(arguments)
    for text in arguments.containers:
        with report.trying():
            container = store.find(text)
            stop_container(store, container, _patience(arguments, container), arguments.signal)
            report.done(text, container)
    return report.finish()


def _patience(arguments: Namespace, container: Container) -> float:
    """Return how many seconds a container has: as asked for now or when it was made; below 0 any."""
    seconds = container.host.stop_timeout if arguments.time is None else arguments.time
    return float(seconds) if seconds >= 0 else math.inf


stop = Command(_configure_stop, _stop, "hythe stop web\nhythe stop -t 60 database")


def _configure_rm(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-f", "--force", action="store_true", help="stop it first, at once; no error when it is not there"
    )
    parser.add_argument("-v", "--volumes", action="store_true", help="no effect: volumes without a name always go")
    configure_names(parser)


def _rm(arguments: Namespace) -> int:
    store, images = ContainerStore(), open_store()
    report = Report(arguments)
    found: list[tuple[str, Container]] = []
    for text in arguments.containers:
        with report.trying():
            container = _found(store, text, arguments.force)
            if container is not None and arguments.force:
                kill(store, container)  # from outside of any user namespace: only there is the right to signal it
            found += [(text, container)] if container is not None else []
    become_root()
    for text, container in found:
        with report.trying():
            lifecycle.remove(store, images, container)
            report.done(text, container)
    lifecycle.prune_layers(store, images)
    return report.finish()


def _found(store: ContainerStore, text: str, force: bool) -> Container | None:
    try:
        return store.find(text)
    except NoSuchContainer:
        if force:
            return None
        raise


rm = Command(_configure_rm, _rm, "hythe rm web\nhythe rm -f $(hythe ps -aq)")


def _configure_one(parser: ArgumentParser) -> None:
    parser.add_argument("container", metavar="CONTAINER", help="name or ID")


def _configure_diff(parser: ArgumentParser) -> None:
    add_json_flag(parser)
    _configure_one(parser)


def _diff(arguments: Namespace) -> int:
    store = ContainerStore()
    container = store.find(arguments.container)
    become_root()
    lowers = LayerCache(store.folder / "layers").lowers([Digest.parse(text) for text in container.layers])
    with Root(store.path(container) / "upper") as upper:
        changes = list_changes(upper, [Root(lower) for lower in lowers])
    if arguments.json:
        print_json([{"kind": change.value, "path": path} for change, path in changes])
        return 0
    for change, path in changes:
        sys.stdout.buffer.write(f"{change.value} {path}\n".encode("utf-8", "surrogateescape"))
    return 0


diff = Command(_configure_diff, _diff, "hythe diff web")


def _configure_export(parser: ArgumentParser) -> None:
    parser.add_argument("-o", "--output", default="", metavar="FILE", help="write to a file instead of standard output")
    _configure_one(parser)


def _export(arguments: Namespace) -> int:
    if not arguments.output and sys.stdout.isatty():
        raise CommandFailed("an archive is not for a terminal", "use -o FILE, or redirect the output")
    store = ContainerStore()
    container = store.find(arguments.container)
    become_root()
    if not arguments.output:
        write_export(store, container, sys.stdout.buffer)
        return 0
    with Path(arguments.output).open("wb") as file:
        write_export(store, container, file)
    return 0


export = Command(_configure_export, _export, "hythe export -o web.tar web\nhythe export web | tar -t")


def _configure_logs(parser: ArgumentParser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the container ends")
    parser.add_argument("-n", "--tail", default="all", metavar="LINES", help="only the last ones, or all")
    parser.add_argument("-t", "--timestamps", action="store_true", help="put the time before each line")
    parser.add_argument("--since", default="", metavar="TIME", help="only lines since then: RFC 3339, or 10m ago")
    parser.add_argument("--until", default="", metavar="TIME", help="only lines until then")
    parser.add_argument("--details", action="store_true", help="no effect: lines have no further details")
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    _configure_one(parser)


def _logs(arguments: Namespace) -> int:
    from hythe.cli.container_status import parse_since

    store = ContainerStore()
    container = store.find(arguments.container)
    path = store.path(container) / "log.jsonl"
    tail = int(arguments.tail) if arguments.tail.isdecimal() else None
    is_over = (lambda: store.status(container).state is not ContainerState.RUNNING) if arguments.follow else None
    try:
        for entry in read_log(path, tail, parse_since(arguments.since), parse_since(arguments.until), is_over):
            _print_entry(entry, arguments)
    except KeyboardInterrupt:
        return INTERRUPTED  # how one leaves -f: nothing went wrong, and there is nothing to say
    return 0


def _print_entry(entry: LogEntry, arguments: Namespace) -> None:
    import msgspec

    if arguments.json:
        print(msgspec.json.encode(entry).decode(), flush=True)
        return
    stamp = f"{entry.time} " if arguments.timestamps else ""
    target = sys.stderr if entry.stream == "stderr" else sys.stdout
    print(stamp + entry.log, end="", file=target, flush=True)


logs = Command(_configure_logs, _logs, "hythe logs web\nhythe logs -f --tail 20 web")
