"""``history``: show the history of an image."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from hythe.cli.command import Command
from hythe.cli.images import config_of
from hythe.cli.output import Column, Row, add_list_flags, print_list
from hythe.cli.units import ellipsis, exact_time, human_age, human_size
from hythe.client.client import Client
from hythe.client.store import LocalStore, StoredImage

MISSING = "<missing>"
COLUMNS = (
    Column("IMAGE", "ID"),
    Column("CREATED", "CreatedSince"),
    Column("CREATED BY", "CreatedBy"),
    Column("SIZE", "Size"),
    Column("COMMENT", "Comment"),
)
_CREATED_BY = 45


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="IMAGE", help="name or ID prefix of the image")
    parser.add_argument(
        "-H",
        "--human",
        action="store_true",
        default=True,
        help="print human-readable sizes and times (--human=false: exact values)",
    )
    add_list_flags(parser, quiet="print only IDs")


def _run(arguments: Namespace) -> int:
    store = Client().store
    image = store.resolve(arguments.name)
    rows = list(_steps(store, image, full=arguments.no_trunc, human=arguments.human))
    columns = COLUMNS if arguments.human else (COLUMNS[0], Column("CREATED AT", "CreatedAt"), *COLUMNS[2:])
    print_list(rows, columns, arguments)
    return 0


def _steps(store: LocalStore, image: StoredImage, *, full: bool, human: bool) -> Iterator[Row]:
    """Yield the history steps of an image, newest first, each with the size of its layer."""
    config = config_of(store, image)
    layers = list(image.manifest.layers)
    for number, step in enumerate(reversed(config.history)):
        layer = layers.pop() if layers and not step.empty_layer else None
        size = layer.size if layer else 0
        words = step.created_by.replace("\t", " ")
        fields = {
            "ID": (str(image.id) if full else image.id.short) if number == 0 else MISSING,
            "CreatedSince": human_age(step.created),
            "CreatedAt": exact_time(step.created),
            "CreatedBy": words if full else ellipsis(words, _CREATED_BY),
            "Size": human_size(size) if human else str(size),
            "Comment": step.comment,
        }
        data = {
            "id": str(image.id) if number == 0 else None,
            "created": step.created,
            "created_by": step.created_by,
            "size": size,
            "layer": layer.digest if layer else None,
            "comment": step.comment,
        }
        yield Row(fields, data)


command = Command(_configure, _run, "hythe history busybox\nhythe history --no-trunc --json busybox")
