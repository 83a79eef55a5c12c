"""What migrations/env.py calls: the options of Alembic's context, and a connection for the program ``alembic``."""

from service_migrations.environment.options import configure
from service_migrations.environment.program import connect, needs_connection, prepared

__all__ = ["configure", "connect", "needs_connection", "prepared"]
