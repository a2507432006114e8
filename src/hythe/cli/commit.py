"""``commit``: create an image from the changes of a container."""

from argparse import ArgumentParser, Namespace

from hythe.cli.command import Command, CommandFailed
from hythe.cli.container_images import open_store
from hythe.cli.output import add_json_flag, print_json
from hythe.client.configuration import load_configuration
from hythe.containers.commit import CommitOptions
from hythe.containers.commit import commit as commit_container
from hythe.containers.errors import NoSuchContainer
from hythe.containers.namespace import become_root
from hythe.containers.store import ContainerStore
from hythe.oci.digest import Digest
from hythe.oci.reference import Reference


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("-a", "--author", default="", help='author of the image, such as "Ada <ada@example.com>"')
    parser.add_argument("-m", "--message", default="", help="commit message")
    parser.add_argument(
        "-c",
        "--change",
        action="append",
        default=[],
        metavar="INSTRUCTION",
        help="Dockerfile instruction to apply to the image",
    )
    parser.add_argument(
        "-p", "--pause", action="store_true", default=True, help="pause the container during the commit (default)"
    )
    parser.add_argument("--no-pause", dest="pause", action="store_false", help="do not pause the container")
    add_json_flag(parser)
    parser.add_argument(
        "container",
        metavar="CONTAINER",
        help="name or ID; docker:NAME or podman:NAME for a container of docker or podman",
    )
    parser.add_argument("name", metavar="REPOSITORY[:TAG]", nargs="?", default="", help="name of the new image")


def _run(arguments: Namespace) -> int:
    options = CommitOptions(arguments.author, arguments.message, tuple(arguments.change), arguments.pause)
    host = load_configuration().default_registry
    name = _new_name(arguments.name, host) if arguments.name else None
    image_id = _commit_any(arguments.container, options, name)
    if arguments.json:
        print_json({"id": str(image_id), "name": str(name) if name else None})
    else:
        print(image_id)
    return 0


def _new_name(text: str, host: str) -> Reference:
    reference = Reference.parse(text, host)
    if reference.digest:
        raise CommandFailed("cannot commit to a digest reference", "use REPOSITORY[:TAG]", 2)
    return reference.with_default_tag()


def _commit_any(text: str, options: CommitOptions, name: Reference | None) -> Digest:
    """Commit the container of hythe that ``text`` names; if there is none, that of docker or podman."""
    store, images = ContainerStore(), open_store()
    try:
        container = store.find(text)
    except NoSuchContainer:
        from hythe.containers.engines import commit_external, find_engine

        engine, external = find_engine(text)
        return commit_external(engine, external, images, options, name)
    become_root()
    return commit_container(store, images, container, options, name)


command = Command(
    _configure,
    _run,
    """hythe commit -m "with nginx" -a "Ada <ada@example.com>" web example.com/ada/web:1
hythe commit -c 'CMD ["nginx", "-g", "daemon off;"]' -c 'EXPOSE 80' web ada/web
hythe commit docker:web ada/web""",
)
