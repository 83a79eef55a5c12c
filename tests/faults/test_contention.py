"""Locks of others and timeouts: short waits, another try, and the one who is in the way by name."""

import asyncio
import re
from contextlib import suppress

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

import service_migrations
from tests.support.database import query, wait
from tests.support.deadlines import until
from tests.support.sessions import Reader, Session, hold
from tests.support.world import INDEX, PAUSED, World, failed, nothing_left

ALTER = 'op.execute("ALTER TABLE billing_r001 ADD COLUMN more int")'
AGAIN = "Trying again in"


@pytest.fixture
def at_r001(world: World) -> World:
    """Bring the database to r001, whose table is then used by others; r002 alters it."""
    world.history(2, r002=ALTER)
    assert world.inv("db.upgrade", "--service", "billing", "--revision", "r001").code == 0
    return world


def test_a_reader_that_goes_away_is_waited_for_in_short_turns(at_r001: World) -> None:
    """Row 23: no other reader waits longer than one turn, and the upgrade succeeds in the end."""
    at_r001.aim(MIGRATIONS_LOCK_TIMEOUT="2s")
    report = hold(at_r001.dsn, "SELECT * FROM billing_r001", application_name="a report")
    with Reader(at_r001.dsn, "billing_r001") as reader, report as idle:
        run = at_r001.start()
        run.says(AGAIN, 4)
        idle.run("COMMIT")
        ran = run.end()
    assert ran.code == 0, ran.err
    assert f"Blocked by pid {idle.pid} (a report, user {at_r001.dsn.user}, idle in transaction" in ran.err
    assert at_r001.at() == "r002"
    assert reader.reads
    assert reader.longest < 2 + 0.5
    nothing_left(at_r001.admin)


def test_a_reader_that_stays_gets_75_and_the_table_can_be_read_all_the_time(at_r001: World) -> None:
    """Row 24: every attempt has a timeout, and the database as it was before the revision."""
    at_r001.aim(MIGRATIONS_LOCK_TIMEOUT="800ms")
    report = hold(at_r001.dsn, "SELECT * FROM billing_r001", application_name="a report")
    with Reader(at_r001.dsn, "billing_r001") as reader, report as idle:
        said = failed(at_r001, at_r001.inv(), 75)
        assert at_r001.at() == "r001"
    assert said.count(AGAIN) == 7
    blocker = rf"Blocked by pid {idle.pid} \(a report, user {at_r001.dsn.user}, idle in transaction, "
    blocker += r"transaction open for \d+ s, "
    assert re.search(rf"{blocker}AccessShareLock on billing_r001: SELECT \* FROM billing_r001\)", said)  # noqa: S608
    assert re.search(r"^billing: migrations/versions/billing/r002\.py:11: a lock was not free in time \[55P03\]", said,
                     re.MULTILINE)  # fmt: skip
    assert reader.reads
    assert reader.longest < 0.8 + 0.5


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("ERRCODE = '55P03'", "a lock was not free in time [55P03]."),
        ("ERRCODE = '40P01'", "it was in a deadlock [40P01]."),
        ("ERRCODE = '40001'", "it could not be serialised [40001]."),
        ("ERRCODE = '23505', SCHEMA = 'pg_catalog'", "another session changed the same row of the catalog [23505]."),
        ("ERRCODE = '23505', SCHEMA = 'public'", None),
        ("ERRCODE = '57014'", None),
    ],
)
def test_what_another_session_has_caused_is_tried_again_and_nothing_else(
    at_r001: World, condition: str, reason: str | None
) -> None:
    """The number of a sequence isn't rolled back, so the second attempt gets another one."""
    query(at_r001.dsn, "CREATE SEQUENCE attempts")
    raising = f"IF nextval('attempts') = 1 THEN RAISE 'first' USING {condition}; END IF"
    at_r001.history(2, r002=f'op.execute("DO $$ BEGIN {raising}; END $$")')
    ran = at_r001.inv()
    assert (ran.code, AGAIN in ran.err) == ((0, True) if reason else (1, False)), ran.text
    assert at_r001.at() == ("r002" if reason else "r001")
    assert (reason or "[") in ran.err


