"""The SQL of failed sign-ins by account and network. Transactions lock the account's counter before the network's."""

from datetime import datetime

import msgspec
from sqlalchemy import and_, bindparam, case, delete, select, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.hub import failed_logins


class CounterKey(msgspec.Struct, frozen=True):
    """The bucket of a counter, and the hash of its client: another hash in the bucket is another counter."""

    bucket: int
    client: str


class Counter(msgspec.Struct, frozen=True):
    """How many sign-ins failed, and when the last one did; for networks, when the first one did."""

    failures: int
    at: datetime


_COLUMNS = select(failed_logins.c.bucket, failed_logins.c.client, failed_logins.c.failures, failed_logins.c.at)
_BOTH = _COLUMNS.where(failed_logins.c.bucket.in_([bindparam("first"), bindparam("second")]))
_ONE = _COLUMNS.where(failed_logins.c.bucket == bindparam("bucket_")).with_for_update()
_OWN = and_(failed_logins.c.bucket == bindparam("bucket_"), failed_logins.c.client == bindparam("client_"))
_TAKE_BACK = (
    update(failed_logins).where(_OWN, failed_logins.c.failures > 0).values(failures=failed_logins.c.failures - 1)
)
_RESET = delete(failed_logins).where(_OWN)


async def counters(session: Session, *keys: CounterKey) -> tuple[Counter | None, Counter | None]:
    """Return two counters, None where nothing is counted."""
    first, second = keys
    rows = await session.rows(_BOTH, {"first": first.bucket, "second": second.bucket})
    found = {CounterKey(row.bucket, row.client): Counter(row.failures, row.at) for row in rows}
    return found.get(first), found.get(second)


async def lock(session: Session, key: CounterKey) -> Counter | None:
    """Return and lock a counter; None if nothing is counted."""
    row = await session.row(_ONE, {"bucket_": key.bucket})
    return Counter(row.failures, row.at) if row is not None and row.client == key.client else None


async def add(session: Session, key: CounterKey, now: datetime, old: datetime, *, restart: bool) -> int:
    """Count a failure and return their number; counting starts again if ``at`` is before ``old``.

    With ``restart``, ``at`` becomes the time of this failure; otherwise it stays that of the first.
    """
    columns = failed_logins.c
    continues = and_(columns.client == key.client, columns.at >= old, columns.failures > 0)
    statement = insert(session, failed_logins).values(bucket=key.bucket, client=key.client, failures=1, at=now)
    changed = statement.on_conflict_do_update(
        index_elements=["bucket"],
        set_={
            "client": key.client,
            "failures": case((continues, columns.failures + 1), else_=1),
            "at": now if restart else case((continues, columns.at), else_=now),
        },
    )
    row = await session.row(changed.returning(columns.failures))
    return int(row.failures) if row is not None else 1


async def take_back(session: Session, key: CounterKey) -> None:
    """Undo one ``add``."""
    await session.run(_TAKE_BACK, {"bucket_": key.bucket, "client_": key.client})


async def reset(session: Session, key: CounterKey) -> None:
    """Count nothing any more."""
    await session.run(_RESET, {"bucket_": key.bucket, "client_": key.client})
