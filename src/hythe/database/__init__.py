"""The database: engines, tables, migrations. Only the ``sql`` files of the other packages also write SQL."""

from hythe.database.joined_reads import reads_in
from hythe.database.opening import open_database
from hythe.database.port import (
    Database,
    DatabaseError,
    InvalidValueError,
    QueryTimeout,
    SchemaError,
    Session,
    UnavailableError,
)

__all__ = [
    "Database",
    "DatabaseError",
    "InvalidValueError",
    "QueryTimeout",
    "SchemaError",
    "Session",
    "UnavailableError",
    "open_database",
    "reads_in",
]
