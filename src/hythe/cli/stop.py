"""``stop``: stop running containers."""

import math
from argparse import ArgumentParser, Namespace

from hythe.cli.command import Command
from hythe.cli.container_report import ContainerReport, configure_names
from hythe.containers.container import Container
from hythe.containers.lifecycle import stop as stop_container
from hythe.containers.store import ContainerStore


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-t",
        "--time",
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="seconds to wait before SIGKILL (default: set at creation, else 10)",
    )
    parser.add_argument("-s", "--signal", default="", help="signal to send (default: set by the image, else SIGTERM)")
    configure_names(parser)


def _run(arguments: Namespace) -> int:
    store = ContainerStore()
    report = ContainerReport(arguments)
    for text in arguments.containers:
        with report.catch_error():
            container = store.find(text)
            stop_container(store, container, _timeout_of(arguments, container), arguments.signal)
            report.done(text, container)
    return report.finish()


def _timeout_of(arguments: Namespace, container: Container) -> float:
    """Return the seconds before SIGKILL, from the flag or the container; infinite if negative."""
    seconds = container.host.stop_timeout if arguments.time is None else arguments.time
    return float(seconds) if seconds >= 0 else math.inf


command = Command(_configure, _run, "hythe stop web\nhythe stop -t 60 database")
