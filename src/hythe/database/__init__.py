"""The database: engine, tables, migrations. Nothing else writes SQL outside a package's own ``store`` file."""

from hythe.database.opening import open_database
from hythe.database.port import Database, DatabaseError, InvalidValueError, SchemaError, Session, UnavailableError

__all__ = [
    "Database",
    "DatabaseError",
    "InvalidValueError",
    "SchemaError",
    "Session",
    "UnavailableError",
    "open_database",
]
