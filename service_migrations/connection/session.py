"""A session: one connection to one service's database, and Alembic over it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations._sqlalchemy import never_reconnect
from service_migrations.connection.connector import Connector
from service_migrations.connection.engine import default_isolation
from service_migrations.connection.transactions import Transactions, is_lost
from service_migrations.connection.version_table import applied
from service_migrations.errors import (
    ConfigurationError,
    DifferenceError,
    MigrationError,
    ResultError,
    UnreachableError,
    UsageError,
)
from service_migrations.failures import lost_failure, revision_failure
from service_migrations.history.revisions import History, config
from service_migrations.interruption import RevisionStopped
from service_migrations.models.metadata import assemble, schema_of

__all__ = ["Session", "open_session"]


@dataclass(slots=True)
class Session:
    """One connection, and what derives from the service: ``metadata`` is that of its models.

    It is one server process from the first look to the last, ``pid``: a connection that is lost is never made again.
    ``running`` says that Alembic is at work on it. Where ``isolation`` is set, it is that of the transactions of
    ``run``, and each statement outside of it is a transaction of its own.
    """

    history: History
    connector: Connector
    connection: AsyncConnection
    metadata: MetaData
    pid: int
    isolation: Any = None
    running: bool = False
    transactions: Transactions = field(init=False)

    def __post_init__(self) -> None:
        self.transactions = Transactions(self.history.service, self.pid)

    @property
    def schema(self) -> str | None:
        """The schema of the service's own, where its metadata has one."""
        return schema_of(self.metadata)

    async def applied(self) -> tuple[str, ...]:
        """Return the revisions that the database has, with no transaction open afterwards.

        Raises:
            DifferenceError: one of them isn't in this history, so nothing can be said of the others.
            ConfigurationError: as of ``version_table.applied``.

        """
        try:
            found = await applied(self.connection, self.connector.version_table, self.schema)
        except ConfigurationError as error:
            message = f"{self.connector.target}: {error.message}"
            raise ConfigurationError(message, service=self.history.service, hint=error.hint) from None
        known = {revision.revision for revision in self.history.revisions}
        unknown = [revision for revision in found if revision not in known]
        if unknown:
            service = self.history.service
            where, heads = service.relative(service.versions), ", ".join(self.history.heads) or "base"
            raise DifferenceError(
                f"{self.connector.target} is at {', '.join(unknown)}, which {where} doesn't have (it ends at {heads}).",
                service=service,
                hint="Check out the code that the database was upgraded with.",
            )
        return found

    async def run(
        self, work: Callable[[Config], Any], *, committed: Callable[[], None] | None = None, **attributes: Any
    ) -> None:
        """Run a function of Alembic's over this connection, through env.py. The caller holds the gate.

        Args:
            work: the function.
            committed: as of ``lent``.
            attributes: what env.py reads beside.

        Raises:
            MigrationError: it failed; the message says where.

        """
        values: dict[str, Any] = {"version_table": self.connector.version_table, "metadata": self.metadata}
        values["on_version_apply"] = (*attributes.pop("on_version_apply", ()), self.transactions.apply)
        values["wrap_revision"] = self.transactions.around

        def inside(connection: Connection) -> None:
            own = {**values, "connection": connection, **attributes}
            work(config(self.history.service, own))

        async with self.lent(committed) as connection:
            await connection.run_sync(inside)

    @asynccontextmanager
    async def lent(self, committed: Callable[[], None] | None = None) -> AsyncIterator[AsyncConnection]:
        """Lend the connection to Alembic while the block runs, and describe what fails. The caller holds the gate.

        Args:
            committed: told when a revision is committed, which is after Alembic's ``on_version_apply``.

        Raises:
            MigrationError: the block failed; the message says where.

        """
        service, connection = self.history.service, self.connection.sync_connection
        if connection is None:
            raise ResultError("the connection is closed. Nothing was run.", service=service)
        try:
            self.running = True
            if self.isolation:
                await self.connection.execution_options(isolation_level=self.isolation)
            with self.transactions.observed(connection, committed):
                yield self.connection
            if self.isolation:
                await self.connection.rollback()
                await self.connection.execution_options(isolation_level="AUTOCOMMIT")
            self.running = False
        except RevisionStopped as error:
            raise asyncio.CancelledError from error
        except (Exception, SystemExit) as error:
            task = asyncio.current_task()
            if task and task.cancelling():
                # the end of an autocommit block fails in its turn, and would hide that the run was stopped
                raise asyncio.CancelledError from error
            raise await self._described(error) from error

    async def _described(self, error: BaseException) -> MigrationError:
        """Return what to report of a failure, after a look at what it has left."""
        service = self.history.service
        if is_lost(self.connection):
            # what came after it, such as the end of an autocommit block, hides the error that says so
            return error if isinstance(error, UnreachableError) else lost_failure(error, service)
        try:
            kept = await self.transactions.settle(self.connection)
        except (SQLAlchemyError, OSError) as later:
            return lost_failure(later, service)
        if isinstance(error, MigrationError):
            return error
        if isinstance(error, CommandError):
            return UsageError(" ".join(str(error).split()), service=service)
        return revision_failure(error, service, self.connector.user, kept=kept)


@asynccontextmanager
async def open_session(
    history: History, connector: Connector, lock_timeout: float | None = None, *, autocommit: bool = False
) -> AsyncIterator[Session]:
    """Connect to a service's database.

    Args:
        history: the service's.
        connector: makes the connections to its database.
        lock_timeout: as in ``Access.connect``.
        autocommit: whether each statement outside of ``Session.run`` is a transaction of its own: that halves the
            messages which a look at something needs.

    Raises:
        MigrationError: its models can't be imported, or it can't be connected to.

    """
    metadata = assemble(history.service)
    session: Session | None = None
    try:
        async with connector.connect(lock_timeout) as connection:
            isolation = None
            if autocommit:
                # an engine of the caller's may have one of its own, which is not that of a migration
                isolation = "READ COMMITTED" if connector.is_lent else default_isolation(connection)
                await connection.execution_options(isolation_level="AUTOCOMMIT")
            if connection.sync_connection is not None:
                never_reconnect(connection.sync_connection)
            pid = await connection.scalar(text("SELECT pg_catalog.pg_backend_pid()"))
            await connection.rollback()
            session = Session(history, connector, connection, metadata, int(pid or 0), isolation)
            yield session
    except (SQLAlchemyError, OSError) as error:
        # a query of ours, between Alembic's: the lock, the version table, the ledger
        if session is not None and is_lost(session.connection):
            raise lost_failure(error, history.service) from error
        kept = session is not None and session.transactions.kept
        raise revision_failure(error, history.service, connector.user, kept=kept) from error
