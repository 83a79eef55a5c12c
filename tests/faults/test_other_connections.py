"""What a revision commits over another connection than its own is kept, so the revision isn't tried again."""

import pytest

from tests.support.database import query
from tests.support.monorepo import dsn_text
from tests.support.sessions import hold
from tests.support.world import World, failed

INSERT = "sa.text('INSERT INTO witness VALUES (2)')"
URL = "postgresql+psycopg:"
DOORS = {
    "its own engine": f"with op.get_bind().engine.begin() as c:\n    c.execute({INSERT})",
    "a commit": f"with op.get_bind().engine.connect() as c:\n    c.execute({INSERT})\n    c.commit()",
    "an autocommit": "with op.get_bind().engine.connect().execution_options(isolation_level='AUTOCOMMIT') as c:\n"
    f"    c.execute({INSERT})",
    "another engine": f"with sa.create_engine({{url!r}}).begin() as c:\n    c.execute({INSERT})",
    "another engine that commits by itself": "engine = sa.create_engine({url!r}, isolation_level='AUTOCOMMIT')\n"
    "with engine.connect() as c:\n"
    f"    c.execute({INSERT})",
    "a session": "from sqlalchemy.orm import Session\nwith Session(sa.create_engine({url!r})) as s:\n"
    f"    s.execute({INSERT})\n    s.commit()",
    "in a thread": "from concurrent.futures import ThreadPoolExecutor\ndef run():\n"
    f"    with sa.create_engine({{url!r}}).begin() as c:\n        c.execute({INSERT})\n"
    "with ThreadPoolExecutor() as pool:\n    pool.submit(run).result()",
    "an async engine": "from sqlalchemy.ext.asyncio import create_async_engine\nasync def run(_):\n"
    "    engine = create_async_engine({url!r})\n    async with engine.begin() as c:\n"
    f"        await c.execute({INSERT})\n    await engine.dispose()\nop.run_async(run)",
    "a function": "with op.get_bind().engine.begin() as c:\n    c.execute(sa.text('SELECT witnessed()'))",
}
NO_DOORS = {
    "a query": "with op.get_bind().engine.begin() as c:\n    c.execute(sa.text('SELECT 1'))",
    "a rollback": f"with op.get_bind().engine.connect() as c:\n    c.execute({INSERT})\n    c.rollback()",
    "a close": f"with op.get_bind().engine.connect() as c:\n    c.execute({INSERT})",
    "an async query": "from sqlalchemy.ext.asyncio import create_async_engine\nasync def run(_):\n"
    "    engine = create_async_engine({url!r})\n    async with engine.begin() as c:\n"
    "        await c.execute(sa.text('SELECT 1'))\n    await engine.dispose()\nop.run_async(run)",
    "a query that commits by itself": "with op.get_bind().engine.connect()"
    ".execution_options(isolation_level='AUTOCOMMIT') as c:\n    c.execute(sa.text('SELECT 1'))",
    "a failed transaction": "try:\n    with op.get_bind().engine.begin() as c:\n"
    f"        c.execute({INSERT})\n        c.execute(sa.text('SELECT 1/0'))\nexcept Exception:\n    pass",
}
IN_THE_WAY = "ALTER TABLE billing_r001 ADD COLUMN x int"


@pytest.fixture
def witness(world: World) -> World:
    """A table in which revisions leave a row each time they run."""
    query(world.dsn, "CREATE TABLE witness (revision int)")
    function = "CREATE FUNCTION witnessed() RETURNS void LANGUAGE sql AS 'INSERT INTO witness VALUES (2)'"
    query(world.dsn, function)
    return world


def revision(world: World, door: str, last: str) -> None:
    url = dsn_text(world.dsn).replace("postgresql:", URL)
    world.history(3, r002_alone=f'{door.replace("{url!r}", repr(url))}\nop.execute("{last}")')


def rows(world: World) -> int:
    return int(query(world.dsn, "SELECT count(*) FROM witness")[0][0])


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_what_was_committed_over_another_connection_is_not_done_again(witness: World, door: str) -> None:
    """Row 25: also where its own transaction was rolled back."""
    witness.history(1)
    assert witness.inv().code == 0
    revision(witness, door, IN_THE_WAY)
    with hold(witness.dsn, "SELECT FROM billing_r001"):
        said = failed(witness, witness.inv("db.upgrade", "--service", "billing", "--lock-timeout", "500ms"), 75)
    assert rows(witness) == 1
    assert "What it had committed before is kept." in said
    assert "Trying again" not in said
    assert witness.at() == "r001"


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_a_failure_behind_it_claims_no_rollback_and_without_one_all_is_written_down(witness: World, door: str) -> None:
    revision(witness, door, "SELECT 1/0")
    said = failed(witness, witness.inv(), 1)
    assert "What it had committed before is kept." in said
    assert rows(witness) == 1
    revision(witness, door, "SELECT 1")
    assert (ran := witness.inv()).code == 0, ran.text
    assert witness.at() == "r003"
    assert rows(witness) == 2


