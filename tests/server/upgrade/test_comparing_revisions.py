"""A revision may compare the database with models of its own; it sees what it would see under plain Alembic."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo

TABLES = """
op.execute("CREATE SCHEMA other")
op.execute("CREATE TABLE other.kept ()")
op.execute("CREATE TABLE dropped (id int)")
op.execute("CREATE TABLE orders (id int PRIMARY KEY, note text DEFAULT 'a')")
op.execute("CREATE TABLE changes (change text)")
"""
COMPARISON = """
import alembic.autogenerate
wanted = sa.MetaData()
sa.Table("orders", wanted, sa.Column("id", sa.Integer, primary_key=True), sa.Column("note", sa.Text))
sa.Table("added", wanted, sa.Column("id", sa.Integer))
sa.Table("changes", wanted, sa.Column("change", sa.Text))
for change in alembic.autogenerate.compare_metadata(op.get_context(), wanted):
    op.execute(sa.text("INSERT INTO changes VALUES (:change)").bindparams(change=f"{change[0]} {change[1].name}"))
"""


@pytest.mark.parametrize("schema", ["", 'version_table_schema = "public"\n', 'version_table_schema = "own"\n'])
def test_neither_its_bookkeeping_nor_another_schema_nor_a_default_is_a_difference(
    schema: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    configured = monorepo.root / "pyproject.toml"
    table = f"[tool.service-migrations.service.billing]\n{schema}\n[tool.alembic]"
    configured.write_text(configured.read_text(encoding="utf-8").replace("[tool.alembic]", table), encoding="utf-8")
    monorepo.service("billing", dsn=dsn)
    monorepo.revision("billing", "r001", None, TABLES)
    monorepo.revision("billing", "r002", "r001", COMPARISON)
    assert wait(service_migrations.upgrade(monorepo.find("billing"))).after == ("r002",)
    assert [row[0] for row in query(dsn, "SELECT change FROM changes ORDER BY 1")] == [
        "add_table added",
        "remove_table dropped",
    ]
