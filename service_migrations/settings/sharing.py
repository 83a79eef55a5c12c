"""The services that share a database or a role, by their ``.env.example``.

That file is committed, and so the same on every machine.
"""

from collections.abc import Collection

from service_migrations.errors import MigrationError
from service_migrations.monorepo import Service, discover
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.example import example

__all__ = ["groups_of", "siblings_of", "user_of"]


def siblings_of(service: Service) -> tuple[Service, ...]:
    """Return the other services whose examples name the same database; none without an example."""
    own = _declared(service)
    others = ((other, _declared(other)) for other in discover(service.root) if other != service)
    return tuple(other for other, dsn in others if own and dsn and dsn.database == own.database)


def groups_of(services: Collection[Service]) -> list[tuple[Service, ...]]:
    """Return the groups that share a database and have one of these services, each with all that share it."""
    groups: dict[str, list[Service]] = {}
    for service in discover(next(iter(services)).root) if services else ():
        dsn = _declared(service)
        groups.setdefault(f"database {dsn.database}" if dsn else f"service {service}", []).append(service)
    return [tuple(group) for group in groups.values() if not set(group).isdisjoint(services)]


def user_of(service: Service) -> str:
    """Return the role of a service's example, which several services may share, or else the service's name."""
    own = _declared(service)
    return own.user if own else service.name


def _declared(service: Service) -> Dsn | None:
    try:
        return example(service)
    except MigrationError:
        return None
