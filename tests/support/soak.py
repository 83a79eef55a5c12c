"""A soak: random fleets and random faults, one round after the other, and what must hold after each of them.

After a fault: the version table, the schema and the ledger say the same, each revision has run once at most, the exit
code is one that the documents give to that fault, and within five seconds no session and no lock of ours is left. At
the end of a round an upgrade without a fault brings every service to its head, without an INVALID index.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from service_migrations.postgres import VERSIONS, Server, throwaway
from service_migrations.settings.dsn import Dsn
from tests.support.database import make_database, query
from tests.support.monorepo import Monorepo, Running
from tests.support.proxy import proxy
from tests.support.sessions import hold, hold_the_lock
from tests.support.world import nothing_left

__all__ = ["Round", "soak"]

NAMES = ("billing", "catalog", "identity", "orders")

BODIES: dict[str, tuple[str, ...]] = {
    "ordinary": ("{table}", "{witness}"),
    "slow": ("{table}", "SELECT pg_sleep({pause})", "{witness}"),
    "in Python": ("{table}", "!time.sleep({pause})", "{witness}"),
    "data": ("{table}", "INSERT INTO {name} SELECT generate_series(1, 500)", "{witness}"),
    "altering": ("{table}", "ALTER TABLE shared_{service} ADD COLUMN {name} int", "{witness}"),
    "an index": ('!concurrent_index("{name}_ix", "shared_{service}", ["id"])',),
}
"""What a revision does: SQL, or Python behind a "!". One that isn't an index makes a table of its name, and leaves a
row in the witness, in one transaction; an index is built outside of one, so that it may be there already."""

DONE, LOST, INTERRUPTED, KILLED = 0, 69, 130, -signal.SIGKILL
CODES: dict[str, set[int]] = {
    "nothing": {DONE},
    "two at once": {DONE},
    "killed": {DONE, KILLED},
    "SIGTERM": {DONE, 143, -signal.SIGTERM},
    "SIGINT": {DONE, INTERRUPTED},
    "SIGHUP": {DONE, 129, -signal.SIGHUP},
    "two signals": {DONE, 143, -signal.SIGTERM},
    "stopped for a while": {DONE, LOST},
    "sessions ended": {DONE, LOST},
    "cut": {DONE, LOST},
    "hung up": {DONE, LOST},
    "a reader in the way": {DONE},
    "the lock is held": {DONE},
}
"""The faults, each with the exit codes that it may have: a fault may come too late, or too early, before anything is
done about signals, or where a retry makes it good."""


@dataclass
class Round:
    """One fleet, and what happens to it."""

    seed: str
    server: Server
    root: Path
    fleet: dict[str, tuple[Dsn, list[str]]] = field(default_factory=dict)
    fault: str = ""
    codes: list[int] = field(default_factory=list)
    indexes: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Choose everything by the seed, and write the monorepo."""
        self.choice = random.Random(self.seed)  # noqa: S311 - a choice of tests
        self.fault = self.choice.choice(sorted(CODES))
        self.monorepo = Monorepo.make(self.root / "repo")
        shared: Dsn | None = None
        for name in NAMES[: self.choice.randint(1, len(NAMES))]:
            dsn = make_database(self.server, shared=shared if shared and self.choice.random() < 0.3 else None)
            shared = shared or dsn
            ids = [f"{name}{number:02}" for number in range(1, self.choice.randint(3, 8))]
            self.fleet[name] = (dsn, ids)
            for statement in (f"CREATE TABLE shared_{name} (id int)", f"CREATE TABLE witness_{name} (revision text)"):
                query(dsn, statement)
            for revision, down in zip(ids, [None, *ids], strict=False):
                self._write(name, revision, down)
        self.aim({})

    def _write(self, service: str, revision: str, down: str | None) -> None:
        kind = self.choice.choice(sorted(BODIES))
        if kind == "an index":
            self.indexes.add(revision)
        names = {
            "name": revision,
            "service": service,
            "table": f"CREATE TABLE {revision} (id int)",
            "witness": f"INSERT INTO witness_{service} VALUES ('{revision}')",  # noqa: S608 - names of this file
            "pause": round(self.choice.uniform(0.05, 0.3), 2),
        }
        body = [step.format(**names) for step in BODIES[kind]]
        lines = [step[1:] if step.startswith("!") else f'op.execute("{step}")' for step in body]
        imports = ["import time", "from service_migrations.safe import concurrent_index"]
        self.monorepo.revision(service, revision, down, "\n".join([*imports, *lines]))

    def aim(self, through: dict[str, Dsn]) -> None:
        """Write the .env of each service, through a proxy where there is one."""
        for name, (dsn, _) in self.fleet.items():
            self.monorepo.service(name, dsn=through.get(name, dsn), MIGRATIONS_CONNECT_TIMEOUT="2s")

    def run(self) -> None:
        """Let the fault happen during an upgrade, and check what must hold then and at the end."""
        print(f"{self.seed}: {self.fault}: {', '.join(f'{name} {len(ids)}' for name, (_, ids) in self.fleet.items())}")
        FAULTS[self.fault](self)
        for code in self.codes:
            assert code in CODES[self.fault], f"exit code {code}"
        for name in self.fleet:
            self.check(name)
        self.aim({})
        ran = self.monorepo.inv("db.upgrade")
        assert ran.code == 0, ran.text
        for name, (dsn, ids) in self.fleet.items():
            assert self.check(name) == ids[-1]
            assert not query(dsn, "SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid")
        assert self.monorepo.inv("db.status").code == 0

    def start(self) -> Running:
        return self.monorepo.start("db.upgrade", env={"MIGRATIONS_LOCK_TIMEOUT": "2s"})

    def end(self, run: Running) -> None:
        """Wait for the end of a command, and remember its exit code."""
        with run.out, run.err:
            said = run.out.read() + run.err.read()
            self.codes.append(run.child.wait(60))
        if self.fault == "SIGINT" and _is_of_others(said):
            self.codes[-1] = INTERRUPTED
            return
        assert "Traceback" not in said, said
        if self.codes[-1] not in CODES[self.fault]:
            print(said)

    def moment(self, longest: float = 2.5) -> None:
        time.sleep(self.choice.uniform(0.05, longest))

    def check(self, name: str) -> str:
        """Return where a database is, after a look whether everything in it says so."""
        dsn, ids = self.fleet[name]
        nothing_left(replace(self.server.admin, database=dsn.database))
        versions = self._column(dsn, "version_num", f"alembic_version_{name}")
        assert len(versions) < 2, versions
        applied = ids[: ids.index(versions[0]) + 1] if versions else []
        made = [revision for revision in applied if revision not in self.indexes]
        tables = sorted(set(ids) & set(self._column(dsn, "tablename", "pg_tables")))
        assert tables == made, f"{name} is at {versions}, with the tables {tables}"
        witness = Counter(self._column(dsn, "revision", f"witness_{name}"))
        assert witness == Counter(made), f"{name}: {witness} of {made}"
        valid = self._column(dsn, "indexrelid::regclass::text", "pg_index WHERE indisvalid")
        assert {f"{revision}_ix" for revision in applied if revision in self.indexes} <= set(valid)
        logged = self._column(dsn, "revision", f"migration_log_{name}")
        assert sorted(logged) == applied, f"{name}: the ledger has {logged}, and {applied} are applied"
        return versions[0] if versions else "base"

    @staticmethod
    def _column(dsn: Dsn, column: str, table: str) -> list[str]:
        """Return a column of a table, which may not be there yet."""
        is_there = query(dsn, "SELECT to_regclass($1) IS NOT NULL", table.split(maxsplit=1)[0])[0][0]
        return [row[0] for row in query(dsn, f"SELECT {column} FROM {table}")] if is_there else []  # noqa: S608


