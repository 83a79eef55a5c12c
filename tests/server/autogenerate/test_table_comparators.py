"""Comparators of other packages for tables and columns, which Alembic calls while it compares a table."""

from collections.abc import Callable, Iterator

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import EMPTY, first_upgrade, remodel
from tests.support.database import query, wait
from tests.support.environment import comparators_of, write_hooks, written
from tests.support.monorepo import MODELS, Monorepo

COMPARATORS = """
from alembic.autogenerate import comparators
from alembic.operations.ops import CreateTableCommentOp
from alembic.runtime.plugins import Plugin
from alembic.util import PriorityDispatchResult

def of_table(context, operations, schema, name, there, model):
    kinds = {context.connection.exec_driver_sql("SELECT relkind FROM pg_class LIMIT 1").scalar().__class__.__name__}
    sides = [side is not None and sorted(column.name for column in side.columns) for side in (there, model)]
    operations.ops.append(CreateTableCommentOp(name, f"{sides} {kinds}"))
    return PriorityDispatchResult.CONTINUE

def of_column(context, operation, schema, table, name, there, model):
    operation.modify_comment = model.info.get("comment", False)
    return PriorityDispatchResult.CONTINUE
"""
WAYS = {
    "in the global registry": """
comparators.dispatch_for("table")(of_table)
comparators.dispatch_for("column")(of_column)
""",
    "as a plugin": """
if "team.plugin" not in PLUGINS:
    PLUGINS["team.plugin"] = plugin = Plugin("team.plugin")
    plugin.add_autogenerate_comparator(of_table, "table")
    plugin.add_autogenerate_comparator(of_column, "column", qualifier="postgresql")
OPTIONS["autogenerate_plugins"] = ["alembic.autogenerate.*", "team.plugin"]
""",
}


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    with comparators_of():
        yield
    PLUGINS.pop("team.plugin").remove() if "team.plugin" in PLUGINS else None


PLUGINS: dict[str, object] = {}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_comparators_of_tables_and_columns_are_called(
    monorepo: Monorepo, database: Callable[..., Dsn], way: str
) -> None:
    """For each table that the service sees, with what Alembic passes: in the database, in the models, or in both."""
    dsn = database()
    for name in ("billing", "catalog"):
        first_upgrade(monorepo, monorepo.service(name, dsn=dsn))
    commented = MODELS.replace("String(50))", 'String(50), info={{"comment": "called so"}})')
    remodel(monorepo, monorepo.find("billing"), commented.format(table="billing"))
    service = monorepo.find("billing")
    write_hooks(monorepo, f"from tests.server.autogenerate.test_table_comparators import PLUGINS\n{COMPARATORS}{way}")
    code = written(monorepo, service)
    assert "[['id', 'name'], ['id', 'name']] {'str'}" in code
    assert "catalog" not in code
    assert code.count(' comment="called so"') == 1
    wait(service_migrations.upgrade(service))
    assert query(dsn, "SELECT col_description('billing'::regclass, 2)") == [("called so",)]
    remodel(monorepo, service, EMPTY)
    code = written(monorepo, monorepo.find("billing"))
    assert code.index("[['id', 'name'], False]") < code.index("drop_table")
    wait(service_migrations.upgrade(service))
    remodel(monorepo, service, MODELS.format(table="invoices"))
    code = written(monorepo, monorepo.find("billing"))
    assert code.index("create_table") < code.index("[False, ['id', 'name']]")
