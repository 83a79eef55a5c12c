"""How PostgreSQL runs the library's own queries: none reads a whole table again for each row of another."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import service_migrations
from service_migrations.catalog.objects import read
from service_migrations.settings.dsn import Dsn
from tests.support.database import run_script, wait
from tests.support.monorepo import Monorepo

TABLES = 60
ROWS = 200
"""A smaller relation is read whole for each row also where it has an index."""
LOOPS = 20

A_QUERY = re.compile(r"(?:\s|--[^\n]*\n)*(?:SELECT|WITH)\b")

MODELS = f"""
from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Integer, MetaData, Numeric, String, Table

metadata = MetaData()
for number in range({TABLES}):
    Table(
        f"t{{number}}",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("parent", ForeignKey(f"t{{max(0, number - 1)}}.id")),
        Column("code", String(20), unique=True),
        Column("price", Numeric, CheckConstraint("price > 0", name=f"positive_{{number}}")),
        Index(f"i{{number}}", "price"),
    )
__all__ = ["metadata"]
"""
CHANGES = (
    "ALTER TABLE t{number} ALTER COLUMN code TYPE varchar(30)",
    "CREATE FUNCTION of_t{number}(t{number}) RETURNS SETOF t{number} LANGUAGE sql AS 'SELECT $1.*'",
    "CREATE VIEW v{number} AS SELECT id FROM t{number}",
)


@contextmanager
def repeated_scans() -> Iterator[dict[str, list[str]]]:
    """Yield each query of SQLAlchemy's connections, by its first words, with what of its plan is read repeatedly."""
    scans: dict[str, list[str]] = {}

    def explain(_connection: object, cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        if A_QUERY.match(statement):
            cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}", parameters)
            [[plan]] = cursor.fetchall()
            [explained] = json.loads(plan) if isinstance(plan, str) else plan
            scans.setdefault(statement[:80], []).extend(repeated(explained["Plan"]))

    event.listen(Engine, "before_cursor_execute", explain)
    try:
        yield scans
    finally:
        event.remove(Engine, "before_cursor_execute", explain)


def repeated(node: dict[str, Any]) -> Iterator[str]:
    """Yield the nodes of a plan that read many rows in each of many loops."""
    rows = node["Actual Rows"] + sum(value for key, value in node.items() if key.startswith("Rows Removed"))
    if rows > ROWS and node["Actual Loops"] > LOOPS:
        relation = node.get("Relation Name", node.get("CTE Name", ""))
        yield f"{node['Node Type']} {relation}: {rows} rows, {node['Actual Loops']} times"
    for child in node.get("Plans", ()):
        yield from repeated(child)


def test_no_query_reads_a_table_again_for_each_row_of_another(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    """What does, takes a hundred times as long for ten times the tables."""
    dsn = database()
    service = monorepo.service("billing", MODELS, dsn)
    assert monorepo.inv("db.revision", "--service", "billing", "-m", "Begin.").code == 0
    wait(service_migrations.upgrade(service))
    run_script(dsn, [line.format(number=number) for number in range(TABLES) for line in CHANGES])

    async def read_catalog() -> None:
        engine = create_async_engine(dsn.url, poolclass=NullPool, connect_args=dsn.connect_args())
        async with engine.connect() as connection:
            assert len(await read(connection)) > TABLES
        await engine.dispose()

    with repeated_scans() as scans:
        wait(read_catalog())
        check = wait(service_migrations.check(service))
    assert len(check.differences) == TABLES
    seen = " ".join(scans)
    assert all(start in seen for start in ("The objects", "What depends on", "One row for each table", "What keeps"))
    assert not {text: nodes for text, nodes in scans.items() if nodes}
