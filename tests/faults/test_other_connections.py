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
    "a function": "with op.get_bind().engine.begin() as c:\n    c.execute(sa.text('SELECT witnessed()'))",
}
NO_DOORS = {
    "a query": "with op.get_bind().engine.begin() as c:\n    c.execute(sa.text('SELECT 1'))",
    "a rollback": f"with op.get_bind().engine.connect() as c:\n    c.execute({INSERT})\n    c.rollback()",
    "a close": f"with op.get_bind().engine.connect() as c:\n    c.execute({INSERT})",
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


@pytest.mark.parametrize("door", NO_DOORS.values(), ids=NO_DOORS)
def test_what_was_only_read_or_rolled_back_there_is_nothing_that_is_kept(witness: World, door: str) -> None:
    witness.history(1)
    assert witness.inv().code == 0
    revision(witness, door, IN_THE_WAY)
    with hold(witness.dsn, "SELECT FROM billing_r001"):
        said = failed(witness, witness.inv("db.upgrade", "--service", "billing", "--lock-timeout", "200ms"), 75)
    assert "It was rolled back." in said
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
