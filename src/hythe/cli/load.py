"""``load``: load images from a tar archive."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hythe.cli.command import Command, CommandFailed
from hythe.cli.output import add_json_flag, print_json
from hythe.client.client import Client
from hythe.client.docker_archive import ArchivedImage, read_archive
from hythe.client.store import LocalStore


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("-i", "--input", default="", metavar="FILE", help="read from a file (default: stdin)")
    parser.add_argument("-q", "--quiet", action="store_true", help="suppress the output")
    add_json_flag(parser)


def _run(arguments: Namespace) -> int:
    store = Client().store
    if not arguments.input and sys.stdin.isatty():
        raise CommandFailed("requested load from stdin, but stdin is a terminal", "use -i FILE, or redirect stdin", 2)
    with store.writing():
        if arguments.input:
            with Path(arguments.input).open("rb") as file:
                archived = read_archive(file, store)
        else:
            archived = read_archive(sys.stdin.buffer, store)
        for image in archived:
            for name in image.names or (None,):
                store.put(image.descriptor, name)
    if arguments.json:
        print_json([{"digest": image.descriptor.digest, "names": list(map(str, image.names))} for image in archived])
    elif not arguments.quiet:
        _print_loaded(store, archived)
    return 0


def _print_loaded(store: LocalStore, archived: list[ArchivedImage]) -> None:
    for image in archived:
        for name in image.names:
            print(f"Loaded image: {name.familiar()}")
        if not image.names:
            print(f"Loaded image ID: {store.resolve(image.descriptor.digest).id}")


command = Command(_configure, _run, "hythe load -i app.tar\nhythe load < app.tar")
