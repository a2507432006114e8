"""The parts of a verb. This module imports very little, so that the command starts fast."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import NamedTuple


class Command(NamedTuple):
    """A verb: its flags and what it does.

    ``configure`` adds the flags to the verb's parser. ``run`` does the work and returns the exit code (0 on success);
    it raises an exception instead of printing an error. ``examples`` are the lines that ``hythe help VERB`` prints
    below the flags. ``usage_code`` is the exit code of a usage error.
    """

    configure: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]
    examples: str = ""
    usage_code: int = 2


class Verb(NamedTuple):
    """One row of the table of verbs. ``target`` is ``MODULE:NAME`` of a Command, imported only when the verb runs."""

    name: str
    target: str
    summary: str
    group: str


class CommandFailed(Exception):
    """A verb failed: ``message`` says why, ``hint`` what to do, and ``code`` is the exit code."""

    def __init__(self, message: str, hint: str = "", code: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code
