"""The owners of the objects of each database, and the reason for each."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from service_migrations.catalog.objects import Object, read
from service_migrations.connection.connector import Connector, connector_of
from service_migrations.errors import MigrationError, UsageError
from service_migrations.history.baseline import read_baseline
from service_migrations.monorepo import Service, resolve_all
from service_migrations.ownership.attribution import Owned, attribute
from service_migrations.ownership.candidates import from_catalog
from service_migrations.ownership.claimants import load_claimants
from service_migrations.ownership.survey import current_schema
from service_migrations.session.locks import process_lock
from service_migrations.settings.database import grouped
from service_migrations.settings.model import Settings, load_many

__all__ = ["Owned", "Owners", "owners", "owners_of"]

_AT_ONCE = 8
"""The number of connections that are open at the same time."""


@dataclass(frozen=True, slots=True)
class Owners:
    """One database: the selected services that have it, its objects with their owners, and errors."""

    database: str
    services: tuple[str, ...]
    target: str | None
    objects: tuple[Owned, ...] = ()
    errors: tuple[MigrationError, ...] = ()


async def owners(services: str | Service | Sequence[str | Service], *, database: str | None = None) -> list[Owners]:
    """Return the owners of the objects of each database that the services have. Read-only.

    All services that share a database count, also those that weren't named. An error doesn't stop the others: a service
    without settings, a database that can't be reached, two services that claim one object.

    Args:
        services: whose databases.
        database: the name of a database; all where it is None.

    Raises:
        UsageError: no service has a database of that name.

    """
    chosen = resolve_all(services)
    loaded: list[Settings] = []
    failed: list[Owners] = []
    for service, settings in zip(chosen, load_many(chosen), strict=True):
        if isinstance(settings, Settings):
            loaded.append(settings)
        elif database is None:
            failed.append(Owners("", (service.name,), None, errors=(settings,)))
    groups = grouped(loaded, lambda settings: settings.database)
    selected = [group for group in groups if database in (None, group[0].dsn.database)]
    if database is not None and not selected:
        known = ", ".join(sorted({group[0].dsn.database for group in groups})) or "none"
        raise UsageError(f"--database {database!r}: no service that was asked has it.", hint=f"Known: {known}.")
    limit = asyncio.Semaphore(_AT_ONCE)
    answers = await asyncio.gather(*(owners_of(group, limit) for group in selected))
    return [*(answer for answer, _ in answers), *failed]


async def owners_of(group: Sequence[Settings], limit: asyncio.Semaphore) -> tuple[Owners, tuple[Object, ...]]:
    """Return the owners of one database with its objects, over the first of its services that can connect.

    Args:
        group: the settings of services that have one database.
        limit: of the connections at once.

    """
    database, services = group[0].dsn.database, tuple(settings.service.name for settings in group)
    errors: list[MigrationError] = []
    for connector in map(connector_of, group):
        try:
            async with limit, connector.connect() as connection:
                objects = await read(connection)
                schema = current_schema(connection)
        except MigrationError as error:
            errors.append(error)
            continue
        owned: tuple[Owned, ...] = ()
        try:
            async with process_lock():
                owned = _owned(connector, schema, objects)
        except MigrationError as error:
            errors.append(error)
        return Owners(database, services, connector.target, owned, tuple(errors)), objects
    return Owners(database, services, None, errors=tuple(errors)), ()


def _owned(connector: Connector, schema: str, objects: Sequence[Object]) -> tuple[Owned, ...]:
    """Return the objects with their owners. The caller holds the process lock.

    Raises:
        ConfigurationError: the models of a service can't be assembled, or two services claim one object; a baseline
            can't be read.

    """
    claimants = load_claimants(connector, schema, from_catalog(objects).values())
    claimants.refuse_two_for_one_object(connector.target)
    owned = attribute(objects, claimants)
    if not any(item.is_nobodys for item in owned):
        return owned
    services = [claimant.service for claimant in claimants if claimant.certain]
    entries = {service.name: read_baseline(service).entries.get("drift", frozenset()) for service in services}
    return tuple(_with_acceptance(item, entries) if item.is_nobodys else item for item in owned)


def _with_acceptance(item: Owned, entries: Mapping[str, frozenset[str]]) -> Owned:
    """Return an object that nobody claims, with the services whose baseline accepts it beside their history."""
    name = (
        item.name if item.kind in ("schema", "extension") or item.schema == "public" else f"{item.schema}.{item.name}"
    )
    start = f"{item.kind} {name} is in the database but not in the history "
    accepting = [service for service, own in entries.items() if any(entry.startswith(start) for entry in own)]
    return replace(item, why=f"accepted in the baseline of {', '.join(accepting)}") if accepting else item
