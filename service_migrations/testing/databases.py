"""Databases for single tests, each with a role for every service that has tables in it."""

import hashlib
import hmac
import os
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace

import asyncpg
import pytest

from service_migrations.catalog.search_path import OWN_PATH
from service_migrations.connection.parameters import NO_TIMEOUTS, without_transaction_timeout
from service_migrations.databases.bootstrap import bootstrap
from service_migrations.databases.removal import drop_with_users
from service_migrations.errors import AccessDeniedError, ConfigurationError, MigrationError, UnreachableError
from service_migrations.failures.driver_errors import describe, is_lost_connection, sqlstate
from service_migrations.monorepo import Service
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.keys import leads_to_a_database
from service_migrations.settings.siblings import declared_user
from service_migrations.sql.identifiers import cut
from service_migrations.sql.quoting import literal, quoted

__all__ = ["PREFIX", "Databases", "aimed"]

PREFIX = "service_migrations_"
"""The prefix of every role and database that is created for tests."""

_STRATEGY_SINCE = 15

_FAREWELL = 2.0
"""Seconds for the end of a connection."""

_DENIED = "42501"

_OF_THE_DSN = ("28P01", "28000", "3D000")
"""A wrong password, a role that may not log in, a database that doesn't exist."""

_LEFT_BEHIND = r"""
    SELECT datname FROM pg_database d
    WHERE datname ~ '^service_migrations_(test_[0-9a-f]{12}|template_[0-9a-f]{16}(_unready)?)$'
      AND (pg_stat_file('base/' || oid || '/PG_VERSION', true)).modification < now() - interval '1 day'
      AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)
"""
"""What killed runs and older histories have left on a server that outlives its tests, by names that only we give."""


