"""``diff``: list changes to the files of a container."""

import sys
from argparse import ArgumentParser, Namespace

from hythe.cli.command import Command
from hythe.cli.container_report import add_container_argument
from hythe.cli.output import add_json_flag, print_json
from hythe.containers.changes import list_changes
from hythe.containers.layers import LayerCache
from hythe.containers.namespace import become_root
from hythe.containers.root import Root
from hythe.containers.store import ContainerStore
from hythe.control_characters import escape_line
from hythe.oci.digest import Digest


def _configure(parser: ArgumentParser) -> None:
    add_json_flag(parser)
    add_container_argument(parser)


def _run(arguments: Namespace) -> int:
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
        if sys.stdout.isatty():
            print(f"{change.value} {escape_line(path)}")
            continue
        sys.stdout.buffer.write(f"{change.value} {path}\n".encode("utf-8", "surrogateescape"))
    return 0


command = Command(_configure, _run, "hythe diff web")
