"""The objects that the history of a service creates in an empty database.

A history may need the tables of siblings that share the database, and theirs may need its. Then each runs as far as it
can, in turns, until the service is at its revision.
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

__all__ = ["advance", "replay"]

log = logging.getLogger(__name__)

_FAILED = MigrationError.exit_code
_PUBLIC = Key("schema", "public", None, "public")


async def replay(  # noqa: C901 - one loop, with its end
    settings: Settings,
    revisions: Mapping[Service, tuple[str, ...]],
    siblings: Mapping[Service, Settings],
    *,
    alone: bool = False,
) -> tuple[dict[Key, tuple[Service, Object]], frozenset[Key]]:
    """Upgrade a scratch database, and return its objects, each with the service that created it.

    The second value is what it had before and no history changed, such as the objects of ``bootstrap.sql``.

    Args:
        settings: the service's, with the DSN of the scratch database.
        revisions: those of each service's database; of siblings only where they are replayed too.
        siblings: the settings of those siblings.
        alone: whether nobody else has the database, so that the schema public is the service's as it is.

    Raises:
        MigrationError: the service's history fails; the message has the revision.

    """
    waiting = [
        settings,
        *(replace(siblings[service], dsn=settings.dsn) for service in revisions if service != settings.service),
    ]
    created: dict[Key, tuple[Service, Object]] = {}
    # what the scratch database has before: its own, where no history changes it, such as the comment on public
    initial = {item.key: item for item in await _read(settings)}
    while waiting:
        failed: list[Settings] = []
        errors: dict[Service, MigrationError] = {}
        before = len(created)
        for current in waiting:
            try:
                await advance(current, revisions[current.service])
            except MigrationError as error:
                if error.exit_code != _FAILED:
                    raise
                errors[current.service] = error
                failed.append(current)
            for item in await _read(current):
                if initial.get(item.key) != item:
                    creator = created[item.key][0] if item.key in created else current.service
                    created[item.key] = (creator, item)
        if len(failed) == len(waiting) and len(created) == before:
            if settings.service in errors:
                cause = errors[settings.service]
                raise MigrationError(
                    f"{cause.message} The history can't be replayed into a scratch database.",
                    service=cause.service,
                    path=cause.path,
                    line=cause.line,
                    hint=cause.hint,
                ) from cause
            for sibling, cause in errors.items():
                log.warning("%s: left out of the replay: %s", sibling, cause)
            break
        waiting = failed
    if alone and _PUBLIC in initial:
        created.setdefault(_PUBLIC, (settings.service, initial[_PUBLIC]))
    return created, frozenset(initial.keys() - created.keys())


async def advance(settings: Settings, revisions: tuple[str, ...]) -> None:
    """Upgrade a database to some revisions."""
    engine = connections.create_engine(settings)
    try:
        for revision in revisions:
            await upgrade(settings.service, revision, engine=engine, limits=settings.limits, settings=settings)
    finally:
        await engine.dispose()


async def _read(settings: Settings) -> tuple[Object, ...]:
    async with connections.open_connection(settings) as connection:
        return await read(connection)
