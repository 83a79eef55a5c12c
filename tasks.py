"""The Invoke collection: ``inv --list`` shows it."""

from service_migrations.tasks import namespace

__all__ = ["namespace"]
