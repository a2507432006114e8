"""``inspect``: show details of images or containers as JSON."""

import json
from argparse import ArgumentParser, Namespace
from typing import Any

from hythe.cli.command import Command
from hythe.cli.failure import raise_last
from hythe.cli.images import config_of
from hythe.cli.output import add_json_flag
from hythe.client.client import Client
from hythe.client.errors import ClientError
from hythe.client.platforms import parse_platform
from hythe.client.store import LocalStore, StoredImage, known_digests
from hythe.oci.reference import Reference

_CONFIG = {"User": "", "WorkingDir": ""} | dict.fromkeys(("Env", "Cmd", "Entrypoint", "Volumes", "Labels", "OnBuild"))
"""Config fields that docker shows even if they are not set."""


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="+", help="name or ID prefix of a container or image")
    parser.add_argument(
        "-f", "--format", default="", metavar="TEMPLATE", help="format the output with a Go template, or 'json'"
    )
    parser.add_argument("--type", default="", choices=("container", "image"), help="type of object to inspect")
    parser.add_argument(
        "--platform", default="", metavar="OS/ARCH[/VARIANT]", help="show this platform of a multi-platform image"
    )
    add_json_flag(parser)


def _run(arguments: Namespace) -> int:
    from hythe.cli.container_inspect import find_container
    from hythe.containers.errors import ContainerError

    store = Client().store
    platform = parse_platform(arguments.platform) if arguments.platform else None
    objects: list[dict[str, Any]] = []
    errors: list[Exception] = []
    for name in arguments.names:
        try:
            container = (
                None if arguments.type == "image" else find_container(name, needed=arguments.type == "container")
            )
            objects.append(container or description(store, store.resolve(name, platform)))
        except (ClientError, ContainerError) as error:
            errors.append(error)
    _print_objects(objects, "" if arguments.json else arguments.format)
    raise_last(errors)
    return 0


def _print_objects(objects: list[dict[str, Any]], pattern: str) -> None:
    if not pattern:
        print(json.dumps(objects, indent=4, ensure_ascii=False))
        return
    from hythe.cli.template import Template

    template = Template("{{json .}}" if pattern == "json" else pattern)
    for one in objects:
        print(template.render(one))


def description(store: LocalStore, image: StoredImage) -> dict[str, Any]:
    """Return the fields of ``docker inspect`` for an image."""
    config = config_of(store, image)
    raw = json.loads(store.read_document(image.id))
    entry = image.entry
    return {
        "Id": str(image.id),
        "RepoTags": [name.familiar() for name in entry.references],
        "RepoDigests": [Reference.parse(text).familiar() for text in sorted(known_digests(entry))],
        "Parent": "",
        "Comment": config.history[-1].comment if config.history else "",
        "Created": config.created,
        "DockerVersion": "",
        "Author": config.author,
        "Config": {**_CONFIG, **(raw.get("config") or {})},
        "Architecture": config.architecture,
        "Variant": config.variant,
        "Os": config.os,
        "Size": image.size,
        "RootFS": {"Type": config.rootfs.type, "Layers": list(config.rootfs.diff_ids)},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
        "Descriptor": {
            "mediaType": entry.descriptor.media_type,
            "digest": entry.descriptor.digest,
            "size": entry.descriptor.size,
        },
        "Manifest": json.loads(image.manifest.content),
    }


command = Command(
    _configure,
    _run,
    """
hythe inspect busybox
hythe inspect --format '{{.Config.Env}}' busybox
hythe inspect --type container -f '{{.State.ExitCode}}' web
hythe inspect -f '{{range .RootFS.Layers}}{{println .}}{{end}}' busybox
""",
)
