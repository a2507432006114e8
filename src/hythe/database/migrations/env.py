"""Alembic's entry: run the migrations on the connection that ``hythe.database.migration`` opened."""

from alembic import context

from hythe.database.tables.every import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
    transactional_ddl=False,  # the transaction is the caller's
)
context.run_migrations()
