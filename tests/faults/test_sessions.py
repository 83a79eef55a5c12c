"""A run is one server process with one lock; what a revision commits, or sets, by itself is known from the server."""

import re
import signal
from itertools import count
from textwrap import indent

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

import service_migrations
from service_migrations.postgres import Server
from tests.support.database import SECRET, make_database, query, wait
from tests.support.monorepo import Monorepo
from tests.support.proxy import proxy
from tests.support.sessions import hold
from tests.support.world import PAUSED, UPGRADE, World, failed, nothing_left

LOCKED = (
    "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pid = pg_backend_pid())"
)
WITNESS = f'op.execute("INSERT INTO witness SELECT {{number}}, {LOCKED}")'


@pytest.fixture
def witness(world: World) -> World:
    """A table in which revisions leave a row each time they run, with whether the lock was held."""
    query(world.dsn, "CREATE TABLE witness (revision int, locked bool)")
    return world


def rows(world: World) -> list[tuple[int, bool]]:
    return [tuple(row) for row in query(world.dsn, "SELECT revision, locked FROM witness ORDER BY revision")]


def cut_when(world: World, text: str) -> tuple[str, int]:
    """Upgrade through a proxy that cuts the connection as soon as it has sent a text."""
    with proxy(world.dsn) as (between, through):
        between.cut_when_sent(text)
        world.aim(through)
        ran = world.inv()
        assert between.cuts == 1
    world.aim()
    return ran.text, ran.code


def test_a_connection_that_is_lost_under_the_lock_is_never_made_again(witness: World) -> None:
    """Row 14: the look at the ledger may fail, but not over a connection that is gone: the next one has no lock."""
    witness.history(2)
    assert witness.inv().code == 0
    witness.history(4, **{f"r{number:03}": WITNESS.format(number=number) for number in (3, 4)})
    text, code = cut_when(witness, "AS ledger ORDER BY")
    assert code == 69, text
    assert "r002" in text
    assert rows(witness) == []
    assert witness.inv().code == 0
    assert rows(witness) == [(3, True), (4, True)]


TERMINATED = """
bind = op.get_bind()
try:
    op.execute("SELECT pg_terminate_backend(pg_backend_pid())")
except Exception:
    {then}
op.execute("INSERT INTO witness VALUES (3, false)")
"""


@pytest.mark.parametrize("then", ["bind.rollback()", "pass", "bind.invalidate()"])
def test_a_revision_that_catches_the_loss_of_its_connection_gets_no_other_one(witness: World, then: str) -> None:
    witness.history(4, r003=TERMINATED.format(then=then), r004=WITNESS.format(number=4))
    said = failed(witness, witness.inv(), 69)
    assert f"{witness.dsn.target} is at r002." in said
    assert rows(witness) == []


LOST = {
    "in a block": """
with op.get_context().autocommit_block():
    op.execute("SELECT pg_terminate_backend(pg_backend_pid())")
""",
    "between two statements of a block": """
with op.get_context().autocommit_block():
    op.execute("INSERT INTO witness VALUES (2, true)")
    try:
        op.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    except Exception:
        pass
    op.execute("INSERT INTO witness VALUES (2, true)")
""",
    "in a transaction": 'op.execute("SELECT pg_terminate_backend(pg_backend_pid())")',
    "in a savepoint": """
with op.get_bind().begin_nested():
    op.execute("SELECT pg_terminate_backend(pg_backend_pid())")
""",
    "in the driver": """
async def end(driver):
    await driver.execute("SELECT pg_terminate_backend(pg_backend_pid())")
op.get_bind().connection.run_async(end)
""",
    "caught in the driver": """
async def end(driver):
    await driver.execute("SELECT pg_terminate_backend(pg_backend_pid())")
try:
    op.get_bind().connection.run_async(end)
except Exception:
    pass
""",
}


@pytest.mark.parametrize("body", LOST.values(), ids=LOST)
def test_a_connection_that_is_lost_anywhere_in_a_revision_is_69(witness: World, body: str) -> None:
    """Row 14: 69, and where the database is, whatever has been raised since."""
    witness.history(3, r002_alone=body)
    said = failed(witness, witness.inv(), 69)
    assert "the connection was lost" in said
    assert f"{witness.dsn.target} is at r001." in said
    assert "Can't reconnect" not in said
    # it may have committed something that a second run would do again
    assert ("safe to run the command again" in said) is ("autocommit_block" not in body)


ENDED = ("the connection was lost", "the server has ended the session", "server closed the connection unexpectedly")