def test_a_blocker_of_another_role_is_described_by_what_the_server_shows(at_r001: World) -> None:
    at_r001.aim(MIGRATIONS_LOCK_TIMEOUT="1s")  # the watcher looks ten times a second, on a busy machine less often
    with hold(at_r001.admin, "SELECT * FROM billing_r001", application_name="a dump") as idle:
        said = failed(at_r001, at_r001.inv(), 75)
    blocker = f"pid {idle.pid} (a dump, user {at_r001.admin.user}, AccessShareLock on billing_r001)"
    assert f"Blocked by {blocker}." in said
    assert "None" not in said


def test_who_is_in_the_way_is_told_though_the_second_connection_was_ended(at_r001: World) -> None:
    """Row 14: the one that watches may be lost like any other, and another one is made."""
    at_r001.aim(MIGRATIONS_LOCK_TIMEOUT="60s")
    watcher = (
        "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%pg_blocking_pids(%'"
    )
    with hold(at_r001.dsn, "SELECT * FROM billing_r001") as idle:
        run = at_r001.start()
        pids = {until(lambda: query(at_r001.admin, watcher), f"watcher {number}")[0][0] for number in range(2)}
        assert len(pids) == 2
        assert AGAIN not in "".join(run.err)
        idle.run("COMMIT")
        assert run.end().code == 0


def test_an_engine_of_the_applications_is_tried_again_too(at_r001: World) -> None:
    """Row 23: the connection that watches comes from the same engine, and its ways are no autocommit block of ours."""
    service = at_r001.monorepo.find("billing")
    at_r001.aim(MIGRATIONS_LOCK_TIMEOUT="2s")

    async def run(idle: Session) -> service_migrations.Outcome:
        engine = create_async_engine(at_r001.dsn.url, connect_args=at_r001.dsn.connect_args())
        asyncio.get_running_loop().call_later(1, idle.start, "COMMIT")
        try:
            return await service_migrations.upgrade(service, engine=engine)
        finally:
            await engine.dispose()

    with hold(at_r001.dsn, "SELECT * FROM billing_r001") as idle:
        assert wait(run(idle)).applied == ("r002",)


def test_between_two_tries_no_lock_is_held(at_r001: World) -> None:
    """Row 24: neither the migration lock nor a lock on a table, so that others get their turn."""
    at_r001.aim(MIGRATIONS_LOCK_TIMEOUT="1s")
    with hold(at_r001.dsn, "SELECT * FROM billing_r001") as idle:
        run = at_r001.start()
        run.says(AGAIN, 5)  # the pause after it lasts more than a second
        nothing_left(at_r001.admin, 1)
        idle.run("COMMIT")
        assert run.end().code == 0
    assert at_r001.at() == "r002"


def test_what_an_autocommit_block_has_done_is_not_done_twice(at_r001: World) -> None:
    """Row 25: no other try, and the message says that something is kept."""
    query(at_r001.dsn, "CREATE TABLE amount AS SELECT 5 AS value")
    body = f"""
    with op.get_context().autocommit_block():
        op.execute("UPDATE amount SET value = value * 100 + 1")
    {ALTER}
    """  # noqa: S608 - a constant of the test
    at_r001.history(2, r002_alone=body)
    at_r001.aim(MIGRATIONS_LOCK_TIMEOUT="200ms")
    with hold(at_r001.dsn, "SELECT * FROM billing_r001"):
        said = failed(at_r001, at_r001.inv(), 75)
    assert AGAIN not in said
    assert "What it had committed before is kept." in said
    assert query(at_r001.dsn, "SELECT value FROM amount")[0][0] == 501
    assert at_r001.at() == "r001"