URL_OF_THE_ENGINE = "op.get_bind().engine.url"
WITHOUT_PASSWORD = {
    "an engine": f"sa.create_engine({URL_OF_THE_ENGINE}).connect()",
    "an engine of another driver": f"url = {URL_OF_THE_ENGINE}.set(drivername='postgresql+psycopg')\n"
    "sa.create_engine(url).connect()",
    "an async engine": "from sqlalchemy.ext.asyncio import create_async_engine\nasync def run(_):\n"
    f"    await create_async_engine({URL_OF_THE_ENGINE}).connect()\nop.run_async(run)",
    "its driver": f"import psycopg\nurl = {URL_OF_THE_ENGINE}\n"
    "psycopg.connect(host=url.host, port=url.port, user=url.username, password=url.password, dbname=url.database)",
}


@pytest.mark.parametrize("door", WITHOUT_PASSWORD.values(), ids=WITHOUT_PASSWORD)
def test_who_takes_the_url_for_a_second_connection_is_told_where_one_is(world: World, door: str) -> None:
    world.history(2, r002_alone=door)
    assert "has no password: a second connection is op.get_bind().engine.connect()." in failed(world, world.inv(), 1)
    assert world.at() == "r001"


def test_who_uses_the_connection_in_a_thread_is_told_that_none_can(world: World) -> None:
    thread = "with ThreadPoolExecutor() as pool:\n    pool.submit(bind.execute, sa.text('SELECT 1')).result()"
    world.history(2, r002_alone=f"from concurrent.futures import ThreadPoolExecutor\nbind = op.get_bind()\n{thread}")
    assert "no thread can use its connection" in failed(world, world.inv(), 1)


@pytest.mark.parametrize("door", NO_DOORS.values(), ids=NO_DOORS)
def test_what_was_only_read_or_rolled_back_there_is_nothing_that_is_kept(witness: World, door: str) -> None:
    witness.history(1)
    assert witness.inv().code == 0
    revision(witness, door, IN_THE_WAY)
    with hold(witness.dsn, "SELECT FROM billing_r001"):
        said = failed(witness, witness.inv("db.upgrade", "--service", "billing", "--lock-timeout", "200ms"), 75)
    assert "It was rolled back." in said
    assert "kept" not in said
    assert "Trying again" in said
    assert rows(witness) == 0


def test_the_next_revision_is_tried_again_all_the_same(witness: World) -> None:
    witness.history(1)
    assert witness.inv().code == 0
    witness.history(3, r002_alone=DOORS["its own engine"], r003_alone=f'op.execute("{IN_THE_WAY}")')
    with hold(witness.dsn, "SELECT FROM billing_r001"):
        said = failed(witness, witness.inv("db.upgrade", "--service", "billing", "--lock-timeout", "200ms"), 75)
    assert "Trying again" in said
    assert witness.at() == "r002"
    assert rows(witness) == 1


UNKNOWN = {
    "a driver's connection": "import psycopg\nwith psycopg.connect({dsn!r}) as c:\n    c.execute({insert})",
    "a class of a driver": "import psycopg\nwith psycopg.Connection.connect({dsn!r}) as c:\n    c.execute({insert})",
    "the raw connection of an engine": "raw = op.get_bind().engine.raw_connection()\n"
    "raw.cursor().execute({insert})\nraw.commit()",
    "the raw connection of another engine": "raw = sa.create_engine({url!r}).raw_connection()\n"
    "raw.cursor().execute({insert})\nraw.commit()",
    "another driver in a thread": "import asyncio, asyncpg, threading\nasync def run():\n"
    "    c = await asyncpg.connect({dsn!r})\n    await c.execute({insert})\n    await c.close()\n"
    "thread = threading.Thread(target=lambda: asyncio.run(run()))\nthread.start()\nthread.join()",
    "another driver that is awaited": "import asyncpg\nasync def run(_):\n"
    "    c = await asyncpg.connect({dsn!r})\n    await c.execute({insert})\n    await c.close()\nop.run_async(run)",
    "a program": "import subprocess, sys\n"
    "code = 'import sys, psycopg; psycopg.connect(sys.argv[1], autocommit=True).execute(sys.argv[2])'\n"
    "subprocess.run([sys.executable, '-c', code, {dsn!r}, {insert}], check=True)",
    "a forked process": "import multiprocessing, psycopg\ndef run():\n"
    "    with psycopg.connect({dsn!r}) as c:\n        c.execute({insert})\n"
    "process = multiprocessing.get_context('fork').Process(target=run)\nprocess.start()\nprocess.join()",
}
"""Doors of which only that they were opened is known."""


