"""``hythe``: finds the verb in a table, imports its module, runs it. Starts fast, so it imports next to nothing."""

import os
import sys
from argparse import REMAINDER, Action, ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import NoReturn

from hythe.cli.command import Command, CommandFailed, Verb

USAGE = 2
"""Exit code of a wrong flag or a missing argument."""

GROUPS = {
    "images": "Images",
    "registries": "Registries and hubs",
    "containers": "Containers",
    "server": "Your own hub",
    "command": "This command",
}
"""Headings of the help, in order."""

VERBS: tuple[Verb, ...] = (
    Verb("pull", "hythe.cli.pull:command", "Get an image from a registry", "images"),
    Verb("push", "hythe.cli.push:command", "Send an image to a registry", "images"),
    Verb("images", "hythe.cli.images:images", "List the images that are here", "images"),
    Verb("tag", "hythe.cli.images:tag", "Give an image another name", "images"),
    Verb("rmi", "hythe.cli.images:rmi", "Remove images", "images"),
    Verb("inspect", "hythe.cli.inspect:inspect", "Show all about an image or container, as JSON", "images"),
    Verb("history", "hythe.cli.history:history", "Show how an image was made", "images"),
    Verb("save", "hythe.cli.save:save", "Write images to a file", "images"),
    Verb("load", "hythe.cli.load:load", "Read images from a file", "images"),
    Verb("copy", "hythe.cli.copy:copy", "Copy an image between registries, folders and files", "images"),
    Verb("search", "hythe.cli.search:command", "Search a hub for repositories", "registries"),
    Verb("tags", "hythe.cli.tags:tags", "List the tags of a repository", "registries"),
    Verb("register", "hythe.cli.login:register", "Make an account at a hub", "registries"),
    Verb("login", "hythe.cli.login:login", "Log in to a registry", "registries"),
    Verb("logout", "hythe.cli.login:logout", "Forget the credentials of a registry", "registries"),
    Verb("run", "hythe.cli.run:run", "Make a container of an image and run it", "containers"),
    Verb("create", "hythe.cli.run:create", "Make a container, without running it", "containers"),
    Verb("start", "hythe.cli.run:start", "Run containers that are stopped", "containers"),
    Verb("ps", "hythe.cli.ps:command", "List containers", "containers"),
    Verb("logs", "hythe.cli.logs:logs", "Show what a container wrote", "containers"),
    Verb("stop", "hythe.cli.stop:stop", "Stop running containers", "containers"),
    Verb("rm", "hythe.cli.rm:rm", "Remove containers", "containers"),
    Verb("diff", "hythe.cli.diff:diff", "List what a container changed in its files", "containers"),
    Verb("export", "hythe.cli.export:export", "Write a container's files as a tar archive", "containers"),
    Verb("commit", "hythe.cli.commit:command", "Make an image of what a container changed", "containers"),
    Verb("serve", "hythe.cli.serve:command", "Start the hub with its web page", "server"),
    Verb("admin", "hythe.cli.admin:command", "Accounts, upgrades, garbage, verification of a hub", "server"),
    Verb("registry", "hythe.cli.registry:command", "Start a private registry: no accounts, no index", "server"),
    Verb("worker", "hythe.cli.worker:command", "Carry out Trusted Builds for a hub", "server"),
    Verb("settings", "hythe.cli.settings:command", "Print every setting, where it came from, what it means", "server"),
    Verb("builds", "hythe.cli.builds:command", "Set up, start and follow Trusted Builds", "registries"),
    Verb("verify", "hythe.cli.verify:command", "Say which commit an image was built from", "registries"),
    Verb("config", "hythe.cli.config:command", "Read and change the client's settings", "command"),
    Verb("completion", "hythe.cli.completion:command", "Print what completes hythe's words in a shell", "command"),
    Verb("help", "hythe.cli.help:command", "Show a verb's flags, with examples", "command"),
)
"""Every verb, in the order of the help. Help, dispatch and shell completion are made from this table."""


def main(words: Sequence[str] | None = None) -> int:
    """Run ``hythe`` with ``words`` (default: the process's own); returns the exit code (see docs/exit-codes.md)."""
    try:
        return dispatch(list(sys.argv[1:] if words is None else words))
    except (Exception, KeyboardInterrupt) as error:
        from hythe.cli.failure import report

        return report(error)


