"""The ``hythe`` command: look up the verb in a table, import its module and run it.

This module imports very little, so that the command starts fast.
"""

import os
import sys
from argparse import REMAINDER, Action, ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import NoReturn

from hythe.cli.command import Command, CommandFailed, Verb

USAGE = 2
"""Exit code of a usage error, such as an unknown flag."""

GROUPS = {
    "images": "Images",
    "registries": "Registries and hubs",
    "containers": "Containers",
    "server": "Your own hub",
    "command": "This command",
}
"""Headings of the help, in display order."""

VERBS: tuple[Verb, ...] = (
    Verb("pull", "hythe.cli.pull:command", "Download an image from a registry", "images"),
    Verb("push", "hythe.cli.push:command", "Upload an image to a registry", "images"),
    Verb("images", "hythe.cli.images:command", "List local images", "images"),
    Verb("tag", "hythe.cli.tag:command", "Create a new name for an image", "images"),
    Verb("rmi", "hythe.cli.rmi:command", "Remove images", "images"),
    Verb("inspect", "hythe.cli.inspect:command", "Show details of images or containers as JSON", "images"),
    Verb("history", "hythe.cli.history:command", "Show the history of an image", "images"),
    Verb("save", "hythe.cli.save:command", "Save images to a tar archive", "images"),
    Verb("load", "hythe.cli.load:command", "Load images from a tar archive", "images"),
    Verb("copy", "hythe.cli.copy:command", "Copy an image between registries, folders and files", "images"),
    Verb("search", "hythe.cli.search:command", "Search a hub for repositories", "registries"),
    Verb("tags", "hythe.cli.tags:command", "List the tags of a repository", "registries"),
    Verb("register", "hythe.cli.login:register", "Create an account on a hub", "registries"),
    Verb("login", "hythe.cli.login:login", "Log in to a registry", "registries"),
    Verb("logout", "hythe.cli.login:logout", "Log out from a registry", "registries"),
    Verb("org", "hythe.cli.org:command", "Manage organizations and their members", "registries"),
    Verb("team", "hythe.cli.team:command", "Manage the teams of an organization", "registries"),
    Verb("token", "hythe.cli.token:command", "Manage personal access tokens", "registries"),
    Verb("repo", "hythe.cli.repo:command", "Manage the repositories of a hub", "registries"),
    Verb("api", "hythe.cli.api:command", "Send a request to a hub's JSON API", "registries"),
    Verb("run", "hythe.cli.run:run", "Create and run a container from an image", "containers"),
    Verb("create", "hythe.cli.run:create", "Create a container without starting it", "containers"),
    Verb("start", "hythe.cli.run:start", "Start stopped containers", "containers"),
    Verb("ps", "hythe.cli.ps:command", "List containers", "containers"),
    Verb("logs", "hythe.cli.logs:command", "Fetch the logs of a container", "containers"),
    Verb("stop", "hythe.cli.stop:command", "Stop running containers", "containers"),
    Verb("rm", "hythe.cli.rm:command", "Remove containers", "containers"),
    Verb("diff", "hythe.cli.diff:command", "List changes to the files of a container", "containers"),
    Verb("export", "hythe.cli.export:command", "Export the files of a container as a tar archive", "containers"),
    Verb("commit", "hythe.cli.commit:command", "Create an image from the changes of a container", "containers"),
    Verb("serve", "hythe.cli.serve:command", "Start a hub with its web pages", "server"),
    Verb("admin", "hythe.cli.admin:command", "Manage a hub: accounts, upgrades, garbage collection", "server"),
    Verb("registry", "hythe.cli.registry:command", "Start or manage a private registry without accounts", "server"),
    Verb("worker", "hythe.cli.worker:command", "Run Trusted Builds for a hub", "server"),
    Verb("settings", "hythe.cli.settings:command", "List all settings with their values and sources", "server"),
    Verb("builds", "hythe.cli.builds:command", "Manage Trusted Builds", "registries"),
    Verb("verify", "hythe.cli.verify:command", "Verify the provenance of an image", "registries"),
    Verb("config", "hythe.cli.config:command", "Manage the settings of the client", "command"),
    Verb("completion", "hythe.cli.completion:command", "Generate a shell completion script", "command"),
    Verb("help", "hythe.cli.help:command", "Show help for a verb", "command"),
)
"""Every verb, in the order of the help. Dispatch, help and shell completion use this table."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``hythe`` with ``arguments`` (default: those of the process). Returns the exit code (docs/exit-codes.md)."""
    if sys.stdout.isatty() or sys.stderr.isatty():
        from hythe.cli.escaping import protect_terminal

        protect_terminal()
    try:
        code = dispatch(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()  # so that an error is reported, such as a full disk
        return code
    except (Exception, KeyboardInterrupt) as error:
        from hythe.cli.failure import report

        return report(error)


def dispatch(arguments: list[str]) -> int:
    """Run the verb that ``arguments`` name. Raises what the verb raises."""
    first = arguments[0] if arguments else "--help"
    if first in ("-h", "--help") or arguments == ["help"]:
        print(overview())
        return 0
    if first in ("-v", "--version", "version"):
        from importlib.metadata import version

        print(f"hythe {version('hythe')}")
        return 0
    verb = find_verb(first, next(iter(arguments[1:]), ""))
    command = load(verb)
    parser = make_parser(verb, command)
    return command.run(parser.parse_args(normalize_switches(parser, arguments[1:])))


def find_verb(name: str, following: str = "") -> Verb:
    """Return the row of the verb ``name``. Raises CommandFailed with a hint: what to use instead, or the closest verb.

    ``following`` is the next word of the command line.
    """
    for verb in VERBS:
        if verb.name == name:
            return verb
    from difflib import get_close_matches

    from hythe.cli.docker_verbs import docker_hint

    names = [verb.name for verb in VERBS]
    near = get_close_matches(name, names, 1)
    guess = f"did you mean 'hythe {near[0]}'?" if near else "'hythe --help' lists all verbs"
    raise CommandFailed(f"unknown verb {name!r}", docker_hint(name, following, names) or guess, USAGE)


def load(verb: Verb) -> Command:
    """Import the verb's module and return its command."""
    module, _, name = verb.target.partition(":")
    command = getattr(import_module(module), name)
    if not isinstance(command, Command):
        raise TypeError(f"{verb.target} is not a Command")
    return command


class _Parser(ArgumentParser):
    usage_code = USAGE

    def error(self, message: str) -> NoReturn:
        """Raise CommandFailed with a hint that names the verb's help."""
        verb = self.prog.partition(" ")[2]
        raise CommandFailed(message, f"'hythe help {verb.split()[0]}' shows flags and examples", self.usage_code)


class _Help(RawDescriptionHelpFormatter):
    """Help text as wide as the terminal. argparse would import shutil for the width, which takes 4 ms."""

    def __init__(self, prog: str) -> None:
        try:
            columns = int(os.environ.get("COLUMNS") or os.get_terminal_size().columns)
        except (ValueError, OSError):
            columns = 80
        super().__init__(prog, width=columns - 2)


def make_parser(verb: Verb, command: Command) -> ArgumentParser:
    """Return the parser of one verb. Its help ends with examples."""
    examples = command.examples.strip()
    parser = _Parser(
        prog=f"hythe {verb.name}",
        description=f"{verb.summary}.",
        epilog="examples:\n" + "\n".join(f"  {line}" for line in examples.splitlines()) if examples else None,
        formatter_class=_Help,
        allow_abbrev=False,
        conflict_handler="resolve",  # -h is --hostname in docker run
    )
    parser.usage_code = command.usage_code
    command.configure(parser)
    return parser


def normalize_switches(parser: ArgumentParser, arguments: Sequence[str]) -> list[str]:
    """Return ``arguments`` with docker's ``--rm=true`` in the form that argparse accepts; ``=false`` clears a switch.

    Only flags before the first argument change: later arguments can belong to the program in a container.
    """
    known = {name: action for action in parser._actions for name in action.option_strings}
    normalized: list[str] = []
    for number, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        action = known.get(name)
        if not _is_flag(argument, normalized[-1:], known):
            runs_program = any(action.nargs == REMAINDER for action in parser._actions)
            # Only arguments follow. Without the added "--", argparse would remove a "--" that belongs to the program.
            return [*normalized, *(["--"] if runs_program and argument != "--" else []), *arguments[number:]]
        if not equals or action is None or action.nargs != 0 or value.lower() not in _BOOLEANS:
            normalized.append(argument)
        elif _BOOLEANS[value.lower()]:
            normalized.append(name)
        else:
            parser.set_defaults(**{action.dest: False})
    return normalized


_BOOLEANS = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}


def _is_flag(argument: str, before: Sequence[str], known: Mapping[str, Action]) -> bool:
    """Whether an argument is a flag or the value of the flag ``before``; ``-dp`` is ``-d`` and ``-p`` with a value."""
    if argument.startswith("-") and argument != "--":
        return True
    last = before[0] if before else ""
    if len(last) > 2 and last.startswith("-") and not last.startswith("--"):
        last = f"-{last[-1]}" if all(f"-{letter}" in known for letter in last[1:]) else ""
    action = known.get(last)
    return action is not None and action.nargs is None


def overview() -> str:
    """Return the help of the whole command."""
    lines = [
        "usage: hythe VERB [flags] [arguments]",
        "",
        "Share container images with your own hub, or use any registry.",
    ]
    width = max(len(verb.name) for verb in VERBS)
    for group, heading in GROUPS.items():
        rows = [f"  {verb.name:<{width}}  {verb.summary}" for verb in VERBS if verb.group == group]
        lines += ["", f"{heading}:", *rows] if rows else []
    return "\n".join([*lines, "", "Run 'hythe help VERB' for the flags and examples of a verb."])


if __name__ == "__main__":
    sys.exit(main())
