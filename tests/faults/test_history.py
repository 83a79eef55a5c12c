"""Histories and version tables that can't be right."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.errors import UsageError
from service_migrations.settings.dsn import Dsn
from tests.support.database import SECRET, query, run_script, tables, wait
from tests.support.monorepo import Monorepo
from tests.support.world import World, failed

NOBODY_LISTENS = "postgresql://app:secret@127.0.0.1:1/app"
"""Whoever connects to it gets another error than the one that a test waits for."""


def test_a_history_that_is_a_circle_is_refused_before_connecting(monorepo: Monorepo) -> None:
    """Row 38: 2, in one line that names the revisions."""
    service = monorepo.service("billing", dsn=NOBODY_LISTENS)
    monorepo.revision("billing", "r001", None)
    monorepo.revision("billing", "r002", "r003")
    monorepo.revision("billing", "r003", "r002")
    with pytest.raises(UsageError, match=r"migrations/versions/billing.*r002") as caught:
        wait(service_migrations.upgrade(service))
    assert "\n" not in str(caught.value)


def test_an_id_with_a_quote_is_refused_before_connecting(monorepo: Monorepo) -> None:
    """Row 38: 2, in one line that names the file."""
    service = monorepo.service("billing", dsn=NOBODY_LISTENS)
    path = monorepo.revision("billing", "r001", None)
    path.write_text(path.read_text(encoding="utf-8").replace("'r001'", '"r\'; DROP TABLE billing"'), encoding="utf-8")
    with pytest.raises(UsageError, match=r"migrations/versions/billing/r001\.py: the id") as caught:
        wait(service_migrations.upgrade(service))
    assert "\n" not in str(caught.value)


def test_a_version_table_that_does_not_hold_what_was_logged_is_told(world: World) -> None:
    """Row 41: whatever undid it, the exit code is 70 and never 0."""
    world.history(2)
    env = world.monorepo.root / "migrations" / "env.py"
    undo = "UPDATE public.alembic_version_billing SET version_num = 'r001'"
    later = f'context.config.attributes["connection"].exec_driver_sql("{undo}")\n'
    later += 'context.config.attributes["connection"].commit()\n'
    env.write_text(env.read_text(encoding="utf-8") + later, encoding="utf-8")
    said = failed(world, world.inv(), 70)
    assert f"billing: {world.dsn.target} is at r001, and the log says r002. Look at the database" in said


def test_an_applied_file_that_was_edited_stops_an_upgrade(world: World) -> None:
    """Row 40: 3, in one line that names the file; a setting makes it a warning; check reports it either way."""
    world.history(2)
    assert world.inv().code == 0
    path = world.monorepo.root / "migrations" / "versions" / "billing" / "r002.py"
    path.write_text(path.read_text(encoding="utf-8").replace("(id int)", "(id bigint)"), encoding="utf-8")
    world.monorepo.revision("billing", "r003", "r002", 'op.execute("CREATE TABLE billing_r003 (id int)")')
    said = failed(world, world.inv(), 3)
    assert len(said.splitlines()) == 1
    assert "migrations/versions/billing/r002.py was edited after r002 was applied" in said
    assert world.at() == "r002"
    ran = world.inv(BILLING_MIGRATIONS_EDITED="warn")
    assert ran.code == 0
    assert "r002.py was edited" in ran.err
    assert world.at() == "r003"
    assert "r002.py was edited" in failed(world, world.inv("db.check", "--service", "billing"), 3)


def test_a_database_that_newer_code_has_upgraded_is_left_as_it_is(world: World) -> None:
    """Row 39: 3, with where the database is and where this checkout ends."""
    world.history(2)
    assert world.inv().code == 0
    query(world.dsn, "UPDATE alembic_version_billing SET version_num = 'r009'")
    for words in ((), ("db.downgrade", "--service", "billing", "--revision", "base", "--yes")):
        said = failed(world, world.inv(*words), 3)
        assert f"billing: {world.dsn.target} is at r009, which" in said
        assert "it ends at r002" in said
    assert {"billing_r001", "billing_r002"} <= tables(world.dsn)
    assert query(world.dsn, "SELECT version_num FROM alembic_version_billing") == [("r009",)]


def test_a_downgrade_that_nobody_confirms_changes_nothing(world: World) -> None:
    """Row 46: 2 where nobody is at the keyboard."""
    world.history(2)
    assert world.inv().code == 0
    said = failed(world, world.inv("db.downgrade", "--service", "billing", "--revision", "base"), 2)
    assert "add --yes" in said
    assert world.at() == "r002"


def test_one_of_three_services_that_fails_leaves_the_others_alone(world: World, database: Callable[..., Dsn]) -> None:
    """Row 9: the others are upgraded, and the exit code is that of the failure."""
    others = {name: database(password=SECRET) for name in ("audit", "catalog")}
    for name, dsn in others.items():
        world.monorepo.service(name, dsn=dsn)
        world.history(2, name)
    world.history(2, r002='op.execute("SELECT 1/0")')
    said = failed(world, world.inv("db.upgrade"), 1)
    assert "division by zero" in said
    assert world.at() == "r001"
    for name, dsn in others.items():
        assert {f"{name}_r001", f"{name}_r002"} <= tables(dsn)


COMMANDS = [
    ("db.status",),
    ("db.upgrade",),
    ("db.upgrade", "--service", "billing"),
    ("db.downgrade", "--service", "billing", "--revision", "base", "--yes"),
    ("db.stamp", "--service", "billing", "--revision", "head", "--yes"),
    ("db.plan", "--service", "billing"),
    ("db.check", "--service", "billing"),
    ("db.doctor", "--service", "billing"),
    ("db.wait", "--service", "billing", "--head", "--timeout", "20s"),
]


def overlapping(monorepo: Monorepo, database: Callable[..., Dsn]) -> Dsn:
    """Make a database at two revisions of which one is above the other."""
    dsn = database(creates=True)
    monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    monorepo.revision(
        "billing", "a2", "a1", 'op.execute("CREATE TABLE more (id int)")', 'op.execute("DROP TABLE more")'
    )
    assert monorepo.inv("db.upgrade").code == 0
    query(dsn, "INSERT INTO alembic_version_billing VALUES ('a1')")
    return dsn


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_row_of_the_version_table_that_another_one_implies_is_told(
    monorepo: Monorepo, database: Callable[..., Dsn], words: tuple[str, ...]
) -> None:
    """A hand or a second dump has added it; nobody knows which of the two holds, so that nothing is run."""
    dsn = overlapping(monorepo, database)
    ran = monorepo.inv(*words)
    assert ran.code == 3, ran.text
    assert f"{dsn.target} is at a1, a2, and a2 is above a1" in ran.text
    assert len(query(dsn, "SELECT FROM alembic_version_billing")) == 2


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_revision_that_stands_in_the_version_table_twice_is_told(
    monorepo: Monorepo, database: Callable[..., Dsn], words: tuple[str, ...]
) -> None:
    """In a table without its key, as `CREATE TABLE AS` makes it: no statement of Alembic's expects two rows."""
    dsn = without_a_key(monorepo, database, "a2")
    ran = monorepo.inv(*words)
    assert (ran.code, f"{dsn.target} is at a2, a2, and a2 stands there twice" in ran.text) == (3, True), ran.text
    assert len(query(dsn, "SELECT FROM alembic_version_billing")) == 2
    command = "db.stamp --service billing --revision a2 --purge"
    ran = monorepo.inv("db.adopt", "--verify", "--service", "billing")
    assert (ran.code, f"inv {command}" in ran.text) == (3, True), ran.text
    assert monorepo.inv(*command.split(), "--yes").code == 0
    assert monorepo.inv("db.status").text.count("at head") == 1


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_row_of_the_version_table_without_a_revision_is_told(
    monorepo: Monorepo, database: Callable[..., Dsn], words: tuple[str, ...]
) -> None:
    dsn = without_a_key(monorepo, database, None)
    ran = monorepo.inv(*words)
    assert (ran.code, "NULL, which migrations/versions/billing doesn't have" in ran.text) == (3, True), ran.text
    assert "Traceback" not in ran.text
    assert len(query(dsn, "SELECT FROM alembic_version_billing")) == 2


