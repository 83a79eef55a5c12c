"""The tests that the library brings for every service: what passes them, and that each of them can fail."""

import re
from pathlib import Path

import pytest

from service_migrations.postgres import Server
from tests.support.database import query
from tests.support.monorepo import MODELS, Monorepo, Ran
from tests.support.pytest_runs import given, pytest_in
from tests.support.shared_database import refer, share

STEPS = "test_every_step_goes_down_and_up_again_with_rows_in_the_tables"
BOTH = "test_online_and_offline_a_history_gives_what_the_models_say_and_base_leaves_nothing"
SHARED = "test_a_service_leaves_its_siblings_in_a_shared_database_alone"
SAME = "test_every_revision_gives_the_same_schema_as_on_other_versions_of_postgresql"
VERSION = "test_the_server_is_of_the_version_that_was_asked_for"


def outcomes(ran: Ran) -> dict[str, set[str]]:
    """Return the services with which each test passed (True) or failed."""
    lines = re.findall(r"^(PASSED|FAILED|ERROR) \S+::(\w+)(?:\[(\w+)\])?", ran.out, re.MULTILINE)
    assert lines, ran.text
    failed: dict[str, set[str]] = {}
    for outcome, test, service in lines:
        failed.setdefault(f"{outcome} {test}", set()).add(service)
    return failed


def test_each_test_finds_the_mistake_that_it_is_for(monorepo: Monorepo, server: Server) -> None:
    for name in ("filled", "leaves", "offline"):
        monorepo.service(name)
        monorepo.table_revision(name, f"{name}1", None)
    monorepo.revision("leaves", "leaves2", "leaves1", "op.execute(\"CREATE TYPE left_behind AS ENUM ('a')\")")
    monorepo.revision(
        "filled", "filled2", "filled1", "op.execute(\"UPDATE filled SET name = name || repeat('x', 50)\")"
    )
    monorepo.revision(
        "offline",
        "offline2",
        "offline1",
        'if not op.get_context().as_sql: op.execute("CREATE SEQUENCE numbers")',
        'op.execute("DROP SEQUENCE numbers")',
    )
    monorepo.service("differs", MODELS.format(table="differs") + "    more: Mapped[str]\n")
    monorepo.table_revision("differs", "differs1", None)
    refer(monorepo)
    (monorepo.root / "bootstrap.sql").write_text(
        "CREATE SCHEMA kept;\nCREATE EXTENSION citext SCHEMA kept;\n"
        "CREATE FUNCTION kept.one() RETURNS integer LANGUAGE sql AS 'SELECT 1';\n"
    )
    rows = monorepo.root / "rows"
    rows.mkdir()
    (rows / "filled.toml").write_text("filled1 = [\"INSERT INTO filled (name) VALUES ('one')\"]\n")
    (rows / "offline.toml").write_text("nowhere = []\n")
    (rows / "owners.toml").write_text("o001 = [\"INSERT INTO owners (name) VALUES ('one'), ('two')\"]\n")
    ran = pytest_in(
        monorepo.root,
        *("-rA", "--pyargs", "service_migrations.testing", "--override-ini=service_migrations_rows=rows"),
        **given(server),
    )
    everyone = {"differs", "filled", "items", "leaves", "offline", "owners"}
    failing = {STEPS: {"differs", "filled", "leaves", "offline"}, BOTH: {"differs", "leaves", "offline"}}
    assert outcomes(ran) == {
        f"PASSED {STEPS}": everyone - failing[STEPS],
        f"FAILED {STEPS}": failing[STEPS],
        f"PASSED {BOTH}": everyone - failing[BOTH],
        f"FAILED {BOTH}": failing[BOTH],
        f"PASSED {SHARED}": {"items", "owners"},
        f"PASSED {SAME}": everyone,
        f"PASSED {VERSION}": {""},
    }
    assert "leaves2.py: down is not the way back" in ran.out
    assert "value too long for type character varying(50)" in ran.out
    assert "these rows are for revisions that the history doesn't have" in ran.out
    assert not query(server.admin, "SELECT datname FROM pg_database WHERE datname LIKE 'service\\_migrations\\_test%'")


ODD_NAME = """
from sqlalchemy import Column, Integer, MetaData, Table

__all__ = ["things"]
things = Table("a\\u2028b\\x0cc", MetaData(), Column("id", Integer, primary_key=True))
"""


def test_a_name_may_have_any_character_that_ends_a_line(monorepo: Monorepo, server: Server) -> None:
    monorepo.service("billing", ODD_NAME)
    name = '"a\\u2028b\\x0cc"'
    create, drop = f"CREATE TABLE {name} (id serial PRIMARY KEY)", f"DROP TABLE {name}"
    monorepo.revision("billing", "r001", None, f"op.execute('{create}')", f"op.execute('{drop}')")
    ran = pytest_in(monorepo.root, "--pyargs", "service_migrations.testing", "-k", BOTH, **given(server))
    assert ran.code == 0, ran.text


