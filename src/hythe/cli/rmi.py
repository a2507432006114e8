"""``rmi``: remove images."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from hythe.cli.command import Command
from hythe.cli.failure import raise_last
from hythe.cli.output import add_json_flag, print_json, print_message
from hythe.client.client import Client
from hythe.client.errors import ClientError, RemoteConflict
from hythe.client.store import LocalStore, StoreEntry, known_digests
from hythe.oci.digest import Digest
from hythe.oci.errors import OCIError
from hythe.oci.reference import Reference


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="name or ID prefix of the image")
    parser.add_argument("-f", "--force", action="store_true", help="remove an image by ID even if it has several names")
    parser.add_argument("--no-prune", action="store_true", help="no effect: hythe stores no parent images")
    add_json_flag(parser)


def _run(arguments: Namespace) -> int:
    client = Client()
    done: list[dict[str, str]] = []
    errors: list[ClientError] = []
    for text in arguments.images:
        try:
            for step in _remove(client, text, force=arguments.force):
                done.append(step)
                if not arguments.json:
                    print("; ".join(f"{key}: {value}" for key, value in step.items()), flush=True)
        except ClientError as error:
            errors.append(error)
    if arguments.json:
        print_json(done)
    if done:
        _prune_layers(client.store)
    raise_last(errors)
    return 0


def _prune_layers(images: LocalStore) -> None:
    """Remove the unpacked layers of removed images. If it is not possible, the next removal does it."""
    from hythe.containers import lifecycle
    from hythe.containers.errors import ContainerError
    from hythe.containers.namespace import become_root
    from hythe.containers.store import ContainerStore

    store = ContainerStore()
    if not (store.folder / "layers").is_dir():
        return
    try:
        become_root()
        lifecycle.prune_layers(store, images)
    except ContainerError as error:
        print_message(f"WARNING: unpacked layers of removed images stay in {store.folder / 'layers'}: {error}")


def _remove(client: Client, text: str, *, force: bool) -> Iterator[dict[str, str]]:
    """Remove a name, and with the last name the image. An ID removes the image with its only name, or all with force.

    If several entries have the ID, those without a name go first: ``images -f dangling=true`` lists such IDs.
    """
    store = client.store
    found = store.find_entry(text)
    typed = _typed_name(client, text)
    if typed in found.references:
        if len(found.names) == 1:
            yield from _remove_entry(store, found, text, force=force)
        else:
            store.untag(typed)
            yield {"Untagged": typed.familiar()}
        return
    entries = store.with_id(text) or (found,)
    nameless = [entry for entry in entries if not entry.names]
    for entry in entries if force else nameless or entries:
        yield from _remove_entry(store, entry, text, force=force)


def _remove_entry(store: LocalStore, entry: StoreEntry, text: str, *, force: bool) -> Iterator[dict[str, str]]:
    names = entry.references
    image_id = _id_of(store, entry)
    if len(names) > 1 and not force:
        raise RemoteConflict(
            f"unable to delete {image_id.short} (must be forced) - image is referenced in multiple repositories",
            f"'hythe rmi -f {text}' removes it with all its names",
        )
    deleted = store.remove(entry)
    for name in names:
        yield {"Untagged": name.familiar()}
    for digest in sorted(known_digests(entry)):
        yield {"Untagged": Reference.parse(digest).familiar()}
    yield {"Deleted": str(image_id)}
    yield from ({"Deleted": str(digest)} for digest in deleted if digest != image_id)


def _id_of(store: LocalStore, entry: StoreEntry) -> Digest:
    """Return the image's ID; the digest of an image that is incomplete or invalid, which can be removed, too."""
    try:
        return store.load(entry).id
    except (ClientError, OCIError):
        return entry.descriptor.parsed_digest


def _typed_name(client: Client, text: str) -> Reference | None:
    try:
        return client.reference(text).with_default_tag()
    except OCIError:
        return None


command = Command(_configure, _run, "hythe rmi busybox\nhythe rmi -f 5f70bf18")
