"""The extensions that a database has without its history, for the replay of a history that needs them.

Somebody has created them by hand, and nothing says when. A history may create others itself, and the schema of these
too. So a replay begins without them. Where a revision fails, it begins again, since a part of that revision may be
committed, and they are created before the revision.
"""

import re
from collections.abc import Collection, Iterable, Mapping

import asyncpg

from service_migrations.catalog.objects import Key, Object, read
from service_migrations.connection import engine as connections
from service_migrations.databases.admin import connected, within
from service_migrations.errors import AccessDeniedError, MigrationError, UsageError
from service_migrations.failures.driver_errors import describe, is_of_the_session, sqlstate_of_any
from service_migrations.failures.revisions import lost_failure, replay_failure
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Settings
from service_migrations.sql.quoting import quoted

__all__ = ["REVISION_FAILED", "Extensions", "MissingExtensionError", "read_objects"]

REVISION_FAILED = (MigrationError.exit_code, AccessDeniedError.exit_code)
"""The exit codes of errors that an extension may prevent: CREATE EXTENSION itself may be what isn't allowed."""

_KIND_CREATED_TWICE = {"42710": "extension", "42P06": "schema"}
"""What a revision can't create again, by the SQLSTATE."""


class MissingExtensionError(Exception):
    """A replay failed, and may succeed in another empty database."""


class Extensions:
    """The extensions of one database, and what is known of its history after each replay that failed."""

    def __init__(self, objects: Iterable[Object], admin: Dsn | None) -> None:
        """Take the objects of the database, and an administrator of its server."""
        # the oldest first: an extension may require another one
        self._extensions = sorted((item for item in objects if item.kind == "extension"), key=lambda item: item.place)
        self._admin = admin
        self._stops: dict[Service, list[frozenset[str]]] = {}
        self._created_by_history: set[tuple[str, str]] = set()
        self._refused: dict[str, str] = {}

    def stops(self, service: Service) -> tuple[frozenset[str], ...]:
        """Return the revisions of a service at which a replay stops for ``create_missing``, in their order."""
        return tuple(self._stops.get(service, ()))

    def stop_at_base(self, service: Service) -> None:
        """Let the next replay create the extensions before the first revision."""
        self._stops.setdefault(service, []).insert(0, frozenset())

    def differ_from(self, replayed: Collection[Key]) -> bool:
        """Whether a replayed history has left an extension out, or has created it in another schema."""
        return any(item.key not in replayed for item in self._extensions)

    async def create_missing(self, scratch: Settings) -> Mapping[Key, Object]:
        """Create what a scratch database lacks, as far as its role or the administrator may.

        Returns:
            All that was created: the extensions, their members and their schemas.

        Raises:
            MigrationError: the server can't be reached, or was lost.

        """
        before = await read_objects(scratch)
        missing = self._missing(before)
        if not missing:
            return {}
        for extension in missing:
            await self._create(extension, scratch)
        keys = {item.key for item in before}
        return {item.key: item for item in await read_objects(scratch) if item.key not in keys}

    async def may_help(self, error: MigrationError, scratch: Settings, revisions: Iterable[str]) -> bool:
        """Whether another replay, in another empty database, may succeed where a revision failed.

        Args:
            error: why it failed.
            scratch: the settings of the service with the DSN of the scratch database.
            revisions: those that the scratch database has.

        """
        if error.exit_code not in REVISION_FAILED:
            return False
        if created := self._created_twice(error):
            self._created_by_history.add(created)
            return True
        stop, stops = frozenset(revisions), self._stops.setdefault(scratch.service, [])
        if stop in stops or not self._missing(await read_objects(scratch)):
            return False
        stops.append(stop)
        return True

    def failure(self, error: MigrationError) -> MigrationError:
        """Return the error to raise where a replay fails in the end."""
        if error.exit_code not in REVISION_FAILED or not self._refused:
            return replay_failure(error)
        names = " and ".join(self._refused)
        reasons = "; ".join(reason for reason in dict.fromkeys(self._refused.values()) if reason not in error.message)
        return UsageError(
            f"{error.message} The history can't be replayed into a scratch database: it may need the "
            f"extension{'' if len(self._refused) == 1 else 's'} {names}, which the database has, and which can't be "
            f"created there{f' ({reasons})' if reasons else ''}.",
            service=error.service,
            path=error.path,
            line=error.line,
            hint="Name an administrator in DATABASE_ADMIN_DSN; or let one create it in an empty database, and name "
            "that in DATABASE_SCRATCH_DSN.",
        )

    def _missing(self, objects: Iterable[Object]) -> list[Object]:
        """Return the extensions that a scratch database lacks, without those for which it is too early."""
        present = {(item.kind, item.name) for item in objects if item.kind in ("extension", "schema")}
        absent = self._created_by_history - present
        return [
            item
            for item in self._extensions
            if ("extension", item.name) not in present
            and not absent & {("extension", item.name), ("schema", item.schema)}
        ]

    def _created_twice(self, error: MigrationError) -> tuple[str, str] | None:
        """Return the extension, or the schema of one, that the history creates after it was created for it."""
        kind = _KIND_CREATED_TWICE.get(sqlstate_of_any(error) or "")
        names = {item.name if kind == "extension" else item.schema for item in self._extensions}
        # the name of one may begin that of another, as ext and extra
        created = (
            (kind, name)
            for name in names
            if kind and re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", error.message)
        )
        return next((item for item in created if item not in self._created_by_history), None)

    async def _create(self, extension: Object, scratch: Settings) -> None:
        dsns = [scratch.dsn]
        # a scratch database that was named may be on another server
        if self._admin and (scratch.scratch is None or self._admin.server == scratch.dsn.server):
            dsns.append(within(self._admin, scratch.dsn.database))
        for dsn in dsns:
            try:
                async with connected(scratch, dsn) as connection, connection.transaction():
                    await _create(connection, extension)
            except asyncpg.PostgresError as error:
                if is_of_the_session(error):
                    raise lost_failure(error, scratch.service) from error
                self._refused[extension.name] = describe(error)
            else:
                self._refused.pop(extension.name, None)
                return


async def read_objects(settings: Settings) -> tuple[Object, ...]:
    """Return the objects of the database of some settings."""
    async with connections.open_connection(settings) as connection:
        return await read(connection)


async def _create(connection: "asyncpg.Connection", extension: Object) -> None:
    """Create an extension in its schema, in its version where the server has the script of that."""
    name, schema, version = extension.name, extension.schema, extension.facts["version"]
    if not await connection.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = $1", schema):
        await connection.execute(f"CREATE SCHEMA {quoted(schema)}")
    has_version = await connection.fetchval(
        "SELECT 1 FROM pg_available_extension_versions WHERE name = $1 AND version = $2", name, version
    )
    of_version = f" VERSION {quoted(version)}" if has_version else ""
    await connection.execute(f"CREATE EXTENSION {quoted(name)} SCHEMA {quoted(schema)}{of_version} CASCADE")
