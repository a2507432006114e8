"""What the verbs ``org``, ``team``, ``repo`` and ``token`` share: their verbs, the hub's address, and results."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from hythe.cli.command import CommandFailed
from hythe.cli.connection import add_hub_flags, connected, hub_host
from hythe.cli.output import add_json_flag, print_json
from hythe.cli.prompts import confirm, is_interactive
from hythe.oci.reference import split_host

if TYPE_CHECKING:
    from hythe.client.hub_api import JSONAPI

Handler: TypeAlias = "Callable[[JSONAPI, Namespace], int]"


class HubVerbs:
    """The verbs below a verb, such as ``create`` of ``hythe repo create``."""

    def __init__(self, parser: ArgumentParser) -> None:
        self._verbs = parser.add_subparsers(title="verbs", dest="verb", required=True, metavar="VERB")

    def add(self, name: str, summary: str, handler: Handler, *, json: bool = False) -> ArgumentParser:
        """Add a verb; ``json``: with the flag --json (the flags of lists have it, too)."""
        verb: ArgumentParser = self._verbs.add_parser(name, help=summary, description=f"{summary.capitalize()}.")
        add_hub_flags(verb)
        if json:
            add_json_flag(verb)
        verb.set_defaults(handler=handler)
        return verb

    @staticmethod
    def run(arguments: Namespace) -> int:
        """Run the chosen verb at the hub that ``--host``, or the host before ``name``, says."""
        from hythe.client.hub_api import JSONAPI

        named, rest = split_host(getattr(arguments, "name", ""))
        if named:
            arguments.name = rest
        if named and arguments.host not in ("", named):
            raise CommandFailed(f"two hubs are named: {named} and {arguments.host}", "omit --host", 2)
        with connected(arguments) as client:
            handler: Handler = arguments.handler
            return handler(JSONAPI(client, named or hub_host(client, arguments.host), rest), arguments)


def path_segment(name: str) -> str:
    """Return a name as one segment of a path."""
    from urllib.parse import quote

    return quote(name, safe="")


def split_name(name: str) -> tuple[str, str]:
    """Return namespace and name of a repository. Raises CommandFailed."""
    namespace, _, rest = name.partition("/")
    if not namespace or not rest:
        raise CommandFailed(f"{name!r} has no namespace", "use NAMESPACE/NAME", 2)
    return namespace, rest


def print_result(arguments: Namespace, value: Any, message: str) -> int:
    """Print a value as JSON if asked, else the message; return the exit code."""
    if arguments.json:
        print_json(value)
    else:
        print(message)
    return 0


def require_yes(arguments: Namespace, question: str) -> None:
    """Ask for confirmation unless the flag --yes is set. Raises CommandFailed if it is not given."""
    if arguments.yes:
        return
    if not is_interactive():
        raise CommandFailed("cannot ask for confirmation without a terminal", "use --yes", 2)
    if not confirm(question):
        raise CommandFailed("nothing was changed")