class Databases:
    """The creation and removal of databases on one server.

    A service has the same role in all databases, which is no superuser, and which several services may share. Its
    password is derived from the administrator's, so that all processes of a run can compute it, and nobody else can.
    """

    def __init__(self, server: Server, *, keeps_connection: bool = False) -> None:
        """Create and remove nothing yet.

        Args:
            server: the server.
            keeps_connection: whether the administrator's connection is kept for the next time, until ``close``. Then
                all calls have to run in one event loop.

        """
        self.server = server
        self._users: dict[Service, str] = {}
        self._roles: set[str] = set()
        self._keeps_connection = keeps_connection
        self._idle: asyncpg.Connection[asyncpg.Record] | None = None

    async def close(self) -> None:
        """Close the connection that is kept."""
        idle, self._idle = self._idle, None
        if idle is not None:
            await _close(idle)

    def dsn(self, service: Service, database: str) -> Dsn:
        """Return the DSN of a service for a database."""
        if service not in self._users:
            self._users[service] = cut(f"{PREFIX}{declared_user(service)}")
        role, secret = self._users[service], (self.server.admin.password or "").encode()
        password = hmac.new(secret, role.encode(), hashlib.sha256).hexdigest()
        return replace(self.server.admin, user=role, database=database, password=password)

    async def create(self, services: Sequence[Service], name: str = "") -> dict[Service, Dsn]:
        """Create a database, which the first service's role owns, and return the DSN of each service.

        It has what ``bootstrap.sql`` makes, and nothing else.
        """
        name = name or self.new_name()
        dsns = {service: self.dsn(service, name) for service in services}
        for dsn in dsns.values():
            await self._ensure_role(dsn)
        async with self.connected() as admin:
            await self.clone(admin, "template1", name, dsns[services[0]].user)
        async with self.connected(database=name) as admin:
            for dsn in dsns.values():
                await admin.execute(f"GRANT CREATE ON DATABASE {quoted(name)} TO {quoted(dsn.user)}")
                await admin.execute(f"GRANT USAGE, CREATE ON SCHEMA public TO {quoted(dsn.user)}")
            await bootstrap(admin, services)
        return dsns

    async def refuse_another_version(self) -> None:
        """Refuse a server of another version than the one that it is named for.

        Raises:
            MigrationError: it is of another version; or it can't be reached, or refuses.

        """
        async with self.connected() as admin:
            version = str(admin.get_server_version().major)
        if version != self.server.version:
            raise ConfigurationError(
                f"{self.server.source}: {self.server.admin.target} is PostgreSQL {version}.",
                hint=f"Name one of PostgreSQL {self.server.version}.",
            )

    async def clone(self, admin: "asyncpg.Connection[asyncpg.Record]", template: str, name: str, owner: str) -> None:
        """Create a database as a copy of another one, which nobody is connected to."""
        # a server of ours writes nothing to disk, so that files are copied in a third of the time of a copy by the WAL
        is_ours, since = self.server.data is not None, int(self.server.version) >= _STRATEGY_SINCE
        strategy = " STRATEGY file_copy" if is_ours and since else ""
        names = f"{quoted(name)} OWNER {quoted(owner)} TEMPLATE {quoted(template)}"
        await admin.execute(f"CREATE DATABASE {names}{strategy}")

    async def _ensure_role(self, dsn: Dsn) -> None:
        if dsn.user in self._roles:
            return
        # two processes that alter one role at once get the error "tuple concurrently updated"
        async with self.connected("roles") as admin:
            exists = await admin.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", dsn.user)
            verb = "ALTER" if exists else "CREATE"
            await admin.execute(f"{verb} ROLE {quoted(dsn.user)} LOGIN PASSWORD {literal(dsn.password)}")
        self._roles.add(dsn.user)

    async def drop(self, name: str) -> None:
        """Drop a database, and end its connections and prepared transactions; do nothing where it doesn't exist."""
        async with self.connected() as admin:
            await drop_with_users(admin, self.connected(database=name), name)

    async def drop_left_behind(self) -> None:
        """Drop databases of killed runs that are a day old, where this administrator may."""
        async with self.connected() as admin:
            if not await admin.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
                return
            for row in await admin.fetch(_LEFT_BEHIND):
                with suppress(asyncpg.PostgresError):  # another run clones it or is quicker
                    await admin.execute(f"DROP DATABASE IF EXISTS {quoted(row['datname'])}")

    def new_name(self) -> str:
        """Return a new name for a database."""
        return f"{PREFIX}test_{secrets.token_hex(6)}"

    @asynccontextmanager
    async def connected(
        self, lock: str = "", *, shared: bool = False, database: str = ""
    ) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """Connect as the administrator.

        Args:
            lock: the name of an advisory lock to hold while the block runs.
            shared: whether others may hold the lock shared at the same time.
            database: the database; empty for the administrator's own.

        Raises:
            MigrationError: the server can't be reached, or refuses.

        """
        connection = None if database else await self._take_idle()
        if connection is None:
            connection = await self._connect(database)
        try:
            if lock:
                function = "pg_advisory_lock_shared" if shared else "pg_advisory_lock"
                await connection.execute(f"SELECT {function}(hashtextextended({literal(PREFIX + lock)}, 0))")
            yield connection
            if lock:
                await connection.execute("SELECT pg_advisory_unlock_all()")
        except BaseException as error:
            is_of_it = isinstance(error, asyncpg.PostgresError) or connection.is_closed() or is_lost_connection(error)
            await _close(connection)
            if is_of_it and isinstance(error, Exception) and not isinstance(error, MigrationError):
                raise self._failure(error) from None
            raise
        if self._keeps_connection and not database and self._idle is None:
            self._idle = connection
        else:
            await _close(connection)

    async def _connect(self, database: str) -> "asyncpg.Connection[asyncpg.Record]":
        dsn = replace(self.server.admin, database=database or self.server.admin.database)
        try:
            own = {"search_path": OWN_PATH, **NO_TIMEOUTS}
            return await without_transaction_timeout(
                await asyncpg.connect(**dsn.connect_args(), server_settings=own),
            )
        except Exception as error:  # noqa: BLE001 - whatever a driver raises is explained
            # without its cause: pytest would print asyncpg's frames, which hold the password
            raise self._failure(error) from None

    def _failure(self, error: Exception) -> MigrationError:
        """Return the error to raise for one of the server: the line of a test and a message are enough."""
        is_ours, state = self.server.data is not None, sqlstate(error) or ""
        source = f"PostgreSQL {self.server.version} of this run" if is_ours else self.server.source
        message = f"{source}: {self.server.admin.target}: {describe(error)}."
        if state == _DENIED:
            return AccessDeniedError(message, hint="It has to name a superuser.")
        if is_lost_connection(error) or not state:
            hint = "Has a test stopped it?" if is_ours else "Is the server up, and this its address?"
            return UnreachableError(message, hint=hint)
        if state in _OF_THE_DSN and not is_ours:
            return ConfigurationError(message, hint="Correct it.")
        return MigrationError(message)

    async def _take_idle(self) -> "asyncpg.Connection[asyncpg.Record] | None":
        """Return the connection that is kept, which nobody else has then; None where it was lost."""
        idle, self._idle = self._idle, None
        if idle is not None:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await idle.execute("SELECT 1")
                return idle
        return None


async def _close(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Close a connection, which may be lost."""
    try:
        await connection.close(timeout=_FAREWELL)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
        connection.terminate()


@contextmanager
def aimed(databases: Mapping[Service, Dsn], scratch: Mapping[Service, Dsn] | None = None) -> Iterator[None]:
    """Set the databases of services while the block runs, whatever the environment and the .env files contain.

    Args:
        databases: the database of each service.
        scratch: an empty database of each service, for a replay of its history.

    """
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if leads_to_a_database(name):
                patch.delenv(name)
        for service, dsn in databases.items():
            patch.setenv(f"{service.env_prefix}DATABASE_DSN", dsn.uri())
            patch.setenv(f"{service.env_prefix}MIGRATIONS_VERSION_TABLE", service.version_table)
        for service, dsn in (scratch or {}).items():
            patch.setenv(f"{service.env_prefix}DATABASE_SCRATCH_DSN", dsn.uri())
        yield
