"""What a verb of ``hythe`` is. Imports only what the start of the command can afford."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import NamedTuple


class Command(NamedTuple):
    """One verb: the flags it takes and what it does.

    ``configure`` adds the verb's flags to its parser; ``run`` does the work and returns the exit code (0 when all
    went well); it raises rather than print an error. ``examples`` is what ``hythe help VERB`` shows below the flags,
    one command a line. ``usage_code`` is the exit code for wrong words.
    """

    configure: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]
    examples: str = ""
    usage_code: int = 2


class Verb(NamedTuple):
    """One row of the table of verbs; ``target`` is ``MODULE:NAME`` of a Command, imported only when it is called."""

    name: str
    target: str
    summary: str
    group: str


class CommandFailed(Exception):
    """A verb could not do what was asked: ``message`` says what, ``hint`` what to do, ``code`` is the exit code."""

    def __init__(self, message: str, hint: str = "", code: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code
