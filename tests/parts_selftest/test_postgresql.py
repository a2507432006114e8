"""The PostgreSQL fixture works as tests expect."""

import psycopg
from tests.parts.postgresql import PostgresqlServer


def test_a_database_is_copied_from_a_template(postgresql: PostgresqlServer, empty_postgresql_url: str) -> None:
    """A copy has the template's tables, so that migrations only run once per session."""
    with psycopg.connect(empty_postgresql_url) as connection:
        connection.execute("CREATE TABLE star (name text)")

    copy = postgresql.create(template=empty_postgresql_url.rsplit("/", 1)[1])

    with psycopg.connect(copy) as connection:
        assert connection.execute("SELECT count(*) FROM star").fetchone() == (0,)
