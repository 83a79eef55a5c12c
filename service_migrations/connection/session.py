"""A session: one connection to one service's database, and Alembic over it."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.connection.connector import Connector
from service_migrations.connection.engine import default_isolation
from service_migrations.connection.version_table import applied
from service_migrations.errors import DifferenceError, MigrationError, ResultError, UsageError
from service_migrations.failures import revision_failure
from service_migrations.history.revisions import History, config
from service_migrations.models.metadata import assemble, schema_of

__all__ = ["Commits", "Session", "open_session"]

_ENDS = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:COMMIT|END|ABORT|PREPARE\s+TRANSACTION|ROLLBACK(?!(?:\s+\w+)?\s+TO\b))\b",
    re.IGNORECASE | re.DOTALL,
)
"""A statement that ends the transaction, which SQLAlchemy hears nothing of."""


class Commits:
    """What is committed of the revisions that Alembic runs over one connection.

    ``inside`` says that the revision that runs has entered an autocommit block, or ended its transaction by a
    statement: what it did before is not rolled back with it.
    """

    def __init__(self) -> None:
        self.inside = False
        self._applied = False
        self._told: Callable[[], None] | None = None

    @contextmanager
    def noticed(self, connection: Connection, told: Callable[[], None] | None = None) -> Iterator[None]:
        """Notice commits while the block runs, and tell of each that ends a revision.

        That one is known of when the next transaction begins, or at the end of the block. ``apply`` has been called
        before it, and a COMMIT may fail: that is when deferred constraints are checked.
        """
        self._told = told

        # over an engine of the caller's, others connect too, such as the one who watches
        def begin(changed: Connection) -> None:
            if changed is connection:
                self._flush()

        def options(changed: Connection, values: dict[str, Any]) -> None:
            if changed is connection and values.get("isolation_level") == "AUTOCOMMIT":
                self.inside = True

        def execute(changed: Connection, _: Any, statement: str, *__: Any) -> None:
            if changed is connection and _ENDS.match(statement):
                self.inside = True

        listeners: dict[str, Callable[..., None]] = {
            "begin": begin,
            "set_connection_execution_options": options,
            "before_cursor_execute": execute,
        }
        for name, listener in listeners.items():
            event.listen(connection.engine, name, listener)
        try:
            yield
            self._flush()
        finally:
            for name, listener in listeners.items():
                event.remove(connection.engine, name, listener)

    def apply(self, **_: object) -> None:
        """Note that a revision is at its end, but for the COMMIT (Alembic's ``on_version_apply``)."""
        self._applied = True

    def _flush(self) -> None:
        if self._applied:
            self._applied = self.inside = False
            if self._told:
                self._told()


@dataclass(slots=True)
class Session:
    """One connection, and what derives from the service: ``metadata`` is that of its models.

    ``pid`` is the server process of the connection. ``running`` says that Alembic is at work on it. Where ``isolation``
    is set, it is that of the transactions of ``run``, and each statement outside of it is a transaction of its own.
    """

    history: History
    access: Connector
    connection: AsyncConnection
    metadata: MetaData
    pid: int
    isolation: Any = field(default=None)
    running: bool = field(default=False)
    commits: Commits = field(default_factory=Commits)

    @property
    def schema(self) -> str | None:
        """The schema of the service's own, where its metadata has one."""
        return schema_of(self.metadata)

    async def applied(self) -> tuple[str, ...]:
        """Return the revisions that the database has, with no transaction open afterwards.

        Raises:
            DifferenceError: one of them isn't in this history, so nothing can be said of the others.

        """
        found = await applied(self.connection, self.access.version_table, self.schema)
        known = {revision.revision for revision in self.history.revisions}
        unknown = [revision for revision in found if revision not in known]
        if unknown:
            service = self.history.service
            where, heads = service.relative(service.versions), ", ".join(self.history.heads) or "base"
            raise DifferenceError(
                f"{self.access.target} is at {', '.join(unknown)}, which {where} doesn't have (it ends at {heads}).",
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
        values = {"version_table": self.access.version_table, "metadata": self.metadata}
        told = (*attributes.pop("on_version_apply", ()), self.commits.apply)

        def inside(connection: Connection) -> None:
            own = {**values, "connection": connection, "on_version_apply": told, **attributes}
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
            with self.commits.noticed(connection, committed):
                yield self.connection
            if self.isolation:
                await self.connection.rollback()
                await self.connection.execution_options(isolation_level="AUTOCOMMIT")
            self.running = False
        except MigrationError:
            raise
        except (Exception, SystemExit) as error:
            task = asyncio.current_task()
            if task and task.cancelling():
                # the end of an autocommit block fails in its turn, and would hide that the run was stopped
                raise asyncio.CancelledError from error
            if isinstance(error, CommandError):
                raise UsageError(" ".join(str(error).split()), service=service) from error
            raise revision_failure(error, service, self.access.user, kept=self.commits.inside) from error


@asynccontextmanager
async def open_session(
    history: History, access: Connector, lock_timeout: float | None = None, *, autocommit: bool = False
) -> AsyncIterator[Session]:
    """Connect to a service's database.

    Args:
        history: the service's.
        access: the way to its database.
        lock_timeout: as in ``Access.connect``.
        autocommit: whether each statement outside of ``Session.run`` is a transaction of its own: that halves the
            messages which a look at something needs.

    Raises:
        MigrationError: its models can't be imported, or it can't be connected to.

    """
    metadata = assemble(history.service)
    session: Session | None = None
    try:
        async with access.connect(lock_timeout) as connection:
            isolation = None
            if autocommit:
                # an engine of the caller's may have one of its own, which is not that of a migration
                isolation = "READ COMMITTED" if access.is_lent else default_isolation(connection)
                await connection.execution_options(isolation_level="AUTOCOMMIT")
            pid = await connection.scalar(text("SELECT pg_backend_pid()"))
            await connection.rollback()
            session = Session(history, access, connection, metadata, int(pid or 0), isolation)
            yield session
    except (SQLAlchemyError, OSError) as error:
        # a query of ours, between Alembic's: the lock, the version table, the ledger
        kept = session is not None and session.commits.inside
        raise revision_failure(error, history.service, access.user, kept=kept) from error
