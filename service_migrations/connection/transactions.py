"""The transactions of revisions: what the server knows of them, and what is put back behind each revision.

Alembic runs a revision in one transaction. A revision can end it by itself, by a statement, by SQLAlchemy or by the
driver, and it can change the session that the next revision runs in. So nothing here is concluded from the text of a
statement: the server and the driver, which is told the state of the transaction with every answer, are asked.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

from alembic.runtime.migration import MigrationContext
from asyncpg import PostgresError
from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations._alembic import continue_in
from service_migrations._sqlalchemy import put_back_execution_options
from service_migrations.connection.locks import HOLDS_LOCK
from service_migrations.errors import MigrationError, ResultError, UnreachableError
from service_migrations.interruption import call_revision
from service_migrations.monorepo import Service
from service_migrations.sql.quoting import literal, quoted

__all__ = ["Transactions", "is_lost"]

_MARK = "service_migrations.revision"
"""A parameter that a revision's transaction sets for the session: its value is there afterwards if and only if that
transaction was committed (PostgreSQL documentation, SET). No SELECT sets it, so that a revision can still begin with
SET TRANSACTION ISOLATION LEVEL."""

_marks = count(1)

_IS_MARKED = text("SELECT pg_catalog.current_setting(:name, true) OPERATOR(pg_catalog.=) :mark")

_SESSION = text(
    """
    SELECT pg_catalog.current_setting('role') AS role, ARRAY(
        SELECT ARRAY[s.name, s.setting] FROM pg_catalog.pg_settings s
        WHERE s.source OPERATOR(pg_catalog.=) 'session' AND s.context OPERATOR(pg_catalog.<>) 'internal'
    ) AS settings
    """
)
"""What is set in a session beside its startup parameters, which RESET puts back by itself."""

_REFUSED = "service_migrations: "
_ASSERTION = f"""
    SELECT CASE WHEN pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.<>) {{pid}} OR NOT {HOLDS_LOCK}
                THEN CAST(pg_catalog.concat('{_REFUSED}process ', pg_catalog.pg_backend_pid()) AS pg_catalog.int4) END
"""
"""Fails where the session isn't the one that holds the migration lock: a message that is sent together with others
can't be answered otherwise."""


