"""What every fault test needs: a second session that is in the way, a proxy that loses packets, and deadlines."""

import asyncio
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from textwrap import dedent
from typing import Any, Self

import asyncpg

from service_migrations.connection.locks import LOCK_KEY
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.conftest import query
from tests.monorepo import Monorepo, Ran, dsn_text

SECRET = "hunter2%41@ hunter3:/#"
"""The service's password. Every part of it holds the word "hunter", which nothing may print."""

DEADLINE = 30.0
"""Seconds until a test gives up on something that must happen."""

LEFT = 5.0
"""Seconds until nothing of a run that has ended is left at the server."""

LINES = 15
"""How much a failure may say without --debug."""

WAITING = "waiting for the migration lock (held by "

PAUSE = "DO $$ BEGIN WHILE (SELECT closed FROM barrier) LOOP PERFORM pg_sleep(0.02); END LOOP; END $$"
"""A statement that runs until the test opens the barrier: longer than anything, and not a moment too long."""

PAUSED = f'op.execute("{PAUSE}")'
"""It, as the body of a revision."""

INDEX = """
from service_migrations.safe import concurrent_index
concurrent_index("ix", "billing_r001", ["id"], unique=True)
"""
"""The body of a revision that builds an index as authors are told to."""

_OURS = "datname = current_database() AND application_name LIKE 'migrations %'"


