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
