"""The program ``alembic``: its service, and the connection of its command."""

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

from service_migrations._alembic import version_locations
from service_migrations.connection.connector import connector
from service_migrations.environment.command import Command
from service_migrations.errors import MigrationError, UsageError
from service_migrations.failures.revisions import revision_failure
from service_migrations.history.files.locations import refuse_unread
from service_migrations.history.revisions import read, template_folder
from service_migrations.history.sole_writer import hold_writers_lock
from service_migrations.models.service_code import code_of
from service_migrations.monorepo import Monorepo, Service
from service_migrations.own_logging import restore_logging
from service_migrations.session.locks import process_lock
from service_migrations.session.session import open_session
from service_migrations.session.settings import set_service_path
from service_migrations.upgrade.change import Progress, changing
from service_migrations.upgrade.long_ids import long_ids_refusal

__all__ = ["connect", "needs_connection", "prepared", "selected_service"]


@contextmanager
def prepared() -> Iterator[Connection | None]:
    """Select the service of the command, and yield the connection of its configuration.

    A command of the library has selected its service, and describes errors itself. For the program ``alembic`` the
    service comes from ``-x service=<name>``, and an error is one line, as Alembic's own errors are.

    Raises:
        CommandError: the program was started without a service, or its command failed.

    """
    restore_logging()  # env.py may have read the section [loggers] of an ini file
    connectable = context.config.attributes.get("connection")
    if isinstance(connectable, Engine):
        with connectable.connect() as connection, _service_selected():
            _use_own_template()
            yield connection
    else:
        with _service_selected():
            _use_own_template()
            yield connectable if isinstance(connectable, Connection) else None


def needs_connection() -> bool:
    """Whether the command needs a connection, and its configuration has none.

    Raises:
        CommandError: it needs one inside a running event loop, in which no other loop can run.

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
        "service_migrations.upgrade() and the like instead, or pass a connection in config.attributes['connection']."
    )


def selected_service() -> Service:
    """Return the service that env.py runs for, on which its hooks may depend, also at the top of the file.

    Raises:
        CommandError: the program ``alembic`` was started without a service.

    """
    service = context.config.attributes.get("service")
    if isinstance(service, Service):
        return service
    try:
        return _named(context.config)
    except MigrationError as error:
        raise CommandError(" ".join(str(error).split())) from error


def _use_own_template() -> None:
    """Let a command that writes a revision use the service's own template, where it has one."""
    attributes, command = context.config.attributes, Command.of(context.config.cmd_opts)
    if attributes.get("writes_revision") or (command is not None and command.writes_file):
        context.script.dir = str(template_folder(attributes["service"]) or context.script.dir)


@asynccontextmanager
async def connect() -> AsyncIterator[AsyncConnection]:
    """Connect to the service's database with the settings, locks, checks and ledger of the library's own commands.

    Raises:
        MigrationError: it can't be connected to, a check has an error, or the command failed.

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
            "Alembic was called from Python, so the environment can't know whether a lock is needed. Pass a connection "
            "in config.attributes['connection'], or await service_migrations.upgrade() and the like."
        )
    async with AsyncExitStack() as stack:
        target_connector = connector(service)
        if command.changes:
            stack.enter_context(target_connector.changing())
        session = await stack.enter_async_context(open_session(read(service), target_connector))
        if command.name != "stamp":
            await session.applied()
        attributes: dict[str, Any] = {"metadata": session.metadata, **await session.version_table()}
        attributes["longest_id"] = session.history.longest_id
        if command.changes:
            progress = Progress()
            refuse_long_ids = await long_ids_refusal(session)
            callbacks = await stack.enter_async_context(changing(session, progress, purges=command.purges))
            connection = await stack.enter_async_context(session.for_alembic(progress.mark_committed))
            attributes["on_version_apply"] = (*callbacks, session.transactions.mark_applied)
            attributes["wrap_revision"] = session.transactions.wrap_revision
            attributes["check_ids"] = refuse_long_ids
            attributes["before_hooks"] = set_service_path
        else:
            await stack.enter_async_context(process_lock())
            attributes |= await command.attributes(session)
            connection = await stack.enter_async_context(session.for_alembic(compares=True))
        config.attributes.update(attributes)
        try:
            yield connection
        finally:
            for name in attributes:
                del config.attributes[name]


@contextmanager
def _service_selected() -> Iterator[None]:
    """Select a service, and turn every error into one line; for a command of the library, do neither."""
    attributes = context.config.attributes
    previous = attributes.get("service")
    if isinstance(previous, Service):
        yield
        return
    service: Service | None = None
    try:
        service = attributes["service"] = _selected(context.config)
        command = Command.of(context.config.cmd_opts)
        if command is not None and command.writes_file:
            hold_writers_lock(service, context.config)
        with code_of(service, awaits=True):
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
        attributes["service"] = previous  # the configuration may be used again for another service


def _selected(config: Config) -> Service:
    """Return the service that the program was started for, and let Alembic read only its revisions.

    Raises:
        UsageError: no service was named, or several were, or Alembic has read revisions already.

    """
    service, script = _named(config), context.script
    refuse_unread(service)
    script.version_locations = [str(location) for location in service.version_locations]
    script.recursive_version_locations = service.recursive_version_locations
    locations = version_locations(script)
    if locations != [location.absolute() for location in service.version_locations]:
        read_before = ", ".join(map(str, locations))
        raise UsageError(
            f"Alembic read {read_before} before it ran env.py, and not the revisions of the service.",
            service=service,
            hint=f"Run `inv db.alembic --service {service} -- …` instead.",
        )
    return service


def _named(config: Config) -> Service:
    """Return the service that the program was started for.

    Raises:
        UsageError: no service was named, or several were, or the named one doesn't exist.

    """
    toml = Path(config.toml_file_name).absolute() if config.toml_file_name else None
    monorepo = Monorepo.at(toml.parent) if toml and toml.is_file() else Monorepo.locate()
    attribute = config.attributes.get("service")
    names = {value for key, _, value in (word.partition("=") for word in context.get_x_argument()) if key == "service"}
    names |= {str(attribute)} if attribute else set()
    if len(names) == 1:
        return monorepo.find(names.pop())
    known = ", ".join(service.name for service in monorepo.services()) or "none"
    problem = "names several services" if names else "names no service"
    raise UsageError(f"The command line {problem}.", hint=f"Write: alembic -x service=<name> … (one of: {known})")
