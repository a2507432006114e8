"""``run``, ``create`` and ``start``: create and start containers."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from hythe.cli import container_options
from hythe.cli.command import Command, CommandFailed
from hythe.cli.container_images import find_image, open_store
from hythe.cli.container_report import ContainerReport, configure_names
from hythe.cli.failure import message_of
from hythe.cli.output import add_json_flag, print_message
from hythe.client.errors import ClientError
from hythe.client.store import LocalStore
from hythe.containers import lifecycle
from hythe.containers.container import Container, ContainerState
from hythe.containers.errors import CannotStart, ContainerError
from hythe.containers.namespace import become_root
from hythe.containers.network import BRIDGE
from hythe.containers.network_files import has_resolver
from hythe.containers.stdio import Attachment
from hythe.containers.store import ContainerStore
from hythe.containers.supervise import supervise, supervise_detached
from hythe.oci.errors import OCIError

NOT_STARTED = 125
"""Exit code of ``run`` if the container could not start, as in docker."""
_STREAMS = ("stdin", "stdout", "stderr")
"""In the order of their file descriptors."""


def _configure_run(parser: ArgumentParser) -> None:
    parser.add_argument("-d", "--detach", action="store_true", help="run in the background and print the ID")
    parser.add_argument(
        "-a",
        "--attach",
        action="append",
        choices=_STREAMS,
        help="attach only this stream (default: all; stdin with -i)",
    )
    container_options.configure(parser)


def _run(arguments: Namespace) -> int:
    try:
        become_root()
        store, images = ContainerStore(), open_store()
        _check_terminal(arguments)
        container = _create(store, images, arguments)
        if not arguments.detach:
            return _attach(store, images, container, _attachment(container, arguments.attach or _STREAMS))
        _start_detached(store, images, container)
        print(container.id)
        return 0
    except (ContainerError, ClientError, OCIError, OSError) as error:
        code = error.exit_code if isinstance(error, CannotStart) else NOT_STARTED
        raise CommandFailed(message_of(error), getattr(error, "hint", ""), code) from error


def _check_terminal(arguments: Namespace) -> None:
    if arguments.attach and arguments.detach:
        raise CommandFailed("conflicting options: -a and -d", "use only one of them", NOT_STARTED)
    if arguments.tty and arguments.interactive and not arguments.detach and not sys.stdin.isatty():
        raise CommandFailed("the input device is not a terminal", "use -i without -t", NOT_STARTED)


def _create(store: ContainerStore, images: LocalStore, arguments: Namespace) -> Container:
    options = container_options.parse_options(arguments)
    image = find_image(images, arguments.image, arguments.platform, arguments.pull, quiet=arguments.quiet)
    if options.host.network == BRIDGE and not options.host.dns and not has_resolver():
        print_message("note: the container has no DNS server, as it cannot reach the host's: choose one with --dns")
    if not arguments.cidfile:
        return lifecycle.create(store, images, image, options)
    with Path(arguments.cidfile).open("x") as file:  # a file that exists belongs to another container
        container = lifecycle.create(store, images, image, options)
        file.write(container.id)
    return container


def _start_detached(store: ContainerStore, images: LocalStore, container: Container) -> None:
    def ended() -> None:
        if container.host.auto_remove:
            lifecycle.remove(store, images, container)

    try:
        supervise_detached(store, container, ended)
    except CannotStart:
        ended()
        raise


def _attachment(container: Container, streams: Sequence[str]) -> Attachment:
    """Return the streams to attach; stdin only if the container was created with -i."""
    wanted = [name for name in streams if name != "stdin" or container.host.interactive]
    return Attachment(*(number if name in wanted else -1 for number, name in enumerate(_STREAMS)))


def _attach(store: ContainerStore, images: LocalStore, container: Container, attachment: Attachment) -> int:
    try:
        return supervise(store, container, attachment)
    finally:
        if container.host.auto_remove:
            lifecycle.remove(store, images, container)


run = Command(
    _configure_run,
    _run,
    """hythe run --rm -it debian bash
hythe run -d --name web -v ./site:/site:ro -e PORT=8000 example.com/web
hythe run -d --name web2 -p 127.0.0.1:8080:80 example.com/web
hythe run --network none --read-only --cap-drop ALL busybox id""",
    NOT_STARTED,
)


def _configure_create(parser: ArgumentParser) -> None:
    add_json_flag(parser)
    container_options.configure(parser)


def _create_only(arguments: Namespace) -> int:
    become_root()
    container = _create(ContainerStore(), open_store(), arguments)
    report = ContainerReport(arguments)
    report.done(container.id, container)
    return report.finish()


create = Command(_configure_create, _create_only, "hythe create --name web -e PORT=8000 example.com/web")


def _configure_start(parser: ArgumentParser) -> None:
    parser.add_argument("-a", "--attach", action="store_true", help="attach stdout and stderr and forward signals")
    parser.add_argument("-i", "--interactive", action="store_true", help="attach stdin")
    configure_names(parser)


def _start(arguments: Namespace) -> int:
    become_root()
    store, images = ContainerStore(), open_store()
    if arguments.attach or arguments.interactive:
        if len(arguments.containers) > 1:
            raise CommandFailed("cannot attach to more than one container", "leave out -a and -i")
        container = store.find(arguments.containers[0])
        streams = _STREAMS if arguments.interactive else ("stdout", "stderr")
        return _attach(store, images, container, _attachment(container, streams))
    report = ContainerReport(arguments)
    for text in arguments.containers:
        with report.catch_error():
            container = store.find(text)
            if store.status(container).state is not ContainerState.RUNNING:  # like docker, skip a running container
                _start_detached(store, images, container)
            report.done(text, container)
    return report.finish()


start = Command(_configure_start, _start, "hythe start web\nhythe start -a -i my_shell")
