"""Databases at head: made once for a history and a server, as a template, and cloned for each test.

A template is known by a fingerprint of all that makes it, so a server that outlives its tests keeps it for the next
run, and an edited revision means another one.
"""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from service_migrations.errors import MigrationError
from service_migrations.history.revisions import script_location
from service_migrations.monorepo import Monorepo, Service
from service_migrations.postgres import Server
from service_migrations.sql.quoting import quoted
from service_migrations.testing.databases import PREFIX, Databases, aimed, uri, wait
from service_migrations.testing.sharing import siblings_of, user_of
from service_migrations.testing.turns import upgrade_in_turns

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = ["Clones", "MigratedDatabase", "Templates"]

_EXISTS = "SELECT 1 FROM pg_database WHERE datname = $1"


@dataclass(frozen=True, slots=True)
class MigratedDatabase:
    """A database at head, as one service reaches it: under a role that is no superuser."""

    service: str
    dsn: str
    """Such as ``postgresql://user:password@127.0.0.1:54321/name``, for asyncpg, psycopg or a .env."""

    @property
    def url(self) -> "URL":
        """The same for SQLAlchemy's ``create_async_engine()``; ``.set(drivername=…)`` names another driver."""
        from sqlalchemy import make_url  # noqa: PLC0415 - a team may use the driver alone

        return make_url(self.dsn).set(drivername="postgresql+asyncpg")


class Clones:
    """The databases of one test: a service, with those that share its database, has one."""

    def __init__(self, templates: "Templates") -> None:
        self._templates = templates
        self._names: dict[Service, str] = {}

    def get(self, name: str) -> MigratedDatabase:
        """Return the test's database of a service, at head.

        Services that share a database, by their ``.env.example``, get the same one, each under its own role.

        Raises:
            UsageError: there is no such service.
            MigrationError: its history doesn't lead to head.

        """
        service = Monorepo.locate().find(name)
        if service not in self._names:
            group = tuple(sorted((service, *siblings_of(service))))
            self._names |= dict.fromkeys(group, wait(lambda: self._templates.clone(group)))
        return MigratedDatabase(service.name, uri(self._templates.databases.dsn(service, self._names[service])))

    def drop(self) -> None:
        """Drop the databases, with whoever is still connected to them."""

        async def drop_all() -> None:
            for name in dict.fromkeys(self._names.values()):
                await self._templates.databases.drop(name)

        wait(drop_all)


class Templates:
    """The templates of one server."""

    def __init__(self, server: Server) -> None:
        self.databases = Databases(server)
        self._errors: dict[str, MigrationError] = {}

    async def clone(self, group: tuple[Service, ...]) -> str:
        """Make a database in which these services are at head, and return its name.

        Raises:
            MigrationError: their histories don't lead there; from then on at once.

        """
        template, name = self._template(group), self.databases.new_name()
        owner = self.databases.dsn(group[0], name).user
        while template not in self._errors:
            # many may clone it at once, and one makes it
            async with self.databases.connected(template, shared=True) as admin:
                if await admin.fetchval(_EXISTS, template):
                    with suppress(asyncpg.InvalidCatalogNameError):  # another run has dropped it: it was a day old
                        await self.databases.clone(template, name, owner)
                        return name
            async with self.databases.connected(template) as admin:
                if not await admin.fetchval(_EXISTS, template):
                    await self._make(group, template)
        raise self._errors[template]

    async def _make(self, group: tuple[Service, ...], template: str) -> None:
        """Make a template under another name first: it appears whole or not at all."""
        databases, unready = self.databases, f"{template}_unready"
        await databases.drop_left_behind()
        await databases.drop(unready)
        try:
            with aimed(await databases.create(group, unready)):
                _, errors = await upgrade_in_turns(group)
            if errors:
                self._errors[template] = next(iter(errors.values()))
                return
            async with databases.connected() as admin:
                await admin.execute(f"ALTER DATABASE {quoted(unready)} RENAME TO {quoted(template)}")
                # nothing that somebody is connected to can be cloned
                await admin.execute(f"ALTER DATABASE {quoted(template)} ALLOW_CONNECTIONS false")
        finally:
            await databases.drop(unready)

    def _template(self, group: tuple[Service, ...]) -> str:
        digest = hashlib.sha256(f"{version('service-migrations')} {self.databases.server.admin.password}".encode())
        for service in group:
            digest.update(f"{service.name} {service.version_table} {user_of(service)} ".encode())
            for path in _files(service):
                digest.update(f"{path.name} ".encode() + hashlib.sha256(path.read_bytes()).digest())
        return f"{PREFIX}template_{digest.hexdigest()[:16]}"


def _files(service: Service) -> Iterator[Path]:
    """Yield what a history is made of: all files beside its revisions, and the environment that runs them."""
    yield script_location(service.root) / "env.py"
    if service.versions.is_dir():
        yield from sorted(path for path in service.versions.rglob("*") if path.is_file() and path.suffix != ".pyc")
