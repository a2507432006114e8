"""The `hythe` command of a user without Docker, with its own store, credentials and settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.parts import preloaded
from tests.parts.engines import Completed, Tool, clean_environment
from tests.parts.process import own_folder

from hythe.client.store import LocalStore

SCRIPT = Path(sys.executable).parent / "hythe"


@dataclass(slots=True)
class HytheClient(Tool):
    """`hythe` with all its files below `folder`, which is also its HOME."""

    folder: Path

    def run(self, *arguments: str | Path, stdin: str | None = None, seconds: float = 300) -> Completed:
        """Run the command in a fork, which saves the start of an interpreter, and return the result."""
        command = [str(SCRIPT), *map(str, arguments)]
        return preloaded.run(command, stdin=stdin or "", env=self.env, seconds=seconds)

    @property
    def store(self) -> LocalStore:
        """The local image store."""
        return LocalStore(self.folder / "store")

    @property
    def docker_config(self) -> Path:
        """The file that `login` writes and docker reads."""
        return self.folder / ".docker" / "config.json"

    def json(self, *arguments: str | Path, stdin: str | None = None) -> Any:
        """Run a verb with --json, fail unless it succeeds, and return the value."""
        return json.loads(self.ok(*arguments, "--json", stdin=stdin))

    def login(self, host: str, user: str, password: str) -> str:
        """Run `login` with the password on stdin; fails unless it succeeds."""
        return self.ok("login", "--username", user, "--password-stdin", host, stdin=password)


@pytest.fixture
def hythe() -> Iterator[HytheClient]:
    """`hythe` with an empty store and no credentials."""
    with own_folder("client") as folder:
        env = clean_environment(folder) | {"HYTHE_STORE": str(folder / "store"), "HYTHE_STATE": str(folder / "state")}
        yield HytheClient([str(SCRIPT)], env, folder)
