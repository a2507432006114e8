"""Measures backups, restores and moves of a generated hub: rows and bytes per second, and CPU, of the command itself.

    python -m bench.backup --folder FOLDER [--repositories 20000] [--blobs 1024]

FOLDER is on the disk to measure. PostgreSQL is a server of its own in memory. Each figure is that of one command, with
the time that it takes to start (about a second). The peer of the dump is ``pg_dump -Fc`` of the same database.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tests.parts.postgresql import PostgresqlServer, postgresql_server, server_program

from bench.large_hub import fill_sqlite
from hythe.backup.rows import DERIVED, table_shapes
from hythe.database.sqlite import SQLITE_FILE

HYTHE = Path(sys.executable).parent / "hythe"
MEBIBYTE = 1 << 20


def measured(name: str, amount: float, unit: str, command: Sequence[str | Path]) -> None:
    """Run a command and print its time, its CPU time, and how much it handled per second of each."""
    before, began = os.times(), time.perf_counter()
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    took, after = time.perf_counter() - began, os.times()
    if done.returncode != 0:
        sys.exit(f"{command}\n{done.stdout}{done.stderr}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    speeds = f"{amount / took:12,.0f} {unit}/s {amount / cpu:12,.0f} {unit}/s of CPU"
    print(f"{name:<40}{took:8.1f} s {cpu:8.1f} s of CPU {speeds}")


def hub(folder: Path, repositories: int) -> tuple[Path, int]:
    """Generate a hub whose blobs count as damaged, since they have no files; return its folder and its rows."""
    data = fill_sqlite(folder, repositories)
    subprocess.run([HYTHE, "admin", "adopt-blobs", "--data", data], check=True, capture_output=True)
    with closing(sqlite3.connect(data / SQLITE_FILE)) as connection, connection:
        connection.execute("UPDATE blobs SET quarantined_at = '2026-01-01 00:00:00.000000', free_after = NULL")
        names = [table.name for table in table_shapes() if table.name not in DERIVED]
        rows = sum(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names)
    return data, rows


def measure_rows(folder: Path, repositories: int, server: PostgresqlServer) -> None:
    """Back up, restore and move a database."""
    data, rows = hub(folder / "large", repositories)
    size = (data / SQLITE_FILE).stat().st_size
    print(f"{rows:,} rows, {size / MEBIBYTE:,.0f} MiB in SQLite")
    vault, restored, migrated = folder / "vault", server.create(), server.create()
    admin: list[str | Path] = [HYTHE, "admin"]
    secret = ["--without-secret-key"]
    measured("backup, SQLite", rows, "rows", [*admin, "backup", vault, "--data", data])
    print(f"  the dump has {sum(f.stat().st_size for f in vault.rglob('database')) / MEBIBYTE:,.1f} MiB")
    measured("restore into SQLite", rows, "rows", [*admin, "restore-backup", vault, "--data", folder / "a", *secret])
    into: list[str | Path] = ["--data", folder / "b", "--database-url", restored]
    measured("restore into PostgreSQL", rows, "rows", [*admin, "restore-backup", vault, *into, *secret])
    measured("backup, PostgreSQL", rows, "rows", [*admin, "backup", folder / "vault-p", *into])
    dump: list[str | Path] = [server_program("pg_dump"), "-Fc", "-f", folder / "pg_dump", restored]
    measured("  pg_dump -Fc of the same", rows, "rows", dump)
    measured("migrate SQLite to PostgreSQL", rows, "rows", [*admin, "migrate", "--to", migrated, "--data", data])


def measure_blobs(folder: Path, mebibytes: int) -> None:
    """Back up, restore and copy blobs: half of the bytes in 32 large ones, and 5,000 of 4 KiB."""
    data = folder / "blobs-hub"
    registry: list[str | Path] = [HYTHE, "registry"]
    subprocess.run([*registry, "adopt-blobs", "--data", data], check=True, capture_output=True)
    total = 0
    with closing(sqlite3.connect(data / SQLITE_FILE)) as connection, connection:
        for number in range(5032):
            content = os.urandom(mebibytes * MEBIBYTE // 32 if number < 32 else 4096)
            digest = hashlib.sha256(content).hexdigest()
            path = data / "blobs/sha256" / digest[:2] / digest
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            row = (f"sha256:{digest}", len(content), "2026-01-01 00:00:00.000000")
            connection.execute("INSERT INTO blobs (digest, size, stored_at) VALUES (?, ?, ?)", row)
            total += len(content)
    passphrase = folder / "passphrase"
    passphrase.write_text("not a secret")
    amount = total / MEBIBYTE
    own: list[str | Path] = ["--data", data]
    measured("backup of blobs", amount, "MiB", [*registry, "backup", folder / "v1", *own])
    measured("backup again, nothing new", amount, "MiB", [*registry, "backup", folder / "v1", *own])
    measured("backup, sizes only", amount, "MiB", [*registry, "backup", folder / "v2", *own, "--verify", "sizes"])
    sealed: list[str | Path] = ["--passphrase-file", passphrase]
    measured("backup, encrypted", amount, "MiB", [*registry, "backup", folder / "v3", *own, *sealed])
    measured("restore", amount, "MiB", [*registry, "restore-backup", folder / "v1", "--data", folder / "r1"])
    measured(
        "restore, encrypted",
        amount,
        "MiB",
        [*registry, "restore-backup", folder / "v3", "--data", folder / "r3", *sealed],
    )
    measured("copy-blobs to another folder", amount, "MiB", [*registry, "copy-blobs", "--to", folder / "c1", *own])


def main() -> None:
    """Measure everything in a new folder, which is deleted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/tmp"))
    parser.add_argument("--repositories", type=int, default=20_000)
    parser.add_argument("--blobs", type=int, default=1024, help="MiB of large blobs")
    arguments = parser.parse_args()
    folder = arguments.folder / f"hythe-backup-{os.getpid()}"
    folder.mkdir()
    try:
        with postgresql_server() as server:
            measure_rows(folder, arguments.repositories, server)
        measure_blobs(folder, arguments.blobs)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
