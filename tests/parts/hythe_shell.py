"""The `hythe` command in this process, which saves the start of one: for verbs that talk to a hub."""

from __future__ import annotations

import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from tests.parts.engines import clean_environment

from hythe.cli.main import main


class Finished(NamedTuple):
    """What a verb printed, and its exit code."""

    code: int
    out: str
    err: str


class Typed(io.TextIOWrapper):
    """A terminal at which these lines are typed."""

    def isatty(self) -> bool:
        """Whether this is a terminal."""
        return True


@dataclass(slots=True)
class HytheShell:
    """`hythe` as one user, with its files below `home`; names without a host are on the hub at `host`."""

    home: Path
    host: str

    def run(self, *words: str, stdin: str = "", typed: str | None = None) -> Finished:
        """Run a verb. `stdin` is a file, `typed` a terminal."""
        out, err = _stream(), _stream()
        given = _stream(stdin) if typed is None else Typed(io.BytesIO(typed.encode()))
        environment = clean_environment(self.home) | {"HYTHE_DEFAULT_REGISTRY": self.host}
        with (
            patch.dict(os.environ, environment, clear=True),
            patch.multiple(sys, stdin=given, stdout=out, stderr=err),
        ):
            code = main(words)
        return Finished(code, _text(out), _text(err))

    def ok(self, *words: str, stdin: str = "", typed: str | None = None) -> str:
        """Run a verb, fail unless it succeeds, and return its output without the last newline."""
        done = self.run(*words, stdin=stdin, typed=typed)
        assert done.code == 0, f"{words}: {done}"
        return done.out.removesuffix("\n")

    def json(self, *words: str) -> Any:
        """Run a verb with --json, fail unless it succeeds, and return the value."""
        return json.loads(self.ok(*words, "--json"))

    def login(self, user: str, password: str) -> None:
        """Log in to the hub."""
        self.ok("login", "--username", user, "--password-stdin", self.host, stdin=password)


def _stream(content: str = "") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content.encode()), write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()
