"""The monitors: two sessions of the superuser that watch the migrating one, in loops that run on the server.

One reads its locks each millisecond. The other does in each table what a reader and a writer do, with a lock timeout
of a millisecond, and releases at once what it got: for as long as that fails, readers or writers are held up. A loop on
the server, whose messages have the server's time, is independent of what this process does meanwhile. Each turn is a
transaction of its own, for which CREATE INDEX CONCURRENTLY waits no longer than a moment.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg

from service_migrations.catalog.search_path import OWN_PATH
from service_migrations.connection.ended_sessions import LosableConnection
from service_migrations.evidence.locks import Timeline, parse_locks
from service_migrations.interruption import cancel_and_wait, finish_even_if_cancelled
from service_migrations.settings.dsn import Dsn
from service_migrations.sql.quoting import literal

__all__ = ["SCHEMA", "Blocked", "connect", "look_trigger", "monitored", "receive_look"]

SCHEMA = "service_migrations_evidence"
"""The schema of the event trigger's function."""

_LOOK, _BLOCKED = f"{SCHEMA} locks", f"{SCHEMA} blocked"
_MESSAGE = re.compile(rf"({_LOOK}|{_BLOCKED}) (\S+) ?(.*)")

_LOCKS = """coalesce((
    SELECT string_agg(relation || ':' || mode, ' ' ORDER BY relation, mode) FROM pg_locks
    WHERE pid = {pid} AND granted AND locktype = 'relation' AND relation >= 16384), '')"""
"""The locks of a backend on relations that aren't the system's."""

_TRIGGER = f"""
CREATE SCHEMA {SCHEMA};
CREATE FUNCTION {SCHEMA}.look() RETURNS event_trigger LANGUAGE plpgsql SET search_path = {OWN_PATH} AS $$
BEGIN
    RAISE INFO '{_LOOK} % %', extract(epoch FROM clock_timestamp()), {_LOCKS.format(pid="pg_backend_pid()")};
END $$;
CREATE EVENT TRIGGER {SCHEMA} ON ddl_command_end EXECUTE FUNCTION {SCHEMA}.look();
"""
"""Reports the locks at the end of each DDL command, also of one in an autocommit block or a DO block, whose locks may
be gone within less than a millisecond."""

_SAMPLER = """
DO $do$
DECLARE
    latest text := '';
    current text;
BEGIN
    LOOP
        current := {locks};
        IF current <> latest THEN
            RAISE INFO '{prefix} % %', extract(epoch FROM clock_timestamp()), current;
            latest := current;
        END IF;
        COMMIT;
        PERFORM pg_sleep(0.001);
    END LOOP;
END $do$
"""

_PROBER = """
DO $do$
DECLARE
    target record;
    kind text;
    key text;
    busy boolean;
    idle boolean;
    blocked jsonb := '{{}}';
BEGIN
    LOOP
        -- without locks of the migrating session nobody is held up
        idle := blocked = '{{}}' AND NOT EXISTS (
            SELECT FROM pg_locks WHERE pid = {pid} AND granted AND locktype = 'relation' AND relation >= 16384);
        FOR target IN
            SELECT c.oid, c.relkind, c.relpages, format('%I.%I', n.nspname, c.relname) AS name
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE NOT idle AND c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND c.oid >= 16384
              AND n.nspname NOT IN ('pg_toast', 'information_schema', '{schema}') AND c.relname <> ALL ({ignored})
        LOOP
            FOREACH kind IN ARRAY CASE target.relkind WHEN 'm' THEN '{{read}}' ELSE '{{read,write}}' END::text[] LOOP
                BEGIN
                    IF kind = 'read' THEN
                        EXECUTE format('SELECT FROM %s LIMIT 1', target.name);
                    ELSE
                        EXECUTE format('LOCK TABLE ONLY %s IN ROW EXCLUSIVE MODE', target.name);
                    END IF;
                    IF kind = 'write' AND target.relkind = 'r' THEN
                        -- rows at the start, in the middle and at the end that another transaction has changed
                        FOR key IN EXECUTE format($$
                            SELECT ctid FROM (
                                (SELECT ctid, xmax FROM ONLY %1$s WHERE ctid >= '(0,0)' LIMIT 1) UNION ALL
                                (SELECT ctid, xmax FROM ONLY %1$s WHERE ctid >= '(%2$s,0)' LIMIT 1) UNION ALL
                                (SELECT ctid, xmax FROM ONLY %1$s WHERE ctid >= '(%3$s,0)' LIMIT 1)) AS probed
                            WHERE xmax <> '0' AND EXISTS (
                                SELECT FROM pg_locks l WHERE l.locktype = 'transactionid' AND l.transactionid = xmax
                                  AND l.mode = 'ExclusiveLock')
                            $$, target.name, target.relpages / 2, greatest(target.relpages - 1, 0))
                        LOOP
                            EXECUTE format('SELECT FROM ONLY %s WHERE ctid = %L FOR NO KEY UPDATE', target.name, key);
                        END LOOP;
                    END IF;
                    RAISE SQLSTATE 'SM000';
                EXCEPTION
                    WHEN lock_not_available THEN busy := true;
                    WHEN OTHERS THEN busy := false;
                END;
                key := target.oid || ' ' || kind;
                IF busy <> (blocked ? key) THEN
                    RAISE INFO '{prefix} % %', extract(epoch FROM clock_timestamp()), key || ' ' || busy;
                    blocked := CASE WHEN busy THEN blocked || jsonb_build_object(key, true) ELSE blocked - key END;
                END IF;
            END LOOP;
        END LOOP;
        FOR key IN
            SELECT name FROM jsonb_object_keys(blocked) AS name
            WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = split_part(name, ' ', 1)::oid)
        LOOP
            RAISE INFO '{prefix} % %', extract(epoch FROM clock_timestamp()), key || ' false';
            blocked := blocked - key;
        END LOOP;
        COMMIT;
        PERFORM pg_sleep(0.005);
    END LOOP;
END $do$
"""

