"""The objects that the history of a service creates in an empty database.

A history may need the tables of siblings that share the database, and theirs may need its. Then each runs as far as it
can, in turns, until the service is at its revision.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NoReturn

from service_migrations.catalog.objects import Key, Object
from service_migrations.connection.connector import connector_of
from service_migrations.drift.extensions import REVISION_FAILED, Extensions, MissingExtensionError, read_objects
from service_migrations.errors import MigrationError
from service_migrations.history.revisions import History, read as read_history
from service_migrations.monorepo import Service
from service_migrations.session.session import open_session
from service_migrations.settings.model import Settings
from service_migrations.upgrade.commands import upgrade

__all__ = ["advance", "replay"]

log = logging.getLogger(__name__)

_PUBLIC = Key("schema", "public", None, "public")


async def replay(  # noqa: C901 - one loop, with its end
    settings: Settings,
    revisions: Mapping[Service, tuple[str, ...]],
    siblings: Mapping[Service, Settings],
    extensions: Extensions,
    *,
    alone: bool = False,
) -> tuple[dict[Key, tuple[Service, Object]], frozenset[Key]]:
    """Upgrade a scratch database, and return its objects, each with the service that created it.

    The second value is what it had before and no history changed, such as the objects of ``bootstrap.sql``, and what
    was created of the extensions.

    Args:
        settings: the service's, with the DSN of the scratch database.
        revisions: those of each service's database; of siblings only where they are replayed too.
        siblings: the settings of those siblings.
        extensions: those of the service's database.
        alone: whether nobody else has the database, so that the schema public is the service's as it is.

    Raises:
        MissingExtensionError: the service's history fails, and may succeed in another scratch database.
        MigrationError: the service's history fails; the message has the revision.

    """
    waiting = [
        settings,
        *(replace(siblings[service], dsn=settings.dsn) for service in revisions if service != settings.service),
    ]
    created: dict[Key, tuple[Service, Object]] = {}
    # what the scratch database has before: its own, where no history changes it, such as the comment on public
    initial = {item.key: item for item in await read_objects(settings)}
    while waiting:
        failed: list[Settings] = []
        errors: dict[Service, MigrationError] = {}
        before = len(created)
        for current in waiting:
            try:
                await advance(current, revisions[current.service], extensions, initial)
            except MigrationError as error:
                if error.exit_code not in REVISION_FAILED:
                    raise
                errors[current.service] = error
                failed.append(current)
            for item in await read_objects(current):
                if initial.get(item.key) != item:
                    creator = created[item.key][0] if item.key in created else current.service
                    created[item.key] = (creator, item)
        if len(failed) == len(waiting) and len(created) == before:
            if settings.service in errors:
                await _raise_failure(errors[settings.service], settings, extensions)
            for sibling, cause in errors.items():
                log.warning("%s: left out of the replay: %s", sibling, cause)
            break
        waiting = failed
    if alone and _PUBLIC in initial:
        created.setdefault(_PUBLIC, (settings.service, initial[_PUBLIC]))
    return created, frozenset(initial.keys() - created.keys())


async def _raise_failure(error: MigrationError, settings: Settings, extensions: Extensions) -> NoReturn:
    """Raise the error of a history's replay that stands still.

    Raises:
        MissingExtensionError: the replay may succeed in another scratch database.
        MigrationError: the error.

    """
    history = read_history(settings.service)
    async with open_session(history, connector_of(settings)) as session:
        revisions = await session.applied()
    if await extensions.may_help(error, settings, revisions):
        raise MissingExtensionError from error
    raise error


async def advance(
    settings: Settings, revisions: Iterable[str], extensions: Extensions, initial: dict[Key, Object]
) -> None:
    """Upgrade a database to some revisions, with a stop for each of those at which extensions are created.

    Args:
        settings: the service's, with the DSN of the scratch database.
        revisions: the revisions.
        extensions: those of the service's database.
        initial: gets what is created of these.

    """
    for stop in extensions.stops(settings.service):
        await _upgrade(settings, stop)
        initial.update(await extensions.create_missing(settings))
    await _upgrade(settings, revisions)


async def _upgrade(settings: Settings, revisions: Iterable[str]) -> None:
    for revision in _targets(read_history(settings.service), tuple(revisions)):
        await upgrade(settings.service, revision, limits=settings.limits, settings=settings)


def _targets(history: History, revisions: tuple[str, ...]) -> list[str]:
    """Return the targets that lead to several revisions in the order of an upgrade to all heads.

    What one branch needs of another isn't always written down as ``depends_on``. A database may have one of them in
    part, so that an upgrade to all heads would run more than it has.
    """
    if len(revisions) < 2:  # noqa: PLR2004 - a single revision has one way to it
        return list(revisions)
    targets: list[str] = []
    for revision in history.applied(revisions):
        if targets and targets[-1] in revision.down_revision:
            targets.pop()  # the next one leads there too
        targets.append(revision.revision)
    return targets