def test_settings_of_the_role_do_not_hold_for_a_migration(world: World) -> None:
    """Row 26: ours win, and RESET leads back to ours."""
    since_17 = int(world.server.version) >= 17
    inherited = {"statement_timeout": "1s", "lock_timeout": "0", "idle_in_transaction_session_timeout": "1s"}
    inherited |= {"search_path": "elsewhere", "default_transaction_read_only": "off"}
    inherited |= {"transaction_timeout": "1s"} if since_17 else {}
    for name, value in inherited.items():
        query(world.admin, f"ALTER ROLE \"{world.dsn.user}\" SET {name} = '{value}'")
    names = ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout", "search_path"]
    names += ["client_connection_check_interval", "idle_session_timeout", "tcp_keepalives_idle"]
    query(world.dsn, "CREATE TABLE public.seen (moment text, name text, value text)")
    record = """
    for name in {names}:
        op.execute(
            sa.text("INSERT INTO public.seen VALUES (:moment, :name, current_setting(:name))").bindparams(
                sa.bindparam("moment", "{moment}", sa.String), sa.bindparam("name", name, sa.String)
            )
        )
    """
    first = record.format(names=names + ["transaction_timeout"] * since_17, moment="first")
    then = record.format(names=names, moment="reset")
    reset = 'op.execute("SET lock_timeout = 0")\nop.execute("SET statement_timeout = 1000")\n'
    reset += "\n".join(f'op.execute("RESET {name}")' for name in names)
    world.monorepo.revision("billing", "r001", None, f"{cut(first)}\n{reset}\n{cut(then)}")
    world.aim(MIGRATIONS_LOCK_TIMEOUT="10s", MIGRATIONS_STATEMENT_TIMEOUT="40s", MIGRATIONS_IDLE_TIMEOUT="30s")
    ran = world.inv()
    assert ran.code == 0, ran.err
    expected = {
        "lock_timeout": "1s",  # of the first rung
        "statement_timeout": "40s",
        "idle_in_transaction_session_timeout": "30s",
        "search_path": "public, pg_temp",
        "client_connection_check_interval": "2s",
        "idle_session_timeout": "0",
        "tcp_keepalives_idle": "5",
    }
    for moment, more in (("first", {"transaction_timeout": "0"} if since_17 else {}), ("reset", {})):
        rows = query(world.admin, "SELECT name, value FROM public.seen WHERE moment = $1", moment)
        assert {row[0]: row[1] for row in rows} == expected | more


def cut(text: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in text.strip("\n").splitlines())


PLAIN = """
with op.get_context().autocommit_block():
    op.create_index("ix", "billing_r001", ["id"], unique=True, postgresql_concurrently=True)
"""


@pytest.mark.parametrize("body", [INDEX, PLAIN], ids=["helper", "plain"])
def test_a_unique_index_over_duplicates_is_a_failure_and_named_as_invalid(world: World, body: str) -> None:
    """Row 27: never a success, and a person hears of the index that is there and is none."""
    world.history(2, r002_alone=body)
    assert world.inv("db.upgrade", "--service", "billing", "--revision", "r001").code == 0
    query(world.dsn, "INSERT INTO billing_r001 VALUES (1), (1)")
    said = failed(world, world.inv(), 1)
    assert "[23505]" in said
    assert "INVALID indexes: ix." in said
    assert world.at() == "r001"
    assert world.valid("ix") is False


@pytest.mark.parametrize("name", ["ix", "Ix of 2"])
def test_an_invalid_index_that_is_in_the_way_of_its_build_is_named_with_its_drop(world: World, name: str) -> None:
    """A build in plain SQL, which was ended by force, doesn't build it again."""
    build = f'CREATE UNIQUE INDEX CONCURRENTLY "{name}" ON billing_r001 (id)'
    body = f"with op.get_context().autocommit_block():\n    op.execute('{build}')"
    world.history(2, r002_alone=body)
    assert world.inv("db.upgrade", "--service", "billing", "--revision", "r001").code == 0
    query(world.dsn, "INSERT INTO billing_r001 VALUES (1), (1)")
    failed(world, world.inv(), 1)
    query(world.dsn, "DELETE FROM billing_r001")
    said = failed(world, world.inv(), 1)
    assert "[42P07]" in said
    drop = re.search(r"Drop it, and upgrade again: (DROP INDEX CONCURRENTLY .+?;)", said)
    assert drop, said
    query(world.dsn, drop[1])
    assert world.inv().code == 0
    assert world.at() == "r002"


