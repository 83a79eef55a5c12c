"""`inv db.evidence`: what is measured of each revision, as one run of a history of all kinds of statements shows it."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service_migrations.errors import UsageError
from service_migrations.evidence.files import read_committed, write
from service_migrations.evidence.measurement import Lock, Measurement
from service_migrations.evidence.rules import parse_rule
from service_migrations.postgres import VERSIONS
from tests.support.deadlines import until
from tests.support.monorepo import Monorepo
from tests.support.version import VERSION

MODELS = """
from sqlalchemy.orm import DeclarativeBase

__all__ = ["Base"]


class Base(DeclarativeBase):
    pass
"""
TABLES = '''
op.execute("CREATE TYPE mood AS ENUM ('sad', 'glad')")
op.execute("""CREATE TABLE owners (id int PRIMARY KEY, email text NOT NULL UNIQUE CHECK (email ~ '^[^@]+@[^@]+$'))""")
op.execute("""CREATE TABLE pets (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner_id int NOT NULL
    REFERENCES owners, name varchar(40) NOT NULL, mood mood NOT NULL, legs int CHECK (legs BETWEEN 2 AND 4), note text,
    age int, twice int GENERATED ALWAYS AS (age * 2) STORED)""")
op.execute("CREATE TABLE impossible (a int NOT NULL CHECK (a <> a))")
op.execute("CREATE TABLE own (k text PRIMARY KEY, v int)")
op.execute("CREATE SEQUENCE spare")
'''
BATCHES = """
with op.get_context().autocommit_block():
    op.execute('''DO $$ BEGIN FOR part IN 0..3 LOOP
        UPDATE pets SET note = 'filled' WHERE id % 4 = part; COMMIT; PERFORM pg_sleep(0.02); END LOOP; END $$''')
"""
AUTOCOMMIT = """
with op.get_context().autocommit_block():
    op.execute("ALTER TABLE owners ALTER COLUMN email SET STATISTICS 300")
    op.execute("ALTER TABLE own ALTER COLUMN v SET DEFAULT 1")
"""
MOMENT = """
with op.get_context().autocommit_block():
    op.execute("UPDATE own SET v = v + 1 WHERE k = 'acme'")
    op.execute("DO $$ BEGIN UPDATE owners SET email = email WHERE id = (SELECT min(id) FROM owners); COMMIT; END $$")
"""
AWAITED = """
async def change(connection):
    await connection.execute(sa.text("UPDATE own SET v = v"))
