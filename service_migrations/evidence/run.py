"""One run of a history in a new database, with rows: each revision up, and where asked down, observed."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
from alembic.config import Config

from service_migrations.connection.connector import connector_of
from service_migrations.databases.throwaway import ThrowawayDatabases
from service_migrations.errors import MigrationError, UnreachableError, UsageError
from service_migrations.evidence.locks import Timeline
from service_migrations.evidence.monitors import Blocked, connect, look_trigger, monitored, receive_look
from service_migrations.evidence.observer import Look, Observed, Observer
from service_migrations.evidence.rows import Rows
from service_migrations.history.matrix_rows import matrix_rows
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import read
from service_migrations.history.targets import migrate_to, revert
from service_migrations.monorepo import Service
from service_migrations.postgres import Server
from service_migrations.session.locks import process_lock
from service_migrations.session.session import Session, open_session
from service_migrations.session.tables.version_table import ensure_schema
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Settings
from service_migrations.settings.siblings import declared_siblings
from service_migrations.upgrade.siblings import Siblings

__all__ = ["ObservedRevision", "Run", "observe_history"]

_INTEGRITY = "23"
"""The class of SQLSTATEs of rows that violate a constraint."""


@dataclass(slots=True)
class ObservedRevision:
    """One revision in one direction, with what was observed of it.

    Attributes:
        revision: the revision.
        down: whether it is its downgrade.
        start: what others saw before it.
        end: what others saw after it.
        statements: its statements.
        error: why it failed; None where it didn't.

    """

    revision: Revision
    down: bool
    start: Look
    end: Look
    statements: list[Observed]
    error: MigrationError | None = None


@dataclass(slots=True)
class Run:
    """What was observed in one run: the revisions, the locks over time, and who was held up when."""

    revisions: list[ObservedRevision] = field(default_factory=list)
    timeline: Timeline = field(default_factory=Timeline)
    blocked: Blocked = field(default_factory=Blocked)
    notes: tuple[str, ...] = ()


async def observe_history(
    service: Service,
    server: Server,
    rows: int,
    chosen: Collection[str] | None = None,
    *,
    down: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Run:
    """Run a history in a new database of a throw-away server, and return what was observed.

    A revision that fails is the last one of its direction.

    Args:
        service: the service.
        server: the server; its role and database are dropped again.
        rows: how many rows each table gets.
        chosen: the revisions to observe; the others are run too, up to the last of these. None for all.
        down: whether each is reverted at the end, newest first.
        progress: called with each revision that begins.

    Raises:
        MigrationError: the history can't be read, the models can't be imported, or the server is lost.

    """
    history, own = read(service), matrix_rows(service)
    if unknown := own.keys() - {revision.revision for revision in history.revisions}:
        raise UsageError(
            f"its rows follow {', '.join(sorted(unknown))}, which its history doesn't have.", service=service
        )
    observed = Run()
    async with AsyncExitStack() as stack:
        services = (service, *declared_siblings(service))
        databases = await stack.enter_async_context(ThrowawayDatabases(server, services, "evidence"))
        settings, *others = await databases.create()
        admin = replace(server.admin, database=settings.dsn.database)
        await _report_looks(admin)
        tables = _bookkeeping([settings, *others])
        await stack.enter_async_context(process_lock())
        session = await stack.enter_async_context(open_session(history, connector_of(settings), autocommit=True))
        if session.schema:
            await ensure_schema(session.connection, session.schema)
        second, filling = await stack.enter_async_context(_connections(admin, settings))
        filler = Rows(filling, rows, own, tables)
        observer = Observer(service, second, observed.timeline, tables)
        await _listen(session, observed)
        last = None if chosen is None else [item for item in history.revisions if item.revision in chosen][:1]
        observed.blocked = await stack.enter_async_context(monitored(admin, session.pid, observed.timeline, tables))
        run = _Stepper(session, observer, filler, Siblings(others), observed.blocked)
        applied: list[Revision] = []
        for revision in reversed(history.revisions):
            is_chosen = chosen is None or revision.revision in chosen
            if is_chosen:
                progress(f"{service}: {revision.revision} on PostgreSQL {server.version}, {rows} rows")
            step = await run.step(revision, migrate_to(history, revision.revision))
            if is_chosen or step.error:
                observed.revisions.append(step)
            if step.error:
                break
            applied.append(revision)
            await filler.add(revision.revision)
            if last and revision == last[0]:
                break
        if down and not session.transactions.partly_committed:
            observed.revisions += await _revert(run, applied, chosen)
    observed.notes = tuple(filler.notes)
    return observed


async def _revert(run: "_Stepper", applied: list[Revision], chosen: Collection[str] | None) -> list[ObservedRevision]:
    """Revert revisions, newest first, down to the oldest that is to be observed.

    That is done when all are applied, as a real way back: where a downgrade leaves something, the upgrade can't be run
    again.
    """
    steps: list[ObservedRevision] = []
    while _is_chosen_below(applied, chosen) and not (steps and steps[-1].error):
        revision = applied.pop()
        step = await run.step(revision, revert(run.session.history, revision.revision), down=True)
        if chosen is None or revision.revision in chosen or step.error:
            steps.append(step)
    return steps


def _is_chosen_below(applied: list[Revision], chosen: Collection[str] | None) -> bool:
    """Whether a revision that is still applied is to be reverted."""
    return any(chosen is None or revision.revision in chosen for revision in applied)


@dataclass(frozen=True, slots=True)
class _Stepper:
    """What runs one revision after the other over one connection."""

    session: Session
    observer: Observer
    rows: Rows
    siblings: Siblings
    blocked: Blocked

    async def step(
        self, revision: Revision, function: Callable[[Config], None], *, down: bool = False
    ) -> ObservedRevision:
        """Run one revision, again where siblings or made rows were in its way."""
        removed: set[tuple[str, str]] = set()
        while True:
            step = await self._observe(revision, function, down=down)
            if step.error is None or self.session.transactions.partly_committed:
                return step
            table = _violated(step.error)
            if table and table not in removed:
                removed.add(table)
                await self.rows.remove(*table)
            elif down or not await self.siblings.advance():
                return step

    async def _observe(self, revision: Revision, function: Callable[[Config], None], *, down: bool) -> ObservedRevision:
        connection = self.session.connection.sync_connection
        if connection is None:
            service = self.session.history.service
            raise UnreachableError("the connection to the throw-away server was lost.", service=service)
        start, error = await self.observer.look(), None
        with self.observer.observed(connection) as statements:
            try:
                await self.session.run(function)
            except UnreachableError:
                raise
            except MigrationError as failure:
                error = failure
        end = await self.observer.look()
        await self.blocked.settle()
        return ObservedRevision(revision, down, start, end, list(statements), error)


def _violated(error: BaseException) -> tuple[str, str] | None:
    """Return schema and name of the table whose rows violate a constraint that was added; None for another error."""
    link: BaseException | None = error
    while link is not None:
        details: Any = getattr(link, "diag", link)
        table, schema = getattr(details, "table_name", None), getattr(details, "schema_name", None)
        if str(getattr(link, "sqlstate", "") or "").startswith(_INTEGRITY) and table and schema:
            return schema, table
        link = link.__cause__ or link.__context__
    return None


async def _listen(session: Session, observed: Run) -> None:
    """Receive what the event trigger reports in the migrating session."""
    raw_connection = await session.connection.get_raw_connection()
    driver: Any = raw_connection.driver_connection

    def receive(message: object) -> None:
        receive_look(observed.timeline, observed.blocked, str(message))

    if hasattr(driver, "add_log_listener"):
        driver.add_log_listener(lambda _, message: receive(message.message))
    else:
        driver.add_notice_handler(lambda diagnostic: receive(diagnostic.message_primary))


def _bookkeeping(settings: list[Settings]) -> list[str]:
    names = ((item.version_table, item.service.ledger_table) for item in settings)
    return [name for pair in names for name in pair]


@asynccontextmanager
async def _connections(admin: Dsn, settings: Settings) -> AsyncIterator[tuple[Any, Any]]:
    """Connect twice as the superuser: to see what others see, and to add rows as the service would."""
    second = await connect(admin)
    try:
        filling = await connect(admin)
        try:
            await filling.execute(f"SET search_path TO {settings.search_path}")
            yield second, filling
        finally:
            filling.terminate()
    finally:
        second.terminate()


async def _report_looks(admin: Dsn) -> None:
    """Add the event trigger to a database, where the administrator is a superuser."""
    connection = await connect(admin)
    try:
        with suppress(asyncpg.InsufficientPrivilegeError):  # no superuser: short autocommit commands lack locks
            await connection.execute(look_trigger())
    finally:
        await connection.close()