def until(condition: Callable[[], Any], what: str, seconds: float = DEADLINE) -> Any:
    """Ask again and again until a condition is met, and return what it was met with."""
    deadline = time.monotonic() + seconds
    while not (met := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return met


class Session:
    """A session of somebody else's. Its statements run in a thread of its own, so that one of them may block."""

    def __init__(self, dsn: Dsn, **settings: str) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._runner = asyncio.Runner()
        connecting = self._thread.submit(
            self._runner.run, asyncpg.connect(**dsn.connect_args(), server_settings=settings)
        )
        self._connection: asyncpg.Connection[asyncpg.Record] = connecting.result(DEADLINE)
        self.pid = self._connection.get_server_pid()

    def start(self, sql: str) -> "Future[Any]":
        """Run a statement, without waiting for it."""
        return self._thread.submit(lambda: self._runner.run(self._connection.fetch(sql)))

    def run(self, sql: str) -> list[Any]:
        """Run a statement, and return its rows."""
        return list(self.start(sql).result(DEADLINE))

    def close(self) -> None:
        def end() -> None:
            self._connection.terminate()
            self._runner.close()

        self._thread.submit(end).result(DEADLINE)
        self._thread.shutdown()


@contextmanager
def hold(dsn: Dsn, *statements: str, **settings: str) -> Iterator[Session]:
    """Keep a transaction open, in which these statements have run, until the test ends it or the block ends."""
    session = Session(dsn, **settings)
    try:
        session.run("BEGIN")
        for statement in statements:
            session.run(statement)
        yield session
    finally:
        session.close()


def hold_the_lock(dsn: Dsn, **settings: str) -> Any:
    """Hold the migration lock for as long as the block lasts."""
    return hold(dsn, f"SELECT pg_advisory_lock({LOCK_KEY})", **settings)


class Reader:
    """Somebody who reads a table all the time, and remembers the longest wait."""

    def __init__(self, dsn: Dsn, table: str) -> None:
        self._session = Session(dsn)
        self._ended = threading.Event()
        self._table = table
        self.longest = 0.0
        self.reads = 0
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._ended.is_set():
            started = time.monotonic()
            self._session.run(f"SELECT count(*) FROM {self._table}")  # noqa: S608 - a constant of the test
            self.longest = max(self.longest, time.monotonic() - started)
            self.reads += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(DEADLINE)
        self._session.close()


class Proxy:
    """A TCP proxy before a server, which can pass, swallow, refuse, or cut where a COMMIT was answered.

    ``asked`` is how often a client has sent something: as often it has waited for an answer.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._sockets = [self._listener]
        self._clients: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._swallow = self._swallow_new = False
        self._cut: tuple[bytes, bool] | None = None
        self.cuts = self.asked = 0
        self._thread(self._accept)

    def swallow(self, *, new: bool = True) -> None:
        """Become a black hole: nobody hears of the other any more, not even of its end.

        Connections that are made from now on are swallowed too, unless *new* says otherwise.
        """
        self._swallow, self._swallow_new = True, new

    def hang_up(self) -> None:
        """Lose the connections on the client's side alone: the server hears nothing, and works on."""
        self.swallow(new=False)
        for client in self._clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def refuse(self) -> None:
        """Let nobody connect any more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def cut_at_commit(self, marker: str, *, told: bool) -> None:
        """Cut the connection that has carried a text, at the next answer to a COMMIT: before it is *told*, or after."""
        self._cut = (marker.encode(), told)

    def close(self) -> None:
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(DEADLINE)

    def _thread(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self._clients.append(client)
                if self._swallow_new:
                    continue
                server = socket.create_connection(self._target)
                self._sockets.append(server)
                carried = bytearray()
                # one that was made after the hole opened is not in it
                swallowed: Callable[[], bool] = (lambda: self._swallow_new) if self._swallow else lambda: self._swallow
                self._thread(self._pump, client, server, carried, swallowed, False)
                self._thread(self._pump, server, client, carried, swallowed, True)

    def _pump(
        self, source: socket.socket, sink: socket.socket, carried: bytearray, swallowed: Callable[[], bool], back: bool
    ) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if swallowed():
                    continue
                if not back:
                    self.asked += 1
                    carried += data
                elif self._cut and self._cut[0] in carried and b"COMMIT\0" in data:
                    if self._cut[1]:
                        sink.sendall(data)
                    self.cuts += 1
                    break
                sink.sendall(data)
        if not swallowed():
            for one in (source, sink):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy(dsn: Dsn) -> Iterator[tuple[Proxy, Dsn]]:
    """Put a proxy before a database; the DSN leads through it."""
    between = Proxy(dsn.hosts[0])
    try:
        yield between, replace(dsn, hosts=(between.address,))
    finally:
        between.close()


class Run:
    """A command that runs, and what it has said so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.out: list[str] = []
        self.err: list[str] = []
        assert process.stdout
        assert process.stderr
        self._threads = [
            threading.Thread(target=heard.extend, args=(stream,), daemon=True)
            for heard, stream in ((self.out, process.stdout), (self.err, process.stderr))
        ]
        for thread in self._threads:
            thread.start()

    def says(self, text: str, count: int = 1) -> None:
        """Wait until so many lines on stderr have held a text."""

        def said() -> bool:
            held = sum(text in line for line in list(self.err)) >= count
            assert held or self.process.poll() is None, "".join(self.err)
            return held

        until(said, f"{count} x {text!r} in {''.join(self.err)!r}")

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def end(self, seconds: float = DEADLINE) -> Ran:
        """Wait for its end, and return what it answered."""
        self.process.wait(seconds)
        for thread in self._threads:
            thread.join(DEADLINE)
        return Ran(self.process.returncode, "".join(self.out), "".join(self.err))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(DEADLINE)
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()


@dataclass
class World:
    """A monorepo with the service billing, whose database is its own."""

    monorepo: Monorepo
    server: Server
    dsn: Dsn
    runs: list[Run] = field(default_factory=list)

    @property
    def admin(self) -> Dsn:
        """The service's database, as the superuser."""
        return replace(self.server.admin, database=self.dsn.database)

    def aim(self, dsn: Dsn | None = None, service: str = "billing", **env: str) -> None:
        """Write a service's .env."""
        self.monorepo.env(service, DATABASE_DSN=dsn_text(dsn or self.dsn), **env)

    def history(self, count: int = 5, service: str = "billing", **bodies: str) -> None:
        """Write revisions r001, r002 …, each of which makes a table of its name.

        A keyword such as ``r003`` adds a body of that revision, which runs after its table was made; one such as
        ``r003_alone`` makes no table; ``r003_back`` is of its downgrade.
        """
        for number in range(1, count + 1):
            name, down = f"r{number:03}", f"r{number - 1:03}" if number > 1 else None
            up = dedent(bodies.get(name, ""))
            back = dedent(bodies.get(f"{name}_back", ""))
            alone = bodies.get(f"{name}_alone")
            if alone is None:
                up = f'op.execute("CREATE TABLE {service}_{name} (id int)")\n{up}'
                back = f'op.execute("DROP TABLE {service}_{name}")\n{back}'
            self.monorepo.revision(service, name, down, up if alone is None else alone, back or "pass")

    def start(self, *words: str, **env: str) -> Run:
        """Start Invoke: by default the upgrade of billing."""
        run = Run(self.monorepo.spawn(*(words or ("db.upgrade", "--service", "billing")), env=env))
        self.runs.append(run)
        return run

    def inv(self, *words: str, **env: str) -> Ran:
        """Run Invoke to its end: by default the upgrade of billing."""
        return self.start(*words, **env).end(60)

    def close_barrier(self) -> None:
        """Let PAUSE pause."""
        query(self.dsn, "CREATE TABLE IF NOT EXISTS barrier AS SELECT true AS closed")
        query(self.dsn, "UPDATE barrier SET closed = true")

    def open_barrier(self) -> None:
        """Let PAUSE end."""
        query(self.dsn, "UPDATE barrier SET closed = false")

    def paused(self, run: Run, count: int = 1) -> int:
        """Wait until so many statements of a run stand at the barrier, and return the newest one's server process."""
        sql = f"SELECT pid FROM pg_stat_activity WHERE {_OURS} AND state = 'active' AND query LIKE '%barrier%'"  # noqa: S608

        def stands() -> list[Any]:
            assert run.process.poll() is None, "".join(run.err)
            rows = query(self.admin, sql + " ORDER BY backend_start DESC")
            return rows if len(rows) >= count else []

        return int(until(stands, "a statement at the barrier")[0][0])

    def at(self, service: str = "billing") -> str:
        """Return where the database is, after a look whether its tables are exactly those of its revision."""
        table = f"alembic_version_{service}"
        if query(self.dsn, "SELECT to_regclass($1)", table)[0][0] is None:
            versions: list[str] = []
        else:
            versions = [row[0] for row in query(self.dsn, f"SELECT version_num FROM {table}")]  # noqa: S608
        assert len(versions) <= 1
        at = versions[0] if versions else "base"
        rows = query(self.dsn, "SELECT tablename FROM pg_tables WHERE tablename LIKE $1", f"{service}\\_r___")
        files = (self.monorepo.root / "migrations" / "versions" / service).glob("r*.py")
        made = {f"{service}_{file.stem}" for file in files if "CREATE TABLE" in file.read_text(encoding="utf-8")}
        assert {row[0] for row in rows} == {table for table in made if at != "base" and table <= f"{service}_{at}"}
        return at

    def valid(self, index: str) -> bool | None:
        """Whether an index is valid; None where there is none."""
        rows = query(self.dsn, "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)", index)
        return rows[0][0] if rows else None

    def building(self, run: Run) -> int:
        """Wait until a concurrent build waits for old transactions, and return its server process."""
        sql = (
            "SELECT p.pid FROM pg_stat_progress_create_index p JOIN pg_stat_activity a USING (pid) "
            "WHERE p.datname = current_database() AND p.phase LIKE 'waiting%' AND a.wait_event_type = 'Lock'"
        )

        def builds() -> list[Any]:
            assert run.process.poll() is None, "".join(run.err)
            return query(self.admin, sql)

        return int(until(builds, "a concurrent build that waits")[0][0])


def nothing_left(dsn: Dsn, seconds: float = LEFT) -> None:
    """Wait until a database has no session of ours and nobody has the migration lock; five seconds are allowed."""
    sql = (
        f"SELECT pid, state, query FROM pg_stat_activity WHERE {_OURS} UNION ALL "  # noqa: S608 - constants
        "SELECT pid, 'lock', mode FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
        f"WHERE d.datname = current_database() AND locktype = 'advisory' AND objid::bigint = {LOCK_KEY & 0xFFFFFFFF}"
    )
    found: list[list[Any]] = []

    def none() -> bool:
        found[:] = [query(dsn, sql)]
        return not found[0]

    try:
        until(none, "nothing of ours at the server", seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}: {found[0]}") from None


def failed(world: World, ran: Ran, code: int) -> str:
    """Check what holds for every failure: its code, no password, few lines, nothing left. Return what was said."""
    assert ran.code == code, ran.text
    assert "hunter" not in ran.text
    assert "Traceback" not in ran.text, ran.text
    assert len(ran.text.splitlines()) <= LINES, ran.text
    nothing_left(world.admin)
    return ran.text