class Transactions:
    """What is committed of the revisions that Alembic runs over one connection.

    Attributes:
        kept: whether the revision that runs, or has failed, committed something before its end: that isn't rolled
            back with it, so it must not be run again.

    """

    def __init__(self, service: Service, pid: int) -> None:
        """Take the service whose revisions are run, and the server process that holds the lock."""
        self.kept = False
        self._service = service
        self._pid = pid
        self._script = "RESET ALL"
        self._mark = ""
        self._connection: Connection | None = None
        self._running: Connection | None = None
        self._rolled_back_at: str | None = None
        self._applied = False
        self._committed: Callable[[], None] | None = None

    async def remember(self, connection: AsyncConnection) -> None:
        """Look how the session is set up, and from now on put that back and look at the lock behind each revision.

        The caller holds the migration lock.
        """
        row = (await connection.execute(_SESSION)).one()
        await connection.rollback()
        script = ["RESET ALL", "SET SESSION AUTHORIZATION DEFAULT"]
        script.append("SET ROLE NONE" if row.role == "none" else f"SET ROLE {quoted(row.role)}")
        for name, value in row.settings:
            if name != _MARK:
                script.append(f"SELECT pg_catalog.set_config({literal(name)}, {literal(value)}, false)")
        self._script = "; ".join([_ASSERTION.format(pid=self._pid), *script])

    @contextmanager
    def observed(self, connection: Connection, committed: Callable[[], None] | None = None) -> Iterator[None]:
        """Notice how transactions end while the block runs, and call back for each that ends a revision.

        That one is known of when the next transaction begins, or at the end of the block. ``apply`` has been called
        before it, and a COMMIT may fail: that is when deferred constraints are checked.
        """
        self._committed = committed
        self._connection = connection
        listeners: dict[str, Callable[..., None]] = {
            "begin": self._begin,
            "commit": self._commit,
            "rollback": self._rollback,
            "set_connection_execution_options": self._change_options,
            "after_cursor_execute": self._execute,
        }
        for name, listener in listeners.items():
            event.listen(connection.engine, name, listener)
        try:
            yield
            self._flush()
        finally:
            for name, listener in listeners.items():
                event.remove(connection.engine, name, listener)

    def around(self, context: MigrationContext, function: Callable[..., Any]) -> Callable[..., None]:
        """Return a revision's function with a look at the server before and after it, in its transaction."""

        @wraps(function)  # Alembic logs its name
        def run(**keywords: Any) -> None:
            connection = context.connection
            if connection is None or context.as_sql:
                function(**keywords)
                return
            self.kept, self._rolled_back_at = False, None
            options = connection.get_execution_options()
            level = options.get("isolation_level")
            self._mark = f"{self._pid}.{next(_marks)}"
            connection.exec_driver_sql(f"SET {_MARK} = '{self._mark}'")
            self._running = connection
            try:
                call_revision(function, keywords)
            finally:
                self._running = None
                changed = connection.get_execution_options().get("isolation_level") != level
                put_back_execution_options(connection, options)
            if self.kept and changed:
                connection.commit()
                connection.execution_options(isolation_level=level or connection.default_isolation_level)
            self._finish(context, connection)

        return run

    def apply(self, **_: object) -> None:
        """Note that a revision is at its end, but for the COMMIT (Alembic's ``on_version_apply``)."""
        self._applied = True

    async def settle(self, connection: AsyncConnection) -> bool:
        """Roll back what a failed revision has left open, and return whether it had committed something before.

        Where the connection is lost, that is what was seen until then.
        """
        if self._mark and not self.kept and not is_lost(connection):
            await connection.rollback()
            self.kept = bool(await connection.scalar(_IS_MARKED, {"name": _MARK, "mark": self._mark}))
            await connection.rollback()
        return self.kept

    def _finish(self, context: MigrationContext, connection: Connection) -> None:
        """Make sure that the session is as it was, before Alembic writes down that the revision was run."""
        driver = _driver(connection)
        if driver.is_closed():
            raise UnreachableError("the connection was lost.", hint="It is safe to run the command again.")
        if self._rolled_back_at is None and not self.kept and not driver.is_in_transaction():
            self._end_by_statement(connection)
        if self._rolled_back_at is not None:
            raise MigrationError(
                "it rolled back its own transaction, so that what it did before is gone.",
                service=self._service,
                path=self._rolled_back_at or None,
                hint="Remove the rollback: of a revision that fails, nothing stays.",
            )
        if self.kept:
            self._begin_again(context, connection)
        script = self._script
        try:
            # past SQLAlchemy, since asyncpg prepares each statement by itself: one message instead of several
            connection.connection.run_async(lambda driver: driver.execute(script))
        except PostgresError as error:
            if _REFUSED not in str(error):
                raise
            raise ResultError(
                "the migration lock was lost in this revision.",
                service=self._service,
                hint="Look before you run anything else.",
            ) from error

    def _begin_again(self, context: MigrationContext, connection: Connection) -> None:
        """Let the version table be written in a transaction, after a revision that has ended its own."""
        continue_in(context, connection.get_transaction() or connection.begin())
        connection.exec_driver_sql("SELECT")  # SQLAlchemy begins a transaction with its first statement
        if not _driver(connection).is_in_transaction():
            # a statement has ended it, which SQLAlchemy hasn't heard of
            connection.connection.run_async(lambda driver: driver.execute("BEGIN"))

    def _end_by_statement(self, connection: Connection) -> None:
        """Note that a statement has ended the transaction, and ask the server in which way."""
        place = self._place()
        query = f"SELECT pg_catalog.current_setting({literal(_MARK)}, true)"
        run: Any = connection.connection
        if run.run_async(lambda driver: driver.fetchval(query)) == self._mark:
            self.kept = True
        elif self._rolled_back_at is None:
            self._rolled_back_at = place

    def _place(self) -> str:
        """Return the line of the revision that is run; empty where it is elsewhere."""
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to a frame without its source
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(self._service.versions):
                return f"{self._service.relative(path)}:{frame.f_lineno}"
            frame = frame.f_back
        return ""

    # The listeners. Over an engine of the caller's others connect too, such as the one who watches.

    def _begin(self, connection: Connection) -> None:
        if connection is self._connection:
            self._flush()

    def _commit(self, connection: Connection) -> None:
        if connection is self._running:
            self.kept = True

    def _rollback(self, connection: Connection) -> None:
        if connection is self._running and self._rolled_back_at is None:
            self._rolled_back_at = self._place()

    def _change_options(self, connection: Connection, options: Mapping[str, Any]) -> None:
        if connection is self._running and options.get("isolation_level") == "AUTOCOMMIT":
            self.kept = True

    def _execute(self, connection: Connection, *_: Any) -> None:
        if connection is self._running and not self.kept and not _driver(connection).is_in_transaction():
            self._end_by_statement(connection)

    def _flush(self) -> None:
        if self._applied:
            self._applied = self.kept = False
            if self._committed:
                self._committed()


def is_lost(connection: AsyncConnection) -> bool:
    """Whether a connection has ended, on either side."""
    found = connection.sync_connection
    return found is None or found.closed or found.invalidated or bool(_driver(found).is_closed())


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection
