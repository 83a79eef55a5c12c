"""The observer of a migrating connection: what each statement of a revision does, with its file and line."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, event

from service_migrations.connection.drivers import driver_of, run
from service_migrations.evidence.locks import Locks, Timeline, parse_locks
from service_migrations.evidence.monitors import SCHEMA
from service_migrations.monorepo import Service
from service_migrations.sql.quoting import literal, quoted
from service_migrations.sql.snapshots import has_snapshot, needs_snapshot
from service_migrations.stack import frames

if TYPE_CHECKING:
    import asyncpg

__all__ = ["LOOK", "Look", "Observed", "Observer"]

LOOK = """
SELECT pg_catalog.json_build_object(
    'time', extract(epoch FROM pg_catalog.clock_timestamp()),
    'wal', pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0'),
    'xid', pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()),
    'transaction', (
        SELECT l.virtualxid FROM pg_catalog.pg_locks l
        WHERE l.pid = {pid} AND l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock'),
    'locks', (
        SELECT pg_catalog.string_agg(l.relation || ':' || l.mode, ' ') FROM pg_catalog.pg_locks l
        WHERE l.pid = {pid} AND l.granted AND l.locktype = 'relation' AND l.relation >= 16384),
    'tables', (
        SELECT pg_catalog.json_object_agg(c.oid, pg_catalog.json_build_array(
            n.nspname, c.relname, c.relkind, pg_catalog.pg_relation_filenode(c.oid),
            pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid) + pg_catalog.pg_stat_get_xact_tuples_updated(c.oid)
                + pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid),
            pg_catalog.pg_stat_get_xact_tuples_returned(c.oid) + pg_catalog.pg_stat_get_xact_tuples_fetched(c.oid)))
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f', 'S') AND c.oid >= 16384 AND n.nspname <> 'pg_toast'
          AND n.nspname <> '{schema}' AND c.relname <> ALL ({ignored})))::text
