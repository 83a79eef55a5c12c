"""Databases at head, created once for a history and a server as a template, and cloned for each test.

The name of a template has a hash of everything that it depends on. So a server that outlives its tests keeps it for the
next run, and an edited revision leads to a new one.
"""

import hashlib
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from service_migrations.databases.bootstrap import bootstrap_files
from service_migrations.databases.copying import copy_properties
from service_migrations.errors import MigrationError
from service_migrations.files import SOURCE, read_bytes
from service_migrations.history.files.fingerprint import checksum, fingerprint_or_checksum
from service_migrations.monorepo import Monorepo, Service, discovering_once
from service_migrations.postgres import Server
from service_migrations.settings.model import load_options
from service_migrations.settings.siblings import declared_siblings, declared_user
from service_migrations.settings.sources import Sources
from service_migrations.sql.quoting import quoted
from service_migrations.testing.databases import PREFIX, Databases, aimed
from service_migrations.testing.event_loop import EventLoop
from service_migrations.testing.history_files import imported_files, own_files
from service_migrations.testing.reporting import without_database
from service_migrations.testing.turns import upgrade_in_turns

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = ["Clones", "MigratedDatabase", "Templates"]

T = TypeVar("T")

_EXISTS = "SELECT 1 FROM pg_database WHERE datname = $1"


@dataclass(frozen=True, slots=True)
class MigratedDatabase:
    """A database at head, with the DSN of one service, whose role is no superuser."""

    service: str
    dsn: str = field(repr=False)
    """A DSN such as ``postgresql://user:password@127.0.0.1:54321/name``, for asyncpg, psycopg or a .env."""

    @property
    def url(self) -> "URL":
        """The URL for SQLAlchemy's ``create_async_engine()``; ``.set(drivername=…)`` names another driver."""
        from sqlalchemy import make_url  # noqa: PLC0415 - a team may use the driver alone

        return make_url(self.dsn).set(drivername="postgresql+asyncpg")


class Clones:
    """The databases of one test; services that share a database share one."""

    def __init__(self, templates: "Templates") -> None:
        self._templates = templates
        self._names: dict[Service, str] = {}

    def get(self, name: str) -> MigratedDatabase:
        """Return the test's database of a service, at head.

        Services that share a database, by their ``.env.example``, get the same one, each with its own role.

        Raises:
            UsageError: the service doesn't exist.
            MigrationError: its upgrade fails.

        """
        __tracebackhide__ = True  # of a mistake, pytest shows the line of the test and the message
        try:
            service, group = self._templates.find(name)
            if service not in self._names:
                self._names |= dict.fromkeys(group, self._templates.wait(lambda: self._templates.clone(group)))
        except MigrationError as error:
            raise without_database(error).with_traceback(None) from None
        return MigratedDatabase(service.name, self._templates.databases.dsn(service, self._names[service]).uri())

    def drop(self) -> None:
        """Drop the databases and close their connections."""

        async def drop_all() -> None:
            for name in dict.fromkeys(self._names.values()):
                await self._templates.databases.drop(name)

        self._templates.wait(drop_all)


class Templates:
    """The templates of one server."""

    def __init__(self, server: Server) -> None:
        self.databases = Databases(server, keeps_connection=True)
        self._loop = EventLoop()
        self._errors: dict[str, MigrationError] = {}
        self._imports: dict[str, tuple[Path, ...]] = {}
        self._fingerprints: dict[tuple[Path, int, int], str] = {}
        self._found: dict[tuple[Path, str], tuple[Service, tuple[Service, ...]]] = {}

    def find(self, name: str) -> tuple[Service, tuple[Service, ...]]:
        """Return a service and all that share its database; a run looks for each once, as each test asks.

        Raises:
            UsageError: the service doesn't exist.

        """
        monorepo = Monorepo.locate()
        if (monorepo.root, name) not in self._found:
            with discovering_once():
                service = monorepo.find(name)
                self._found[monorepo.root, name] = service, tuple(sorted((service, *declared_siblings(service))))
        return self._found[monorepo.root, name]

    def wait(self, coroutine_function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine function of these templates or databases to its end."""
        return self._loop.wait(coroutine_function)

    def close(self) -> None:
        """Close the connection to the server; the templates stay."""
        self.wait(self.databases.close)
        self._loop.close()

    async def clone(self, group: tuple[Service, ...]) -> str:
        """Create a database in which these services are at head, and return its name.

        Raises:
            MigrationError: an upgrade fails; later calls raise the same error at once.

        """
        template, name = self._template_name(group), self.databases.new_name()
        owner = self.databases.dsn(group[0], name).user
        while template not in self._errors:
            # many processes may clone the template at once, and one creates it
            async with self.databases.connected(template, shared=True) as admin:
                if await admin.fetchval(_EXISTS, template):
                    with suppress(
                        asyncpg.InvalidCatalogNameError
                    ):  # another run has dropped the template, which was a day old
                        await self.databases.clone(admin, template, name, owner)
                        try:
                            await copy_properties(admin, template, name)
                        except BaseException:
                            await self.databases.drop(name)
                            raise
                        return name
            async with self.databases.connected(template) as admin:
                if not await admin.fetchval(_EXISTS, template):
                    await self._create(group, template)
        raise self._errors[template]

    async def _create(self, group: tuple[Service, ...], template: str) -> None:
        """Create a template under another name and rename it, so that no other process uses half a template."""
        databases, temporary_name = self.databases, f"{template}_unready"
        await databases.drop_left_behind()
        await databases.drop(temporary_name)
        try:
            with aimed(await databases.create(group, temporary_name)):
                _, errors = await upgrade_in_turns(group)
            if errors:
                self._errors[template] = next(iter(errors.values()))
                return
            async with databases.connected() as admin:
                await admin.execute(f"ALTER DATABASE {quoted(temporary_name)} RENAME TO {quoted(template)}")
                # a database with connections can't be cloned
                await admin.execute(f"ALTER DATABASE {quoted(template)} ALLOW_CONNECTIONS false")
        finally:
            await databases.drop(temporary_name)

    def _template_name(self, group: tuple[Service, ...]) -> str:
        digest = hashlib.sha256(f"{version('service-migrations')} {self.databases.server.admin.password}".encode())
        for path in bootstrap_files(group):
            digest.update(read_bytes(path, SOURCE))
        for service in group:
            search_path = load_options(service, Sources()).search_path
            names = service.name, service.version_table, service.version_table_schema, declared_user(service)
            digest.update(f"{names} {service.driver} {search_path} ".encode())
            for path in own_files(service):
                digest.update(f"{path.name} {self._fingerprint(path)}".encode())
        # a server that outlives its tests has the templates of earlier runs
        for path in self._imported(group, digest.hexdigest()):
            digest.update(f"{path} {self._fingerprint(path)}".encode())
        return f"{PREFIX}template_{digest.hexdigest()[:16]}"

    def _imported(self, group: tuple[Service, ...], own_digest: str) -> tuple[Path, ...]:
        """Return the files of the repository that revisions and env.py import; they are kept, as each test asks."""
        if own_digest not in self._imports:
            self._imports[own_digest] = imported_files(group)
        return self._imports[own_digest]

    def _fingerprint(self, path: Path) -> str:
        """Return what stays the same where a file is only formatted or commented on; it is kept, as each test asks."""
        state = path.stat()
        key = path, state.st_mtime_ns, state.st_size
        if key not in self._fingerprints:
            source = path.read_bytes()
            digest = fingerprint_or_checksum if path.suffix == ".py" else checksum
            self._fingerprints[key] = digest(source)
        return self._fingerprints[key]