def _is_of_others(said: str) -> bool:
    """Whether Python or Invoke was interrupted before anything of ours began, with its own code and text."""
    return not said or (said.rstrip().endswith("KeyboardInterrupt") and "service_migrations" not in said)


def _nothing(one: Round) -> None:
    one.end(one.start())


def _two_at_once(one: Round) -> None:
    runs = [one.start(), one.start()]
    for run in runs:
        one.end(run)


def _send(run: Running, number: signal.Signals) -> None:
    if run.child.poll() is None:
        with suppress(ProcessLookupError):  # it has ended in just this moment
            os.kill(run.child.pid, number)


def _signal(*numbers: signal.Signals) -> Callable[[Round], None]:
    def send(one: Round) -> None:
        run = one.start()
        for number in numbers:
            one.moment()
            _send(run, number)
        one.end(run)

    return send


def _stopped(one: Round) -> None:
    run = one.start()
    one.moment()
    _send(run, signal.SIGSTOP)
    one.moment(4.0)
    _send(run, signal.SIGCONT)
    one.end(run)


def _sessions_ended(one: Round) -> None:
    run = one.start()
    one.moment()
    for dsn, _ in one.fleet.values():
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"
        query(one.server.admin, ended, dsn.database)
    one.end(run)


def _between(one: Round, fault: Callable[[object], None]) -> None:
    """Put a proxy before the first database, and let it lose something."""
    (name, (dsn, _)), *_ = one.fleet.items()
    with proxy(dsn) as (between, through):
        one.aim({name: through})
        if fault is _hang_up:
            run = one.start()
            one.moment()
            between.hang_up()
        else:
            between.cut_at_message(one.choice.randint(3, 120))
            run = one.start()
        one.end(run)


