"""What verbs on several containers print: each one's name as it was typed when it is done, or JSON at the end.

One that fails does not keep the others from their turn.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from hythe.cli.failure import report
from hythe.cli.output import add_json_flag, print_json
from hythe.containers.container import Container
from hythe.containers.errors import ContainerError


def configure_names(parser: ArgumentParser) -> None:
    """Add the containers' names and --json."""
    add_json_flag(parser)
    parser.add_argument("containers", metavar="CONTAINER", nargs="+", help="name or ID")


class Report:
    """Tells what was done, as the flags say."""

    def __init__(self, arguments: Namespace) -> None:
        self._is_json = bool(arguments.json)
        self._done: list[dict[str, str]] = []
        self._exit_code = 0

    def done(self, typed: str, container: Container) -> None:
        """One container is done."""
        self._done.append({"id": container.id, "name": container.name})
        if not self._is_json:
            print(typed, flush=True)

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Say what goes wrong with one container in the block, and go on; the first such decides the exit code."""
        try:
            yield
        except ContainerError as error:
            code = report(error)
            self._exit_code = self._exit_code or code

    def finish(self) -> int:
        """Print what is left to print; returns the exit code."""
        if self._is_json:
            print_json(self._done)
        return self._exit_code


def add_container_argument(parser: ArgumentParser) -> None:
    """Add the argument that names one container."""
    parser.add_argument("container", metavar="CONTAINER", help="name or ID")
