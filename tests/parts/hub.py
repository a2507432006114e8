"""Hubs and private registries, each in its own process, started like users do."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.parts import preloaded
from tests.parts.database import prepare_folder
from tests.parts.preloaded import PreloadedProgram
from tests.parts.process import Program, free_port, has_children, http_answers, listening

HYTHE = Path(sys.executable).parent / "hythe"
READY = re.compile(r"(https?)://127\.0\.0\.1:(\d+)")

HUB = ("serve",)
REGISTRY = ("registry", "serve")


@dataclass(slots=True)
class HytheServer:
    """A `hythe serve` or `hythe registry serve` process; a restart keeps its address and data."""

    verb: tuple[str, ...]
    data: Path
    logs: Path
    arguments: tuple[str, ...] = ()
    database_url: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    scheme: str = "http"
    program: Program | None = None

    @property
    def host(self) -> str:
        """HOST:PORT, the first part of an image name."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The root URL of the server, without a trailing slash."""
        return f"{self.scheme}://{self.host}"

    @property
    def pid(self) -> int:
        """The PID of the running server."""
        assert self.program is not None, "the server is not running"
        return self.program.process.pid

    @property
    def log(self) -> str:
        """The server's stderr output since its first start."""
        return (self.logs / "stderr").read_text(errors="replace")

    def start(self, *, seconds: float = 30) -> None:
        """Start the server and wait until it responds. Later starts use the same port."""
        (self.logs / "stdout").unlink(missing_ok=True)
        if "--public-url" in self.arguments and self.port == 0:
            self.port = free_port()  # the ready line then shows the public URL instead
        command = [str(HYTHE), *self.verb, "--listen", f"127.0.0.1:{self.port}", *self.data_flags(), *self.arguments]
        # Python reads its own variables only when it starts.
        kind = Program if any(name.startswith("PYTHON") for name in self.env) else PreloadedProgram
        self.program = kind(command, self.logs / "stderr", self._environment(), out=self.logs / "stdout")
        try:
            self.program.wait_until(self._is_ready, seconds)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> int:
        """Send SIGTERM, then SIGKILL if the server does not exit. Returns the exit code."""
        assert self.program is not None, "the server is not running"
        return self.program.stop()

    def kill(self) -> None:
        """Send SIGKILL to the server and all its children."""
        assert self.program is not None, "the server is not running"
        self.program.kill()

    def discard(self) -> None:
        """Stop the server at the end of a test, without the half second that a graceful stop takes.

        A server with child processes (the build worker) is stopped gracefully, so that the worker can clean up.
        """
        if self.program is None or self.program.process.poll() is not None:
            return
        if has_children(self.pid):
            self.stop()
        else:
            self.kill()

    def restart(self) -> None:
        """Stop the server and start it again with the same address and data."""
        self.stop()
        self.start()

    def admin(self, *arguments: str, stdin: str | None = None) -> str:
        """Run `hythe admin ..` on this server's data; fails unless it succeeds, returns its stdout."""
        done = self.try_admin(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{done.args}\n{done.stdout}{done.stderr}"
        return done.stdout

    def try_admin(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run `hythe admin ..` on this server's data, and return the result."""
        return self._try("admin", *arguments, stdin=stdin)

    def run_maintenance(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `gc` or `verify` of `hythe admin`, or of `hythe registry` for a private registry."""
        return self._try("registry" if self.verb == REGISTRY else "admin", *arguments)

    def _try(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [str(HYTHE), *arguments, *self.data_flags()]
        return preloaded.run(command, stdin=stdin or "", env=self._environment())

    def create_user(self, name: str, password: str, *, admin: bool = False) -> None:
        """Create an account by signing up, or with the command, which takes a second, where that is not possible."""
        flags = ("--admin",) if admin else ()
        email = f"{name}@example.com"
        if admin or not self._sign_up(name, email, password):
            self.admin("create-user", name, "--email", email, *flags, "--password-stdin", stdin=password)

    def _sign_up(self, name: str, email: str, password: str) -> bool:
        """Return whether the hub runs and created the account."""
        body = json.dumps({"username": name, "email": email, "password": password}).encode()
        request = urllib.request.Request(f"{self.url}/api/v1/users", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30):
                return True
        except OSError:
            return False

    def data_flags(self) -> list[str]:
        """Return the flags of `hythe admin` that select this server's data."""
        database = ["--database-url", self.database_url] if self.database_url else []
        return ["--data", str(self.data), *database]

    def _environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HYTHE_")}
        return {**kept, **self.env}

    def _is_ready(self) -> bool:
        if self.port == 0:
            found = READY.search((self.logs / "stdout").read_text(errors="replace"))
            if found is None:
                return False
            self.scheme, self.port = found[1], int(found[2])
        return listening(self.port) if self.scheme == "https" else http_answers(f"{self.url}/v2/")


@contextlib.contextmanager
def server_factory(folder: Path, verb: tuple[str, ...]) -> Iterator[Callable[..., HytheServer]]:
    """Yield a function that starts servers, each in a folder below `folder`; all are stopped at the end.

    SQLite databases have the current schema already, as after `hythe admin upgrade`: the migrations, a third of the
    time that a start takes, run once for all servers. With `data` given, the server finds the folder as it is.
    """
    started: list[HytheServer] = []

    def start(
        arguments: Sequence[str] = (),
        *,
        data: Path | None = None,
        database_url: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> HytheServer:
        logs = folder / f"{verb[0]}-{len(started)}"
        logs.mkdir(parents=True)
        server = HytheServer(verb, data or logs / "data", logs, tuple(arguments), database_url, env or {})
        if database_url is None and data is None:
            prepare_folder(server.data)
        started.append(server)
        server.start()
        return server

    try:
        yield start
    finally:
        for server in started:
            server.discard()


@pytest.fixture
def start_hub(tmp_path: Path) -> Iterator[Callable[..., HytheServer]]:
    """Factory `start_hub(["--flag"], data=.., database_url=.., env={..})`; hubs are stopped after the test."""
    with server_factory(tmp_path, HUB) as start:
        yield start


@pytest.fixture
def hub(start_hub: Callable[..., HytheServer]) -> HytheServer:
    """A hub on SQLite without accounts, for one test."""
    return start_hub()


@pytest.fixture(params=["sqlite", "postgresql"])
def hub_on_each_database(request: pytest.FixtureRequest, start_hub: Callable[..., HytheServer]) -> HytheServer:
    """A hub for one test, once on SQLite and once on PostgreSQL."""
    on_postgresql = request.param == "postgresql"
    return start_hub(database_url=request.getfixturevalue("postgresql_url") if on_postgresql else None)


@pytest.fixture(scope="module")
def shared_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HytheServer]:
    """One hub on SQLite for all tests of a file, which must use unique names for accounts and repositories."""
    with server_factory(tmp_path_factory.mktemp("shared"), HUB) as start:
        yield start(["--sign-ups-per-address", "0"])


@pytest.fixture
def start_private_registry(tmp_path: Path) -> Iterator[Callable[..., HytheServer]]:
    """Factory like `start_hub` for `hythe registry serve`."""
    with server_factory(tmp_path, REGISTRY) as start:
        yield start


@pytest.fixture
def private_registry(start_private_registry: Callable[..., HytheServer]) -> HytheServer:
    """A private registry without authentication, for one test."""
    return start_private_registry()
