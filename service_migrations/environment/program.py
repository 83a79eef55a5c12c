"""The program ``alembic``: which service it was started for, and the connection that its command runs on."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from alembic import context
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service_migrations.connection.connector import connector
from service_migrations.connection.locks import process_lock
from service_migrations.connection.session import open_session
from service_migrations.environment.command import Command
from service_migrations.errors import MigrationError, UsageError
from service_migrations.failures import revision_failure
from service_migrations.history.revisions import read
from service_migrations.monorepo import Monorepo, Service
from service_migrations.upgrade.change import Progress, changing

__all__ = ["connect", "needs_connection", "prepared"]


@contextmanager
def prepared() -> Iterator[Connection | None]:
    """Select the service of the command, and yield the connection that was put into its configuration.

    A command of the library has selected its service, and describes errors itself. For the program ``alembic`` the
    service comes from ``-x service=<name>``, and an error is one line in Alembic's own way.

    Raises:
        CommandError: the program was started without a service, or its command failed.

    """
    given = context.config.attributes.get("connection")
    if isinstance(given, Engine):
        with given.connect() as connection, _described():
            yield connection
    else:
        with _described():
            yield given if isinstance(given, Connection) else None


def needs_connection() -> bool:
    """Whether the command needs a connection that it wasn't given.

    Raises:
        CommandError: it does, inside a running event loop, in which another can't be run.

    """
    if context.is_offline_mode() or isinstance(context.config.attributes.get("connection"), Connection | Engine):
        return False
    command = Command.of(context.config.cmd_opts)
    if command is not None and not command.connects:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    raise CommandError(
        "Alembic was called inside a running event loop, and would need one of its own. Await "
        "service_migrations.upgrade() and the like there, or pass a connection in config.attributes['connection']."
    )


@asynccontextmanager
async def connect() -> AsyncIterator[AsyncConnection]:
    """Connect to the service's database as the commands of the library do: settings, locks, checks, ledger.

    Raises:
        MigrationError: it can't be connected to, something speaks against the command, or the command failed.

    """
    config = context.config
    engine = config.attributes.get("connection")
    if isinstance(engine, AsyncEngine):
        try:
            async with engine.connect() as connection:
                yield connection
        finally:
            await engine.dispose()  # the event loop of its connections ends here
        return
    service, command = config.attributes["service"], Command.of(config.cmd_opts)
    if command is None:
        raise UsageError(
            "Alembic was called from Python, so the environment can't tell whether a lock is needed. Pass a connection "
            "in config.attributes['connection'], or await service_migrations.upgrade() and the like."
        )
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session(read(service), connector(service)))
        attributes: dict[str, Any] = {"metadata": session.metadata, "version_table": session.connector.version_table}
        if command.changes:
            progress = Progress()
            callbacks = await stack.enter_async_context(changing(session, progress))
            connection = await stack.enter_async_context(session.for_alembic(progress.mark_committed))
            attributes["on_version_apply"] = (*callbacks, session.transactions.mark_applied)
            attributes["wrap_revision"] = session.transactions.wrap_revision
        else:
            await stack.enter_async_context(process_lock())
            attributes |= await command.attributes(session)
            connection = await stack.enter_async_context(session.for_alembic())
        config.attributes.update(attributes)
        try:
            yield connection
        finally:
            for name in attributes:
                del config.attributes[name]


@contextmanager
def _described() -> Iterator[None]:
    """Select a service, and turn every error into one line; for a command of the library, do neither."""
    attributes = context.config.attributes
    given = attributes.get("service")
    if isinstance(given, Service):
        yield
        return
    service: Service | None = None
    try:
        service = attributes["service"] = _selected(context.config)
        yield
    except CommandError:
        raise
    except MigrationError as error:
        raise CommandError(" ".join(str(error).split())) from error
    except (Exception, SystemExit) as error:
        if service is None:
            raise
        raise CommandError(str(revision_failure(error, service, "", partly_committed=False))) from error
    finally:
        attributes["service"] = given  # whoever uses the configuration again may mean another one


def _selected(config: Config) -> Service:
    """Return the service that the program was started for, and let Alembic read the revisions of that one alone.

    Raises:
        UsageError: none was named, or several, or Alembic has read revisions already.

    """
    service, script = _named(config), context.script
    script.version_locations = [str(service.versions)]
    if Path(script.versions) != service.versions.absolute():
        raise UsageError(
            f"Alembic read {script.versions} before it ran env.py, and not the revisions of the service.",
            service=service,
            hint=f"Run `inv db.alembic --service {service} -- …` instead.",
        )
    return service


def _named(config: Config) -> Service:
    """Return the service that the program was started for.

    Raises:
        UsageError: none was named, or several, or one that isn't there.

    """
    toml = Path(config.toml_file_name).absolute() if config.toml_file_name else None
    monorepo = Monorepo.at(toml.parent) if toml and toml.is_file() else Monorepo.locate()
    given = config.attributes.get("service")
    names = {value for key, _, value in (word.partition("=") for word in context.get_x_argument()) if key == "service"}
    names |= {str(given)} if given else set()
    if len(names) == 1:
        return monorepo.find(names.pop())
    known = ", ".join(service.name for service in monorepo.services()) or "none"
    problem = "names several services" if names else "names no service"
    raise UsageError(f"The command line {problem}.", hint=f"Write: alembic -x service=<name> … (one of: {known})")