op.run_async(change)
"""
HELD = """
op.execute("SET LOCAL work_mem TO 4096")
op.execute("ALTER TABLE pets ADD COLUMN kind text")
op.get_bind().exec_driver_sql("SELECT pg_sleep(0.3)")
"""
ISOLATED = """
op.execute("LOCK TABLE pets IN SHARE ROW EXCLUSIVE MODE")
op.execute("-- why\\nSET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
op.execute("UPDATE pets SET age = 1")
op.get_bind().exec_driver_sql("COMMIT AND CHAIN")
op.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
op.get_bind().commit()
op.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
"""
SEQUENCE = """
op.execute("ALTER SEQUENCE pets_id_seq RESTART WITH 100000")
op.execute("SELECT nextval('spare')")
"""
HISTORY = {
    "tables": TABLES,
    "rewrite": 'op.execute("ALTER TABLE pets ADD COLUMN code uuid DEFAULT gen_random_uuid()")',
    "build": 'op.execute("CREATE INDEX pets_name ON pets (name)")',
    "batches": BATCHES,
    "autocommit": AUTOCOMMIT,
    "moment": MOMENT,
    "awaited": AWAITED,
    "held": HELD,
    "updated": 'op.execute("UPDATE pets SET note = NULL")\nop.execute("SELECT pg_sleep(0.2)")',
    "isolated": ISOLATED,
    "sequence": SEQUENCE,
    "unfit": 'op.execute("CREATE UNIQUE INDEX pets_owner ON pets (mood)")',
    "fails": 'op.execute("ALTER TABLE pets ADD COLUMN x missing_type")',
}
BACK = {"rewrite": 'op.execute("ALTER TABLE pets DROP COLUMN code")', "build": 'op.execute("DROP INDEX pets_name")'}
ROWS = 600


def write_history(monorepo: Monorepo, service: str, history: dict[str, str]) -> None:
    monorepo.service(service, MODELS)
    former = None
    for name, body in history.items():
        monorepo.revision(service, name, former, body, BACK.get(name, "pass"))
        former = name


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Monorepo:
    monorepo = Monorepo.make(tmp_path_factory.mktemp("evidence") / "repo")
    write_history(monorepo, "zoo", HISTORY)
    rows = monorepo.root / "tests" / "matrix" / "rows"
    rows.mkdir(parents=True)
    (rows / "zoo.toml").write_text("tables = [\"INSERT INTO own VALUES ('acme', 7)\"]\n", encoding="utf-8")
    return monorepo


@pytest.fixture(scope="module")
def ran(repository: Monorepo):
    options = ("--postgres", VERSION, "--rows", str(ROWS), "--downgrades", "--json", "--write", "--fail-on", "rewrite")
    return repository.inv("db.evidence", "--service", "zoo", *options)


@pytest.fixture(scope="module")
def measured(ran) -> dict[tuple[str, str], dict[str, Any]]:
    return {(item["revision"], item["direction"]): item for item in json.loads(ran.out)}


def locks(item: dict[str, Any]) -> dict[str, str]:
    return {lock["relation"]: lock["mode"] for statement in item["statements"] for lock in statement["locks"]}


def test_each_statement_has_its_file_and_line(measured) -> None:
    places = [statement["place"] for statement in measured["held", "upgrade"]["statements"]]
    assert [place.rpartition(":")[0] for place in places] == ["migrations/versions/zoo/held.py"] * 3
    assert [int(place.rpartition(":")[2]) for place in places] == [10, 11, 12]


def test_a_rewrite_is_named_with_its_lock_and_grows_with_the_rows(measured) -> None:
    item = measured["rewrite", "upgrade"]
    assert (item["rewrites"], item["strongest"]["mode"]) == (["pets"], "ACCESS EXCLUSIVE")
    assert item["growth"] == "linear"
    assert item["at_ten_million"] > item["seconds"]
    assert item["wal"] > 10 * ROWS
    back = measured["rewrite", "downgrade"]
    assert (back["rewrites"], locks(back), back["growth"]) == ([], {"pets": "ACCESS EXCLUSIVE"}, "constant")


def test_an_index_is_no_rewrite_and_its_lock_is_that_of_the_table(measured) -> None:
    item = measured["build", "upgrade"]
    assert (item["rewrites"], locks(item), item["growth"]) == ([], {"pets": "SHARE"}, "linear")


def test_a_block_that_commits_has_its_locks_and_rows(measured) -> None:
    item = measured["batches", "upgrade"]
    assert locks(item)["pets"] == "ROW EXCLUSIVE"
    assert item["changed"] == ROWS


def test_who_has_written_rows_had_the_lock_for_it_however_short_it_was(measured) -> None:
    item = measured["moment", "upgrade"]
    assert (locks(item), item["changed"]) == ({"own": "ROW EXCLUSIVE", "owners": "ROW EXCLUSIVE"}, 2)


def test_a_statement_that_is_awaited_has_its_line_and_its_lock(measured) -> None:
    item = measured["awaited", "upgrade"]
    assert [statement["place"] for statement in item["statements"]] == ["migrations/versions/zoo/awaited.py:11"]
    assert locks(item) == {"own": "ROW EXCLUSIVE"}


def test_the_short_locks_of_an_autocommit_block_are_seen(measured) -> None:
    assert locks(measured["autocommit", "upgrade"]) == {"owners": "SHARE UPDATE EXCLUSIVE", "own": "ACCESS EXCLUSIVE"}


def test_a_lock_is_held_until_the_end_of_its_transaction(measured) -> None:
    item = measured["held", "upgrade"]
    assert item["strongest"]["relation"] == "pets"
    assert item["strongest"]["seconds"] >= 0.3
    assert item["readers_blocked"] >= 0.25
    assert item["writers_blocked"] >= item["readers_blocked"]
    assert set(item["blocked"]) == {"pets"}


def test_rows_that_were_changed_hold_up_writers_and_no_readers(measured) -> None:
    item = measured["updated", "upgrade"]
    assert item["changed"] == ROWS
    assert (item["readers_blocked"], item["writers_blocked"] >= 0.15) == (0.0, True)


def test_the_lock_of_a_sequence_is_one_that_inserts_wait_for(measured) -> None:
    assert locks(measured["sequence", "upgrade"]) == {"pets_id_seq": "SHARE ROW EXCLUSIVE"}


def test_a_revision_may_set_its_isolation_level_before_its_first_query(measured) -> None:
    item = measured["isolated", "upgrade"]
    assert (item["error"], item["changed"], locks(item)["pets"]) == (None, ROWS, "SHARE ROW EXCLUSIVE")


def test_what_cannot_be_filled_and_rows_that_do_not_fit_are_named_with_the_reason(measured) -> None:
    notes = "\n".join(measured["held", "upgrade"]["notes"])
    assert "impossible can't be filled: no value is known for (a <> a)" in notes
    assert "the made rows of pets don't satisfy a later revision" in notes
    assert len(measured["held", "upgrade"]["notes"]) == 2, notes
    assert measured["unfit", "upgrade"]["error"] is None


def test_a_revision_that_fails_is_the_last_result_and_no_crash(measured, ran) -> None:
    assert "missing_type" in measured["fails", "upgrade"]["error"]
    assert "Traceback" not in ran.text
    assert ran.code == 3
    assert f"zoo: fails, upgrade on PostgreSQL {VERSION}, failed: " in ran.err
    assert f"zoo: rewrite, upgrade on PostgreSQL {VERSION}: it rewrites pets (--fail-on 'rewrite')." in ran.err


@pytest.mark.usefixtures("ran")
def test_a_file_of_each_revision_is_written_and_the_plan_reads_it(repository: Monorepo, database) -> None:
    folder = repository.root / "migrations" / "evidence" / "zoo"
    assert {path.stem for path in folder.iterdir()} == set(HISTORY)
    repository.service("zoo", MODELS, database())
    planned = repository.inv("db.plan", "--service", "zoo")
    assert "rewrites pets; writers held up" in planned.out or "rewrites pets (" in planned.out
    assert f"(PostgreSQL {VERSION}, {ROWS} rows)" in planned.out
    revision = repository.root / "migrations" / "versions" / "zoo" / "rewrite.py"
    text = revision.read_text(encoding="utf-8")
    revision.write_text(text.replace("code uuid", "code2 uuid"), encoding="utf-8")
    planned = repository.inv("db.plan", "--service", "zoo", "--json")
    revision.write_text(text, encoding="utf-8")
    current = {item["revision"]: item["measured"]["is_current"] for item in json.loads(planned.out)[0]["revisions"]}
    assert [name for name in current if not current[name]] == ["rewrite"]


def test_one_that_needs_a_siblings_table_and_one_that_fails_on_one_version(tmp_path: Path) -> None:
    monorepo = Monorepo.make(tmp_path / "repo")
    (monorepo.root / ".env.example").write_text(
        "DATABASE_DSN=postgresql://<service>:<password>@localhost:5432/shared\n"
    )
    write_history(monorepo, "first", {"f1": 'op.execute("CREATE TABLE f (id int REFERENCES s)")'})
    version = 'op.get_bind().exec_driver_sql("SHOW server_version_num").scalar()'
    s2 = f'assert int({version}) < {VERSIONS[-1]}0000, "too new"'
    write_history(monorepo, "second", {"s1": 'op.execute("CREATE TABLE s (id int PRIMARY KEY)")', "s2": s2})
    both = f"{VERSIONS[0]},{VERSIONS[-1]}"
    ran = monorepo.inv("db.evidence", "--postgres", both, "--rows", "10", "--json")
    errors = {(item["revision"], item["postgres"]): item["error"] for item in json.loads(ran.out)}
    failed = errors.pop(("s2", VERSIONS[-1]))
    assert "too new" in failed
    assert set(errors) == {(name, version) for version in both.split(",") for name in ("f1", "s1", "s2")} - {
        ("s2", VERSIONS[-1])
    }
    assert set(errors.values()) == {None}
    assert ran.code == 3


def test_a_version_that_cannot_be_provided_and_wrong_words_are_refused(repository: Monorepo) -> None:
    refused = repository.inv("db.evidence", "--service", "zoo", "--postgres", "16", env={"POSTGRES_SOURCES": "dsn"})
    assert refused.code == 69
    assert "POSTGRES_16_DSN" in refused.err
    assert len(refused.err.splitlines()) == 1
    for words, problem in (
        (("--revision", "nothing"), "is no revision of this history"),
        (("--fail-on", "lock>1s"), "there is no such rule"),
        (("--rows", "0"), "a whole number is needed"),
        (("--base", "HEAD"), "--affected"),
        (("--base", "HEAD", "--revision", "nothing"), "Add --affected"),
        (("--postgres", "9"), "9"),
    ):
        refused = repository.inv("db.evidence", "--service", "zoo", *words)
        assert problem in refused.err
        assert refused.code == 2, refused.text


def test_ctrl_c_ends_the_command_and_removes_the_server(repository: Monorepo, tmp_path: Path) -> None:
    running = repository.start("db.evidence", "--service", "zoo", "--rows", "200", env={"TMPDIR": str(tmp_path)})
    line = next(line for line in running.err if "on PostgreSQL" in line)
    assert line.startswith("zoo: tables")
    os.kill(running.child.pid, signal.SIGINT)
    assert running.child.wait(30) == 130
    until(lambda: not list(tmp_path.glob("pg*")), "the server's folder is removed")
    running.out.close()
    running.err.close()


MEASUREMENT = Measurement(
    *("r", "m", "migrations/versions/zoo/build.py", "upgrade", "18", 10, 0.1, Lock("t", "SHARE", 2.0), ("t",)),
    *(0.5, 1.5, {}, 100, 0, "linear", 70.0, (), None, ()),
)


@pytest.mark.parametrize(
    ("rule", "is_broken"),
    [
        *(
            ("rewrite", True),
            ("writers-blocked>1s", True),
            ("writers-blocked > 2s", False),
            ("readers-blocked>400ms", True),
        ),
        *(("readers-blocked>1s", False), ("held>1s", True), ("held>1m", False), ("ten-million>1m", True)),
    ],
)
def test_a_rule_is_broken_by_what_it_names(rule: str, is_broken: bool) -> None:
    assert bool(parse_rule(rule).broken_by(MEASUREMENT)) is is_broken


@pytest.mark.parametrize("rule", ["", "rewrites", "held", "held<1s", "held>", "held>1", "other>1s"])
def test_a_rule_that_is_none_is_refused(rule: str) -> None:
    with pytest.raises(UsageError):
        parse_rule(rule)


def test_a_file_changes_only_where_the_figures_do(repository: Monorepo) -> None:
    service = repository.find("zoo")
    first = replace(MEASUREMENT, revision="noise")
    assert [path.name for path in write(service, [first])] == ["noise.json"]
    assert write(service, [replace(first, seconds=0.13, writers_blocked=1.6)]) == []
    assert write(service, [replace(first, writers_blocked=9.0)])
    assert write(service, [replace(first, postgres="14")])
    committed = read_committed(service, "noise", first.path)
    assert committed
    assert set(committed.measured) == {"14", "18"}
    assert committed.worst("upgrade")[0] == "18"
    assert write(service, [replace(first, rows=99)])
    assert set(read_committed(service, "noise", first.path).measured) == {"18"}
    (repository.root / "migrations" / "evidence" / "zoo" / "noise.json").unlink()


def test_with_one_row_nothing_is_told_of_growth(monorepo: Monorepo) -> None:
    """The second run had as many rows as the first, and one that took longer was divided by the difference."""
    monorepo.service("alpha", MODELS)
    slower = "seen = __import__('pathlib').Path(__file__).with_name('seen')\n"
    slower += "op.execute('CREATE TABLE made (id int)')\n"
    slower += "op.execute(f'INSERT INTO made SELECT generate_series(1, {50000 if seen.exists() else 1})')\nseen.touch()"
    monorepo.revision("alpha", "r1", None, slower)
    ran = monorepo.inv("db.evidence", "--service", "alpha", "--rows", "1", "--postgres", VERSION, "--json")
    assert ran.code == 0, ran.text
    (measured,) = json.loads(ran.out)
    assert (measured["growth"], measured["at_ten_million"]) == (None, None)
