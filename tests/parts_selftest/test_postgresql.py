"""The PostgreSQL part gives what tests rely on."""

import psycopg
from tests.parts.postgresql import PostgresqlServer


def test_a_database_may_be_copied_from_a_template(postgresql: PostgresqlServer, postgresql_url: str) -> None:
    """A copy has the template's tables, so that migrations need to run once a session only."""
    with psycopg.connect(postgresql_url) as connection:
        connection.execute("CREATE TABLE star (name text)")

    copy = postgresql.create(template=postgresql_url.rsplit("/", 1)[1])

    with psycopg.connect(copy) as connection:
        assert connection.execute("SELECT count(*) FROM star").fetchone() == (0,)
