"""The script of --sql leaves its session, after each revision, as an upgrade does: one psql runs all of it."""

import os
import subprocess
from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.catalog import catalog
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo, dsn_text
from tests.support.network import program

LEFT = {
    "a dump's search path": "SELECT pg_catalog.set_config('search_path', '', false)",
    "a time limit": "SET statement_timeout = 1",
    "a setting in a block": "DO $$ BEGIN SET search_path TO pg_catalog; END $$",
    "read only": "SET default_transaction_read_only = on",
    "a temporary table": "CREATE TEMP TABLE things (other int)",
    "a comment behind it": "SET search_path TO pg_catalog -- what follows",
}
LOOK = "INSERT INTO seen SELECT {}, current_setting('search_path'), current_setting('statement_timeout')"


def psql(dsn: Dsn, script: str, folder: os.PathLike[str]) -> None:
    """Run a script as a person does."""
    ran = subprocess.run(
        [program("psql", "postgresql-client"), "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-d", dsn_text(dsn)],
        input=script,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PGOPTIONS": "-c statement_timeout=60s"},
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("direction", ["up", "and down"])
@pytest.mark.parametrize("left", LEFT.values(), ids=LEFT)
def test_a_revision_of_a_script_leaves_nothing_to_the_next_one(
    left: str, direction: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """What the next one does, and the version table, would be looked for in another schema, or in a temporary table."""
    dsn, online = database(), database()
    service = monorepo.service("billing", dsn=online)
    create = (
        'op.execute("CREATE TABLE things (id int)")\nop.execute("CREATE TABLE seen (r int, path text, timeout text)")'
    )
    change = f'op.execute("ALTER TABLE things ADD COLUMN more int")\nop.execute("{LOOK.format(3)}")'
    monorepo.revision("billing", "a1", None, create, "op.drop_table('seen')\nop.drop_table('things')")
    monorepo.revision("billing", "b2", "a1", f'op.execute("{left}")', f'op.execute("{left}")')
    monorepo.revision("billing", "c3", "b2", change, "op.drop_column('things', 'more')")
    wait(service_migrations.upgrade(service))
    psql(dsn, wait(service_migrations.sql(service, "head")), monorepo.root)
    if direction == "and down":
        wait(service_migrations.downgrade(service, "a1"))
        psql(dsn, wait(service_migrations.sql(service, "c3:a1", down=True)), monorepo.root)
    assert _without_ledger(catalog(dsn)) == _without_ledger(catalog(online))


def _without_ledger(lines: list[str]) -> list[str]:
    return [line for line in lines if "migration_log" not in line]


def test_a_script_puts_back_only_what_is_left(monorepo: Monorepo) -> None:
    service = monorepo.service("billing", dsn=None)
    monorepo.revision("billing", "a1", None, 'op.execute("SET LOCAL lock_timeout = 0")')
    script = wait(service_migrations.sql(service, "head"))
    assert "RESET" not in script
    assert "DISCARD" not in script


@pytest.mark.parametrize("turns_off", ["SET LOCAL {} = off", "SELECT set_config('{}', 'off', true)"])
def test_a_parameter_is_the_same_where_strings_have_escapes(
    turns_off: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """A backslash of the value began an escape in the script, and ate the quote at the end of it."""
    dsn, online = database(), database()
    service = monorepo.service("billing", dsn=online)
    setting = turns_off.format("standard_conforming_strings")
    insert = 'op.execute(sa.text("INSERT INTO notes VALUES (:note)").bindparams(note=note))'
    notes = 'for note in ("a\\\\nb", "a path\\\\", "it\'s"):'
    up = f'op.execute("CREATE TABLE notes (note text)")\nop.execute({setting!r})\n{notes}\n    {insert}'
    monorepo.revision("billing", "a1", None, up)
    wait(service_migrations.upgrade(service))
    psql(dsn, wait(service_migrations.sql(service, "head")), monorepo.root)
    rows = "SELECT note FROM notes ORDER BY note"
    assert [row[0] for row in query(dsn, rows)] == [row[0] for row in query(online, rows)]
