"""``copy``: copy an image between registries, folders and files."""

from argparse import ArgumentParser, Namespace

from hythe.cli.command import Command
from hythe.cli.connection import add_connection_flags, connected
from hythe.cli.output import add_json_flag, print_json
from hythe.cli.progress import COPY_LABELS, make_display
from hythe.client.image_locations import is_store, open_destination, open_source
from hythe.client.platforms import parse_platform, require_host_image
from hythe.client.transfer import TransferOptions, transfer


def _configure(parser: ArgumentParser) -> None:
    locations = "NAME (a registry), store:NAME, oci:FOLDER[:TAG] or docker-archive:FILE[:NAME]"
    parser.add_argument("source", metavar="SRC", help=locations)
    parser.add_argument("destination", metavar="DST", help="same forms as SRC")
    parser.add_argument(
        "--platform",
        action="append",
        default=[],
        metavar="OS/ARCH[/VARIANT]",
        help="copy only this platform; can be repeated (default: all)",
    )
    parser.add_argument(
        "--all-platforms", action="store_true", help="copy to store: even if no image is for this machine"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="suppress the progress output")
    add_json_flag(parser)
    add_connection_flags(parser)


def _run(arguments: Namespace) -> int:
    options = TransferOptions(tuple(map(parse_platform, arguments.platform)))
    is_checked = options.is_all and not arguments.all_platforms and is_store(arguments.destination)
    check = require_host_image if is_checked else None
    quiet = arguments.quiet or arguments.json
    with (
        connected(arguments) as client,
        open_source(client, arguments.source) as source,
        open_destination(client, arguments.destination, arguments.source) as destination,
        make_display(COPY_LABELS, quiet=quiet) as display,
    ):
        parallel = client.configuration.parallel_transfers
        result = transfer(source, destination, options, display, parallel, on_manifest=check)
    if arguments.json:
        digest = str(result.manifest.digest())
        print_json({"source": arguments.source, "destination": arguments.destination, "digest": digest})
    else:
        print(result.manifest.digest())
    return 0


command = Command(
    _configure,
    _run,
    """
hythe copy docker.io/library/busybox:1.36 registry.example.com/mirror/busybox:1.36
hythe copy --platform linux/amd64 --platform linux/arm64 debian:12 registry.example.com/debian:12
hythe copy registry.example.com/ann/app:1 oci:app-folder:1
hythe copy store:ann/app docker-archive:app.tar:ann/app:latest
""",
)
