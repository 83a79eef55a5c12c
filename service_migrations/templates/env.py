"""What Alembic executes: one options dict, then offline or online.

The service, its connection and what to tell of come in ``config.attributes``; commands.py puts them there. The
connection is one that ``run_sync`` lends, so that this file works inside a running event loop.
"""

from alembic import context

from service_migrations.environment import configure_options
from service_migrations.errors import ResultError, UsageError
from service_migrations.history.offline import write_unchanged

if "service" not in context.config.attributes:
    raise UsageError("Alembic can't tell the service. Run `inv db.alembic --service <name> -- <command>` instead.")

options = configure_options(context.config)

if context.is_offline_mode():
    context.configure(dialect_name="postgresql+asyncpg", literal_binds=True, **options)
    write_unchanged(context.get_context())
else:
    connection = context.config.attributes["connection"]
    if connection.in_transaction():
        # Alembic would take that transaction for the caller's, and commit nothing: success, and nothing there
        raise ResultError("A statement ran on the connection before Alembic was configured. Nothing was run.")
    context.configure(connection=connection, **options)

with context.begin_transaction():
    context.run_migrations()
