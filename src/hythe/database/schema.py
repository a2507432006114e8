"""Which schema a database has, and which one this program needs; cheap enough for every start."""

from pathlib import Path

from sqlalchemy import Connection, inspect

from hythe.database.port import SchemaError

MIGRATIONS = Path(__file__).parent / "migrations"


def known_revisions() -> tuple[str, ...]:
    """Return the revisions of this program, oldest first: the numbers that the migrations' file names begin with."""
    return tuple(sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py")))


def newest_revision() -> str:
    """Return the revision that this program's tables stand for; raises SchemaError when the installation is broken."""
    revisions = known_revisions()
    if not revisions:
        raise SchemaError("this installation has no migrations: install hythe anew")
    return revisions[-1]


def present_revision(connection: Connection) -> str | None:
    """Return the revision of the database's schema; None: it is empty. Raises SchemaError when it is newer."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if revision is not None and revision not in known_revisions():
        raise SchemaError(f"the database's schema {revision} is newer than this program: install the newer hythe")
    return revision
