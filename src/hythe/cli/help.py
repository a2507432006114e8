"""``help``: show help for a verb."""

from argparse import ArgumentParser, Namespace

from hythe.cli.command import Command
from hythe.cli.main import find_verb, load, make_parser, overview


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("verb", nargs="?", metavar="VERB", help="verb to show help for (default: list all verbs)")


def _run(arguments: Namespace) -> int:
    if arguments.verb is None:
        print(overview())
        return 0
    verb = find_verb(arguments.verb)
    make_parser(verb, load(verb)).print_help()
    return 0


command = Command(_configure, _run, "hythe help pull\nhythe help push")
