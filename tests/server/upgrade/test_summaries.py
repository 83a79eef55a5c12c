"""The line at the end of a run, and the row of the ledger, say what happened to the database, and who did it."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import service_migrations
from service_migrations.session.locks import LOCK_KEY
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo
from tests.support.sessions import hold
from tests.support.world import WAITING, Run

STAMP = ("db.stamp", "--service", "billing", "--yes")


@pytest.fixture
def world(monorepo: Monorepo, database: Callable[..., Dsn]) -> tuple[Monorepo, Dsn]:
    """A service with three revisions, of which the database has the first."""
    dsn = database()
    service = monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    monorepo.revision("billing", "b2", "a1", 'op.execute("CREATE TABLE b2 ()")', 'op.execute("DROP TABLE b2")')
    monorepo.revision("billing", "c3", "b2", 'op.execute("CREATE TABLE c3 ()")', 'op.execute("DROP TABLE c3")')
    wait(service_migrations.upgrade(service, "a1"))
    return monorepo, dsn


def last_row(dsn: Dsn) -> tuple[str | None, ...]:
    """Return direction, from and to of the newest row of the ledger."""
    sql = "SELECT direction, from_revision, to_revision FROM migration_log_billing ORDER BY id DESC LIMIT 1"
    return tuple(query(dsn, sql)[0])


def at(dsn: Dsn) -> list[str]:
    return sorted(row[0] for row in query(dsn, "SELECT version_num FROM alembic_version_billing"))


@pytest.mark.parametrize(
    ("before", "words", "after"),
    [
        (["312b"], ("--purge", "--revision", "b2"), "b2"),
        (["312b"], ("--purge", "--revision", "base"), None),
        (["a1", "312b"], ("--purge", "--revision", "c3"), "c3"),
        (["a1"], ("--purge", "--revision", "a1"), "a1"),
        (["a1"], ("--revision", "c3"), "c3"),
        (["a1"], ("--revision", "base"), None),
    ],
)
def test_a_stamp_says_where_the_database_was_and_that_nothing_was_run(
    world: tuple[Monorepo, Dsn], before: list[str], words: tuple[str, ...], after: str | None
) -> None:
    monorepo, dsn = world
    query(dsn, "DELETE FROM alembic_version_billing")
    for revision in before:
        query(dsn, "INSERT INTO alembic_version_billing VALUES ($1)", revision)
    ran = monorepo.inv(*STAMP, *words)
    was = ", ".join(sorted(before))
    line = f"billing: {dsn.target} was at {was} and is stamped with {after or 'base'}; nothing was run\n"
    assert (ran.code, ran.out) == (0, line), ran.text
    assert at(dsn) == ([after] if after else [])
    assert last_row(dsn) == ("stamp", was, after)


@pytest.mark.parametrize("is_program", [False, True])
def test_alembics_own_stamp_writes_down_what_a_purge_has_removed(
    world: tuple[Monorepo, Dsn], *, is_program: bool
) -> None:
    monorepo, dsn = world
    program = Path(sys.executable).with_name("alembic")
    words = [program, "-x", "service=billing"] if is_program else [sys.executable, "-m", "invoke", "db.alembic"]
    words += [] if is_program else ["--service", "billing", "--"]
    query(dsn, "UPDATE alembic_version_billing SET version_num = '312b'")
    for target, row in (("b2", ("stamp", "312b", "b2")), ("base", ("stamp", "b2", None))):
        subprocess.run([*words, "stamp", "--purge", target], cwd=monorepo.root, capture_output=True, check=True)
        assert last_row(dsn) == row


@pytest.mark.parametrize("words", [(), ("--revision", "c3")])
@pytest.mark.parametrize(
    ("others", "expected"),
    [
        (None, r"{target} went from a1 to c3 \(2 revisions, [\d.]+ s, waited [\d.]+ s for the migration lock\)"),
        ("b2", r"{target} went from a1 to c3 \(1 revision, the others by another run, [\d.]+ s, waited .* lock\)"),
        ("c3", r"nothing to do, another run took {target} from a1 to c3 \(waited [\d.]+ s for the migration lock\)"),
    ],
)
def test_a_run_that_waited_says_what_another_run_did(
    world: tuple[Monorepo, Dsn], others: str | None, expected: str, words: tuple[str, ...]
) -> None:
    monorepo, dsn = world
    with hold(dsn, f"SELECT pg_advisory_lock({LOCK_KEY})", "COMMIT") as other:
        run = Run(monorepo.start("db.upgrade", "--service", "billing", *words))
        run.says(WAITING)
        for table in {"b2": ["b2"], "c3": ["b2", "c3"]}.get(others or "", []):
            other.run(f"CREATE TABLE {table} ()")
            other.run(f"UPDATE alembic_version_billing SET version_num = '{table}'")  # noqa: S608
        other.run(f"SELECT pg_advisory_unlock({LOCK_KEY})")
        ran = run.end()
        run.kill()
    assert ran.code == 0, ran.text
    assert re.fullmatch(f"billing: {expected.format(target=re.escape(dsn.target))}\n", ran.out), ran.out
    assert at(dsn) == ["c3"]


def test_each_step_has_its_number_and_the_count_of_all_that_are_run(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, _ = world
    service = monorepo.find("billing")
    steps: list[tuple[object, ...]] = []

    def step(*values: object) -> None:
        steps.append(values)

    wait(service_migrations.upgrade(service, "+1", step=step))
    assert steps == [("b2", 1, 1)]
    wait(service_migrations.upgrade(service, step=step))
    assert steps[1:] == [("c3", 1, 1)]
    wait(service_migrations.downgrade(service, "a1", step=step))
    assert steps[2:] == [("c3", 1, 2), ("b2", 2, 2)]
    wait(service_migrations.upgrade(service))
    for name in ("c3", "b2"):
        (monorepo.root / "migrations" / "versions" / "billing" / f"{name}.py").unlink()
    wait(service_migrations.undo(service, step=step))
    assert steps[4:] == [("c3", 1, 2), ("b2", 2, 2)]


FAILS = 'op.execute("SELECT 1/0")'


@pytest.mark.parametrize("names", [("billing",), ("billing", "catalog")], ids=["alone", "in a fleet"])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (FAILS, "division by zero [22012]. It was rolled back. Now {} is at c3."),
        (f"with op.get_context().autocommit_block():\n    {FAILS}", "before is kept. Now {} is at c3."),
        (
            'op.execute("LOCK TABLE billing NOWAIT")',
            "a lock was not free in time [55P03]. It was rolled back. Now {} is at c3.",
        ),
    ],
    ids=["error", "partly committed", "lock"],
)
def test_a_run_that_fails_behind_others_says_where_the_database_is(
    world: tuple[Monorepo, Dsn], database: Callable[..., Dsn], names: tuple[str, ...], body: str, said: str
) -> None:
    monorepo, dsn = world
    monorepo.revision("billing", "d4", "c3", body)
    for name in names[1:]:
        monorepo.service(name, dsn=database())
        monorepo.table_revision(name, "k1", None)
    with hold(dsn, "LOCK TABLE billing"):
        failed = monorepo.inv("db.upgrade", "--lock-timeout", "100ms")
    assert said.format(dsn.target) in failed.err, failed.text
    assert at(dsn) == ["c3"]
    again = monorepo.inv("db.upgrade") if "LOCK" not in body else monorepo.inv("db.status")
    assert "is at c3" not in again.err, again.text


def test_a_downgrade_that_fails_behind_others_says_where_the_database_is(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    monorepo.revision("billing", "d4", "c3")
    monorepo.revision("billing", "b2", "a1", "pass", FAILS)
    assert monorepo.inv("db.upgrade", "--allow", "edited").code == 0
    query(dsn, "DELETE FROM migration_log_billing WHERE to_revision = 'b2'")
    failed = monorepo.inv("db.downgrade", "--service", "billing", "--revision", "base", "--yes")
    assert f"It was rolled back. Now {dsn.target} is at b2." in failed.err, failed.text
    assert at(dsn) == ["b2"]
