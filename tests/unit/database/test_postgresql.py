"""The address of a PostgreSQL database, as operators copy it from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests.parts.database import Run

from hythe.database import UnavailableError, open_database


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_libpqs_parameters(database_url: str, scheme: str, run: Run[Any]) -> None:
    """What libpq takes is taken: managed databases give addresses with ``sslmode``."""
    address = f"{scheme}://{database_url.partition('://')[2]}?sslmode=prefer&application_name=ours"

    async def name() -> str:
        database = await open_database(Path("unused"), address)
        try:
            async with database.reading() as session:
                row = await session.row(text("SELECT current_setting('application_name')"))
                return str(row and row[0])
        finally:
            await database.close()

    assert run(name()) == "ours"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("postgresql://ann:half/secret@127.0.0.1/hub", "with %XX for special characters"),
        ("postgresql://127.0.0.1:port/hub", "invalid database URL"),
        ("mysql://127.0.0.1/hub", "got 'mysql'"),
        ("hub", "scheme is expected"),
        ("postgresql://127.0.0.1:1/hub?sslmode=perhaps", "`sslmode` parameter must be one of"),
    ],
)
def test_what_is_no_address(address: str, said: str, run: Run[Any], tmp_path: Path) -> None:
    """It is said, without a piece of the password."""
    with pytest.raises(UnavailableError) as refused:
        run(open_database(tmp_path, address))

    assert said in str(refused.value)
    assert "half" not in str(refused.value)
