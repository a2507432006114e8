"""The audit log in the database."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import insert

from hythe.database import Session
from hythe.database.tables.audit import audit_entries

_ADD = insert(audit_entries)


async def add(session: Session, values: Mapping[str, Any]) -> None:
    """Add an entry."""
    await session.run(_ADD, values)
