"""``export``: export the files of a container as a tar archive."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hythe.cli.command import Command, CommandFailed
from hythe.cli.container_report import add_container_argument
from hythe.containers.export import export as write_export
from hythe.containers.namespace import become_root
from hythe.containers.store import ContainerStore


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("-o", "--output", default="", metavar="FILE", help="write to a file (default: stdout)")
    add_container_argument(parser)


def _run(arguments: Namespace) -> int:
    if not arguments.output and sys.stdout.isatty():
        raise CommandFailed("refusing to write an archive to a terminal", "use -o FILE, or redirect stdout")
    store = ContainerStore()
    container = store.find(arguments.container)
    become_root()
    if not arguments.output:
        write_export(store, container, sys.stdout.buffer)
        return 0
    with Path(arguments.output).open("wb") as file:
        write_export(store, container, file)
    return 0


command = Command(_configure, _run, "hythe export -o web.tar web\nhythe export web | tar -t")
