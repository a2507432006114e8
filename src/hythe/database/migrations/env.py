"""Alembic's entry point: runs the migrations on the connection that ``hythe.database.migration`` opened."""

from alembic import context

from hythe.database.tables import (  # noqa: F401 (fill METADATA)
    administration,
    audit,
    builds,
    forges,
    hub,
    identities,
    names,
    notifications,
    organizations,
    registry,
    replication,
    second_factors,
    sign_in,
    tag_log,
    tokens,
)
from hythe.database.tables.metadata import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
    transactional_ddl=False,  # the caller controls the transaction
)
context.run_migrations()
