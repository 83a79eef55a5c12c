"""What every fault test needs: a second session that is in the way, a proxy that loses packets, and deadlines."""

import os
import threading
from dataclasses import dataclass, field, replace
from textwrap import dedent
from typing import Any

from service_migrations.postgres import Server
from service_migrations.session.locks import LOCK_KEY
from service_migrations.settings.dsn import Dsn
from tests.support.database import query
from tests.support.deadlines import DEADLINE, until
from tests.support.monorepo import Monorepo, Ran, Running, dsn_text

UPGRADE = ("db.upgrade", "--service", "billing")

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


class Run:
    """A command that runs, and what it has said so far."""

    def __init__(self, running: Running) -> None:
        self.process = running.child
        self.out: list[str] = []
        self.err: list[str] = []
        self._streams = (running.out, running.err)
        self._threads = [
            threading.Thread(target=heard.extend, args=(stream,), daemon=True)
            for heard, stream in zip((self.out, self.err), self._streams, strict=True)
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
        code = self.process.wait(seconds)
        for thread in self._threads:
            thread.join(DEADLINE)
        return Ran(code, "".join(self.out), "".join(self.err))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(DEADLINE)
        for stream in self._streams:
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
        run = Run(self.monorepo.start(*(words or UPGRADE), env=env))
        self.runs.append(run)
        return run

    def inv(self, *words: str, **env: str) -> Ran:
        """Run Invoke to its end: by default the upgrade of billing."""
        return self.monorepo.inv(*(words or UPGRADE), env=env)

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
    rows: list[list[Any]] = []

    def none() -> bool:
        rows[:] = [query(dsn, sql)]
        return not rows[0]

    try:
        until(none, "nothing of ours at the server", seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}: {rows[0]}") from None


def failed(world: World, ran: Ran, code: int) -> str:
    """Check what holds for every failure: its code, no password, few lines, nothing left. Return what was said."""
    assert ran.code == code, ran.text
    assert "hunter" not in ran.text
    assert "Traceback" not in ran.text, ran.text
    assert len(ran.text.splitlines()) <= LINES, ran.text
    nothing_left(world.admin)
    return ran.text
