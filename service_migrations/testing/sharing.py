"""Which services have one database, by their ``.env.example``: that is committed, and the same on every machine."""

from service_migrations.errors import MigrationError
from service_migrations.monorepo import Service, discover
from service_migrations.settings.example import example

__all__ = ["siblings_of"]


def siblings_of(service: Service) -> tuple[Service, ...]:
    """Return the other services whose examples name the database of this one; none where its own names none."""
    database = _database(service)
    return tuple(
        other for other in discover(service.root) if database and other != service and _database(other) == database
    )


def _database(service: Service) -> str | None:
    try:
        return example(service).database
    except MigrationError:
        return None
