"""A PostgreSQL server for the test session, and a new database for each test."""

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
from typing import Any

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
    """A running server. It trusts all connections on loopback."""

    port: int
    program: Program
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def url(self, database: str = "postgres") -> str:
        """The URL of a database, for `--database-url`."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def create(self, name: str | None = None, template: str = "template0") -> str:
        """Create a database, optionally as a copy of `template`, and return its URL."""
        name = name or f"test_{next(self.numbers)}"
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        with self._connection() as connection:
            # By file: the default since version 15, by page through the log, takes twice as long.
            by_file = connection.info.server_version >= 150000
            connection.execute(create + sql.SQL(" STRATEGY FILE_COPY") if by_file else create)
        return self.url(name)

    def restart(self) -> None:
        """End all connections and the server, as `pg_ctl restart -m fast` does, and start it again."""
        self.program.stop(with_signal=signal.SIGINT)
        self.program = Program(self.program.command, self.program.log, cwd=self.program.log.parent)
        self.program.wait_until(lambda: accepts(self))

    def promote(self) -> None:
        """Make this standby the primary."""
        with self._connection() as connection:
            connection.execute("SELECT pg_promote()")

    def drop(self, name: str) -> None:
        """Drop a database, closing its connections."""
        with self._connection() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _connection(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url(), autocommit=True)


def server_program(name: str) -> str:
    """Return the path of a server program, of the newest version; Debian installs them outside PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name), reverse=True)
    for folder in folders:
        if (folder / name).exists():
            return str(folder / name)
    found = shutil.which(name)
    if found is None:
        missing(f"PostgreSQL's {name}", "postgresql")
    return found


def as_ordinary_user(folder: Path) -> list[str]:
    """Give `folder` to user postgres or nobody and return the command prefix to run as that user, if this is root."""
    if os.geteuid() != 0:
        return []
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    setpriv = program("setpriv", "util-linux")
    return [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


@contextlib.contextmanager
def postgresql_server(settings: dict[str, str] | None = None) -> Iterator[PostgresqlServer]:
    """Run a server with an empty cluster; `settings` extend the defaults."""
    with own_folder("pg", in_memory=True) as folder:
        become = as_ordinary_user(folder)
        _create_cluster(folder, become)
        with _serving(folder, become, SETTINGS | (settings or {})) as server:
            yield server


@contextlib.contextmanager
def kept_postgresql_server(folder: Path, settings: dict[str, str]) -> Iterator[PostgresqlServer]:
    """Run a server on the cluster in `folder`, which is created if it does not exist, and kept."""
    folder.mkdir(parents=True, exist_ok=True)
    become = as_ordinary_user(folder)
    if not (folder / "data").exists():
        _create_cluster(folder, become)
    with _serving(folder, become, SETTINGS | settings, with_signal=signal.SIGINT) as server:
        yield server


def _create_cluster(folder: Path, become: list[str]) -> None:
    flags = ["-D", str(folder / "data"), "-U", USER, "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
    made = subprocess.run([*become, server_program("initdb"), *flags], cwd=folder, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr


@contextlib.contextmanager
def synchronous_standby(primary: PostgresqlServer) -> Iterator[PostgresqlServer]:
    """Run a standby of `primary`, which from now on acknowledges no commit that the standby has not written."""
    with own_folder("pg", in_memory=True) as folder:
        become = as_ordinary_user(folder)
        copy = [*become, server_program("pg_basebackup"), "-d", primary.url(), "-D", str(folder / "data")]
        subprocess.run([*copy, "--write-recovery-conf", "--no-sync", "--checkpoint=fast"], cwd=folder, check=True)
        with (
            _serving(folder, become, SETTINGS) as server,
            psycopg.connect(primary.url(), autocommit=True) as connection,
        ):
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
            yield server


@contextlib.contextmanager
def _serving(
    folder: Path, become: list[str], settings: dict[str, str], with_signal: signal.Signals = signal.SIGQUIT
) -> Iterator[PostgresqlServer]:
    """Run a server on the cluster in `folder`, and end it with a signal: by default at once, as if it crashed."""
    port = free_port()
    flags = [f"-c{key}={value}" for key, value in settings.items()]
    command = [*become, server_program("postgres"), "-D", str(folder / "data"), "-p", str(port), "-k", str(folder)]
    server = PostgresqlServer(port, Program([*command, *flags], folder / "log", cwd=folder))
    try:
        server.program.wait_until(lambda: accepts(server))
        yield server
    finally:
        server.program.stop(with_signal=with_signal)


def accepts(server: PostgresqlServer) -> bool:
    """Return whether the server accepts connections."""
    try:
        psycopg.connect(server.url(), connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """The session's PostgreSQL server: `.create()` creates databases, also as copies of a template."""
    with postgresql_server() as server:
        yield server


@pytest.fixture
def empty_postgresql_url(postgresql: PostgresqlServer) -> Iterator[str]:
    """URL of an empty database, `postgresql://hythe@127.0.0.1:PORT/NAME`, dropped after the test."""
    url = postgresql.create()
    yield url
    postgresql.drop(url.rsplit("/", 1)[1])