"""
"""What a session sees: the time, the position of the WAL, the next transaction, the locks of a backend, and the tables
with file nodes and what the session's own transaction has changed and read in them."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a session sees at one time.

    Attributes:
        time: in seconds of the server's clock.
        wal: the position of the WAL, in bytes.
        xid: the next transaction.
        transaction: the one that the migrating backend is in; None where it is in none.
        locks: those of the migrating backend.
        names: the schema and name of each table, by oid.
        files: the file node of each that has one.
        changed: the rows that the session's transaction has changed.
        read: the rows that it has read.
        sequences: the oids of those of ``names`` that are sequences.

    """

    time: float
    wal: int
    xid: int
    transaction: str | None
    locks: Locks
    names: dict[int, tuple[str, str]]
    files: dict[int, int]
    changed: dict[int, int]
    read: dict[int, int]
    sequences: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, text: str) -> "Look":
        """Parse the result of ``LOOK``."""
        row = json.loads(text)
        tables: dict[int, list[Any]] = {int(oid): values for oid, values in (row["tables"] or {}).items()}
        return cls(
            float(row["time"]),
            int(row["wal"]),
            int(row["xid"]),
            row["transaction"],
            parse_locks(row["locks"] or ""),
            {oid: (schema, name) for oid, (schema, name, *_) in tables.items()},
            {oid: file for oid, (_, _, kind, file, *_) in tables.items() if file and kind in "rm"},
            {oid: changed or 0 for oid, (*_, changed, _) in tables.items()},
            {oid: read or 0 for oid, (*_, read) in tables.items()},
            frozenset(oid for oid, (_, _, kind, *_) in tables.items() if kind == "S"),
        )


@dataclass(slots=True)
class Observed:
    """One statement of a revision, while it runs and afterwards.

    Attributes:
        place: its file and line.
        sql: its text.
        others: what other sessions saw before it.
        before: what its own session saw before it; of a statement outside of a transaction, what others saw.
        after: the same after it; None where it failed.
        seconds: how long it took.
        changed: the rows that it changed.
        read: the rows of tables of before that it read; None where that isn't known.
        rewritten: the oids of the tables that it rewrote.
        written: the oids of tables with rows that it wrote and committed by itself.

    """

    place: str
    sql: str
    others: Look
    before: Look
    began: float
    after: Look | None = None
    seconds: float = 0.0
    changed: int = 0
    read: int | None = None
    rewritten: tuple[int, ...] = ()
    written: tuple[int, ...] = ()


class Observer:
    """The observer of one connection, with a second session that sees what others see."""

    def __init__(
        self, service: Service, second: "asyncpg.Connection[asyncpg.Record]", timeline: Timeline, ignored: list[str]
    ) -> None:
        """Observe a service's revisions; *ignored* are the tables of the library's own."""
        self._service, self._second, self._timeline = service, second, timeline
        self._ignored = f"ARRAY[{', '.join(map(literal, ignored))}]::pg_catalog.name[]"
        self._pid: int | None = None
        self._statements: list[Observed] = []
        self._running: Observed | None = None
        self._transaction: str | None = None
        self._has_snapshot = False

    @contextmanager
    def observed(self, connection: Connection) -> Iterator[list[Observed]]:
        """Observe the statements of revisions while the block runs."""
        self._pid, self._statements, self._running = driver_of(connection).pid(), [], None
        listeners: dict[str, Callable[..., None]] = {
            "before_cursor_execute": self._before,
            "after_cursor_execute": self._after,
        }
        for name, listener in listeners.items():
            event.listen(connection.engine, name, listener)
        try:
            yield self._statements
        finally:
            for name, listener in listeners.items():
                event.remove(connection.engine, name, listener)

    async def look(self) -> Look:
        """Return what other sessions see."""
        return Look.parse(await self._second.fetchval(self._sql))

    @property
    def _sql(self) -> str:
        return LOOK.format(pid=self._pid or 0, schema=SCHEMA, ignored=self._ignored)

    def _look(self, connection: Connection) -> Look | None:
        """Return what the migrating session sees in its transaction; None outside of one."""
        driver = driver_of(connection)
        if not driver.is_in_transaction():
            return None
        return Look.parse(run(connection, driver.fetchval(self._sql)))

    def _before(self, connection: Connection, _: Any, sql: str, *__: Any) -> None:
        began = time.perf_counter()
        place = self._service.revision_place(frames())
        if place is None:
            return
        others = run(connection, self.look())
        if others.transaction != self._transaction:
            self._has_snapshot = False
        # a query of the observer's own must not be the first one of a transaction: SET TRANSACTION would fail after it
        can_look = self._has_snapshot or needs_snapshot(sql)
        before = (self._look(connection) if can_look else None) or others
        self._timeline.add(before.time, before.locks)
        self._running = Observed(f"{place[0]}:{place[1]}", sql, others, before, time.perf_counter())
        self._statements.append(self._running)
        self._pause(began, before)
        self._running.began = time.perf_counter()

    def _after(self, connection: Connection, cursor: Any, sql: str, *_: Any) -> None:
        statement, self._running = self._running, None
        if statement is None:
            return
        statement.seconds = time.perf_counter() - statement.began
        self._has_snapshot = has_snapshot(sql, before=self._has_snapshot)
        own = self._look(connection) if self._has_snapshot else None
        statement.after = after = own or run(connection, self.look())
        self._transaction = after.transaction
        self._timeline.add(after.time, after.locks)
        known = statement.others.files
        if sql.lstrip()[:8].upper() != "TRUNCATE":  # it gives a table an empty file
            files = (statement.before.files, after.files)
            statement.rewritten = tuple(
                oid for oid in known if all(oid in each for each in files) and files[0][oid] != files[1][oid]
            )
        if own:
            statement.changed = _difference(statement.before.changed, own.changed)
            before, read = statement.before.read, own.read
            statement.read = _difference(before, {oid: read[oid] for oid in known if oid in read})
        elif sql.lstrip()[:6].upper() not in ("SELECT", "EXPLAI"):
            statement.changed = max(getattr(cursor, "rowcount", 0), 0)
            is_block = sql.lstrip()[:2].upper() in ("DO", "CA")
            if is_block or statement.changed:
                written = run(connection, self._written_since(statement.before.xid, after))
                statement.written = tuple(written)
                statement.changed = sum(written.values()) if is_block else statement.changed
        self._pause(statement.began + statement.seconds, after)

    def _pause(self, began: float, look: Look) -> None:
        """Note for how long the observer kept the migration waiting; the look was at the end."""
        self._timeline.pauses.append((look.time - (time.perf_counter() - began), look.time))

    async def _written_since(self, xid: int, look: Look) -> dict[int, int]:
        """Return how many rows were written by a transaction since another one, and are there, by their table."""
        tables = [
            f"SELECT {oid} AS oid, xmin FROM ONLY {quoted(*look.names[oid])}"  # noqa: S608 - quoted
            for oid in look.files
        ]
        if not tables:
            return {}
        union = " UNION ALL ".join(tables)
        query = f"SELECT oid, count(*) FROM ({union}) AS rows WHERE xmin::text::bigint >= $1 GROUP BY oid"  # noqa: S608
        return {row[0]: row[1] for row in await self._second.fetch(query, xid % 2**32)}


def _difference(before: dict[int, int], after: dict[int, int]) -> int:
    return sum(max(count - before.get(oid, 0), 0) for oid, count in after.items())
