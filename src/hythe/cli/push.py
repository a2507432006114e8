"""``push``: upload an image; the tag is ``latest`` by default, and -a pushes all local tags."""

from argparse import ArgumentParser, Namespace

from hythe.cli.command import Command, CommandFailed
from hythe.cli.connection import add_connection_flags, connected
from hythe.cli.output import add_json_flag, print_json
from hythe.cli.progress import PUSH_LABELS, is_layer, make_display
from hythe.client.client import Client
from hythe.client.endpoints import RegistryEndpoint, StoreEndpoint
from hythe.client.errors import RemoteNotFound
from hythe.client.mounts import mount_sources
from hythe.client.platforms import parse_platform
from hythe.client.progress import TransferState
from hythe.client.transfer import ALL, TransferOptions, transfer
from hythe.oci.reference import DEFAULT_TAG, Reference


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME[:TAG]", help="image to push")
    parser.add_argument("-a", "--all-tags", action="store_true", help="push every local tag of the repository")
    parser.add_argument(
        "--platform", default="", metavar="OS/ARCH[/VARIANT]", help="push only this platform of a multi-platform image"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print only the image name")
    add_json_flag(parser)
    add_connection_flags(parser)


def _run(arguments: Namespace) -> int:
    with connected(arguments) as client:
        reference = client.reference(arguments.name)
        if reference.digest:
            raise CommandFailed("cannot push a digest reference", "push NAME:TAG", 2)
        references = _references(client, reference, arguments)
        if not (arguments.quiet or arguments.json):
            print(f"The push refers to repository [{reference.host}/{reference.repository}]", flush=True)
        results = [_push(client, one, arguments) for one in references]
    if arguments.json:
        print_json(results if arguments.all_tags else results[0])
    return 0


def _references(client: Client, reference: Reference, arguments: Namespace) -> list[Reference]:
    if not arguments.all_tags:
        if reference.tag is None and not (arguments.quiet or arguments.json):
            print(f"Using default tag: {DEFAULT_TAG}", flush=True)
        return [reference.with_default_tag()]
    if reference.tag:
        raise CommandFailed("tag can't be used with --all-tags/-a", "leave out the tag", 2)
    found = [name for entry in client.store.entries() for name in entry.references if _same_repository(name, reference)]
    if not found:
        raise RemoteNotFound(
            f"no local image named {reference.familiar_name}", "'hythe tag IMAGE NAME:TAG' creates one"
        )
    return sorted(found, key=str)


def _same_repository(name: Reference, reference: Reference) -> bool:
    return (name.host, name.repository) == (reference.host, reference.repository)


def _push(client: Client, reference: Reference, arguments: Namespace) -> dict[str, object]:
    quiet = arguments.quiet or arguments.json
    image = client.store.resolve(str(reference))
    mounts = mount_sources(client.store, image.entry.descriptor, reference)
    repository = client.repository(reference, push=True, mounted_from=sorted(set(mounts.values())))
    source = StoreEndpoint(client.store, None, image.entry.descriptor)
    options = TransferOptions((parse_platform(arguments.platform),)) if arguments.platform else ALL
    destination = RegistryEndpoint(repository, reference.target, mounts.get)
    with client.store.writing(), make_display(PUSH_LABELS, quiet=quiet) as display:
        result = transfer(source, destination, options, display, client.configuration.parallel_transfers)
        client.store.put(image.entry.descriptor, reference.with_digest(result.manifest.digest()))
        if result.already_existed:
            layers = [blob for blob in image.manifest.blobs if is_layer(blob)]
            display.begin(layers)
            for layer in layers:
                display.state(layer, TransferState.EXISTS)
    digest, size = result.manifest.digest(), len(result.manifest.content)
    if arguments.quiet and not arguments.json:
        print(str(reference))
    elif not quiet:
        print(f"{reference.target}: digest: {digest} size: {size}", flush=True)
    return {"name": str(reference), "digest": str(digest), "size": size, "already_existed": result.already_existed}


command = Command(
    _configure,
    _run,
    """
hythe push registry.example.com/ann/app:1.2
hythe push -a registry.example.com/ann/app
""",
)
