"""A PostgreSQL server of our own, one a test session, and a fresh database for each test that asks."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from tests.parts.process import Program, free_port, missing, own_folder, program

USER = "hythe"

SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "autovacuum": "off",
    "listen_addresses": "127.0.0.1",
}


@dataclass(slots=True)
class PostgresqlServer:
    """A running server. It trusts everybody on loopback."""

    port: int
    program: Program
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def url(self, database: str = "postgres") -> str:
        """The address of one database, as `--database-url` takes it."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def create(self, name: str | None = None, template: str = "template0") -> str:
        """Make a database, as a copy of `template` when given, and return its address."""
        name = name or f"test_{next(self.numbers)}"
        self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)

    def drop(self, name: str) -> None:
        """Remove a database, ending the connections that are still open to it."""
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)


def server_program(name: str) -> str:
    """Path of one of the server's programs, which Debian keeps outside of PATH, the newest version first."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name), reverse=True)
    for folder in folders:
        if (folder / name).exists():
            return str(folder / name)
    found = shutil.which(name)
    if found is None:
        missing(f"PostgreSQL's {name}", "postgresql")
    return found


def as_ordinary_user(folder: Path) -> list[str]:
    """PostgreSQL refuses root: give `folder` to user postgres or nobody, and say how to become it."""
    if os.geteuid() != 0:
        return []
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    setpriv = program("setpriv", "util-linux")
    return [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


@contextlib.contextmanager
def postgresql_server(settings: dict[str, str] | None = None) -> Iterator[PostgresqlServer]:
    """Run a server with an empty cluster; `settings` are added to ours."""
    with own_folder("pg") as folder:
        become = as_ordinary_user(folder)
        data = folder / "data"
        make = [
            *become,
            server_program("initdb"),
            "-D",
            str(data),
            "-U",
            USER,
            "--auth=trust",
            "--no-sync",
            "-E",
            "UTF8",
        ]
        made = subprocess.run([*make, "--locale=C.UTF-8"], cwd=folder, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        port = free_port()
        flags = [f"-c{key}={value}" for key, value in (SETTINGS | (settings or {})).items()]
        command = [*become, server_program("postgres"), "-D", str(data), "-p", str(port), "-k", str(folder), *flags]
        started = Program(command, folder / "log", cwd=folder)
        server = PostgresqlServer(port, started)
        try:
            started.wait_until(lambda: accepts(server))
            yield server
        finally:
            started.stop(with_signal=signal.SIGQUIT)


def accepts(server: PostgresqlServer) -> bool:
    """Does the server take connections already?"""
    try:
        psycopg.connect(server.url(), connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """The session's PostgreSQL server: `.create()` makes databases, also as copies of a template."""
    with postgresql_server() as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql: PostgresqlServer) -> Iterator[str]:
    """Address of an empty database, `postgresql://hythe@127.0.0.1:PORT/NAME`, dropped after the test."""
    url = postgresql.create()
    yield url
    postgresql.drop(url.rsplit("/", 1)[1])
