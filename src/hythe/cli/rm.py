"""``rm``: remove containers."""

from argparse import ArgumentParser, Namespace

from hythe.cli.command import Command
from hythe.cli.container_images import open_store
from hythe.cli.container_report import ContainerReport, configure_names
from hythe.containers import lifecycle
from hythe.containers.container import Container
from hythe.containers.errors import NoSuchContainer
from hythe.containers.lifecycle import kill
from hythe.containers.namespace import become_root
from hythe.containers.store import ContainerStore


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("-f", "--force", action="store_true", help="kill running containers; ignore missing ones")
    parser.add_argument("-v", "--volumes", action="store_true", help="no effect: anonymous volumes are always removed")
    configure_names(parser)


def _run(arguments: Namespace) -> int:
    store, images = ContainerStore(), open_store()
    report = ContainerReport(arguments)
    found: list[tuple[str, Container]] = []
    for text in arguments.containers:
        with report.catch_error():
            container = _find(store, text, arguments.force)
            if container is not None and arguments.force:
                kill(
                    store, container
                )  # before become_root: signalling it needs the permissions outside the user namespace
            found += [(text, container)] if container is not None else []
    become_root()
    for text, container in found:
        with report.catch_error():
            lifecycle.remove(store, images, container)
            report.done(text, container)
    lifecycle.prune_layers(store, images)
    return report.finish()


def _find(store: ContainerStore, text: str, force: bool) -> Container | None:
    try:
        return store.find(text)
    except NoSuchContainer:
        if force:
            return None
        raise


command = Command(_configure, _run, "hythe rm web\nhythe rm -f $(hythe ps -aq)")
