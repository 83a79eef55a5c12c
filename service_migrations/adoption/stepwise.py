"""A history in a scratch database, one revision after the other, with the catalog after each."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from service_migrations.catalog.objects import Key, Object, read
from service_migrations.connection.connector import connector_of
from service_migrations.drift.drift import sibling_revisions, sibling_settings, without_bookkeeping
from service_migrations.drift.extensions import Extensions, MissingExtensionError
from service_migrations.drift.replay import advance
from service_migrations.drift.scratch import scratch
from service_migrations.errors import MigrationError
from service_migrations.history.revisions import read as read_history
from service_migrations.history.targets import migrate_to, revert
from service_migrations.session.locks import process_lock
from service_migrations.session.session import Session, open_session
from service_migrations.session.tables.version_table import ensure_schema
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Settings

__all__ = ["Steps", "comparable", "empty_database", "stepping"]


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a history in a scratch database.

    Attributes:
        session: the session in that database.
        settings: the settings with the DSN of that database.
        extensions: those of the service's database.
        initial: the objects that no step has created.
        created_types: the types that revisions have created so far, as SQLAlchemy notes them in one run, where the
            second table with a type doesn't create it again. Each step is a run of its own.
        types_before: those before the newest revision.

    """

    session: Session
    settings: Settings
    extensions: Extensions
    initial: dict[Key, Object]
    created_types: dict[str, set[object]] = field(default_factory=dict)
    types_before: dict[str, set[object]] = field(default_factory=dict)

    async def up(self, revision: str) -> None:
        """Upgrade to a revision.

        Raises:
            MissingExtensionError: the revision fails, and may succeed in another scratch database.
            MigrationError: the revision fails.

        """
        applied = frozenset(await self.session.applied())
        if applied in self.extensions.stops(self.settings.service):
            self.initial.update(await self.extensions.create_missing(self.settings))
        _copy(self.created_types, self.types_before)
        try:
            await self.session.run(migrate_to(self.session.history, revision), created_types=self.created_types)
        except MigrationError as error:
            if await self.extensions.may_help(error, self.settings, applied):
                raise MissingExtensionError from error
            raise

    async def down(self, revision: str) -> None:
        """Revert the newest revision.

        Raises:
            MigrationError: the downgrade fails.

        """
        await self.session.run(revert(self.session.history, revision))
        _copy(self.types_before, self.created_types)

    async def objects(self) -> list[Object]:
        """Return the objects that the history has created so far, without the library's own."""
        objects = await read(self.session.connection)
        await self.session.connection.rollback()
        own = [item for item in objects if item.key not in self.initial]
        return without_bookkeeping(own, self.session.history.service, self.session.connector.version_table)

    async def schema(self) -> frozenset[str]:
        """Return all that can differ between two states of the database, as comparable texts."""
        return frozenset(f"{comparable(item)} {item.comment} {item.grants}" for item in await self.objects())


def _copy(types: Mapping[str, set[object]], into: dict[str, set[object]]) -> None:
    copied = {kind: set(names) for kind, names in types.items()}
    into.clear()
    into.update(copied)


def comparable(item: Object) -> str:
    """Return a text that is equal for two equal objects."""
    return json.dumps([*item.key, dict(item.facts)], sort_keys=True, default=str)


@asynccontextmanager
async def empty_database(
    settings: Settings, admin: Dsn | None, extensions: Extensions, *, with_siblings: bool
) -> AsyncIterator[Settings]:
    """Provide a scratch database; with siblings as far as their histories go without the service's own tables.

    Yields:
        The settings with the DSN of that database.

    Raises:
        AccessDeniedError: no role may create it.

    """
    async with scratch(settings, settings.admin or admin) as scratch_settings:
        if with_siblings:
            siblings = sibling_settings(settings)
            for service, revisions in (await sibling_revisions(siblings)).items():
                sibling = replace(siblings[service], dsn=scratch_settings.dsn)
                try:
                    await advance(sibling, revisions, extensions, {})
                except MigrationError:
                    continue  # it may need the service's own tables
        yield scratch_settings


@asynccontextmanager
async def stepping(settings: Settings, extensions: Extensions) -> AsyncIterator[Steps]:
    """Open a session in a scratch database, for the steps of a service's history."""
    history = read_history(settings.service)
    async with process_lock(), open_session(history, connector_of(settings)) as session:
        initial = {item.key: item for item in await read(session.connection)}
        await session.connection.rollback()
        if session.schema:
            await ensure_schema(session.connection, session.schema)
        yield Steps(session, settings, extensions, initial)