SPOIL = """
CREATE FUNCTION spoil() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
AS 'BEGIN UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(''public.ix''); END'
"""


def test_an_index_that_is_invalid_without_an_error_is_a_failure(world: World) -> None:
    """Row 27: what the helper for authors has built is looked at before the revision counts as applied."""
    world.history(2, r002_alone=INDEX)
    assert world.inv("db.upgrade", "--service", "billing", "--revision", "r001").code == 0
    query(world.admin, SPOIL)
    query(world.admin, "CREATE EVENT TRIGGER spoil ON ddl_command_end WHEN TAG IN ('CREATE INDEX') "
                       "EXECUTE FUNCTION spoil()")  # fmt: skip
    said = failed(world, world.inv(), 1)
    assert "The index ix was built, and is INVALID. Run the upgrade again." in said
    assert world.at() == "r001"


def test_a_deadlock_with_an_application_is_tried_again(at_r001: World) -> None:
    """Row 28: the server ends the migration's transaction, since the application may wait for longer."""
    query(at_r001.dsn, "CREATE TABLE other (id int)")
    query(at_r001.admin, f"ALTER ROLE \"{at_r001.dsn.user}\" SET deadlock_timeout = '20ms'")
    body = f'op.execute("LOCK TABLE other")\n{PAUSED}\n{ALTER}'
    at_r001.history(2, r002=body)
    at_r001.close_barrier()
    with hold(at_r001.admin, "SET deadlock_timeout = '1h'", "SELECT * FROM billing_r001") as application:
        run = at_r001.start()
        at_r001.paused(run)
        asked = application.start("LOCK TABLE other")
        waits = "SELECT FROM pg_locks WHERE pid = $1 AND NOT granted"
        until(lambda: query(at_r001.admin, waits, application.pid), "the application waits")
        at_r001.open_barrier()
        run.says("it was in a deadlock [40P01]")
        asked.result(10)
        application.run("COMMIT")
        ran = run.end()
    assert ran.code == 0, ran.err
    assert AGAIN in ran.err
    assert at_r001.at() == "r002"
    nothing_left(at_r001.admin)


@pytest.mark.parametrize(
    ("busy", "start", "words"),
    [("r003", "r001", ("db.upgrade", "--revision", "+2")), ("r004_back", "r005", ("db.downgrade", "--revision=-2"))],
    ids=["up", "down"],
)
def test_a_relative_target_counts_from_where_the_first_try_began(
    world: World, busy: str, start: str, words: tuple[str, ...]
) -> None:
    """One step is done and the next one waits: another try does that one, and no further one."""
    world.history(**{busy: ALTER})
    assert world.inv("db.upgrade", "--service", "billing", "--revision", start).code == 0
    world.aim(MIGRATIONS_LOCK_TIMEOUT="2s")
    with hold(world.dsn, "SELECT * FROM billing_r001") as idle:
        run = world.start(words[0], "--service", "billing", *words[1:], *(["--yes"] if "back" in busy else []))
        run.says(AGAIN)
        idle.run("COMMIT")
        ran = run.end()
    assert ran.code == 0, ran.err
    assert "(2 revisions, " in ran.out
    assert world.at() == "r003"


@pytest.mark.parametrize(
    ("busy", "start", "words", "end"),
    [
        ("r003", "r001", ("db.upgrade", "--revision", "+2"), ["r003"]),
        ("r002_back", "r003", ("db.downgrade", "--yes", "--revision=-3"), []),
    ],
    ids=["up", "down"],
)
def test_a_relative_target_at_the_end_of_the_history_is_reached_by_a_second_try(
    world: World, busy: str, start: str, words: tuple[str, ...], end: list[str]
) -> None:
    """Counted from where the second try begins, the target would be behind the end."""
    world.history(3, **{busy: ALTER})
    assert world.inv("db.upgrade", "--service", "billing", "--revision", start).code == 0
    world.aim(MIGRATIONS_LOCK_TIMEOUT="2s")
    with hold(world.dsn, "SELECT * FROM billing_r001") as idle:
        run = world.start(words[0], "--service", "billing", *words[1:])
        run.says(AGAIN)
        idle.run("COMMIT")
        ran = run.end()
    assert ran.code == 0, ran.err
    assert [row[0] for row in query(world.dsn, "SELECT version_num FROM alembic_version_billing")] == end


