"""Whether the database responds, asked at most once a second."""

from sqlalchemy import Select, String, column, select, table

from hythe.database.port import Database, UnavailableError
from hythe.telemetry.cached_check import CachedCheck, CheckTimeout
from hythe.telemetry.metrics import DATABASE_FAILURES

# Not SELECT 1, for which SQLite reads nothing.
_REVISION: Select[str] = select(column("version_num", String)).select_from(table("alembic_version"))


class DatabaseLiveness:
    """Reads one row of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._check = CachedCheck(self._read)

    async def require(self) -> None:
        """Return if the database responds. Raises UnavailableError."""
        try:
            await self._check.require()
        except CheckTimeout as error:
            raise UnavailableError(f"the database does not respond: {error}") from error

    async def _read(self) -> None:
        try:
            async with self._database.reading() as session:
                await session.row(_REVISION)
        except BaseException:
            DATABASE_FAILURES.add()
            raise