_LAST_TURN = 0.02
"""Seconds in which both loops notice the end of a run, unless the machine is busy."""
_TURNS = 100
"""How many times as long is waited for a busy machine."""


@dataclass(slots=True)
class Blocked:
    """When readers (``read``) and writers (``write``) of tables were held up, by the oid and this word."""

    changes: list[tuple[float, int, str, bool]] = field(default_factory=list)

    def seconds(self, start: float, end: float, timeline: Timeline) -> dict[tuple[int, str], float]:
        """Return for how many seconds of a time they were held up; only those that were."""
        since: dict[tuple[int, str], float] = {}
        seconds: dict[tuple[int, str], float] = {}
        for time, oid, kind, is_blocked in [*self.changes, *((end, *key, False) for key in self._keys())]:
            began = since.pop((oid, kind), None)
            if is_blocked:
                since[oid, kind] = time if began is None else began
            elif began is not None and (length := timeline.length(max(began, start), min(time, end))):
                seconds[oid, kind] = seconds.get((oid, kind), 0.0) + length
        return seconds

    async def settle(self) -> None:
        """Wait until the monitor has noticed that nobody is held up any more."""
        await asyncio.sleep(_LAST_TURN)
        for _ in range(_TURNS):
            if not any({(oid, kind): is_blocked for _, oid, kind, is_blocked in self.changes}.values()):
                break
            await asyncio.sleep(_LAST_TURN)

    def _keys(self) -> Iterable[tuple[int, str]]:
        return {(oid, kind) for _, oid, kind, _ in self.changes}


async def connect(dsn: Dsn, **server_settings: str) -> "asyncpg.Connection[asyncpg.Record]":
    """Connect with the search path of the library's own queries."""
    return await asyncpg.connect(
        **dsn.connect_args(),
        connection_class=LosableConnection,
        server_settings={"search_path": OWN_PATH, "application_name": "migrations evidence", **server_settings},
    )


def look_trigger() -> str:
    """Return the script of the event trigger that reports the locks at the end of each DDL command."""
    return _TRIGGER


def receive_look(timeline: Timeline, blocked: Blocked, message: str) -> None:
    """Add what a message of the event trigger or of a monitor reports; other messages are ignored."""
    match = _MESSAGE.fullmatch(message)
    if match and match[1] == _LOOK:
        timeline.add(float(match[2]), parse_locks(match[3]))
    elif match:
        oid, kind, busy = match[3].split()
        blocked.changes.append((float(match[2]), int(oid), kind, busy in ("t", "true")))


@asynccontextmanager
async def monitored(admin: Dsn, pid: int, timeline: Timeline, ignored: Iterable[str]) -> AsyncIterator[Blocked]:
    """Watch a backend and the tables of its database while the block runs.

    Args:
        admin: the database, as a superuser.
        pid: the backend.
        timeline: gets the samples of its locks.
        ignored: names of tables that nobody else uses.

    Yields:
        When readers and writers were held up; complete at the end of the block.

    """
    blocked = Blocked()

    def receive(message: str) -> None:
        receive_look(timeline, blocked, message)

    names = f"ARRAY[{', '.join(map(literal, ignored))}]::name[]"
    sampler = _SAMPLER.format(prefix=_LOOK, locks=_LOCKS.format(pid=pid))
    prober = _PROBER.format(pid=pid, prefix=_BLOCKED, schema=SCHEMA, ignored=names)
    async with _running(admin, sampler, receive), _running(admin, prober, receive, lock_timeout="1ms"):
        yield blocked
        await asyncio.sleep(_LAST_TURN)
    blocked.changes.sort()


@asynccontextmanager
async def _running(
    admin: Dsn, script: str, receive: Callable[[str], None], **server_settings: str
) -> AsyncIterator[None]:
    # without the check, a loop would outlive a client that was killed
    connection = await connect(admin, client_connection_check_interval="1s", **server_settings)
    connection.add_log_listener(lambda _, message: receive(str(message.message)))
    loop = asyncio.ensure_future(connection.execute(script))
    try:
        yield
    finally:
        try:
            await cancel_and_wait(loop)
        finally:
            await finish_even_if_cancelled(connection.close())
    if not loop.cancelled():
        loop.result()
