"""``images``: list local images."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from fnmatch import fnmatchcase

from hythe.cli.command import Command
from hythe.cli.output import (
    Column,
    Row,
    add_list_flags,
    has_label,
    parse_boolean,
    parse_filters,
    print_list,
)
from hythe.cli.units import docker_time, human_age, human_size
from hythe.client.client import Client
from hythe.client.errors import RemoteNotFound
from hythe.client.store import LocalStore, StoredImage, StoreEntry, known_digests
from hythe.oci.config import ImageConfig
from hythe.oci.errors import OCIError
from hythe.oci.reference import Reference

NONE = "<none>"
COLUMNS = (
    Column("REPOSITORY", "Repository"),
    Column("TAG", "Tag"),
    Column("IMAGE ID", "ID"),
    Column("CREATED", "CreatedSince"),
    Column("SIZE", "Size"),
)
DIGEST_COLUMN = Column("DIGEST", "Digest")
FILTERS = ("dangling", "label", "reference", "before", "since")


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "repository", nargs="?", default="", metavar="REPOSITORY[:TAG]", help="show only images with this name"
    )
    parser.add_argument("-a", "--all", action="store_true", help="no effect: hythe stores no intermediate images")
    parser.add_argument("--digests", action="store_true", help="show digests")
    parser.add_argument(
        "-f", "--filter", action="append", default=[], metavar="KEY=VALUE", help=f"filter by {', '.join(FILTERS)}"
    )
    add_list_flags(parser, quiet="print only IDs")


def _run(arguments: Namespace) -> int:
    client = Client()
    filters = parse_filters(arguments.filter, FILTERS)
    chosen = [image for image in _newest_first(client.store) if _matches_filters(client.store, image, filters)]
    patterns = [*filters.get("reference", []), *([arguments.repository] if arguments.repository else [])]
    rows = [row for image in chosen for row in _rows(client.store, image, patterns, full=arguments.no_trunc)]
    if arguments.json:
        rows = list({row.data["id"]: row for row in rows}.values())
    if arguments.quiet and not arguments.format:
        rows = list({row.fields["ID"]: row for row in rows}.values())
    columns = (*COLUMNS[:2], DIGEST_COLUMN, *COLUMNS[2:]) if arguments.digests else COLUMNS
    print_list(rows, columns, arguments)
    return 0


def config_of(store: LocalStore, image: StoredImage) -> ImageConfig:
    """Return an image's configuration, or an empty one for an artifact."""
    try:
        return store.read_config(image)
    except (RemoteNotFound, OCIError):
        return ImageConfig()


def _newest_first(store: LocalStore) -> list[StoredImage]:
    return sorted(store.images(), key=lambda image: config_of(store, image).created, reverse=True)


def _matches_filters(store: LocalStore, image: StoredImage, filters: dict[str, list[str]]) -> bool:
    config = config_of(store, image)
    labels = config.config.labels if config.config else None
    if not all(has_label(labels, wanted) for wanted in filters.get("label", [])):
        return False
    dangling = not image.entry.names and not image.entry.repository_digests
    if any(parse_boolean(text) != dangling for text in filters.get("dangling", [])):
        return False
    newer = all(config.created > _created(store, text) for text in filters.get("since", []))
    older = all(config.created < _created(store, text) for text in filters.get("before", []))
    return newer and older


def _created(store: LocalStore, text: str) -> str:
    return config_of(store, store.resolve(text)).created


def _rows(store: LocalStore, image: StoredImage, patterns: list[str], *, full: bool) -> Iterator[Row]:
    """Yield a row for each name, and for each repository that the image was pulled from by digest only."""
    config = config_of(store, image)
    for repository, tag, digest in _names_and_digests(image.entry):
        if patterns and not any(_matches(pattern, repository, tag) for pattern in patterns):
            continue
        fields = {
            "Repository": repository,
            "Tag": tag,
            "ID": str(image.id) if full else image.id.short,
            "Digest": digest,
            "CreatedSince": human_age(config.created),
            "CreatedAt": docker_time(config.created),
            "Size": human_size(image.size),
            "VirtualSize": human_size(image.size),
            **dict.fromkeys(("Containers", "SharedSize", "UniqueSize"), "N/A"),
        }
        data = {
            "id": str(image.id),
            "names": list(image.entry.names),
            "repository_digests": sorted(known_digests(image.entry)),
            "created": config.created,
            "size": image.size,
            "platform": "/".join(filter(None, (config.os, config.architecture, config.variant))),
        }
        yield Row(fields, data)


def _names_and_digests(entry: StoreEntry) -> list[tuple[str, str, str]]:
    """Return the repository, tag and digest of each row."""
    digests = {text.partition("@")[0]: text.partition("@")[2] for text in sorted(known_digests(entry))}
    named = [
        (name.familiar_name, name.tag or NONE, digests.get(f"{name.host}/{name.repository}", NONE))
        for name in entry.references
    ]
    shown = {f"{name.host}/{name.repository}" for name in entry.references}
    bare = [
        (Reference.parse(repository).familiar_name, NONE, digest)
        for repository, digest in digests.items()
        if repository not in shown and not named
    ]
    return [*named, *bare] or [(NONE, NONE, NONE)]


def _matches(pattern: str, repository: str, tag: str) -> bool:
    """Whether a row matches ``NAME[:TAG]`` with wildcards, like docker's ``reference`` filter and argument."""
    return _matches_components(pattern, repository) or _matches_components(pattern, f"{repository}:{tag}")


def _matches_components(pattern: str, name: str) -> bool:
    """Whether a name matches component by component: a wildcard does not match a slash."""
    patterns, parts = pattern.split("/"), name.split("/")
    return len(patterns) == len(parts) and all(map(fnmatchcase, parts, patterns))


command = Command(
    _configure,
    _run,
    """
hythe images
hythe images 'ann/*' --filter dangling=false
hythe images --format '{{.Repository}}:{{.Tag}} {{.Size}}'
hythe images --json
""",
)
