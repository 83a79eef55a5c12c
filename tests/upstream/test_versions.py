"""Traps of the driver and of the server's version."""

import re
from collections.abc import Callable
from textwrap import dedent

import pytest

import service_migrations
from service_migrations.errors import MigrationError
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, tables, wait
from tests.support.monorepo import Monorepo
from tests.support.versions import SQLALCHEMY

# Two statements in one


def test_two_statements_in_one_execute_are_told_in_one_line(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    monorepo.table_revision("billing", "r001", None)
    monorepo.revision(
        "billing",
        "r002",
        "r001",
        'op.create_table("before", sa.Column("id", sa.Integer))\n'
        'op.execute("ALTER TABLE billing ADD a int; ALTER TABLE billing ADD b int")',
    )
    monorepo.service("billing", dsn=dsn)

    ran = monorepo.inv("db.upgrade")

    assert ran.code == 1
    last = ran.err.splitlines()[-1]
    assert re.match(r"billing: migrations/versions/billing/r002\.py:\d+: cannot insert multiple commands", last)
    assert 'Write one op.execute() for each, or set driver = "psycopg"' in last
    assert "Traceback" not in ran.text
    assert ran.err.count("multiple commands") == 1
    assert tables(dsn) == {"billing", "alembic_version_billing"}


# Syntax of newer versions


NEWER = {
    "unique_nulls_not_distinct": (15, 'op.execute("ALTER TABLE billing ADD UNIQUE NULLS NOT DISTINCT (name)")'),
    "unique_nulls_not_distinct_of_sqlalchemy": (
        15,
        'op.create_unique_constraint("one", "billing", ["name"], postgresql_nulls_not_distinct=True)',
    ),
    "virtual_column": (18, 'op.execute("ALTER TABLE billing ADD twice int GENERATED ALWAYS AS (id * 2) VIRTUAL")'),
    "virtual_column_of_sqlalchemy": (
        18,
        'op.add_column("billing", sa.Column("twice", sa.Integer, sa.Computed("id * 2", persisted=False)))',
    ),
    "not_null_not_valid": (
        18,
        """
        op.execute("ALTER TABLE billing ALTER name DROP NOT NULL")
        op.execute("ALTER TABLE billing ADD CONSTRAINT there NOT NULL name NOT VALID")
        """,
    ),
}
"""Each with the PostgreSQL that it came with."""


VIRTUAL = pytest.mark.skipif(SQLALCHEMY < (2, 1), reason="SQLAlchemy 2.0 refuses a virtual column of PostgreSQL itself")
CASES = [
    pytest.param(*case, id=name, marks=[VIRTUAL] if name == "virtual_column_of_sqlalchemy" else [])
    for name, case in NEWER.items()
]


@pytest.mark.parametrize(("since", "body"), CASES)
def test_what_an_old_server_rejects_leaves_no_trace_there_and_works_on_a_new_one(
    since: int, body: str, server: Server, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    monorepo.table_revision("billing", "r001", None)
    body = dedent(body).strip()
    path = monorepo.revision(
        "billing", "r002", "r001", f'op.create_table("before", sa.Column("id", sa.Integer))\n{body}'
    )
    service = monorepo.service("billing", dsn=dsn)

    if int(server.version) >= since:
        assert wait(service_migrations.upgrade(service)).after == ("r002",)
        assert "before" in tables(dsn)
        return

    with pytest.raises(MigrationError) as caught:
        wait(service_migrations.upgrade(service))
    assert type(caught.value) is MigrationError
    assert caught.value.exit_code == 1
    place = re.match(r"billing: migrations/versions/billing/r002\.py:(\d+): ", str(caught.value))
    assert place
    guilty = path.read_text(encoding="utf-8").splitlines()[int(place[1]) - 1]
    assert guilty.strip() == body.splitlines()[-1]
    assert "It was rolled back" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert tables(dsn) == {"billing", "alembic_version_billing"}
    assert [row[0] for row in query(dsn, "SELECT version_num FROM alembic_version_billing")] == ["r001"]


def test_a_new_enum_value_that_is_used_at_once_fails_cleanly_on_every_version(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    monorepo.revision(
        "billing",
        "r001",
        None,
        "op.execute(\"CREATE TYPE state AS ENUM ('new')\")\nop.execute('CREATE TABLE billing (state state)')",
    )
    wrong = """
    op.execute("ALTER TYPE state ADD VALUE 'old'")
    op.execute("INSERT INTO billing VALUES ('old')")
    """
    monorepo.revision("billing", "r002", "r001", wrong)
    service = monorepo.service("billing", dsn=dsn)

    with pytest.raises(MigrationError, match=r"r002\.py:\d+: unsafe use of new value .*\[55P04\]") as caught:
        wait(service_migrations.upgrade(service))
    assert caught.value.exit_code == 1
    assert query(dsn, "SELECT enum_range(NULL::state)::text")[0][0] == "{new}"
    assert query(dsn, "SELECT version_num FROM alembic_version_billing")[0][0] == "r001"


def test_a_new_enum_value_of_an_autocommit_block_can_be_used_on_every_version(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """Row 45: the next statement, in a transaction of its own, sees it."""
    dsn = database()
    monorepo.revision(
        "billing",
        "r001",
        None,
        "op.execute(\"CREATE TYPE state AS ENUM ('new')\")\nop.execute('CREATE TABLE billing (state state)')",
    )
    right = """
    with op.get_context().autocommit_block():
        op.execute("ALTER TYPE state ADD VALUE IF NOT EXISTS 'old'")
    op.execute("INSERT INTO billing VALUES ('old')")
    """
    monorepo.revision("billing", "r002", "r001", right)

    wait(service_migrations.upgrade(monorepo.service("billing", dsn=dsn)))
    assert query(dsn, "SELECT state::text FROM billing")[0][0] == "old"
