"""The HTML of full descriptions in the database."""

from collections.abc import Mapping

import msgspec
from sqlalchemy import bindparam, select, update

from hythe.database import Session
from hythe.database.tables.hub import hub_repositories

_COLUMNS = hub_repositories.c
_FIND = select(_COLUMNS.description_html, _COLUMNS.description_rendering).where(
    _COLUMNS.repository_id == bindparam("repository_id")
)


class StoredDescription(msgspec.Struct, frozen=True):
    """The HTML, which text it is of, and what rendered it (see ``RenderedDescription.columns``)."""

    html: str | None
    rendering: str | None


async def find(session: Session, repository_id: int) -> StoredDescription | None:
    """Return the stored HTML of a repository's description."""
    row = await session.row(_FIND, {"repository_id": repository_id})
    return StoredDescription(row.description_html, row.description_rendering) if row else None


async def save(session: Session, repository_id: int, text: str, values: Mapping[str, str | None]) -> None:
    """Store HTML, unless the description is no longer ``text``."""
    current = (_COLUMNS.repository_id == repository_id) & (_COLUMNS.full_description == text)
    await session.run(update(hub_repositories).where(current).values(values))
