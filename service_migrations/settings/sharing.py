"""The services that share a database or a role, by their ``.env.example``.

That file is committed, and so the same on every machine.
"""

from service_migrations.errors import MigrationError
from service_migrations.monorepo import Service, discover
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.example import example

__all__ = ["siblings_of", "user_of"]


def siblings_of(service: Service) -> tuple[Service, ...]:
    """Return the other services whose examples name the same database; none without an example."""
    own = _declared(service)
    others = ((other, _declared(other)) for other in discover(service.root) if other != service)
    return tuple(other for other, dsn in others if own and dsn and dsn.database == own.database)


def user_of(service: Service) -> str:
    """Return the role of a service's example, which several services may share, or else the service's name."""
    own = _declared(service)
    return own.user if own else service.name


def _declared(service: Service) -> Dsn | None:
    try:
        return example(service)
    except MigrationError:
        return None