def _hang_up(_: object) -> None:
    """Lose the connections on this side alone."""


def _cut(_: object) -> None:
    """Cut at some message."""


def _reader(one: Round) -> None:
    (name, (dsn, _)), *_ = one.fleet.items()
    with hold(dsn, f"SELECT * FROM shared_{name}") as idle:  # noqa: S608
        run = one.start()
        one.moment(4.0)
        idle.run("COMMIT")
        one.end(run)


def _lock(one: Round) -> None:
    (dsn, _), *_ = one.fleet.values()
    with hold_the_lock(dsn):
        run = one.start()
        one.moment(4.0)
    one.end(run)


FAULTS: dict[str, Callable[[Round], None]] = {
    "nothing": _nothing,
    "two at once": _two_at_once,
    "killed": _signal(signal.SIGKILL),
    "SIGTERM": _signal(signal.SIGTERM),
    "SIGINT": _signal(signal.SIGINT),
    "SIGHUP": _signal(signal.SIGHUP),
    "two signals": _signal(signal.SIGTERM, signal.SIGTERM),
    "stopped for a while": _stopped,
    "sessions ended": _sessions_ended,
    "cut": lambda one: _between(one, _cut),
    "hung up": lambda one: _between(one, _hang_up),
    "a reader in the way": _reader,
    "the lock is held": _lock,
}


def soak(server: Server, folder: Path, seed: int, seconds: float) -> int:
    """Run rounds until the time is over, and return how many there were.

    Args:
        server: where the databases are made; others may use it too.
        folder: where the monorepos are made.
        seed: chooses the fleets and the faults; not the moment at which a fault finds a run.
        seconds: after these, no other round begins.

    Raises:
        AssertionError: something doesn't hold; its note has the seed of the round.

    """
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        number += 1
        try:
            Round(f"{seed}.{number}", server, folder / str(number)).run()
        except BaseException as error:
            error.add_note(f"soak: seed {seed}, round {number}; its files are in {folder / str(number)}")
            raise
    return number


def main() -> None:
    """Soak a throw-away server."""
    parser = argparse.ArgumentParser(prog="nox -s soak --", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="repeats the choices of another run")
    parser.add_argument("--postgres", default=VERSIONS[-1], choices=VERSIONS, help="the version (default: %(default)s)")
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed  # noqa: S311
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, throwaway(options.postgres) as server:
        try:
            number = soak(server, Path(folder), seed, options.minutes * 60)
        except AssertionError as error:
            sys.exit("\n".join([f"{error}", *getattr(error, "__notes__", [])]))
    print(f"{number} rounds with seed {seed} on PostgreSQL {options.postgres}: everything held")


if __name__ == "__main__":
    main()
