"""``logs``: fetch the logs of a container."""

import sys
from argparse import ArgumentParser, Namespace

from hythe.cli.command import Command
from hythe.cli.container_report import add_container_argument
from hythe.cli.escaping import unfiltered
from hythe.cli.failure import INTERRUPTED
from hythe.containers.container import ContainerState
from hythe.containers.log import LogEntry, read_log
from hythe.containers.store import ContainerStore


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="follow the output until the container exits")
    parser.add_argument(
        "-n", "--tail", default="all", metavar="LINES", help="number of lines from the end, or all (default: all)"
    )
    parser.add_argument("-t", "--timestamps", action="store_true", help="show timestamps")
    parser.add_argument(
        "--since", default="", metavar="TIME", help="show lines since a time (RFC 3339) or for a duration (10m)"
    )
    parser.add_argument("--until", default="", metavar="TIME", help="show lines before a time or duration")
    parser.add_argument("--details", action="store_true", help="no effect: lines have no extra attributes")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    add_container_argument(parser)


def _run(arguments: Namespace) -> int:
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
        return INTERRUPTED  # the normal way to end -f: no error message
    return 0


def _print_entry(entry: LogEntry, arguments: Namespace) -> None:
    import msgspec

    if arguments.json:
        print(msgspec.json.encode(entry).decode(), flush=True)
        return
    stamp = f"{entry.time} " if arguments.timestamps else ""
    target = unfiltered(sys.stderr if entry.stream == "stderr" else sys.stdout)  # the user's own program, as in docker
    print(stamp + entry.log, end="", file=target, flush=True)


command = Command(_configure, _run, "hythe logs web\nhythe logs -f --tail 20 web")
