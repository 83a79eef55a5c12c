"""The functions that migrations/env.py calls: for the options of Alembic's context, and for a connection."""

from service_migrations.environment.options import configure
from service_migrations.environment.program import connect, needs_connection, prepared, selected_service as service

__all__ = ["configure", "connect", "needs_connection", "prepared", "service"]
