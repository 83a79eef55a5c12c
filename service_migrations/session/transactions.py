"""The transactions of revisions, and the session settings that are restored after each revision.

Alembic runs a revision in one transaction. A revision can end it itself, by a statement, by SQLAlchemy or by the
driver, and it can change the session in which the next revision runs. The text of a statement proves nothing of that,
so this module asks the server, or the driver, which gets the state of the transaction with every answer.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext, MigrationInfo, RevisionStep
from sqlalchemy import Connection, ExceptionContext, event, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations._alembic import continue_in
from service_migrations._sqlalchemy import restore_execution_options
from service_migrations.catalog.search_path import OWN_PATH, search_path
from service_migrations.connection.drivers import driver_of, is_lost, run_script
from service_migrations.connection.rows import only_reads
from service_migrations.connection.scripts import begin_with, follow_commit, send_with_next
from service_migrations.connection.single_message import Row
from service_migrations.errors import MigrationError
from service_migrations.failures.driver_errors import sqlstate
from service_migrations.monorepo import Service
from service_migrations.revision_call import call_revision
from service_migrations.session.assertions import IS_OURS, NO_LOCK, NOT_AT, is_at
from service_migrations.session.closings import Closings
from service_migrations.session.concurrent_builds import ConcurrentBuilds
from service_migrations.session.marks import IS_COMMITTED, NO_MARK, SET_BEFORE, Marks
from service_migrations.session.misuse import (
    changed_versions,
    closed,
    detached,
    left_invalid,
    left_prepared,
    lost_lock,
    rolled_back,
)
from service_migrations.session.open_blocks import OpenBlocks
from service_migrations.session.other_connections import OtherConnections
from service_migrations.session.recorder import SAVEPOINT, Recorder, protected
from service_migrations.session.settings import restoring
from service_migrations.sql.quoting import check_sendable, quoted
from service_migrations.stack import frames

__all__ = ["Transactions"]

_REFUSED = "25P02"
"""The server refuses every statement of a transaction in which one has failed."""

_RUN_DEFERRED = "SET CONSTRAINTS ALL IMMEDIATE"
"""The statement that checks deferred constraints, and fires deferred triggers, which COMMIT would do otherwise."""

_NO_VERSION_TABLE = ("42P01", "42703")
"""The states of the query of the version table where that, or its column, is gone."""


def _first_statements(connection: Connection, mark: str) -> list[str]:
    return [mark, f"SET {search_path(connection).assignment}"]


class Transactions:
    """The transactions of the revisions that Alembic runs over one connection.

    Attributes:
        first_error: the error of a statement after which the server refuses what follows, and the file and line; None
            where there was none.
        recorder: records the revisions; None where nobody does.
        on_begin: called when a revision begins.
        heads: the revisions in the version table; None where they aren't known.
        file: the file of the revision that runs, or that ran last, from the top level; empty before the first.
        others: observes what the revision that runs does beside its own transaction.

    """

    def __init__(self, service: Service, pid: int, call: Callable[..., None] = call_revision) -> None:
        """Observe the revisions of a service, which *call* calls, in the server process that holds the lock."""
        self.first_error: tuple[BaseException, str] | None = None
        self.recorder: Recorder | None = None
        self.on_begin: Callable[[], None] = lambda: None
        self.heads: Collection[str] | None = None
        self._service, self._pid, self._call = service, pid, call
        self._script = f"RESET ALL; SET search_path TO {OWN_PATH}; {SET_BEFORE}"
        self.file = ""
        self._marks = Marks(pid)
        self._builds = ConcurrentBuilds()
        self._connection: Connection | None = None
        self._revision_connection: Connection | None = None
        self._rolled_back_at: str | None = None
        self._open_blocks = OpenBlocks(service, self._place)
        self._closings = Closings(lambda: self._place() if self._revision_connection is not None else None)
        self.others = OtherConnections(lambda: self._place() if self._revision_connection is not None else "")
        self._applied = self._is_committing = self._has_only_read = self._has_run = False
        self._on_commit: Callable[[], None] | None = None

    @property
    def partly_committed(self) -> bool:
        """Whether the revision that runs, or has failed, committed something before its end: it must not run again."""
        return self._marks.partly_committed or self.others.have_committed

    @property
    def is_final(self) -> bool:
        """Whether the revision that runs, or has failed, did something that isn't rolled back, or may have done so."""
        return self.partly_committed or bool(self.others.unknown)

    @property
    def closing_error(self) -> MigrationError | None:
        """The error of the revision that has closed the connection itself, if one has: it wasn't lost."""
        place = self._closings.place
        return None if place is None else closed(self._service, place or self.file)

    def note_settings(self, row: Row) -> None:
        """Note what ``SETTINGS`` returned, with the lock held: both are looked after behind each revision."""
        self._script = "; ".join([IS_OURS.format(pid=self._pid), *restoring(row)])

    @contextmanager
    def observed(self, connection: Connection, on_commit: Callable[[], None] | None = None) -> Iterator[None]:
        """Observe how transactions end while the block runs, and call *on_commit* for each committed revision.

        It is called when the next transaction begins, or at the end of the block. ``mark_applied`` is called before
        the COMMIT, which may fail, since deferred constraints are checked then.
        """
        self._on_commit = on_commit
        self._connection, self._has_only_read = connection, True
        listeners: dict[str, Callable[..., None]] = {
            "begin": self._begin,
            "commit": self._commit,
            "rollback": self._rollback,
            "set_connection_execution_options": self._change_options,
            "before_cursor_execute": self._check_sendable,
            "after_cursor_execute": self._execute,
            "handle_error": self._handle_error,
        }
        for name, listener in listeners.items():
            event.listen(connection.engine, name, listener)
        try:
            with self._closings.observed(connection), self.others.observed(connection):
                yield
            self._report_commit()
        finally:
            for name, listener in listeners.items():
                event.remove(connection.engine, name, listener)

    def wrap_revision(self, context: MigrationContext, step: RevisionStep, followed: bool) -> Callable[..., None]:
        """Return a revision's function with checks of the transaction and the session around it."""

        def run(**keywords: Any) -> None:
            connection = context.connection
            if connection is None or context.as_sql:
                step.migration_fn(**keywords)
                return
            try:
                self._run_revision(context, step, connection, keywords)
                if followed and not self._marks.partly_committed:
                    follow_commit(connection, _first_statements(connection, self._marks.announce()))
            except Exception as error:
                # over a lost connection the end of Alembic's transaction fails too, and hides why
                if self.first_error is None and sqlstate(error) != _REFUSED:
                    self.first_error = error, ""
                raise

        return run

    def _run_revision(
        self, context: MigrationContext, step: RevisionStep, connection: Connection, keywords: dict[str, Any]
    ) -> None:
        self._has_run, self._rolled_back_at, self.first_error = True, None, None
        self.on_begin()
        self.file = self._service.relative(Path(step.revision.path))
        self._builds.begin()
        self._open_blocks.begin(self.file)
        options = connection.get_execution_options()
        level = options.get("isolation_level")
        self._set_mark_and_path(connection)
        self._revision_connection = connection
        try:
            with self.others.noted(step.migration_fn):
                self._call(step.migration_fn, **keywords)
            self._open_blocks.refuse(connection)
        finally:
            self._revision_connection = None
            level_changed = connection.get_execution_options().get("isolation_level") != level
            restore_execution_options(connection, options)
        if self._marks.partly_committed and level_changed:
            connection.commit()
            connection.execution_options(isolation_level=level or connection.default_isolation_level)
        self._restore_session(context, connection, step.info)

    def mark_applied(self, *, heads: set[str], **_: object) -> None:
        """Note that a revision has run and is about to be committed (Alembic's ``on_version_apply``)."""
        self._applied, self.heads = True, heads

    async def roll_back(self, connection: AsyncConnection) -> bool:
        """Roll back the transaction of a failed revision, and return whether it committed something before.

        Where the connection is lost, only what was observed before is known.
        """
        if self._has_run and not self._marks.partly_committed and not is_lost(connection):
            await connection.rollback()
            self._marks.partly_committed = bool(await connection.scalar(text(IS_COMMITTED)))
            await connection.rollback()
        return self.partly_committed

    def _set_mark_and_path(self, connection: Connection) -> None:
        """Set the mark, and the search path of the service's SQL; ``_restore_session`` leaves it again.

        Alembic has read the version table in the transaction of a run's first revision, which couldn't begin with
        SET TRANSACTION then: so it gets one of its own, unless Alembic or env.py has changed something in it.
        """
        statements = _first_statements(connection, self._marks.begin())
        if self._has_only_read and driver_of(connection).is_in_transaction():
            statements.insert(0, "COMMIT AND CHAIN")
        self._has_only_read = False
        begin_with(connection, statements)

    def _restore_session(self, context: MigrationContext, connection: Connection, step: MigrationInfo) -> None:
        """Check and restore the session, before Alembic writes to the version table that the revision was run.

        The revision is recorded too. Where it can be, all of it is sent with Alembic's statement.
        """
        if connection.connection.is_detached:
            raise detached(self._service, self.file)
        if self._open_blocks.place is None and self._marks.has_mark and not driver_of(connection).is_in_transaction():
            self._note_rollback(connection, rolled_back=self._marks.note_end(connection))
        self._open_blocks.refuse_at_end()
        if self._rolled_back_at is not None:
            raise self._rolled_back()
        if name := self._marks.left_prepared(connection):
            raise left_prepared(self._service, self.file, name)
        if self._marks.partly_committed:
            self._begin_again(context, connection)
            if index := self._builds.invalid(connection):
                raise left_invalid(self._service, self.file, index)
        record = self.recorder.statements(step) if self.recorder else []
        recover = self._recovery(connection, is_recorded=bool(record))
        # what is deferred runs while the settings are still the revision's own; what it does then is checked too
        script = [*self._marks.check(), _RUN_DEFERRED, *self._marks.deallocations(connection), self._script]
        if (schema := context.version_table_schema) is not None and self.heads is not None:
            script.append(is_at(quoted(schema, context.version_table), self.heads))
        send_with_next(connection, [*script, *(protected(record) if record else [])], recover)

    def _rolled_back(self) -> MigrationError:
        place = self._rolled_back_at or self.file
        return rolled_back(self._service, place, partly_committed=self.partly_committed)

    def _recovery(self, connection: Connection, *, is_recorded: bool) -> Callable[[Exception], Awaitable[bool]]:
        """Return a function for an error of what restores the session: whether only the record has failed."""
        driver = driver_of(connection)

        async def recover(error: Exception) -> bool:
            if NO_MARK in str(error):
                raise self._rolled_back() from error
            if NO_LOCK in str(error):
                raise lost_lock(self._service, self.file) from error
            if NOT_AT in str(error):
                raise changed_versions(self._service, self.file, partly_committed=self.partly_committed) from error
            if is_recorded and self.recorder is not None and not driver.is_closed():
                # where the savepoint isn't there yet, or not any more, something else has failed
                with suppress(*driver.errors):
                    await driver.execute(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
                    self.recorder.mark_failed(error)
                    return True
            if sqlstate(error) in _NO_VERSION_TABLE:
                raise changed_versions(self._service, self.file, partly_committed=self.partly_committed) from error
            return False

        return recover

    def _begin_again(self, context: MigrationContext, connection: Connection) -> None:
        """Begin a transaction for the version table, after a revision that has ended its own."""
        continue_in(context, connection.get_transaction() or connection.begin())
        connection.exec_driver_sql("SELECT")  # SQLAlchemy begins a transaction with its first statement
        if not driver_of(connection).is_in_transaction():
            # a statement has ended it, which SQLAlchemy doesn't know
            run_script(connection, "BEGIN")

    def _note_rollback(self, connection: Connection, *, rolled_back: bool) -> None:
        """Note where a statement has rolled back the transaction, if it has."""
        if rolled_back and self._rolled_back_at is None:
            self._rolled_back_at = self._place()
            self._set_path_again(connection)

    def _place(self) -> str:
        """Return the current file and line in a revision's Python; empty where none is on the stack."""
        place = self._service.revision_place(frames())
        return f"{place[0]}:{place[1]}" if place else ""

    def _set_path_again(self, connection: Connection) -> None:
        """Set the search path of the service's SQL, which a rollback in a revision has reset; it fails at its end."""
        run_script(connection, f"SET {search_path(connection).assignment}")

    # The listeners. An engine of the caller's may have other connections too, such as that of the watcher.

    def _begin(self, connection: Connection) -> None:
        if connection is self._connection:
            self._is_committing = False
            self._report_commit()
        if connection is self._revision_connection and self._rolled_back_at is not None:
            self._set_path_again(connection)

    def _commit(self, connection: Connection) -> None:
        if connection is self._revision_connection:
            self._marks.note_commit()  # before the COMMIT is sent, which may fail
            self._is_committing = True

    def _rollback(self, connection: Connection) -> None:
        if connection is self._revision_connection and self._rolled_back_at is None:
            self._rolled_back_at = self._place()

    def _change_options(self, connection: Connection, options: Mapping[str, Any]) -> None:
        is_autocommit = options.get("isolation_level") == "AUTOCOMMIT"
        # with a transaction open SQLAlchemy refuses it
        if connection is self._revision_connection and is_autocommit and not connection.in_transaction():
            self._marks.partly_committed = True
        elif connection is self._revision_connection and "isolation_level" in options:
            self._open_blocks.refuse(connection)

    def _check_sendable(self, connection: Connection, *arguments: Any) -> None:
        if connection is self._connection:
            check_sendable(arguments[1])
            self._builds.note(connection, arguments[1])

    def _execute(self, connection: Connection, *arguments: Any) -> None:
        *_, context, _ = arguments
        self._is_committing = self._is_committing and connection is not self._connection
        if connection is self._connection and not only_reads(context):
            self._has_only_read = False
        if connection is self._revision_connection:
            rolled_back = self._marks.note(connection, context.statement or "")
            self._note_rollback(connection, rolled_back=rolled_back)

    def _handle_error(self, context: ExceptionContext) -> None:
        error = context.original_exception
        if context.connection is self._revision_connection and error and sqlstate(error) != _REFUSED:
            self.first_error = error, self._place()
            if self._is_committing and context.statement is None and not context.is_disconnect:
                self._is_committing = False
                self._marks.note_failed_commit()
                self._rolled_back_at = self._rolled_back_at or self._place()

    def _report_commit(self) -> None:
        if self._applied:
            self._applied = self._marks.partly_committed = False
            self.others.forget()
            if self._on_commit:
                self._on_commit()
