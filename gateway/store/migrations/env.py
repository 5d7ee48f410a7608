"""Alembic's entry: the open connection comes from gateway.store.database."""

from __future__ import annotations

from alembic import context

from gateway.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite cannot alter a column in place.
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
