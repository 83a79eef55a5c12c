"""Who owns what: each object of a database, the service that claims it, and why; then what nobody claims."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service_migrations.catalog.objects import Object, read
from service_migrations.connection.connector import Connector, connector_of
from service_migrations.connection.locks import process_lock
from service_migrations.errors import MigrationError, UsageError
from service_migrations.models.claims import claims
from service_migrations.monorepo import Service, resolve
from service_migrations.ownership.attribution import Claimant, Owned, attribute
from service_migrations.ownership.past import past
from service_migrations.ownership.survey import claimed, refuse_two_claimants
from service_migrations.settings.database import grouped
from service_migrations.settings.model import Settings, load_many
from service_migrations.settings.siblings import default_schema, siblings as siblings_of

__all__ = ["Owned", "Owners", "claimants", "owners"]

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


async def owners(services: Sequence[str | Service], *, database: str | None = None) -> list[Owners]:
    """Return for each database of the services who claims what of it. Read-only.

    All that share a database are asked, also those that weren't named. One that fails doesn't stop the others: a
    service without settings, a database that can't be reached, two services that claim one object.

    Args:
        services: whose databases.
        database: the name of a database; all where it is None.

    Raises:
        UsageError: no service has a database of that name.

    """
    chosen_services = [resolve(service) for service in services]
    loaded: list[Settings] = []
    failed: list[Owners] = []
    for service, settings in zip(chosen_services, load_many(chosen_services), strict=True):
        if isinstance(settings, Settings):
            loaded.append(settings)
        elif database is None:
            failed.append(Owners("", (service.name,), None, errors=(settings,)))
    groups = [
        (group[0].dsn.database, [connector_of(settings) for settings in group])
        for group in grouped(loaded, lambda settings: settings.database)
    ]
    chosen = [group for group in groups if database in (None, group[0])]
    if database is not None and not chosen:
        known = ", ".join(sorted({name for name, _ in groups})) or "none"
        raise UsageError(f"--database {database!r}: no service that was asked has it. Known: {known}.")
    turns = asyncio.Semaphore(_AT_ONCE)

    async def look(name: str, ways: list[Connector]) -> Owners:
        names = tuple(way.service.name for way in ways)
        errors: list[MigrationError] = []
        for way in ways:
            try:
                async with turns, way.connect() as connection:
                    objects = await read(connection)
            except MigrationError as error:
                errors.append(error)
                continue
            try:
                async with process_lock():
                    found = attribute(objects, claimants(way, objects))
            except MigrationError as error:
                return Owners(name, names, way.target, errors=(*errors, error))
            return Owners(name, names, way.target, found, tuple(errors))
        return Owners(name, names, None, errors=tuple(errors))

    return [*await asyncio.gather(*(look(name, ways) for name, ways in chosen)), *failed]


def claimants(way: Connector, objects: Iterable[Object]) -> list[Claimant]:
    """Return the services that share a database, with what each claims. The caller holds the gate.

    Args:
        way: one service's way to it.
        objects: what is there.

    Raises:
        ConfigurationError: the models of one can't be assembled, or two of them claim one object.

    """
    tables = {one.name for one in objects if one.kind == "table"}
    siblings = siblings_of(way.service, way.databases, way.sources, tables)
    schemas = {way.service: default_schema(way.service, way.sources), **{one.service: one.schema for one in siblings}}
    version_tables = {way.service: way.version_table, **{one.service: one.version_table for one in siblings}}
    sure = {way.service, *(one.service for one in siblings if one.certain)}
    found = [
        Claimant(service, claimed(models, schemas[service]), past(service, schemas[service]), version_tables[service])
        for service, models in claims(schemas).items()
    ]
    certain = [one for one in found if one.service in sure]
    for index, one in enumerate(certain):
        for other in certain[index + 1 :]:
            refuse_two_claimants((one.service, one.models), (other.service, other.models), way.target)
    return sorted(found, key=lambda one: one.service)