def unknown(world: World, door: str, last: str) -> None:
    dsn = dsn_text(world.dsn)
    url = dsn.replace("postgresql:", URL)
    body = door.format(dsn=dsn, url=url, insert="'INSERT INTO witness VALUES (2)'")
    world.history(3, r002_alone=f'{body}\nop.execute("{last}")')


@pytest.mark.parametrize("door", UNKNOWN.values(), ids=UNKNOWN)
def test_who_commits_past_sqlalchemy_is_not_run_again_either(witness: World, door: str) -> None:
    """Row 25: also where it committed in another process."""
    witness.history(1)
    assert witness.inv().code == 0
    unknown(witness, door, IN_THE_WAY)
    with hold(witness.dsn, "SELECT FROM billing_r001"):
        said = failed(witness, witness.inv("db.upgrade", "--service", "billing", "--lock-timeout", "500ms"), 75)
    assert rows(witness) == 1
    assert "It was rolled back." in said
    assert "what that has committed is kept." in said
    assert "r002.py" in said.partition("It was rolled back.")[2]
    assert "Trying again" not in said
    assert witness.at() == "r001"


@pytest.mark.parametrize("door", UNKNOWN.values(), ids=UNKNOWN)
def test_what_it_does_there_is_done_and_the_revision_is_written_down(witness: World, door: str) -> None:
    unknown(witness, door, "SELECT 1")
    assert (ran := witness.inv()).code == 0, ran.text
    assert "is kept" not in ran.text
    assert (witness.at(), rows(witness)) == ("r003", 1)


@pytest.mark.parametrize("door", [UNKNOWN["a program"], DOORS["a commit"]], ids=["a program", "a commit"])
def test_a_run_that_is_lost_behind_it_isnt_called_safe_to_run_again(witness: World, door: str) -> None:
    """Row 14: a second run would do it again."""
    unknown(witness, door, "SELECT pg_terminate_backend(pg_backend_pid())")
    said = failed(witness, witness.inv(), 69)
    assert "is kept." in said
    assert "Look whether its revision can be run again." in said
    assert "safe to run" not in said


def test_a_file_that_imports_the_function_of_a_driver_is_no_way_round(witness: World) -> None:
    witness.history(3, r002_alone=f"connect({dsn_text(witness.dsn)!r}).close()\n1 / 0")
    path = next(witness.monorepo.root.rglob("*r002.py"))
    path.write_text(f"from psycopg import connect\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    said = failed(witness, witness.inv(), 1)
    assert "It opens a connection of its own" in said


def test_a_coroutine_of_another_module_is_the_revisions_too(witness: World) -> None:
    body = f"async def run(_):\n    await (await asyncpg.connect({dsn_text(witness.dsn)!r})).close()\n"
    (witness.monorepo.root / "helper.py").write_text(f"import asyncpg\n{body}", encoding="utf-8")
    witness.history(2, r002="from helper import run\nop.run_async(run)\n1 / 0")
    assert "It opens a connection of its own" in failed(witness, witness.inv(), 1)


def test_the_connection_that_cancels_a_statement_is_none_of_the_revisions(witness: World) -> None:
    """asyncpg opens one for that."""
    body = "import asyncio\nasync def run(c):\n    async with asyncio.timeout(0.2):\n"
    witness.history(2, r002=f"{body}        await c.execute(sa.text('SELECT pg_sleep(9)'))\nop.run_async(run)")
    assert "of its own" not in failed(witness, witness.inv(), 69)


def test_a_revision_that_opens_nothing_has_no_such_sentence(witness: World) -> None:
    witness.history(2, r002="1 / 0")
    assert "that has committed" not in failed(witness, witness.inv(), 1)