def test_a_relative_target_is_given_up_where_another_run_was_between(world: World) -> None:
    """What it counted from is gone: better nothing than a step that nobody asked for."""
    world.history(r004=ALTER)
    assert world.inv("db.upgrade", "--service", "billing", "--revision", "r002").code == 0
    world.aim(MIGRATIONS_LOCK_TIMEOUT="2s")
    with hold(world.dsn, "SELECT * FROM billing_r001") as idle:
        run = world.start("db.upgrade", "--service", "billing", "--revision", "+2")
        run.says(AGAIN)
        back = world.inv("db.downgrade", "--service", "billing", "--yes", "--revision", "r001")
        assert back.code == 0, back.err
        idle.run("COMMIT")
        said = failed(world, run.end(), 2)
    assert "another run has moved it to r001" in said
    assert world.at() == "r001"


@pytest.fixture
def at_commit(world: World) -> World:
    """Make a table whose foreign key is looked at by COMMIT, which then waits for whoever holds the parent."""
    query(world.dsn, "CREATE TABLE parents (id int PRIMARY KEY)")
    query(world.dsn, "INSERT INTO parents VALUES (1)")
    query(world.dsn, "CREATE TABLE child (parent int REFERENCES parents DEFERRABLE INITIALLY DEFERRED)")
    query(world.dsn, "CREATE TABLE amount AS SELECT 5 AS value")
    world.history(1)
    assert world.inv().code == 0
    world.aim(MIGRATIONS_LOCK_TIMEOUT="1s")
    return world


HOLD_THE_PARENT = "SELECT * FROM parents FOR UPDATE"
INSERT = 'op.execute("INSERT INTO child VALUES (1)")'


def test_a_revision_that_waits_at_its_commit_is_tried_again_and_counted_once(at_commit: World) -> None:
    at_commit.history(2, r002=INSERT)
    with hold(at_commit.dsn, HOLD_THE_PARENT) as idle:
        run = at_commit.start()
        run.says(AGAIN, 2)
        idle.run("COMMIT")
        ran = run.end()
    assert ran.code == 0, ran.err
    assert "(1 revision, " in ran.out
    assert at_commit.at() == "r002"
    assert query(at_commit.dsn, "SELECT count(*) FROM child")[0][0] == 1


def test_an_autocommit_block_is_not_done_twice_where_the_commit_behind_it_waits(at_commit: World) -> None:
    """Row 25: the version table is written already, and the revision is not over yet."""
    body = f"""
    with op.get_context().autocommit_block():
        op.execute("UPDATE amount SET value = value * 100 + 1")
    {INSERT}
    """  # noqa: S608 - a constant of the test
    at_commit.history(2, r002_alone=body)
    with hold(at_commit.dsn, HOLD_THE_PARENT):
        said = failed(at_commit, at_commit.inv(), 75)
    assert AGAIN not in said
    assert query(at_commit.dsn, "SELECT value FROM amount")[0][0] == 501
    assert at_commit.at() == "r001"


@pytest.mark.parametrize("end", ["COMMIT", "/* so far */ end", "-- so far\\nCOMMIT AND CHAIN"])
def test_what_a_revision_has_committed_by_itself_is_not_done_twice(at_r001: World, end: str) -> None:
    """Row 25: as people did before there were autocommit blocks."""
    query(at_r001.dsn, "CREATE TABLE amount AS SELECT 5 AS value")
    body = f"""
    op.execute("UPDATE amount SET value = value * 100 + 1")
    op.execute("{end}")
    {ALTER}
    """  # noqa: S608 - a constant of the test
    at_r001.history(2, r002_alone=body)
    at_r001.aim(MIGRATIONS_LOCK_TIMEOUT="200ms")
    with hold(at_r001.dsn, "SELECT * FROM billing_r001"):
        said = failed(at_r001, at_r001.inv(), 75)
    assert AGAIN not in said
    assert "What it had committed before is kept." in said
    assert query(at_r001.dsn, "SELECT value FROM amount")[0][0] == 501
    assert at_r001.at() == "r001"


