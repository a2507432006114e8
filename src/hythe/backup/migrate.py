"""Moves an installation's database to another engine or place, while no server runs.

The source is open exclusively: nothing can change or even read it until the end. Its rows are copied in one
transaction, read back and compared. Then the source is marked as moved, so that no server starts on it by mistake, and
the target becomes usable. What is interrupted before begins again from an empty target.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from hythe.backup.destinations import Destination
from hythe.backup.dump import check_contents
from hythe.backup.progress import TaskProgress
from hythe.backup.rows import DERIVED, Row, RowsDigest, RowSource, TableContent, TableShape, table_shapes


async def move_rows(
    source: RowSource,
    destination: Destination,
    kind: str,
    mark_moved: Callable[[], Awaitable[None]],
    progress: TaskProgress,
) -> tuple[TableContent, ...]:
    """Copy all rows, compare them, call ``mark_moved``, and complete the destination.

    Returns what was copied of each table. Raises BackupError and the errors of both databases.
    """
    tables = table_shapes()
    await destination.require_empty()
    await destination.prepare(source.revision)
    digests = [RowsDigest() for _ in tables]
    async with destination.filling(tables) as target:
        progress.begin("copying", unit="rows")
        for table, digest in zip(tables, digests, strict=True):
            if table.name not in DERIVED:
                await target.load(table, _observed(source, table, digest, progress))
        progress.begin("checking", unit="rows")
        contents = tuple(digest.content for digest in digests)
        await check_contents(target, tables, contents)
        await target.finish(tables, await source.last_ids())
        await target.set_unfinished(None)
    await mark_moved()
    await destination.complete(kind)
    return contents


async def _observed(
    source: RowSource, table: TableShape, digest: RowsDigest, progress: TaskProgress
) -> AsyncIterator[Sequence[Row]]:
    async for rows in source.rows(table):
        digest.add(rows)
        progress.advance(len(rows))
        yield rows
