"""``tags``: list the tags of a repository."""

from argparse import ArgumentParser, Namespace

from hythe.cli.command import Command
from hythe.cli.connection import add_connection_flags, connected
from hythe.cli.output import add_json_flag, on_one_line, print_json, print_lines


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="name of the repository")
    add_json_flag(parser)
    add_connection_flags(parser)


def _run(arguments: Namespace) -> int:
    with connected(arguments) as client:
        reference = client.reference(arguments.name)
        found = client.repository(reference).tags()
        if arguments.json:
            print_json({"name": f"{reference.host}/{reference.repository}", "tags": list(found)})
        else:
            print_lines(map(on_one_line, found))
    return 0


command = Command(_configure, _run, "hythe tags registry.example.com/ann/app\nhythe tags --json busybox")
