"""What verbs on several containers print: each one's name as it was typed when it is done, or JSON at the end."""

from argparse import ArgumentParser, Namespace

from hythe.cli.output import add_json_flag, print_json
from hythe.containers.container import Container


def configure_names(parser: ArgumentParser) -> None:
    """Add the containers' names and --json."""
    add_json_flag(parser)
    parser.add_argument("containers", metavar="CONTAINER", nargs="+", help="name or ID")


class Report:
    """Tells what was done, as the flags say."""

    def __init__(self, arguments: Namespace) -> None:
        self._is_json = bool(arguments.json)
        self._done: list[dict[str, str]] = []

    def done(self, typed: str, container: Container) -> None:
        """One container is done."""
        self._done.append({"id": container.id, "name": container.name})
        if not self._is_json:
            print(typed, flush=True)

    def finish(self) -> int:
        """Print what is left to print; returns the exit code."""
        if self._is_json:
            print_json(self._done)
        return 0
