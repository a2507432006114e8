"""``load``: load images from a tar archive."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hythe.cli.command import Command, CommandFailed
from hythe.cli.failure import raise_last
from hythe.cli.output import add_json_flag, print_json
from hythe.client.client import Client
from hythe.client.docker_archive import ArchivedImage, read_archive
from hythe.client.errors import RemoteNotFound
from hythe.client.platforms import host_platform, parse_platform
from hythe.client.store import LocalStore, StoreEntry


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", default="", metavar="FILE", help="same as -i FILE")
    parser.add_argument("-i", "--input", default="", metavar="FILE", help="read from a file (default: stdin)")
    parser.add_argument(
        "--platform", default="", metavar="OS/ARCH[/VARIANT]", help="load only this platform of multi-platform images"
    )
    parser.add_argument("--all-platforms", action="store_true", help="load images even if none is for this machine")
    parser.add_argument("-q", "--quiet", action="store_true", help="suppress the output")
    add_json_flag(parser)


def _run(arguments: Namespace) -> int:
    store = Client().store
    path = _path(arguments)
    failures: list[RemoteNotFound] = []
    discarded: list[ArchivedImage] = []
    with store.writing():
        archived = list(_read(path, store))
        loaded = []
        for image in archived:
            try:
                chosen = _choose(store, image, arguments)
            except RemoteNotFound as error:
                failures.append(_with_name(error, image))
                discarded.append(image)
                continue
            for name in chosen.names or (None,):
                store.put(chosen.descriptor, name)
            loaded.append(chosen)
    if discarded:
        store.discard(image.descriptor for image in discarded)
    if arguments.json:
        print_json([{"digest": image.descriptor.digest, "names": list(map(str, image.names))} for image in loaded])
    elif not arguments.quiet:
        _print_loaded(store, loaded)
    raise_last(failures)
    return 0


def _path(arguments: Namespace) -> str:
    """Return the file to read, "" for stdin. Raises CommandFailed."""
    if arguments.file and arguments.input:
        raise CommandFailed("two files to load: FILE and -i FILE", "load one after the other", 2)
    path: str = arguments.file or arguments.input
    if path == "-":
        path = ""
    if not path and sys.stdin.isatty():
        raise CommandFailed("requested load from stdin, but stdin is a terminal", "name a FILE, or redirect stdin", 2)
    return path


def _read(path: str, store: LocalStore) -> Iterator[ArchivedImage]:
    if not path:
        yield from read_archive(sys.stdin.buffer, store)
        return
    with Path(path).open("rb") as file:
        yield from read_archive(file, store)


def _choose(store: LocalStore, image: ArchivedImage, arguments: Namespace) -> ArchivedImage:
    """Return the image to add: of an index the whole, or one platform. Raises RemoteNotFound as a pull would."""
    if arguments.all_platforms and not arguments.platform:
        return image
    wanted = parse_platform(arguments.platform) if arguments.platform else host_platform()
    chosen = store.load(StoreEntry(image.descriptor), wanted).manifest
    return msgspec.structs.replace(image, descriptor=chosen.descriptor()) if arguments.platform else image


def _with_name(error: RemoteNotFound, image: ArchivedImage) -> RemoteNotFound:
    name = image.names[0].familiar() if image.names else image.descriptor.digest
    return RemoteNotFound(f"{name}: {error}", error.hint)


def _print_loaded(store: LocalStore, archived: list[ArchivedImage]) -> None:
    for image in archived:
        for name in image.names:
            print(f"Loaded image: {name.familiar()}")
        if not image.names:
            print(f"Loaded image ID: {store.resolve(image.descriptor.digest).id}")


command = Command(_configure, _run, "hythe load app.tar\nhythe load -i app.tar.gz\nhythe load < app.tar")