def test_a_savepoint_that_is_rolled_back_commits_nothing(at_r001: World) -> None:
    body = f"""
    op.execute("SAVEPOINT here")
    op.execute("ROLLBACK TO SAVEPOINT here")
    {ALTER}
    """
    at_r001.history(2, r002=body)
    at_r001.aim(MIGRATIONS_LOCK_TIMEOUT="1s")
    with hold(at_r001.dsn, "SELECT * FROM billing_r001") as idle:
        run = at_r001.start()
        run.says(AGAIN, 1)
        idle.run("COMMIT")
        assert run.end().code == 0
    assert at_r001.at() == "r002"


CATALOG_RACES = {
    "a row that is new": ("ALTER ROLE {role} SET work_mem = '5MB'", "ALTER ROLE CURRENT_USER SET work_mem = '6MB'", ()),
    "a row that changes": (
        "ALTER ROLE {role} SET work_mem = '5MB'",
        "ALTER ROLE CURRENT_USER SET work_mem = '6MB'",
        ("ALTER ROLE {role} SET work_mem = '4MB'",),
    ),
}


@pytest.mark.parametrize(("theirs", "ours", "first"), CATALOG_RACES.values(), ids=CATALOG_RACES)
def test_two_that_write_one_row_of_a_shared_catalog_are_no_failure(
    world: World, theirs: str, ours: str, first: tuple[str, ...]
) -> None:
    """Row 28: the databases of a cluster share it, and one of the two gets an error of its index or its row."""
    role = f'"{world.dsn.user}"'
    for statement in first:
        query(world.server.admin, statement.format(role=role))
    body = f"op.execute({ours.format(role=role)!r})"
    world.history(2, r002=body)
    with hold(world.server.admin, theirs.format(role=role)) as other:
        run = world.start()
        waiting = "SELECT FROM pg_locks WHERE locktype IN ('transactionid', 'tuple') AND NOT granted"
        until(lambda: query(world.server.admin, waiting), "the upgrade waits for the other transaction")
        other.run("COMMIT")
        ran = run.end()
    assert ran.code == 0, ran.text
    assert world.at() == "r002"


BUILDS = {
    "statement": 'op.execute("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS ix ON billing_r001 (id)")',
    "operation": 'op.create_index("ix", "billing_r001", ["id"], unique=True, if_not_exists=True, '
    "postgresql_concurrently=True)",
}


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_an_index_that_a_failed_build_has_left_is_not_taken_for_the_index(world: World, build: str) -> None:
    """Row 27: with IF NOT EXISTS a second run does nothing, and must not say that the index is there."""
    world.history(3, r002_alone=f"with op.get_context().autocommit_block():\n    {build}")
    assert world.inv("db.upgrade", "--service", "billing", "--revision", "r001").code == 0
    query(world.dsn, "INSERT INTO billing_r001 VALUES (1), (1)")
    failed(world, world.inv(), 1)
    query(world.dsn, "DELETE FROM billing_r001")
    said = failed(world, world.inv(), 1)
    assert "migrations/versions/billing/r002.py: it was to build the index ix, which is INVALID" in said
    assert world.at() == "r001"
    query(world.dsn, "DROP INDEX CONCURRENTLY ix")
    assert world.inv().code == 0
    assert world.valid("ix") is True


