"""Runs the migrations on the connection that `wesgate.db.migrate` hands over."""

from alembic import context

from wesgate.db.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_server_default=True,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
