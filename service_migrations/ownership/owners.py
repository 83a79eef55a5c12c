"""Who owns what: each object of a database, the service that claims it, and why; then what nobody claims."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from service_migrations.catalog.objects import Object, read
from service_migrations.connection.connector import Connector, access
from service_migrations.connection.locks import process_lock
from service_migrations.errors import MigrationError, UsageError
from service_migrations.monorepo import Service
from service_migrations.ownership.attribution import Owned, attribute
from service_migrations.ownership.candidates import from_catalog
from service_migrations.ownership.claimants import claimants
from service_migrations.ownership.survey import current_schema
from service_migrations.settings.model import Settings, load_many

__all__ = ["Owned", "Owners", "owners"]

_AT_ONCE = 8
"""Connections that are open at the same time."""


@dataclass(frozen=True, slots=True)
class Owners:
    """One database: the selected services that it is of, its objects, and what went wrong, by service."""

    database: str
    services: tuple[str, ...]
    target: str | None
    objects: tuple[Owned, ...] = ()
    errors: tuple[MigrationError, ...] = ()


@dataclass(slots=True)
class _Group:
    """The selected services of one database."""

    database: str
    connectors: list[Connector] = field(default_factory=list)

    @property
    def services(self) -> tuple[str, ...]:
        return tuple(connector.service.name for connector in self.connectors)


async def owners(services: Sequence[Service], *, database: str | None = None) -> list[Owners]:
    """Return for each database of the services who claims what of it. Read-only.

    All that share a database are asked, also those that weren't named. One that fails doesn't stop the others: a
    service without settings, a database that can't be reached, two services that claim one object.

    Args:
        services: whose databases.
        database: the name of a database; all where it is None.

    Raises:
        UsageError: no service has a database of that name.

    """
    groups: dict[object, _Group] = {}
    failed: list[Owners] = []
    for service, settings in zip(services, load_many(services), strict=True):
        if isinstance(settings, Settings):
            group = groups.setdefault(settings.dsn.identity, _Group(settings.dsn.database))
            group.connectors.append(access(service))
        elif database is None:
            failed.append(Owners("", (service.name,), None, errors=(settings,)))
    chosen = [group for group in groups.values() if database in (None, group.database)]
    if database is not None and not chosen:
        known = ", ".join(sorted({group.database for group in groups.values()})) or "none"
        raise UsageError(f"--database {database!r}: no service that was asked has it. Known: {known}.")
    turns = asyncio.Semaphore(_AT_ONCE)
    return [*await asyncio.gather(*(_owners_of(group, turns) for group in chosen)), *failed]


async def _owners_of(group: _Group, turns: asyncio.Semaphore) -> Owners:
    """Return the owners of one database, over the first of its services that can connect."""
    errors: list[MigrationError] = []
    for connector in group.connectors:
        try:
            async with turns, connector.connect() as connection:
                objects = await read(connection)
                schema = await current_schema(connection)
        except MigrationError as error:
            errors.append(error)
            continue
        owned: tuple[Owned, ...] = ()
        try:
            async with process_lock():
                owned = _owned(connector, schema, objects)
        except MigrationError as error:
            errors.append(error)
        return Owners(group.database, group.services, connector.target, owned, tuple(errors))
    return Owners(group.database, group.services, None, errors=tuple(errors))


def _owned(connector: Connector, schema: str, objects: Sequence[Object]) -> tuple[Owned, ...]:
    """Return the objects with their owners. The caller holds the process lock.

    Raises:
        ConfigurationError: the models of a service can't be assembled, or two services claim one object.

    """
    everyone = claimants(connector, schema, from_catalog(objects).values())
    everyone.refuse_two_for_one_object(connector.target)
    return attribute(objects, everyone)