def test_no_setting_of_this_machine_leads_a_test_to_another_database(monorepo: Monorepo, server: Server) -> None:
    """A developer's own database would be downgraded to base."""
    elsewhere = "postgresql://billing:secret@127.0.0.1:1/billing"
    keys = ("DATABASE_DSN", "DATABASE_DIRECT_DSN", "DATABASE_SCRATCH_DSN", "DATABASE_ADMIN_DSN")
    monorepo.service("billing", dsn=elsewhere, **dict.fromkeys(keys[1:], elsewhere), DATABASE_PASSWORD="other")
    monorepo.table_revision("billing", "r001", None)
    outside = {f"{prefix}{key}": elsewhere for key in keys for prefix in ("", "BILLING_")}
    ran = pytest_in(monorepo.root, "-rA", "--pyargs", "service_migrations.testing", **given(server), **outside)
    assert ran.code == 0, ran.text
    assert outcomes(ran) == {
        **{f"PASSED {test}": {"billing"} for test in (STEPS, BOTH, SAME)},
        f"PASSED {VERSION}": {""},
    }


@pytest.mark.parametrize("place", ["", "repo"])
def test_without_a_monorepo_or_without_a_service_it_is_one_line(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "repo"
    folder.mkdir()
    if place:
        (folder / "pyproject.toml").write_text("[tool.service-migrations]\n")
    ran = pytest_in(folder, "--pyargs", "service_migrations.testing")
    assert ran.code == 2
    wanted = "services/* holds no service" if place else "There is no monorepo here"
    assert [line for line in ran.out.splitlines() if wanted in line]
    assert "Traceback" not in ran.text


OWN_SCHEMA = """
from sqlalchemy import Column, Integer, MetaData, Table

__all__ = ["things"]
things = Table("things", MetaData(schema="{schema}"), Column("id", Integer, primary_key=True))
"""


def own_schema(monorepo: Monorepo, name: str, create: str = "", drop: str = "") -> None:
    """Write a service whose models have the schema of its name, and its revision."""
    monorepo.service(name, OWN_SCHEMA.format(schema=name))
    table = f'op.create_table("things", sa.Column("id", sa.Integer, primary_key=True), schema="{name}")'
    monorepo.revision(name, f"{name}1", None, f"{create}\n{table}", f'op.drop_table("things", schema="{name}")\n{drop}')


def test_services_of_one_database_may_have_schemas_of_their_own(monorepo: Monorepo, server: Server) -> None:
    """An upgrade creates the schema, and base keeps it: nothing is left behind that a sibling made."""
    for name in ("orders", "returns"):
        own_schema(monorepo, name)
    monorepo.service("stock")
    monorepo.table_revision("stock", "s1", None)
    share(monorepo, "orders", "stock", "returns")
    ran = pytest_in(monorepo.root, "-rA", "--pyargs", "service_migrations.testing", **given(server))
    assert ran.code == 0, ran.text


def test_a_history_may_create_the_schema_of_its_models_where_its_version_table_is_elsewhere(
    monorepo: Monorepo, server: Server
) -> None:
    own_schema(monorepo, "orders", 'op.execute("CREATE SCHEMA orders")', 'op.execute("DROP SCHEMA orders")')
    with (monorepo.root / "pyproject.toml").open("a") as table:
        table.write('\n[tool.service-migrations.service.orders]\nversion_table_schema = "public"\n')
    ran = pytest_in(monorepo.root, "-rA", "--pyargs", "service_migrations.testing", **given(server))
    assert ran.code == 0, ran.text


def test_a_revision_that_fails_is_one_line_in_each_test_and_once_in_the_summary(
    monorepo: Monorepo, server: Server
) -> None:
    """Each test gave hundreds of frames of the library and its drivers, and pytest's summary no reason."""
    for name in ("python", "rows", "sql"):
        monorepo.service(name)
        monorepo.table_revision(name, f"{name}1", None)
    monorepo.revision("sql", "sql2", "sql1", "op.execute('MERGES INTO sql')")
    monorepo.revision("python", "python2", "python1", "def deep():\n    return {}['key']\ndeep()")
    rows = monorepo.root / "tests" / "matrix" / "rows"
    rows.mkdir(parents=True)
    (rows / "rows.toml").write_text('rows1 = ["INSERT INTO nowhere VALUES (1)"]\n')
    words = ("--pyargs", "service_migrations.testing")
    ran = pytest_in(monorepo.root, *words, "-n", "2", **given(server))
    sql = 'sql: migrations/versions/sql/sql2.py:10: syntax error at or near "MERGES" [42601]. It was rolled back.'
    python = "python: migrations/versions/python/python2.py:11: KeyError: 'key'. It was rolled back."
    row = 'rows: a row after rows1: relation "nowhere" does not exist [42P01]: INSERT INTO nowhere VALUES (1)'
    lines = ran.out.splitlines()
    assert (lines.count(sql), lines.count(python), lines.count(row)) == (3, 3, 1), ran.out
    assert {f"{sql} (3 tests)", f"{python} (3 tests)", f"{row} (1 test)"} <= set(lines)
    assert ran.out.count("in deep\n") == 3
    assert not [line for line in lines if "site-packages" in line or "session.py" in line], ran.out
    whole = pytest_in(monorepo.root, *words, "-k", f"{SAME} and sql", "--tb=long", **given(server))
    assert "session.py" in whole.out
    in_ci = pytest_in(monorepo.root, *words, "-k", f"{SAME} and sql", **given(server), CI="1")
    assert [line for line in in_ci.out.splitlines() if line.startswith("FAILED ") and line.endswith(sql)], in_ci.out