LONG = "ix_" + "long" * 20
CAUGHT = {
    "named": ("CREATE UNIQUE INDEX CONCURRENTLY ix ON billing_r001 (id)", "ix"),
    "unnamed": ("CREATE UNIQUE INDEX CONCURRENTLY ON billing_r001 (id)", "billing_r001_id_idx"),
    "long": (f"CREATE UNIQUE INDEX CONCURRENTLY {LONG} ON ONLY public.billing_r001 (id)", LONG[:63]),
    "in quotes": ('CREATE UNIQUE INDEX CONCURRENTLY "I""x" ON billing_r001 (id)', 'I"x'),
    "with a comment": ("CREATE /* c */ UNIQUE INDEX -- it is\nCONCURRENTLY ix ON billing_r001 (id)", "ix"),
}


@pytest.mark.parametrize(("build", "name"), CAUGHT.values(), ids=CAUGHT)
def test_a_failed_build_that_a_revision_catches_is_a_failure(world: World, build: str, name: str) -> None:
    caught = f"try:\n        op.execute({build!r})\n    except Exception:\n        pass"
    world.history(2, r002_alone=f"with op.get_context().autocommit_block():\n    {caught}")
    assert world.inv("db.upgrade", "--service", "billing", "--revision", "r001").code == 0
    query(world.dsn, "INSERT INTO billing_r001 VALUES (1), (1)")
    assert f"the index {name}, which is INVALID" in failed(world, world.inv(), 1)
    assert world.at() == "r001"


@pytest.mark.parametrize("what", ["INDEX CONCURRENTLY ix", "(CONCURRENTLY) TABLE billing_r001"])
def test_a_failed_rebuild_that_a_revision_catches_is_a_failure(world: World, what: str) -> None:
    caught = f"try:\n        op.execute('REINDEX {what}')\n    except Exception:\n        pass"
    world.history(2, r002_alone=f"with op.get_context().autocommit_block():\n    {caught}")
    assert world.inv("db.upgrade", "--service", "billing", "--revision", "r001").code == 0
    query(world.admin, "CREATE FUNCTION f(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 1 / i; END'")
    query(world.dsn, "INSERT INTO billing_r001 VALUES (1)")
    query(world.dsn, "CREATE INDEX ix ON billing_r001 (f(id))")
    query(
        world.admin,
        "CREATE OR REPLACE FUNCTION f(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 1 / 0; END'",
    )
    assert "the index ix_ccnew, which is INVALID" in failed(world, world.inv(), 1)
    assert world.at() == "r001"


def test_an_index_that_was_invalid_before_or_is_somebody_elses_is_no_failure(world: World) -> None:
    world.history(2, r002_alone="with op.get_context().autocommit_block():\n"
                  "    op.execute('CREATE INDEX CONCURRENTLY ON billing_r001 (id)')")  # fmt: skip
    assert world.inv("db.upgrade", "--service", "billing", "--revision", "r001").code == 0
    query(world.dsn, "INSERT INTO billing_r001 VALUES (1), (1)")
    with suppress(asyncpg.UniqueViolationError):
        query(world.dsn, "CREATE UNIQUE INDEX CONCURRENTLY former ON billing_r001 (id)")
    assert world.valid("former") is False
    assert world.inv().code == 0
    assert world.at() == "r002"


def test_an_index_that_somebody_else_builds_meanwhile_is_no_failure(world: World) -> None:
    build = "op.execute('CREATE INDEX CONCURRENTLY ON billing_r001 (id)')"
    world.history(2, r002_alone=f"with op.get_context().autocommit_block():\n    {build}\n    {PAUSED}")
    assert world.inv("db.upgrade", "--service", "billing", "--revision", "r001").code == 0
    query(world.dsn, "CREATE TABLE other (id int)")
    world.close_barrier()
    somebody = Session(world.dsn)
    try:
        run = world.start()
        world.paused(run)
        with hold(world.admin, "SELECT pg_current_xact_id()", "LOCK TABLE other IN ROW EXCLUSIVE MODE"):
            built = somebody.start("CREATE INDEX CONCURRENTLY theirs ON other (id)")
            until(lambda: world.valid("theirs") is False, "the other index is built")
            world.open_barrier()
            ran = run.end()
            assert world.valid("theirs") is False
        built.result(10)
    finally:
        somebody.close()
    assert ran.code == 0, ran.text
    assert world.at() == "r002"
