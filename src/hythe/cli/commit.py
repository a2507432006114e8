"""``commit``: a new image of what a container changed."""

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
    parser.add_argument("-a", "--author", default="", help='author, such as "Ada <ada@example.com>"')
    parser.add_argument("-m", "--message", default="", help="why the image was made")
    parser.add_argument(
        "-c", "--change", action="append", default=[], metavar="INSTRUCTION", help="apply a Dockerfile instruction"
    )
    parser.add_argument(
        "-p", "--pause", action="store_true", default=True, help="halt the container meanwhile (the default)"
    )
    parser.add_argument("--no-pause", dest="pause", action="store_false", help="let the container run on meanwhile")
    add_json_flag(parser)
    parser.add_argument("container", metavar="CONTAINER", help="name or ID; docker:NAME or podman:NAME for theirs")
    parser.add_argument("name", metavar="REPOSITORY[:TAG]", nargs="?", default="", help="name of the new image")


def _commit(arguments: Namespace) -> int:
    order = CommitOptions(arguments.author, arguments.message, tuple(arguments.change), arguments.pause)
    host = load_configuration().default_registry
    name = _new_name(arguments.name, host) if arguments.name else None
    image_id = _commit_any(arguments.container, order, name)
    if arguments.json:
        print_json({"id": str(image_id), "name": str(name) if name else None})
    else:
        print(image_id)
    return 0


def _new_name(text: str, host: str) -> Reference:
    reference = Reference.parse(text, host)
    if reference.digest:
        raise CommandFailed("an image that is still to be made has no digest", "write REPOSITORY[:TAG]", 2)
    return reference.with_default_tag()


def _commit_any(text: str, order: CommitOptions, name: Reference | None) -> Digest:
    """Commit the container of ours that ``text`` names, else one of docker or podman."""
    store, images = ContainerStore(), open_store()
    try:
        container = store.find(text)
    except NoSuchContainer:
        from hythe.containers.engines import commit_external, find_engine

        engine, foreign = find_engine(text)
        return commit_external(engine, foreign, images, order, name)
    become_root()
    return commit_container(store, images, container, order, name)


command = Command(
    _configure,
    _commit,
    """hythe commit -m "with nginx" -a "Ada <ada@example.com>" web example.com/ada/web:1
hythe commit -c 'CMD ["nginx", "-g", "daemon off;"]' -c 'EXPOSE 80' web ada/web
hythe commit docker:web ada/web""",
)
