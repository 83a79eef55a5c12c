"""A session: one connection to a service's database, over which Alembic runs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations._sqlalchemy import never_reconnect
from service_migrations.connection.connector import Connector
from service_migrations.connection.drivers import is_lost
from service_migrations.connection.engine import default_isolation
from service_migrations.connection.server_process import PID
from service_migrations.errors import (
    AccessDeniedError,
    ConfigurationError,
    DifferenceError,
    MigrationError,
    ResultError,
    UnreachableError,
    UsageError,
)
from service_migrations.failures.driver_errors import is_lost_connection
from service_migrations.failures.revisions import lost_failure, revision_failure
from service_migrations.history.graph import overlapping
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History, config
from service_migrations.interruption import EventLoopEndedError
from service_migrations.models.faults import faults_of
from service_migrations.models.metadata import assemble, bookkeeping_schema
from service_migrations.models.service_code import code_of
from service_migrations.revision_call import call_revision
from service_migrations.session.settings import set_service_path
from service_migrations.session.tables.recorded import knows_any, recorded
from service_migrations.session.tables.version_table import Located, applied, located
from service_migrations.session.transactions import Transactions
from service_migrations.side_effects import connections_refused

__all__ = ["Session", "open_session"]


@dataclass(slots=True)
class Session:
    """One connection to a service's database.

    Attributes:
        history: the service's.
        connector: what made the connection.
        connection: the connection; where it is lost, it is never made again.
        metadata: that of the service's models.
        pid: the server process of the connection, which never changes.
        isolation: the isolation level of the transactions of ``run``, where each statement outside of it is a
            transaction of its own; else None.
        running: whether Alembic runs over the connection.
        transactions: those of the revisions.

    """

    history: History
    connector: Connector
    connection: AsyncConnection
    metadata: MetaData
    pid: int
    isolation: Any = None
    running: bool = False
    transactions: Transactions = field(init=False)
    _located: Located | None = None
    _start: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        call = self._call_replayed if self.connector.is_temporary else call_revision
        self.transactions = Transactions(self.history.service, self.pid, call)

    @staticmethod
    def _call_replayed(function: Callable[..., Any], **keywords: Any) -> None:
        """Call a revision for a replay: an engine of the application's leads to the database that is in use."""
        with connections_refused(getattr(function, "__globals__", {})):
            call_revision(function, **keywords)

    @property
    def schema(self) -> str | None:
        """The schema of the version table and the ledger; None where search_path decides."""
        return bookkeeping_schema(self.history.service, self.metadata)

    async def applied(self, *, alone: bool = False) -> tuple[str, ...]:
        """Return the revisions that the database has, with no transaction open afterwards.

        Args:
            alone: whether no other version table is looked at, as by a stamp, which fills this one.

        Raises:
            DifferenceError: one of them isn't in this history, so its relation to the others is unknown; or one
                implies another, so that nobody knows which of them the database has.
            ConfigurationError, AccessDeniedError: as in ``version_table.applied``.

        """
        known = {revision.revision: revision for revision in self.history.revisions}
        with self._named():
            self._located = await located(self.connection, self.connector, self.schema)
            revisions = await applied(
                self.connection, self.connector, self.schema, () if alone else tuple(known), self._located
            )
        self.transactions.heads = self._start = revisions
        unknown = [revision for revision in revisions if revision not in known]
        if unknown:
            service = self.history.service
            folder, heads = service.shown_locations, ", ".join(self.history.heads) or "base"
            message = f"{self.connector.target} is at {', '.join(unknown)}, which {folder} doesn't have "
            sentences = await recorded(self.connection, service, self.schema, unknown)
            hint = "Check out the code that the database was upgraded with."
            if not known or await knows_any(self.connection, service, self.schema, known):
                undo = f"`inv db.undo --service {service}`"
                hint += f" Without it, {undo} takes the database back where the ledger has the SQL for it."
            else:  # db.undo would lead to base
                hint = (
                    f"{hint} Its ledger has no revision of these files: where one has replaced them all, upgrade it "
                    "with the files of before. If it was at their head, "
                    f"`inv db.adopt --verify --service {service}` finds its revision."
                )
            raise DifferenceError(" ".join([f"{message}(it ends at {heads}).", *sentences]), service=service, hint=hint)
        self._refuse_overlapping(known, revisions)
        return revisions

    def _refuse_overlapping(self, known: dict[str, Revision], revisions: tuple[str, ...]) -> None:
        """Refuse a row of the version table that another one implies: a hand, or a dump, has added one of them."""
        pair = overlapping(known, revisions)
        if pair is None:
            return
        service, (lower, upper) = self.history.service, pair
        reason = f"{upper} stands there twice" if lower == upper else f"{upper} is above {lower}"
        raise DifferenceError(
            f"{self.connector.target} is at {', '.join(revisions)}, and {reason}: the version table "
            f"{self.connector.version_table} has a row too many.",
            service=service,
            hint=f"`inv db.adopt --verify --service {service}` finds the revision that its tables are at. Then run: "
            f"inv db.stamp --service {service} --revision <revision> --purge",
        )

    async def version_table(self) -> dict[str, str | None]:
        """Return the version table's name and schema, as attributes of Alembic's configuration.

        Alembic runs with the search path of our own queries, by which it wouldn't find the table.

        Raises:
            ConfigurationError: as in ``version_table.located``.

        """
        # with a transaction open nothing is located: env.py refuses it
        schema = self.schema if self.connection.in_transaction() else await self.version_schema()
        return {"version_table": self.connector.version_table, "version_table_schema": schema}

    async def version_schema(self) -> str | None:
        """Return the schema of the version table, or that in which it would be created; errors as of ``located``."""
        if self._located is None:
            with self._named():
                self._located = await located(self.connection, self.connector, self.schema)
        return self._located.schema

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Name the service and its database in an error."""
        try:
            yield
        except (ConfigurationError, AccessDeniedError) as error:
            message = f"{self.connector.target}: {error.message}"
            raise type(error)(message, service=self.history.service, hint=error.hint) from None

    async def run(
        self, function: Callable[[Config], Any], *, on_commit: Callable[[], None] | None = None, **attributes: Any
    ) -> None:
        """Run a function of Alembic's over this connection, through env.py. The caller holds the process lock.

        Args:
            function: the function.
            on_commit: as in ``for_alembic``.
            attributes: more attributes of the configuration, which env.py reads.

        Raises:
            MigrationError: it failed; the message names the place.

        """
        values: dict[str, Any] = {**await self.version_table(), "metadata": self.metadata}
        values["longest_id"] = self.history.longest_id
        values["on_version_apply"] = (*attributes.pop("on_version_apply", ()), self.transactions.mark_applied)
        values["wrap_revision"] = self.transactions.wrap_revision
        values["before_hooks"] = set_service_path

        def run_alembic(connection: Connection) -> None:
            with code_of(self.history.service, awaits=True):
                function(config(self.history.service, {**values, "connection": connection, **attributes}))

        async with self.for_alembic(on_commit, compares="ownership" in attributes) as connection:
            await connection.run_sync(run_alembic)

    @asynccontextmanager
    async def for_alembic(
        self, on_commit: Callable[[], None] | None = None, *, compares: bool = False
    ) -> AsyncIterator[AsyncConnection]:
        """Yield the connection for Alembic, and describe what fails. The caller holds the process lock.

        Args:
            on_commit: called when a revision is committed, which is after Alembic's ``on_version_apply``.
            compares: whether it compares models with the database, and runs no revision.

        Raises:
            MigrationError: the block failed; the message names the place.

        """
        service, connection = self.history.service, self.connection.sync_connection
        if connection is None:
            raise ResultError("the connection is closed. Nothing was run.", service=service)
        try:
            self.running = True
            if self.isolation:
                await self.connection.execution_options(isolation_level=self.isolation)
            with self.transactions.observed(connection, on_commit):
                yield self.connection
            if self.isolation:
                await self.connection.rollback()
                await self.connection.execution_options(isolation_level="AUTOCOMMIT")
            self.running = False
        except (Exception, SystemExit) as error:
            task = asyncio.current_task()
            if task and task.cancelling():
                # the end of an autocommit block fails too, and would hide that the run was stopped
                raise asyncio.CancelledError from error
            failure = await self._failure(error, compares=compares)
            if isinstance(failure, UnreachableError) and self.transactions.is_final:
                failure = failure.with_other_hint("Look whether its revision can be run again.")
            raise failure.with_hint(self.transactions.others.unknown) from error

    async def _failure(self, error: BaseException, *, compares: bool) -> MigrationError:
        """Return the error to raise for a failure, after a rollback."""
        service, first, heads = self.history.service, self.transactions.first_error, self.transactions.heads
        # of a statement that was cancelled, the connection is closed
        ended = error.of(service) if isinstance(error, EventLoopEndedError) else None
        if closing := self.transactions.closing_error or ended:
            return closing
        if is_lost(self.connection):
            # a later error, such as one at the end of an autocommit block, hides the first
            return error if isinstance(error, UnreachableError) else lost_failure(error, service, first and first[0])
        is_connected = False
        try:
            partly_committed: bool | None = await self.transactions.roll_back(self.connection)
            if is_lost_connection(error):
                # it may be of another connection, such as one to a web server, or be raised by the revision's own SQL
                await self.connection.scalar(text("SELECT 1"))
                await self.connection.rollback()
                is_connected = True
        except (SQLAlchemyError, OSError) as rollback_error:
            return lost_failure(rollback_error, service, first[0] if first else error)
        if isinstance(error, MigrationError):
            return error
        if isinstance(error, CommandError):
            return UsageError(" ".join(str(error).split()), service=service)
        partly_committed = partly_committed if self.transactions.file and not compares else None  # a revision has run
        # a revision that this run has applied shows that the stamp below it was right
        is_stamped = heads is not None and set(heads) == set(self._start) and not self.connector.is_temporary
        return revision_failure(
            error,
            service,
            self.connector.user,
            partly_committed=partly_committed,
            first=first,
            file=self.transactions.file,
            is_connected=is_connected,
            heads=self._start if is_stamped else None,
            unprepared=self.connector.unprepared,
        )


@asynccontextmanager
async def open_session(
    history: History,
    connector: Connector,
    lock_timeout: float | None = None,
    *,
    autocommit: bool = False,
    compares: bool = False,
) -> AsyncIterator[Session]:
    """Connect to a service's database.

    Args:
        history: the service's.
        connector: makes the connections to its database.
        lock_timeout: as in ``Connector.connect``.
        autocommit: whether each statement outside of ``Session.run`` is a transaction of its own, which needs half
            as many messages.
        compares: whether the models are compared, where what is wrong with one table stops only that one.

    Raises:
        MigrationError: its models can't be imported or have a fault, or it can't be connected to.

    """
    metadata = assemble(history.service)
    if not compares:
        for fault in faults_of(metadata).values():
            raise fault
    session: Session | None = None
    try:
        async with connector.connect(lock_timeout) as connection:
            isolation = None
            if autocommit:
                # an engine of the caller's may have an isolation level of its own, which isn't that of a migration
                isolation = "READ COMMITTED" if connector.has_callers_engine else default_isolation(connection)
                await connection.execution_options(isolation_level="AUTOCOMMIT")
            if connection.sync_connection is not None:
                never_reconnect(connection.sync_connection)
            session = Session(history, connector, connection, metadata, connection.info[PID], isolation)
            yield session
    except (SQLAlchemyError, OSError) as error:
        # from a query of the library itself: the lock, the version table, the ledger
        partly_committed = session is not None and session.transactions.partly_committed
        raise revision_failure(error, history.service, connector.user, partly_committed=partly_committed) from error
