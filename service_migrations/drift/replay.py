"""A history replayed: what the revisions of a service make in an empty database, and nothing else can have made.

A history may lean on the tables of siblings that share the database, and they on its: then each goes as far as it
can, in turns, until the service is where it has to be.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace

from service_migrations.catalog.objects import Key, Object, read
from service_migrations.connection import engine as connections
from service_migrations.errors import MigrationError
from service_migrations.monorepo import Service
from service_migrations.settings.model import Settings
from service_migrations.upgrade.commands import upgrade

__all__ = ["replay"]

log = logging.getLogger(__name__)

_FAILED = MigrationError.exit_code


async def replay(
    settings: Settings, revisions: Mapping[Service, tuple[str, ...]], siblings: Mapping[Service, Settings]
) -> dict[Key, tuple[Service, Object]]:
    """Upgrade a scratch database, and return what is there with the service that made it.

    Args:
        settings: the service's, leading to the scratch database.
        revisions: where each service's database is; of the siblings those that are to be replayed too.
        siblings: the settings of those siblings.

    Raises:
        MigrationError: the service's history fails; the message says where.

    """
    waiting = [settings, *(replace(siblings[one], dsn=settings.dsn) for one in revisions if one != settings.service)]
    made: dict[Key, tuple[Service, Object]] = {}
    empty = {one.key for one in await _read(settings)}
    while waiting:
        still: list[Settings] = []
        errors: dict[Service, MigrationError] = {}
        before = len(made)
        for one in waiting:
            try:
                await _advance(one, revisions[one.service])
            except MigrationError as error:
                if error.exit_code != _FAILED:
                    raise
                errors[one.service] = error
                still.append(one)
            for found in await _read(one):
                if found.key not in empty:
                    made[found.key] = (made[found.key][0] if found.key in made else one.service, found)
        if len(still) == len(waiting) and len(made) == before:
            if settings.service in errors:
                failed = errors[settings.service]
                raise MigrationError(f"{failed} The history can't be replayed into a scratch database.") from failed
            for sibling, failed in errors.items():
                log.warning("%s: left out of the replay: %s", sibling, failed)
            break
        waiting = still
    return made


async def _advance(settings: Settings, revisions: tuple[str, ...]) -> None:
    engine = connections.engine(settings)
    try:
        for revision in revisions:
            await upgrade(settings.service, revision, engine=engine, limits=settings.limits, settings=settings)
    finally:
        await engine.dispose()


async def _read(settings: Settings) -> tuple[Object, ...]:
    async with connections.open_connection(settings) as connection:
        return await read(connection)
