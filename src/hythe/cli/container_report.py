"""Output of verbs that take several containers: each name when it is done, or JSON at the end.

If one container fails, the verb continues with the others.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from hythe.cli.failure import report
from hythe.cli.output import add_json_flag, print_json
from hythe.containers.container import Container
from hythe.containers.errors import ContainerError


def configure_names(parser: ArgumentParser) -> None:
    """Add the arguments for the names of containers, and --json."""
    add_json_flag(parser)
    parser.add_argument("containers", metavar="CONTAINER", nargs="+", help="name or ID")


class ContainerReport:
    """Prints the result for each container, or collects them for --json."""

    def __init__(self, arguments: Namespace) -> None:
        self._is_json = bool(arguments.json)
        self._done: list[dict[str, str]] = []
        self._exit_code = 0

    def done(self, typed: str, container: Container) -> None:
        """Record that one container is done."""
        self._done.append({"id": container.id, "name": container.name})
        if not self._is_json:
            print(typed, flush=True)

    @contextmanager
    def catch_error(self) -> Iterator[None]:
        """ContainerReport an error of one container and continue. The first error decides the exit code."""
        try:
            yield
        except ContainerError as error:
            code = report(error)
            self._exit_code = self._exit_code or code

    def finish(self) -> int:
        """Print the JSON if requested; returns the exit code."""
        if self._is_json:
            print_json(self._done)
        return self._exit_code


def add_container_argument(parser: ArgumentParser) -> None:
    """Add the argument that names one container."""
    parser.add_argument("container", metavar="CONTAINER", help="name or ID")
