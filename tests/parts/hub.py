"""The real hub and the real private registry, each as a process of its own, as a user starts them."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.parts.process import Program, free_port, http_answers, listening

HYTHE = Path(sys.executable).parent / "hythe"
READY = re.compile(r"(https?)://127\.0\.0\.1:(\d+)")

HUB = ("serve",)
REGISTRY = ("registry", "serve")


@dataclass(slots=True)
class HytheServer:
    """`hythe serve` or `hythe registry serve`; after a restart it has the same address and data."""

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
        """HOST:PORT, as the first part of an image's name."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The root of the server, without a slash at the end."""
        return f"{self.scheme}://{self.host}"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self.program is not None, "the server is not running"
        return self.program.process.pid

    @property
    def log(self) -> str:
        """What the server wrote to stderr, of all its starts."""
        return (self.logs / "stderr").read_text(errors="replace")

    def start(self, *, seconds: float = 30) -> None:
        """Start the server and wait until it answers. Its port stays the same from the first start on."""
        (self.logs / "stdout").unlink(missing_ok=True)
        if "--public-url" in self.arguments and self.port == 0:
            self.port = free_port()  # the ready line then names the public address instead
        command = [str(HYTHE), *self.verb, "--listen", f"127.0.0.1:{self.port}", *self._places(), *self.arguments]
        self.program = Program(command, self.logs / "stderr", self._environment(), out=self.logs / "stdout")
        try:
            self.program.wait_until(self._is_ready, seconds)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> int:
        """SIGTERM, and SIGKILL when that does not end it. Returns the exit code."""
        assert self.program is not None, "the server is not running"
        return self.program.stop()

    def kill(self) -> None:
        """SIGKILL to the server and all its children."""
        assert self.program is not None, "the server is not running"
        self.program.kill()

    def restart(self) -> None:
        """Stop, and start again at the same address with the same data."""
        self.stop()
        self.start()

    def admin(self, *arguments: str, stdin: str | None = None) -> str:
        """`hythe admin ..` on this server's data, which must succeed; returns its stdout."""
        done = self.try_admin(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{done.args}\n{done.stdout}{done.stderr}"
        return done.stdout

    def try_admin(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """`hythe admin ..` on this server's data, whatever comes of it."""
        return self._try("admin", *arguments, stdin=stdin)

    def look_after(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`gc` or `verify` of `hythe admin`, or `hythe registry` of a private registry, whatever comes of it."""
        return self._try("registry" if self.verb == REGISTRY else "admin", *arguments)

    def _try(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [HYTHE, *words, *self._places()],
            input=stdin or "",
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def create_user(self, name: str, password: str, *, admin: bool = False) -> None:
        """Make an account with this password."""
        flags = ("--admin",) if admin else ()
        email = f"{name}@example.com"
        self.admin("create-user", name, "--email", email, *flags, "--password-stdin", stdin=password)

    def _places(self) -> list[str]:
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
    """A function that starts servers, all of which are stopped at the end; each gets a folder below `folder`."""
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
        if database_url is not None:
            server.admin("upgrade")
        started.append(server)
        server.start()
        return server

    try:
        yield start
    finally:
        for server in started:
            if server.program is not None:
                server.stop()


@pytest.fixture
def start_hub(tmp_path: Path) -> Iterator[Callable[..., HytheServer]]:
    """Factory: `start_hub(["--flag"], data=.., database_url=.., env={..})`; every hub is stopped after the test."""
    with server_factory(tmp_path, HUB) as start:
        yield start


@pytest.fixture
def hub(start_hub: Callable[..., HytheServer]) -> HytheServer:
    """A hub of this test's own, on SQLite, without any account."""
    return start_hub()


@pytest.fixture(params=["sqlite", "postgresql"])
def hub_on_each_database(request: pytest.FixtureRequest, start_hub: Callable[..., HytheServer]) -> HytheServer:
    """A hub of this test's own, once on SQLite and once on PostgreSQL."""
    on_postgresql = request.param == "postgresql"
    return start_hub(database_url=request.getfixturevalue("postgresql_url") if on_postgresql else None)


@pytest.fixture(scope="session")
def shared_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HytheServer]:
    """One hub for the session, on SQLite: for tests that make accounts and repositories of their own names."""
    with server_factory(tmp_path_factory.mktemp("shared"), HUB) as start:
        yield start()


@pytest.fixture
def start_private_registry(tmp_path: Path) -> Iterator[Callable[..., HytheServer]]:
    """Factory like `start_hub`, for `hythe registry serve`."""
    with server_factory(tmp_path, REGISTRY) as start:
        yield start


@pytest.fixture
def private_registry(start_private_registry: Callable[..., HytheServer]) -> HytheServer:
    """A private registry of this test's own, open to everybody."""
    return start_private_registry()