def dispatch(words: list[str]) -> int:
    """Run what ``words`` say; raises whatever the verb raises."""
    first = words[0] if words else "--help"
    if first in ("-h", "--help") or words == ["help"]:
        print(overview())
        return 0
    if first in ("-v", "--version", "version"):
        from importlib.metadata import version

        print(f"hythe {version('hythe')}")
        return 0
    verb = find_verb(first)
    command = load(verb)
    parser = make_parser(verb, command)
    return command.run(parser.parse_args(plain_switches(parser, words[1:])))


def find_verb(name: str) -> Verb:
    """Return the row of the verb ``name``; raises CommandFailed naming what comes nearest."""
    for verb in VERBS:
        if verb.name == name:
            return verb
    from difflib import get_close_matches

    near = get_close_matches(name, [verb.name for verb in VERBS], 1)
    hint = f"did you mean 'hythe {near[0]}'?" if near else "'hythe --help' lists all verbs"
    raise CommandFailed(f"{name!r} is not a verb of hythe", hint, USAGE)


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
        """Say what is wrong with the words, and where the right ones are to be found."""
        verb = self.prog.partition(" ")[2]
        raise CommandFailed(message, f"'hythe help {verb.split()[0]}' shows flags and examples", self.usage_code)


class _Help(RawDescriptionHelpFormatter):
    """As wide as the terminal. argparse would import shutil to find out, at every flag of every verb: 4 ms."""

    def __init__(self, prog: str) -> None:
        try:
            columns = int(os.environ.get("COLUMNS") or os.get_terminal_size().columns)
        except (ValueError, OSError):
            columns = 80
        super().__init__(prog, width=columns - 2)


def make_parser(verb: Verb, command: Command) -> ArgumentParser:
    """Return the parser of one verb, whose help ends in examples."""
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


def plain_switches(parser: ArgumentParser, words: Sequence[str]) -> list[str]:
    """Return ``words`` with docker's ``--rm=true`` spelled as argparse wants it; ``=false`` turns a switch off.

    Only flags are looked at, not what belongs to them, and nothing after the first argument: it may be a program's.
    """
    known = {name: action for action in parser._actions for name in action.option_strings}
    plain: list[str] = []
    for number, word in enumerate(words):
        name, equals, value = word.partition("=")
        action = known.get(name)
        if not _is_flag(word, plain[-1:], known):
            runs_program = any(action.nargs == REMAINDER for action in parser._actions)
            # All that follows is arguments; without the mark argparse would swallow a "--" that is the program's.
            return [*plain, *(["--"] if runs_program and word != "--" else []), *words[number:]]
        if not equals or action is None or action.nargs != 0 or value.lower() not in _TRUTHS:
            plain.append(word)
        elif _TRUTHS[value.lower()]:
            plain.append(name)
        else:
            parser.set_defaults(**{action.dest: False})
    return plain


_TRUTHS = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}


def _is_flag(word: str, before: Sequence[str], known: Mapping[str, Action]) -> bool:
    """Whether a word is a flag or the value of the one ``before``; ``-dp`` is ``-d`` and a ``-p`` that awaits one."""
    if word.startswith("-") and word != "--":
        return True
    last = before[0] if before else ""
    if len(last) > 2 and last.startswith("-") and not last.startswith("--"):
        last = f"-{last[-1]}" if all(f"-{letter}" in known for letter in last[1:]) else ""
    action = known.get(last)
    return action is not None and action.nargs is None


def overview() -> str:
    """Return the help of the whole command."""
    lines = ["usage: hythe VERB [flags] [arguments]", "", "Share container images: your own hub, and its client."]
    width = max(len(verb.name) for verb in VERBS)
    for group, heading in GROUPS.items():
        rows = [f"  {verb.name:<{width}}  {verb.summary}" for verb in VERBS if verb.group == group]
        lines += ["", f"{heading}:", *rows] if rows else []
    return "\n".join(
        [*lines, "", "'hythe help VERB' shows a verb's flags, with examples. 'hythe --version' its version."]
    )


if __name__ == "__main__":
    sys.exit(main())
