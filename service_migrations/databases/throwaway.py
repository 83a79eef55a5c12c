"""Databases on a throw-away server, in which the histories of services are tried: by one role that is no superuser.

Their settings come from no file and no variable, so they are the same on every machine and lead nowhere else.
"""

import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Self

from service_migrations.databases.admin import connected, create, within
from service_migrations.databases.copying import copy_properties
from service_migrations.databases.removal import drop_with_users
from service_migrations.interruption import finish_even_if_cancelled, unfinished
from service_migrations.monorepo import Service
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Settings, load_unchecked
from service_migrations.settings.sources import Sources
from service_migrations.sql.quoting import quoted

__all__ = ["ThrowawayDatabases"]


class ThrowawayDatabases:
    """The databases of services that share one, each owned by the same role.

    At the end of ``async with``, databases and role are dropped, also after a cancellation: the server may outlive
    this run.
    """

    def __init__(self, server: Server, services: Sequence[Service], prefix: str) -> None:
        """Take the services, of which the first is the owner, and how the names of databases and role begin."""
        self._server, self._services = server, services
        role = f"{prefix}_{secrets.token_hex(6)}"
        self._dsn = replace(server.admin, user=role, database=role, password=secrets.token_urlsafe(18))
        self._names: list[str] = []
        self._stack = ExitStack()

    async def __aenter__(self) -> Self:
        """Nothing is created yet."""
        if self._server.data is None:  # a server of somebody else's is not removed with what is on it
            server = self._server.source.removeprefix("environment ")
            left = f"the role {self._dsn.user} and its databases are left on the server of {server}"
            self._stack.enter_context(unfinished(left))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Drop what was created."""
        with self._stack:
            await finish_even_if_cancelled(self._drop())

    async def create(self) -> list[Settings]:
        """Create a database with what ``bootstrap.sql`` makes, and return the settings of each service for it.

        Raises:
            MigrationError: the server can't be reached, or refuses.

        """
        settings = self._settings()
        await create(settings[0], self._server.admin, set_password=True, others=settings[1:])
        return settings

    async def copy(self, template: str) -> list[Settings]:
        """Create a copy of a database that nobody is connected to, and return the settings of each service for it.

        Raises:
            MigrationError: the server can't be reached.

        """
        settings = self._settings()
        async with connected(settings[0], self._server.admin) as connection:
            name, owner = quoted(settings[0].dsn.database), quoted(self._dsn.user)
            await connection.execute(f"CREATE DATABASE {name} OWNER {owner} TEMPLATE {quoted(template)}")
            await copy_properties(connection, template, settings[0].dsn.database)
        return settings

    def _settings(self) -> list[Settings]:
        name = f"{self._dsn.database}_{len(self._names)}"
        self._names.append(name)
        return [_settings(service, replace(self._dsn, database=name)) for service in self._services]

    async def _drop(self) -> None:
        if not self._names:
            return
        settings, admin = _settings(self._services[0], self._dsn), self._server.admin
        async with connected(settings, admin) as connection:
            for name in self._names:
                await drop_with_users(connection, connected(settings, within(admin, name)), name)
            await connection.execute(f"DROP ROLE IF EXISTS {quoted(self._dsn.user)}")


def _settings(service: Service, dsn: Dsn) -> Settings:
    nowhere = service.path / ".no-env"
    plain = replace(
        service, env_file=nowhere, environment="", is_env_file_given=False, dsn=None, dsn_key=None, password=None
    )
    sources = Sources({f"{service.env_prefix}DATABASE_DSN": dsn.uri()})
    return replace(load_unchecked(plain, sources), service=service, dsn=dsn, edited="warn", is_temporary=True)