def test_a_session_that_the_server_ends_between_any_two_statements_is_69(world: World) -> None:
    """Row 14: the server's last words come before the end of the connection; the next statement may be between."""
    world.history(3)
    codes: list[int] = []
    for number in count(1, 2):
        with proxy(world.dsn) as (between, through):
            between.end_session_after(number, world.admin)
            world.aim(through)
            ran = world.inv()
            if not between.cuts:
                break
        codes.append(ran.code)
        if ran.code:
            said = failed(world, ran, 69)
            assert any(text in said for text in ENDED), said
            assert "cannot switch" not in said
            assert "Error" not in said
        at = world.at()
        assert ran.code or at == "r003"
        for (table,) in query(world.dsn, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            query(world.dsn, f"DROP TABLE {table}")
    assert codes.count(69) > 5


COMMANDS = {
    "db.check": ("--service", "billing"),
    "db.create": ("--service", "billing"),
    "db.doctor": ("--service", "billing"),
    "db.downgrade": ("--service", "billing", "--revision", "r001", "--yes"),
    "db.drift": ("--service", "billing"),
    "db.log": ("--service", "billing"),
    "db.owners": (),
    "db.revision": ("--service", "billing", "--message", "more"),
    "db.status": (),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_so_it_is_for_whatever_command(world: World, command: str) -> None:
    query(world.admin, f'ALTER ROLE "{world.dsn.user}" CREATEDB')
    world.history(3)
    for number in range(1, 60, 4):
        world.aim()
        assert world.inv().code == 0
        with proxy(world.dsn) as (between, through):
            between.end_session_after(number, world.admin)
            world.aim(through)
            ran = world.inv(command, *COMMANDS[command])
            if not between.cuts:
                break
        assert ran.code in {0, 69}, (number, ran.text)
        assert not re.search("Traceback|Error|asyncpg|cannot switch|another operation", ran.text), (number, ran.text)
    assert number > 1


ENDING = """
import asyncio
import asyncpg
bind = op.get_bind()
async def end(driver):
    other = await asyncpg.connect("{dsn}", password={password!r})
    await other.execute(f"SELECT pg_terminate_backend({{driver.get_server_pid()}})")
    await other.close()
    await asyncio.sleep(0.05)
async def fetch(driver):
    await driver.fetch("SELECT 1")
bind.connection.run_async(end)
{then}
"""


@pytest.mark.parametrize("then", ["pass", "op.execute('SELECT 1')", "bind.connection.run_async(fetch)"])
def test_so_it_is_over_an_engine_of_the_callers(world: World, then: str) -> None:
    """Whose connections are not of a class of ours."""
    (host, port), user = world.dsn.hosts[0], world.dsn.user
    dsn = f"postgresql://{user}@{host}:{port}/{world.dsn.database}"
    world.history(3, r002=ENDING.format(dsn=dsn, password=SECRET, then=then))

    async def run() -> None:
        with proxy(world.dsn) as (between, through):
            between.end_late()
            engine = create_async_engine(through.url, connect_args=through.connect_args())
            try:
                await service_migrations.upgrade(world.monorepo.find("billing"), engine=engine)
            finally:
                await engine.dispose()

    with pytest.raises(service_migrations.UnreachableError) as raised:
        wait(run())
    assert "the connection was lost (the server has ended the session" in str(raised.value)
    assert f"{world.dsn.database} is at r001." in str(raised.value)


COMMITS = {
    "the connection": "bind.commit()",
    "its transaction": "bind.get_transaction().commit()",
    "a statement": 'op.execute("COMMIT")',
    "a statement with a comment": 'op.execute("/* done */ COMMIT AND CHAIN")',
    "the driver": "bind.connection.run_async(lambda driver: driver.execute('COMMIT'))",
    "the driver, which begins again": "bind.connection.run_async(lambda driver: driver.execute('COMMIT; BEGIN'))",
    "a session": (
        "from sqlalchemy.orm import Session; s = Session(bind, join_transaction_mode='control_fully'); "
        "s.execute(sa.text('SELECT 1')); s.commit()"
    ),
}
COMMITTING = """
bind = op.get_bind()
op.execute("INSERT INTO witness VALUES (2, true)")
{commit}
op.execute("{last}")
"""


@pytest.mark.parametrize("commit", COMMITS.values(), ids=COMMITS)
def test_what_a_revision_has_committed_by_whatever_door_is_not_done_again(witness: World, commit: str) -> None:
    """Row 25: known from the server, and so whichever of them it is."""
    witness.history(1)
    assert witness.inv().code == 0
    witness.history(2, r002_alone=COMMITTING.format(commit=commit, last="ALTER TABLE billing_r001 ADD COLUMN x int"))
    with hold(witness.dsn, "SELECT FROM billing_r001"):
        ran = witness.inv(*("db.upgrade", "--service", "billing", "--lock-timeout", "500ms"))
    said = failed(witness, ran, 75)
    assert len(rows(witness)) == 1
    assert "What it had committed before is kept." in said
    assert "rolled back" not in said
    assert "Trying again" not in said


@pytest.mark.parametrize("commit", COMMITS.values(), ids=COMMITS)
@pytest.mark.parametrize("last", ["SELECT 1", "INSERT INTO witness VALUES (2, true)"], ids=["at the end", "and more"])
def test_a_revision_that_commits_by_itself_is_written_down_as_run(witness: World, commit: str, last: str) -> None:
    witness.history(3, r002_alone=COMMITTING.format(commit=commit, last=last), r003=WITNESS.format(number=3))
    assert (ran := witness.inv()).code == 0, ran.text
    assert witness.at() == "r003"
    assert rows(witness) == [(2, True)] * (1 + ("INSERT" in last)) + [(3, True)]
    assert query(witness.dsn, "SELECT count(*) FROM migration_log_billing")[0][0] == 3
    assert witness.inv().code == 0
    assert len(rows(witness)) == 2 + ("INSERT" in last)
    nothing_left(witness.admin)


@pytest.mark.parametrize("commit", COMMITS.values(), ids=COMMITS)
def test_a_failure_behind_a_commit_claims_no_rollback(witness: World, commit: str) -> None:
    witness.history(2, r002_alone=COMMITTING.format(commit=commit, last="SELECT 1 / 0"))
    said = failed(witness, witness.inv(), 1)
    assert "migrations/versions/billing/r002.py:" in said
    assert "What it had committed before is kept." in said
    assert rows(witness) == [(2, True)]


ROLLBACKS = {
    "the connection": "bind.rollback()",
    "a statement": 'op.execute("ROLLBACK")',
    "its transaction": "bind.get_transaction().rollback()",
    "the driver": "bind.connection.run_async(lambda driver: driver.execute('ROLLBACK'))",
    "an awaited connection": "async def end(connection):\n    await connection.rollback()\nop.run_async(end)",
}


@pytest.mark.parametrize("rollback", ROLLBACKS.values(), ids=ROLLBACKS)
def test_a_revision_that_rolls_itself_back_is_refused_and_not_written_down(witness: World, rollback: str) -> None:
    """Row 25: a revision without what it did would be written down as run."""
    witness.history(2, r002=COMMITTING.format(commit=rollback, last="SELECT 1"))
    said = failed(witness, witness.inv(), 1)
    assert re.search(r"migrations/versions/billing/r002\.py:\d+: it rolled back its own transaction", said)
    assert rows(witness) == []
    assert witness.at() == "r001"


CHAINED = {
    "a statement": 'op.execute("ROLLBACK AND CHAIN")',
    "the driver": "op.get_bind().connection.run_async(lambda driver: driver.execute('ROLLBACK; BEGIN'))",
}


@pytest.mark.parametrize("rollback", CHAINED.values(), ids=CHAINED)
def test_a_rollback_that_begins_again_at_once_is_noticed_too(witness: World, rollback: str) -> None:
    """Row 25: a transaction is open then as before, and it is another one."""
    witness.history(2, r002=f"{WITNESS.format(number=2)}\n{rollback}")
    said = failed(witness, witness.inv(), 1)
    assert "migrations/versions/billing/r002.py" in said
    assert "it rolled back its own transaction" in said
    assert rows(witness) == []
    assert witness.at() == "r001"


BEHIND = ROLLBACKS | {f"{name} AND CHAIN": body for name, body in CHAINED.items()}


@pytest.mark.parametrize("rollback", BEHIND.values(), ids=BEHIND)
@pytest.mark.parametrize("commit", [COMMITS["the connection"], COMMITS["a statement with a comment"]])
def test_a_rollback_behind_a_commit_of_its_own_is_noticed_too(witness: World, commit: str, rollback: str) -> None:
    """Row 25: what came in between is lost, and the revision would be written down as run."""
    body = COMMITTING.format(commit=commit, last="INSERT INTO witness VALUES (3, true)")
    witness.history(2, r002=f"{body}\n{rollback}")
    said = failed(witness, witness.inv(), 1)
    assert "it rolled back its own transaction, so what it did since its last commit is lost" in said
    assert rows(witness) == [(2, True)]
    assert query(witness.dsn, "SELECT version_num FROM alembic_version_billing")[0][0] == "r001"


SAVEPOINTS = {
    "in the first transaction": "",
    "as the first statement behind a commit": "bind.commit()",
    "later behind a commit": "bind.commit(); op.execute('INSERT INTO witness VALUES (2, true)')",
    "in a chained transaction": 'op.execute("COMMIT AND CHAIN")',
}
SAVED = """
bind = op.get_bind()
{commit}
savepoint = bind.begin_nested()
op.execute("INSERT INTO witness VALUES (1, true)")
{again}
savepoint.rollback()
op.execute("INSERT INTO witness VALUES (2, true)")
"""


@pytest.mark.parametrize("again", ["", "op.execute('DO $$ BEGIN PERFORM 1; END $$')"], ids=["alone", "with a block"])
@pytest.mark.parametrize("commit", SAVEPOINTS.values(), ids=SAVEPOINTS)
def test_what_is_rolled_back_to_a_savepoint_is_no_rollback_of_the_revision(
    witness: World, commit: str, again: str
) -> None:
    witness.history(3, r002=SAVED.format(commit=commit, again=again), r003=WITNESS.format(number=3))
    assert (ran := witness.inv()).code == 0, ran.text
    assert {revision for revision, _ in rows(witness)} == {2, 3}
    assert witness.at() == "r003"


@pytest.mark.parametrize("then", ["", "COMMIT PREPARED 'mine'"], ids=["and left", "and committed"])
def test_a_prepared_transaction_is_not_taken_for_a_committed_one(
    monorepo: Monorepo, preparing: Server, then: str
) -> None:
    """Row 25: the server keeps what is set in it for the session, as if it were committed."""
    world = World(monorepo, preparing, make_database(preparing))
    monorepo.service("billing", dsn=world.dsn)
    world.history(2, r002=f"""op.execute("PREPARE TRANSACTION 'mine'")\n{then and f'op.execute("{then}")'}""")
    ran = world.inv()
    if then:
        assert ran.code == 0, ran.text
        assert world.at() == "r002"
    else:
        said = failed(world, ran, 1)
        assert "r002.py: it left a prepared transaction, mine, so what it did isn't committed." in said
        assert world.at() == "r001"
        query(world.dsn, re.search(r"ROLLBACK PREPARED '\w+'", said)[0])


@pytest.mark.parametrize("statement", ["RESET ALL", "reset  all", "DO $$ BEGIN EXECUTE 'RESET' || ' ALL'; END $$"])
def test_a_revision_may_reset_its_session(witness: World, statement: str) -> None:
    witness.history(2, r002=f'{WITNESS.format(number=2)}\nop.execute("{statement}")')
    assert (ran := witness.inv()).code == 0, ran.text
    assert rows(witness) == [(2, True)]
    assert witness.at() == "r002"


def test_a_savepoint_of_a_revision_is_never_taken_for_ours(witness: World) -> None:
    """Row 25: what came after it would be lost, and the revision recorded as applied."""
    refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END'"
    trigger = "CREATE TRIGGER t BEFORE UPDATE ON alembic_version_billing EXECUTE FUNCTION refuse()"
    statements = ("SAVEPOINT migration_log", "INSERT INTO witness VALUES (2, true)", refuse, trigger)
    witness.history(2, r002="\n".join(f"op.execute({statement!r})" for statement in statements))
    failed(witness, witness.inv(), 1)
    assert rows(witness) == []
    assert witness.at() == "r001"


REFUSED_BY_SQLALCHEMY = {
    "autocommit": 'op.get_bind().execution_options(isolation_level="AUTOCOMMIT")',
    "another transaction": "op.get_bind().begin()",
}


@pytest.mark.parametrize("body", REFUSED_BY_SQLALCHEMY.values(), ids=REFUSED_BY_SQLALCHEMY)
def test_what_sqlalchemy_refuses_has_committed_nothing(witness: World, body: str) -> None:
    witness.history(2, r002=f"{WITNESS.format(number=2)}\n{body}")
    said = failed(witness, witness.inv(), 1)
    assert "It was rolled back." in said
    assert rows(witness) == []
    assert witness.at() == "r001"


def test_a_revision_that_detaches_its_connection_is_refused_and_rolled_back(witness: World) -> None:
    witness.history(2, r002=f"{WITNESS.format(number=2)}\nop.get_bind().detach()")
    said = failed(witness, witness.inv(), 1)
    assert "migrations/versions/billing/r002.py: it detached its connection" in said
    assert rows(witness) == []
    assert witness.at() == "r001"


CLOSINGS = [
    "op.get_bind().close()",
    "op.get_bind().invalidate()",
    "op.get_bind().connection.close()",
    "op.get_bind().connection.invalidate()",
    "op.get_bind().invalidate()\nop.execute('SELECT 1')",
    "op.get_bind().connection.run_async(lambda driver: driver.close())",
    "op.get_bind().connection.run_async(lambda driver: driver.close())\nop.execute('SELECT 1')",
    "op.get_bind().commit()\nop.get_bind().close()\nop.execute('SELECT 1')",
    "with op.get_bind() as bind:\n    bind.execute(sa.text('SELECT 1'))",
    "with op.get_context().autocommit_block():\n    op.get_bind().close()",
    "try:\n    op.get_bind().close()\n    op.execute('SELECT 1')\nexcept Exception:\n    pass",
]


def test_a_revision_that_disposes_of_its_engine_has_not_lost_its_connection(world: World) -> None:
    world.history(2, r002="op.get_bind().engine.dispose()")
    ran = world.inv()
    if ran.code:  # over psycopg, that closes the connection
        said = failed(world, ran, 1)
        assert re.search(r"r002\.py:\d+: it closed its own connection", said)
    assert world.at() == ("r001" if ran.code else "r002")


@pytest.mark.parametrize("closing", CLOSINGS)
def test_a_revision_that_closes_its_connection_has_not_lost_it(witness: World, closing: str) -> None:
    witness.history(3, r002=f"{WITNESS.format(number=2)}\n{closing}", r003=WITNESS.format(number=3))
    said = failed(witness, witness.inv(), 1)
    assert re.search(r"migrations/versions/billing/r002\.py(:\d+)?: it closed its own connection", said)
    kept = "commit" in closing
    assert rows(witness) == [(2, True)] * kept
    after = (
        "What the revision that ran had committed before is kept." if kept else "What ran after that was rolled back."
    )
    assert f"{witness.dsn.target} is at r001. {after}" in said


SETTINGS = {
    "SET lock_timeout = 0": "lock_timeout",
    "SET statement_timeout = '1min'": "statement_timeout",
    "SET search_path = pg_catalog": "search_path",
    "SELECT pg_catalog.set_config('search_path', '', false)": "search_path",
    "SET idle_in_transaction_session_timeout = '1min'": "idle_in_transaction_session_timeout",
    "SET TIME ZONE 'Asia/Tokyo'": "timezone",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY": "default_transaction_read_only",
    "SET service.own = 'x'": "service.own",
}


@pytest.mark.parametrize("statement", SETTINGS)
def test_what_a_revision_sets_does_not_hold_for_the_next_one(world: World, statement: str) -> None:
    """Row 25: without it the next ALTER TABLE would wait without limit, or in another schema."""
    query(world.dsn, "CREATE TABLE public.seen (revision int, value text)")
    name = SETTINGS[statement]
    look = "op.execute(\"INSERT INTO public.seen SELECT {}, current_setting('{}', true)\")"
    body = f'op.execute("{statement}")'
    world.history(3, r001=look.format(1, name), r002=body, r003=look.format(3, name))
    assert (ran := world.inv()).code == 0, ran.text
    (first,), (third,) = query(world.dsn, "SELECT coalesce(value, '') FROM public.seen ORDER BY revision")
    assert first == third
    assert world.at() == "r003"


TEMPORARY = {
    "a table": "CREATE TEMPORARY TABLE things AS SELECT 1 AS note",
    "a view": "CREATE TEMPORARY VIEW things AS SELECT 1 AS note",
    "a table of one's own": "CREATE TABLE pg_temp.things (note int)",
}


READ = (
    "op.get_bind().execution_options(yield_per=1).execute(sa.text('SELECT * FROM numbers'))",
    "op.execute('DECLARE c CURSOR WITH HOLD FOR SELECT * FROM numbers')",
)


@pytest.mark.parametrize("read", READ)
def test_a_temporary_table_is_dropped_though_it_is_still_being_read(world: World, read: str) -> None:
    body = f'op.execute("CREATE TEMPORARY TABLE numbers AS SELECT generate_series(1, 9)")\n{read}'
    world.history(3, r002=body, r003=body)
    assert (ran := world.inv()).code == 0, ran.text
    assert world.at() == "r003"


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("statement", TEMPORARY.values(), ids=TEMPORARY)
def test_a_temporary_table_of_a_revision_hides_no_table_from_the_next_one(
    world: World, statement: str, alone: bool
) -> None:
    """Row 25: an ALTER TABLE would change that instead, which is gone with the session; and it can be made again."""
    body = f'op.execute("{statement}")'
    in_block = f"with op.get_context().autocommit_block():\n    {body}"
    r002, r003 = (body if alone else in_block), f'op.execute("ALTER TABLE things ADD COLUMN more int")\n{body}'
    world.history(4, r001='op.execute("CREATE TABLE things (id int)")', r002=r002, r003=r003, r004=body)
    assert (ran := world.inv()).code == 0, ran.text
    columns = (
        "SELECT attname FROM pg_attribute WHERE attrelid = 'public.things'::regclass AND attnum > 0 ORDER BY attnum"
    )
    assert [row[0] for row in query(world.dsn, columns)] == ["id", "more"]
    assert world.at() == "r004"


@pytest.mark.parametrize("how", ["{}", "DO $$ BEGIN EXECUTE '{}'; END $$"], ids=["itself", "in a block"])
def test_a_name_that_a_revision_prepares_is_free_for_the_next_one(world: World, how: str) -> None:
    """It passed where each was run by itself, and failed with 42P05 where both were."""
    prepares = how.format('PREPARE "a Name" AS SELECT 1')
    world.history(
        3, r002=f"op.execute({prepares!r})", r003=f"op.execute({prepares!r})\nop.execute('EXECUTE \"a Name\"')"
    )
    assert (ran := world.inv()).code == 0, ran.text
    assert world.at() == "r003"


def test_the_role_that_a_revision_sets_does_not_run_the_next_one(world: World) -> None:
    query(world.admin, f'GRANT pg_read_all_stats TO "{world.dsn.user}"')
    world.history(2, r001='op.execute("SET ROLE pg_read_all_stats")')
    assert (ran := world.inv()).code == 0, ran.text
    owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'billing_r002'"
    assert query(world.dsn, owner)[0][0] == world.dsn.user


@pytest.mark.parametrize(
    "body",
    [
        'op.execute("SELECT pg_advisory_unlock_all()")',
        'with op.get_context().autocommit_block():\n    op.execute("DISCARD ALL")',
        (
            "for function in ('unlock_all()', 'lock_shared(7020658014912148577)'):\n    "
            'op.execute(f"SELECT pg_advisory_{function}")'
        ),
    ],
    ids=["unlock", "discard", "shared"],
)
def test_a_run_ends_with_the_revision_that_loses_its_lock(witness: World, body: str) -> None:
    """Row 25: without the lock another run may be at work."""
    witness.history(3, r002=body, r003=WITNESS.format(number=3))
    said = failed(witness, witness.inv(), 70)
    assert "migrations/versions/billing/r002.py: the migration lock was lost in this revision" in said
    assert rows(witness) == []
    assert query(witness.dsn, "SELECT version_num FROM alembic_version_billing")[0][0] == "r001"


def test_the_options_that_a_revision_gives_its_connection_end_with_it(world: World) -> None:
    """A cursor was asked for by what writes the version table, after the revision was committed."""
    body = """
op.execute("INSERT INTO billing_r001 SELECT g FROM generate_series(1, 50) g")
with op.get_bind().execution_options(yield_per=10).execute(sa.text("SELECT id FROM billing_r001")) as result:
    for part in result.partitions():
        pass
"""
    world.history(2, r001=body, r002=body)
    assert (ran := world.inv()).code == 0, ran.text
    assert world.at() == "r002"
    assert query(world.dsn, "SELECT count(*) FROM billing_r001")[0][0] == 100


@pytest.mark.parametrize("level", ["SERIALIZABLE", "AUTOCOMMIT", "REPEATABLE READ"])
def test_an_isolation_level_that_a_revision_sets_behind_its_commit_ends_with_it(world: World, level: str) -> None:
    body = f"""
op.get_bind().commit()
op.get_bind().execution_options(isolation_level="{level}")
op.execute("INSERT INTO billing_r001 VALUES (1)")
"""  # noqa: S608 - a constant
    look = "op.execute(\"INSERT INTO billing_r001 SELECT 2 WHERE current_setting('transaction_isolation') = '{}'\")"
    world.history(2, r001=body, r002=look.format("read committed"))
    assert (ran := world.inv()).code == 0, ran.text
    assert world.at() == "r002"
    assert query(world.dsn, "SELECT array_agg(id ORDER BY id) FROM billing_r001")[0][0] == [1, 2]


def test_a_revision_can_begin_with_an_isolation_level_of_its_own(world: World) -> None:
    # the first one shares its transaction with Alembic's look at the version table
    world.history(2, r002_alone='op.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")')
    assert (ran := world.inv()).code == 0, ran.text


@pytest.mark.parametrize("instead", ["", "upgrade = None", "upgrade = 'later'"], ids=["none", "None", "a text"])
@pytest.mark.parametrize("command", ["db.upgrade", "db.plan"])
def test_a_file_without_a_function_to_run_is_refused_by_name(world: World, command: str, instead: str) -> None:
    world.history(1)
    assert world.inv().code == 0
    world.history(3)
    path = world.monorepo.root / "migrations" / "versions" / "billing" / "r003.py"
    head, _ = path.read_text(encoding="utf-8").split("def upgrade", 1)
    path.write_text(f"{head}{instead}\n\n\ndef downgrade():\n    pass\n", encoding="utf-8")
    said = failed(world, world.inv(command, "--service", "billing"), 2)
    assert "billing: migrations/versions/billing/r003.py: it has no function upgrade(). Nothing was run." in said
    assert world.at() == "r001"


@pytest.mark.parametrize("revision", ["-2", "base", "r001"])
def test_a_file_without_a_downgrade_is_named_before_anything_is_reverted(world: World, revision: str) -> None:
    world.history(3)
    path = world.monorepo.root / "migrations" / "versions" / "billing" / "r002.py"
    head, _ = path.read_text(encoding="utf-8").split("def downgrade", 1)
    path.write_text(head, encoding="utf-8")
    assert world.inv().code == 0
    said = failed(world, world.inv("db.downgrade", "--service", "billing", "--revision", revision, "--yes"), 2)
    assert "billing: migrations/versions/billing/r002.py: it has no function downgrade(). Nothing was run." in said
    assert world.at() == "r003"


RAISED = [
    "import asyncio; raise asyncio.CancelledError",
    "raise GeneratorExit",
    "raise KeyboardInterrupt",
    "raise BaseException('no')",
    "raise SystemExit(0)",
    "raise SystemExit",
    "class Own(BaseException): pass\nraise Own('no')",
    "raise StopIteration",
    "raise ExceptionGroup('several', [ValueError('no')])",
    "raise BaseExceptionGroup('several', [GeneratorExit()])",
]


@pytest.mark.parametrize("raised", RAISED)
def test_whatever_a_revision_raises_is_one_line_and_1(world: World, raised: str) -> None:
    world.history(2, r002=raised)
    said = failed(world, world.inv(), 1)
    assert "migrations/versions/billing/r002.py:" in said
    assert "It was rolled back." in said
    assert "stopped" not in said
    assert world.at() == "r001"


LOOKS_LOST = {
    "raise KeyboardInterrupt": "RuntimeError: KeyboardInterrupt",
    "raise ConnectionResetError('of a web server')": "ConnectionResetError: of a web server",
    "raise TimeoutError('of a web server')": "TimeoutError: of a web server",
    "op.execute(\"DO $$ BEGIN RAISE 'like a shutdown' USING ERRCODE = '57P01'; END $$\")": "like a shutdown [57P01]",
    "op.execute(\"DO $$ BEGIN RAISE 'schema of mine' USING ERRCODE = '08006'; END $$\")": "schema of mine [08006]",
    "class Own(Exception):\n    def __str__(self): raise ValueError\nraise Own": "Own",
    "class Own(Exception):\n    def __str__(self): return None\nraise Own('no')": "Own",
    "raise ValueError('x' * 100_000)": f"ValueError: {'x' * 1000}…",
    "op.execute('COPY billing_r001 (id) FROM STDIN')": "TypeError: COPY FROM STDIN waits for rows",
    "op.execute('COPY (SELECT 1) TO STDOUT')": "TypeError: COPY TO STDOUT sends rows, and nobody reads them",
}
"""What a revision raises that isn't the end of its connection or its run, and what is said of it."""


def test_what_only_looks_like_a_lost_connection_or_has_no_text_is_one_line_and_1(world: World) -> None:
    for raised, text in LOOKS_LOST.items():
        world.history(2, r002=raised)
        said = failed(world, world.inv(), 1)
        assert re.search(r"billing: migrations/versions/billing/r002.py:\d+: ", said), said
        assert f": {text}" in said
        assert "It was rolled back." in said
        assert len(said) < 3000
        assert world.at() == "r001"
    for raised in ("op.execute('COPY billing_r001 (id) FROM STDIN')", "raise ConnectionResetError('of a web server')"):
        world.history(2, r002=raised)
        said = failed(world, world.inv("db.upgrade", "--service", "billing", "--sql"), 1)
        assert "r002.py:" in said
        assert "lost" not in said


AT_ITS_END = {
    "a deferred key": (
        (
            "op.execute('CREATE TABLE p (i int UNIQUE, r int DEFAULT 2 REFERENCES p (i) INITIALLY DEFERRED)'); "
            "op.execute('INSERT INTO p VALUES (1)')"
        ),
        1,
        "violates foreign key constraint",
    ),
    "read only": ("op.execute('SET TRANSACTION READ ONLY')", 78, "Or did the revision SET TRANSACTION READ ONLY?"),
    "no right": ("op.execute('REVOKE ALL ON alembic_version_billing FROM CURRENT_USER')", 77, "permission denied"),
}


def test_what_fails_behind_a_revision_has_its_file(world: World) -> None:
    for body, code, text in AT_ITS_END.values():
        world.history(2, r002_alone=body)
        said = failed(world, world.inv(), code)
        assert "billing: migrations/versions/billing/r002.py: " in said
        assert text in said
        assert world.at() == "r001"


def test_the_handlers_of_signals_that_a_revision_sets_end_with_it(world: World) -> None:
    deaf = "import signal; [signal.signal(number, signal.SIG_IGN) for number in (1, 2, 15)]"
    world.history(2, r001=deaf, r002=PAUSED)
    world.close_barrier()
    run = world.start()
    world.paused(run)
    run.signal(signal.SIGTERM)
    failed(world, run.end(), 143)
    assert world.at() == "r001"


@pytest.mark.parametrize("handler", ["", "signal.signal(signal.SIGALRM, lambda *_: 1 / 0)"], ids=["default", "own"])
def test_an_alarm_that_a_revision_leaves_ends_with_it(world: World, handler: str) -> None:
    alarm = f"import signal\n{handler}\nsignal.setitimer(signal.ITIMER_REAL, 0.3)"
    world.history(3, r002=alarm, r003='op.execute("SELECT pg_sleep(1)")')
    ran = world.inv()
    assert ran.code == 0, ran.text
    assert world.at() == "r003"


def test_an_operation_of_alembics_that_a_revision_replaces_is_back_in_the_next_one(world: World) -> None:
    world.history(2, r001="from alembic import op as module\nmodule.execute = lambda *_, **__: None")
    assert (ran := world.inv()).code == 0, ran.text
    assert world.at() == "r002"  # with its table


@pytest.mark.parametrize("raised", RAISED)
def test_whatever_a_revision_raises_offline_is_one_line_and_1(world: World, raised: str) -> None:
    world.history(2, r002=raised)
    said = failed(world, world.inv("db.upgrade", "--service", "billing", "--sql"), 1)
    assert "migrations/versions/billing/r002.py:" in said
    assert "rolled back" not in said


UNRUN = {
    "a coroutine": ("async def", "op.execute('CREATE TABLE n (id int)')"),
    "a generator": ("def", "op.execute('CREATE TABLE n (id int)')\nyield"),
    "an asynchronous generator": ("async def", "op.execute('CREATE TABLE n (id int)')\nyield"),
    "a coroutine of another function": ("def", "async def other():\n    pass\nreturn other()"),
    "a context": ("def", "from contextlib import contextmanager\n@contextmanager\ndef c():\n    yield\nreturn c()"),
}


@pytest.mark.parametrize(("definition", "body"), UNRUN.values(), ids=UNRUN)
def test_a_revision_of_which_nothing_is_run_is_not_written_down(world: World, definition: str, body: str) -> None:
    world.history(2, r002_alone=body)
    path = world.monorepo.root / "migrations" / "versions" / "billing" / "r002.py"
    text = path.read_text(encoding="utf-8").replace("def upgrade", f"{definition} upgrade")
    path.write_text(text, encoding="utf-8")
    for words in (("db.plan", "--service", "billing"), ("db.upgrade", "--service", "billing", "--sql"), UPGRADE):
        said = failed(world, world.inv(*words), 1)
        assert "nothing of it was run" in said
        assert "never awaited" not in said
        assert "r002.py:" in said or (definition == "async def" and body.endswith("yield"))
    assert world.at() == "r001"


THREADS = {
    "a thread": "t = threading.Thread(target=run)\nt.start()\nt.join()",
    "one of two": (
        "both = [threading.Thread(target=f) for f in (run, print)]\n[t.start() for t in both]\n[t.join() for t in both]"
    ),
    "a timer": "t = threading.Timer(0.01, run)\nt.start()\nt.join()",
}


@pytest.mark.parametrize("threads", THREADS.values(), ids=THREADS)
def test_a_revision_fails_with_the_error_of_its_thread(world: World, threads: str) -> None:
    """Python only prints it, and what the thread was to do would be missing from a revision that is written down."""
    world.history(2, r002=f"import threading\ndef run():\n    raise ValueError('half done')\n{threads}")
    ran = world.inv()
    said = failed(world, ran, 1)
    assert re.search(r"r002\.py:\d+: ValueError: half done\. It was rolled back\.", said)
    assert "Traceback" not in ran.text
    assert world.at() == "r001"


def test_an_error_of_a_thread_that_the_revision_reads_itself_is_its_own_affair(world: World) -> None:
    body = """
    from concurrent.futures import ThreadPoolExecutor
    def run():
        raise ValueError("expected")
    with ThreadPoolExecutor() as pool:
        assert isinstance(pool.submit(run).exception(), ValueError)
    """
    world.history(2, r002=body)
    assert (ran := world.inv()).code == 0, ran.text


@pytest.mark.parametrize("execute", ["op.execute", "op.get_bind().exec_driver_sql"])
@pytest.mark.parametrize(("character", "name"), [("\\0", "U+0000"), ("\\udcff", "U+DCFF")])
def test_a_character_that_cannot_be_sent_is_no_lost_connection(
    world: World, execute: str, character: str, name: str
) -> None:
    world.history(2, r002_alone=f"{execute}(\"SELECT 'é',\\n'{character}'\")")
    offline = [("db.plan", "--service", "billing"), ("db.upgrade", "--service", "billing", "--sql")]
    for words in (*(offline if execute == "op.execute" else ()), UPGRADE):
        said = failed(world, world.inv(*words), 1)
        assert "migrations/versions/billing/r002.py:" in said
        assert f"line 2 of the statement has the character {name}" in said
    assert "It was rolled back." in said
    assert world.at() == "r001"


OF_VERSIONS = [
    "DELETE FROM {table}",
    "UPDATE {table} SET version_num = 'x'",
    "INSERT INTO {table} VALUES ('x')",
    "TRUNCATE {table}",
    "DROP TABLE {table}",
    "DROP OWNED BY CURRENT_USER",
    "ALTER TABLE {table} RENAME TO another",
    "ALTER TABLE {table} RENAME version_num TO version",
    "CREATE SCHEMA apart; ALTER TABLE {table} SET SCHEMA apart",
    "DO $$ BEGIN EXECUTE 'INSERT INTO {table} VALUES (''y'')'; END $$",
]


@pytest.mark.parametrize("statement", OF_VERSIONS)
def test_a_revision_that_changes_the_version_table_is_refused_with_its_file(world: World, statement: str) -> None:
    world.history(1)
    assert world.inv().code == 0
    texts = statement.format(table="alembic_version_billing").split("; ") if "DO" not in statement else [statement]
    texts = [text.format(table="alembic_version_billing") for text in texts]
    world.history(3, r002="\n".join(f"op.execute({text!r})" for text in texts))
    said = failed(world, world.inv(), 1)
    assert "migrations/versions/billing/r002.py: it changed the version table" in said
    assert "It was rolled back." in said
    assert world.at() == "r001"


def test_a_revision_may_widen_the_version_table(world: World) -> None:
    world.history(3, r002='op.execute("ALTER TABLE alembic_version_billing ALTER version_num TYPE varchar(99)")')
    assert world.inv().code == 0
    assert world.at() == "r003"


def test_what_a_revision_has_committed_before_it_changed_the_version_table_is_kept(witness: World) -> None:
    change = "op.get_bind().commit()\nop.execute(\"INSERT INTO alembic_version_billing VALUES ('x')\")"
    witness.history(3, r002=f"{WITNESS.format(number=2)}\n{change}")
    said = failed(witness, witness.inv(), 1)
    assert "it changed the version table" in said
    assert "What it had committed before is kept." in said
    assert rows(witness) == [(2, True)]


STOPPING = ["import asyncio; raise asyncio.CancelledError", "raise GeneratorExit", "raise KeyboardInterrupt"]
"""What a program is usually stopped with."""


@pytest.mark.parametrize("raised", STOPPING)
def test_whatever_a_file_raises_when_it_is_imported_is_one_line_and_2(world: World, raised: str) -> None:
    world.history(1)
    path = world.monorepo.root / "migrations" / "versions" / "billing" / "r001.py"
    path.write_text(path.read_text(encoding="utf-8") + f"\n{raised}\n", encoding="utf-8")
    said = failed(world, world.inv(), 2)
    assert "migrations/versions/billing/r001.py:" in said
    assert "it can't be imported" in said


def test_a_file_with_a_nul_is_named(world: World) -> None:
    world.history(2)
    path = world.monorepo.root / "migrations" / "versions" / "billing" / "r002.py"
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-16")
    said = failed(world, world.inv(), 2)
    assert "billing: migrations/versions/billing/r002.py: it has a NUL, as a text in UTF-16 has" in said


@pytest.mark.parametrize("raised", STOPPING)
def test_in_a_fleet_too(world: World, raised: str) -> None:
    world.history(2, r002=raised)
    world.monorepo.service("catalog", dsn=world.dsn)
    world.history(1, service="catalog")
    ran = world.inv("db.upgrade")
    assert ran.code == 1, ran.text
    assert "billing: failed" in ran.text
    assert "catalog: failed" not in ran.text


CANCELLING = {
    "own": "asyncio.current_task().cancel()",
    "all": "[task.cancel() for task in asyncio.all_tasks()]",
    "later": "asyncio.get_running_loop().call_later(0.01, asyncio.current_task().cancel)\n"
    'op.execute("SELECT pg_sleep(0.5)")',
    "exit": 'asyncio.get_running_loop().call_later(0.01, sys.exit)\nop.execute("SELECT pg_sleep(0.5)")',
}
"""How a revision cancels the task that runs it, which nobody has stopped."""


@pytest.mark.parametrize("fleet", [False, True], ids=["alone", "fleet"])
@pytest.mark.parametrize("body", CANCELLING.values(), ids=CANCELLING)
def test_a_revision_that_cancels_its_own_run_has_failed(world: World, body: str, fleet: bool) -> None:
    world.history(2, r002=f"import asyncio, sys\n{body}")
    world.monorepo.service("catalog", dsn=world.dsn)
    world.history(1, service="catalog")
    said = failed(world, world.inv("db.upgrade") if fleet else world.inv(), 1)
    assert "it was cancelled from inside" in said
    assert world.at() == "r001"
    assert not fleet or world.at("catalog") == "r001"


DEFERRED = """
for statement in (
    "CREATE FUNCTION deferred() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {does}; RETURN NULL; END$$",
    "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON billing_r002 DEFERRABLE INITIALLY DEFERRED "
    "FOR EACH ROW EXECUTE FUNCTION deferred()",
    "INSERT INTO billing_r002 VALUES (1)",
):
    op.execute(statement)
"""
"""The body of a revision whose trigger does something behind its last statement."""


def test_a_deferred_trigger_of_a_revision_finds_what_is_on_the_services_search_path(world: World) -> None:
    world.history(3, r002=DEFERRED.format(does="INSERT INTO billing_r001 VALUES (7)"))
    ran = world.inv()
    assert ran.code == 0, ran.text
    assert query(world.dsn, "SELECT id FROM billing_r001")[0][0] == 7


def test_what_a_deferred_trigger_sets_does_not_hold_for_the_next_revision(world: World) -> None:
    shown = "op.execute(\"CREATE TABLE shown AS SELECT current_setting('lock_timeout') AS value\")"
    world.history(3, r002=DEFERRED.format(does="PERFORM set_config('lock_timeout', '0', false)"), r003=shown)
    ran = world.inv()
    assert ran.code == 0, ran.text
    assert query(world.dsn, "SELECT value FROM shown")[0][0] != "0"


@pytest.mark.parametrize(
    ("does", "code", "said"),
    [
        ("UPDATE alembic_version_billing SET version_num = 'r002'", 1, "it changed the version table"),
        ("PERFORM pg_advisory_unlock_all()", 70, "the migration lock was lost in this revision"),
        ("RAISE EXCEPTION 'too late'", 1, "too late [P0001]. It was rolled back."),
    ],
    ids=["versions", "lock", "error"],
)
def test_what_a_deferred_trigger_does_is_told_with_its_own_revision(
    world: World, does: str, code: int, said: str
) -> None:
    world.history(3, r002=DEFERRED.format(does=does))
    text = failed(world, world.inv(), code)
    assert "migrations/versions/billing/r002.py: " in text
    assert said in text
    assert world.at() == "r001"


REWRITING = [
    [
        "CREATE FUNCTION stays() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.version_num = 'r1'; RETURN NEW; END$$",
        "CREATE TRIGGER stays BEFORE UPDATE ON alembic_version_billing FOR EACH ROW EXECUTE FUNCTION stays()",
    ],
    ["CREATE RULE stays AS ON UPDATE TO alembic_version_billing DO INSTEAD NOTHING"],
    ["CREATE RULE gone AS ON UPDATE TO alembic_version_billing DO ALSO DELETE FROM alembic_version_billing"],
    [
        "ALTER TABLE alembic_version_billing RENAME TO versions",
        "CREATE VIEW alembic_version_billing AS TABLE versions",
    ],
]
"""What a revision can put between a run and the version table."""


@pytest.mark.parametrize("texts", REWRITING, ids=["trigger", "rule", "rule-also", "view"])
def test_a_revision_that_makes_the_version_table_write_something_else_is_refused_with_its_file(
    world: World, texts: list[str]
) -> None:
    world.history(3, r002="\n".join(f"op.execute({text!r})" for text in texts))
    said = failed(world, world.inv(), 1)
    assert "migrations/versions/billing/r002.py: it changed the version table" in said
    assert world.at() == "r001"


def test_a_trigger_that_records_changes_of_the_version_table_is_left_alone(world: World) -> None:
    insert = "INSERT INTO public.audit VALUES (NEW.version_num)"
    function = f"CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {insert}; RETURN NEW; END$$"
    trigger = "CREATE TRIGGER note AFTER UPDATE ON alembic_version_billing FOR EACH ROW EXECUTE FUNCTION note()"
    audit = ("CREATE TABLE audit (version text)", function, trigger)
    world.history(3, r002="\n".join(f"op.execute({text!r})" for text in audit))
    ran = world.inv()
    assert ran.code == 0, ran.text
    assert query(world.dsn, "SELECT version FROM audit ORDER BY 1") == [("r002",), ("r003",)]


VIOLATED = """
op.execute("CREATE TABLE parents (id int PRIMARY KEY)")
op.execute("CREATE TABLE children (id int REFERENCES parents DEFERRABLE INITIALLY DEFERRED)")
op.execute("INSERT INTO children VALUES (1)")
"""
FAILING_COMMITS = {
    "block": "with op.get_context().autocommit_block():\n    pass",
    "bind": "op.get_bind().commit()",
    "statement": 'op.execute("COMMIT")',
}


@pytest.mark.parametrize("caught", [False, True], ids=["raised", "caught"])
@pytest.mark.parametrize("commit", FAILING_COMMITS.values(), ids=FAILING_COMMITS)
def test_a_commit_in_a_revision_that_fails_has_kept_nothing(world: World, commit: str, caught: bool) -> None:
    caught_commit = f"try:\n{indent(commit, '    ')}\nexcept Exception:\n    pass"
    world.history(2, r002=f"{VIOLATED}\n{caught_commit if caught else commit}")
    said = failed(world, world.inv(), 1)
    assert "migrations/versions/billing/r002.py" in said
    assert "is kept" not in said
    assert ("it rolled back its own transaction" if caught else "It was rolled back.") in said
    assert "reconnect" not in said
    assert world.at() == "r001"


def test_what_was_committed_before_a_commit_that_fails_is_kept(witness: World) -> None:
    bind = "op.get_bind().commit()\n"
    witness.history(2, r002=f"{WITNESS.format(number=2)}\n{bind}{VIOLATED}{bind}")
    said = failed(witness, witness.inv(), 1)
    assert "What it had committed before is kept." in said
    assert rows(witness) == [(2, True)]
