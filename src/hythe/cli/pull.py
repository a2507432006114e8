"""``pull``: download an image or all tags of a repository."""

from argparse import ArgumentParser, Namespace

from hythe.cli.command import Command, CommandFailed
from hythe.cli.connection import add_connection_flags, connected
from hythe.cli.output import add_json_flag, print_json, print_message
from hythe.cli.progress import PULL_LABELS, make_display
from hythe.client.client import Client
from hythe.client.endpoints import RegistryEndpoint, StoreEndpoint
from hythe.client.platforms import host_platform, is_compatible, parse_platform
from hythe.client.transfer import ALL, TransferOptions, TransferResult, transfer
from hythe.control_characters import escape_line
from hythe.oci.config import ImageConfig
from hythe.oci.digest import Digest
from hythe.oci.errors import OCIError
from hythe.oci.manifest import Platform
from hythe.oci.reference import Reference


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME[:TAG|@DIGEST]", help="image to pull")
    parser.add_argument("-a", "--all-tags", action="store_true", help="pull every tag of the repository")
    parser.add_argument(
        "--platform",
        default="",
        metavar="OS/ARCH[/VARIANT]",
        help="pull the image for this platform (default: that of this host)",
    )
    parser.add_argument("--all-platforms", action="store_true", help="pull the image for all platforms")
    parser.add_argument(
        "--trusted", action="store_true", help="pull only if a Trusted Build made the image (see hythe verify)"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print only the image name")
    add_json_flag(parser)
    add_connection_flags(parser)


def _run(arguments: Namespace) -> int:
    with connected(arguments) as client:
        reference = client.reference(arguments.name)
        if arguments.all_tags and (reference.tag or reference.digest):
            raise CommandFailed("tag can't be used with --all-tags/-a", "leave out the tag", 2)
        results = [
            pull(client, one, transfer_options_of(arguments), arguments)
            for one in _references(client, reference, arguments)
        ]
    if arguments.json:
        print_json(results[0] if len(results) == 1 and not arguments.all_tags else results)
    return 0


def _references(client: Client, reference: Reference, arguments: Namespace) -> list[Reference]:
    if arguments.all_tags:
        return [reference.with_tag(tag) for tag in client.repository(reference).tags()]
    if not (reference.tag or reference.digest) and not (arguments.quiet or arguments.json):
        print("Using default tag: latest", flush=True)
    return [reference.with_default_tag()]


def transfer_options_of(arguments: Namespace) -> TransferOptions:
    """Return the transfer options for the platform flags: one platform, all, or that of this host."""
    if arguments.all_platforms:
        return ALL
    return TransferOptions((parse_platform(arguments.platform) if arguments.platform else host_platform(),))


def pull(client: Client, reference: Reference, options: TransferOptions, arguments: Namespace) -> dict[str, object]:
    """Pull one image into the local store with docker's messages; returns the --json output."""
    quiet = arguments.quiet or arguments.json
    if arguments.trusted:
        reference = _resolve_trusted(client, reference, quiet=quiet)
    source = RegistryEndpoint(client.repository(reference), reference.target)
    destination = StoreEndpoint(client.store, reference, policy=client.policy)
    before = _local_digests(client, reference)
    if not quiet:
        print(f"{reference.target}: Pulling from {reference.repository}", flush=True)
    with client.store.writing(), make_display(PULL_LABELS, quiet=quiet) as display:
        result = transfer(source, destination, options, display, client.configuration.parallel_transfers)
    newer = str(result.manifest.digest()) not in before
    if not quiet:
        print(f"Digest: {result.origin}")
        print(f"Status: {'Downloaded newer image' if newer else 'Image is up to date'} for {reference.familiar()}")
    if arguments.platform:
        _warn_of_platform(client, reference, result, options)
    if not arguments.json:
        print(str(reference))
    return _report(reference, result, newer)


def _warn_of_platform(client: Client, reference: Reference, result: TransferResult, options: TransferOptions) -> None:
    """Warn if the image is for a different platform than requested."""
    if result.manifest.config is None:
        return
    try:
        config = ImageConfig.parse(client.store.read_document(result.manifest.config.parsed_digest))
    except OCIError:  # an artifact
        return
    actual = Platform(config.architecture, config.os, variant=config.variant)
    if actual.architecture and not is_compatible(options.platforms[0], actual):
        print_message(f"WARNING: {reference.familiar()} is for {actual}, which does not match {options.platforms[0]}")


def _report(reference: Reference, result: TransferResult, newer: bool) -> dict[str, object]:
    config = result.manifest.config
    return {
        "name": str(reference),
        "digest": str(result.origin),
        "manifest": str(result.manifest.digest()),
        "id": config.digest if config else str(result.manifest.digest()),
        "downloaded": newer,
    }


def _resolve_trusted(client: Client, reference: Reference, *, quiet: bool) -> Reference:
    """Return the reference with the verified digest, so that exactly that image is pulled. Raises CommandFailed."""
    from hythe.cli.verify import verify

    chain = verify(client, reference)
    if not quiet:
        print(escape_line(f"Trusted: built from {chain.source} {chain.commit}"), flush=True)
    return reference.with_digest(Digest.parse(chain.digest))


def _local_digests(client: Client, reference: Reference) -> set[str]:
    """Return the digests that the name has in the local store."""
    name, pinned = str(reference), f"{reference.host}/{reference.repository}@{reference.digest}"
    return {
        entry.descriptor.digest
        for entry in client.store.entries()
        if name in entry.names or pinned in entry.repository_digests
    }


command = Command(
    _configure,
    _run,
    """
hythe pull busybox
hythe pull registry.example.com/ann/app:1.2
hythe pull --platform linux/arm64 debian:12
hythe pull -a registry.example.com/ann/app
""",
)
