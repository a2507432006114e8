"""Compares the schema of a database with the one that this program needs; fast enough for every start."""

import re
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, inspect

from hythe.database.port import SchemaError

MIGRATIONS = Path(__file__).parent / "migrations"

_REVISION = re.compile(r'^revision = "(?P<revision>\w+)"\ndown_revision = (?:"(?P<before>\w+)"|None)$', re.MULTILINE)


@cache
def known_revisions() -> tuple[str, ...]:
    """Return this program's revisions, oldest first: each migration names the one before it, not always by number."""
    texts = [path.read_text() for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py")]
    after = {found["before"]: found["revision"] for found in map(_REVISION.search, texts) if found is not None}
    revisions: list[str] = []
    while (following := after.get(revisions[-1] if revisions else None)) is not None:
        revisions.append(following)
    return tuple(revisions)


def newest_revision() -> str:
    """Return the revision of this program's tables. Raises SchemaError if the installation is incomplete."""
    revisions = known_revisions()
    if not revisions:
        raise SchemaError("this installation has no migrations: reinstall hythe")
    return revisions[-1]


def present_revision(connection: Connection) -> str | None:
    """Return the revision of the database's schema; None if it is empty. Raises SchemaError if it is newer."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if revision is not None and revision not in known_revisions():
        raise SchemaError(
            f"the database's schema {revision} is newer than this program: install the newer version of hythe"
        )
    return revision
