"""What Alembic runs for a migration: our connection, and the transaction that is open on it.

What it is: the entry that Alembic asks for; it is run by `cometd_chat.log.migrations` only.

What it may know: the connection and the description of the tables.

Invariant: one transaction for all steps, so that a migration happens whole or not at all.
"""

from alembic import context

from cometd_chat.log.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
