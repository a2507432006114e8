"""``save``: save images to a tar archive."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hythe.cli.command import Command, CommandFailed
from hythe.cli.output import add_json_flag, print_json
from hythe.client.client import Client
from hythe.client.docker_archive import ArchivedImage, save_archive, write_archive
from hythe.client.platforms import parse_platform
from hythe.oci.reference import Reference


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="name or ID prefix of an image")
    parser.add_argument("-o", "--output", default="", metavar="FILE", help="write to a file (default: stdout)")
    parser.add_argument(
        "--platform", default="", metavar="OS/ARCH[/VARIANT]", help="save only this platform of a multi-platform image"
    )
    add_json_flag(parser)


def _run(arguments: Namespace) -> int:
    client = Client()
    store = client.store
    if not arguments.output and sys.stdout.isatty():
        raise CommandFailed("cowardly refusing to save to a terminal", "use -o FILE, or redirect stdout", 2)
    if not arguments.output and arguments.json:
        raise CommandFailed("--json needs -o FILE: stdout is the archive", code=2)
    with store.writing():
        archived = _resolve_images(client, arguments.images, arguments.platform)
        if not arguments.output:
            write_archive(sys.stdout.buffer, store, archived)
            return 0
        path = Path(arguments.output)
        save_archive(path, store, archived)
    if arguments.json:
        print_json({"file": str(path), "size": path.stat().st_size, "images": arguments.images})
    return 0


def _resolve_images(client: Client, texts: list[str], platform: str) -> list[ArchivedImage]:
    """Return the named images without duplicates, each with the names that were typed."""
    found: dict[str, ArchivedImage] = {}
    for text in texts:
        image = client.store.resolve(text, parse_platform(platform) if platform else None)
        plain = image.manifest.descriptor() if platform else image.entry.descriptor
        earlier = found.get(plain.digest, ArchivedImage(plain))
        name = _typed_name(client, text, image.entry.names)
        found[plain.digest] = ArchivedImage(plain, tuple(dict.fromkeys((*earlier.names, *name))))
    return list(found.values())


def _typed_name(client: Client, text: str, names: tuple[str, ...]) -> tuple[Reference, ...]:
    try:
        reference = client.reference(text).with_default_tag()
    except ValueError:
        return ()
    return (reference,) if str(reference) in names else ()


command = Command(
    _configure,
    _run,
    """
hythe save -o app.tar ann/app:1 ann/app:2
hythe save ann/app | ssh other.example.com hythe load
""",
)