def without_a_key(monorepo: Monorepo, database: Callable[..., Dsn], revision: str | None) -> Dsn:
    """Make a database whose version table has no key, and one row more, of a revision."""
    dsn = overlapping(monorepo, database)
    run_script(dsn, ["DELETE FROM alembic_version_billing WHERE version_num = 'a1'"])
    run_script(dsn, ["ALTER TABLE alembic_version_billing DROP CONSTRAINT alembic_version_billing_pkc"])
    run_script(dsn, ["ALTER TABLE alembic_version_billing ALTER version_num DROP NOT NULL"])
    query(dsn, "INSERT INTO alembic_version_billing VALUES ($1)", revision)
    return dsn


def test_a_row_too_many_is_found_by_the_tables_and_taken_away(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    overlapping(monorepo, database)
    ran = monorepo.inv("db.adopt", "--verify", "--service", "billing")
    assert ran.code == 3, ran.text
    command = "db.stamp --service billing --revision a2 --purge"
    assert f"inv {command}" in ran.text
    assert "no file" not in ran.text
    ran = monorepo.inv("db.undo", "--service", "billing", "--yes")
    assert (ran.code, "inv db.downgrade --service billing" in ran.text) == (2, True), ran.text
    assert monorepo.inv(*command.split(), "--yes").code == 0
    ran = monorepo.inv("db.upgrade")
    assert (ran.code, "is at a2" in ran.text) == (0, True), ran.text
