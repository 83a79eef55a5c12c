"""Histories and version tables that can't be right."""

import pytest

import migrations
from migrations.errors import UsageError
from tests.conftest import wait
from tests.faults.tools import World, failed
from tests.monorepo import Monorepo

NOBODY_LISTENS = "postgresql://app:secret@127.0.0.1:1/app"
"""Whoever connects to it gets another error than the one that a test waits for."""


def test_a_history_that_is_a_circle_is_refused_before_connecting(monorepo: Monorepo) -> None:
    """Row 38: 2, in one line that names the revisions."""
    service = monorepo.service("billing", dsn=NOBODY_LISTENS)
    monorepo.revision("billing", "r001", None)
    monorepo.revision("billing", "r002", "r003")
    monorepo.revision("billing", "r003", "r002")
    with pytest.raises(UsageError, match=r"migrations/versions/billing.*r002") as caught:
        wait(migrations.upgrade(service))
    assert "\n" not in str(caught.value)


def test_an_id_with_a_quote_is_refused_before_connecting(monorepo: Monorepo) -> None:
    """Row 38: 2, in one line that names the file."""
    service = monorepo.service("billing", dsn=NOBODY_LISTENS)
    path = monorepo.revision("billing", "r001", None)
    path.write_text(path.read_text(encoding="utf-8").replace("'r001'", '"r\'; DROP TABLE billing"'), encoding="utf-8")
    with pytest.raises(UsageError, match=r"migrations/versions/billing/r001\.py: the id") as caught:
        wait(migrations.upgrade(service))
    assert "\n" not in str(caught.value)


def test_a_version_table_that_does_not_hold_what_was_logged_is_told(world: World) -> None:
    """Row 41: whatever undid it, the exit code is 70 and never 0."""
    world.history(2)
    env = world.monorepo.root / "migrations" / "env.py"
    undo = "UPDATE alembic_version_billing SET version_num = 'r001'"
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
