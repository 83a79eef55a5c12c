"""What goes by the simple query protocol comes to the same as what is prepared."""

from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from asyncpg.prepared_stmt import PreparedStatement
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from service_migrations.connection.simple_query import Connection
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, wait

SIMPLE = (
    "CREATE TABLE made (id int)",
    "  create index on t (id);\n",
    "INSERT INTO t VALUES (1), (2)",
    "INSERT INTO t VALUES (0, 'twice')",
    "UPDATE t SET name = ':-)' WHERE id = 0",
    "UPDATE t SET name = ':-)' WHERE id = 7",
    "DELETE FROM t",
    "COMMENT ON TABLE t IS 'x'",
    "COMMENT ON TABLE nothing IS 'x'",
    "SET LOCAL work_mem = '8MB'",
    "DROP TABLE",
    "TRUNCATE t",
)
PREPARED = (
    "SELECT * FROM t",
    "WITH gone AS (DELETE FROM t RETURNING id) SELECT * FROM gone",
    "DELETE FROM t\nRETURNING id",
    "update t set name = 'x' returning id, name",
    "INSERT INTO t VALUES (1); DELETE FROM t",
    "CREATE TABLE made (id int); DROP TABLE t;",
    "INSERT INTO t VALUES (1, 'a; b')",
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$",
    "DO $$ BEGIN NULL; END $$",
    "CREATED",
    "",
)


async def comes_to(connection: AsyncConnection, statement: str, **options: Any) -> tuple[object, ...]:
    """Run a statement, take it back, and return what SQLAlchemy says of it."""
    try:
        result = await connection.exec_driver_sql(statement, execution_options=options)
    except DBAPIError as error:
        return type(error), getattr(error.orig, "sqlstate", None), str(error.orig)
    else:
        return result.rowcount, result.returns_rows, result.all() if result.returns_rows else None
    finally:
        await connection.rollback()


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    """Make a database with a table and a row."""
    made = database()
    query(made, "CREATE TABLE t (id int UNIQUE, name text)")
    query(made, "INSERT INTO t VALUES (0)")
    return made


@pytest.mark.parametrize("statement", SIMPLE + PREPARED)
def test_it_comes_to_the_same_as_what_is_prepared(dsn: Dsn, statement: str) -> None:
    async def by(kind: "type[asyncpg.Connection[Any]]") -> tuple[object, ...]:
        arguments = {**dsn.connect_args(), "connection_class": kind}
        engine = create_async_engine(dsn.url, poolclass=NullPool, connect_args=arguments)
        async with engine.connect() as connection:
            return await comes_to(connection, statement)

    assert wait(by(Connection)) == wait(by(asyncpg.Connection))


@pytest.mark.parametrize(("statement", "simple"), [(s, True) for s in SIMPLE] + [(p, False) for p in PREPARED])
def test_only_what_has_one_statement_and_no_rows_is_not_prepared(dsn: Dsn, statement: str, *, simple: bool) -> None:
    async def prepared() -> bool:
        connection = await asyncpg.connect(**dsn.connect_args(), connection_class=Connection)
        try:
            return isinstance(await connection.prepare(statement), PreparedStatement)
        except asyncpg.PostgresSyntaxError:
            return True
        finally:
            await connection.close()

    assert wait(prepared()) != simple


def test_a_statement_whose_rows_would_be_streamed_is_run_as_well(dsn: Dsn) -> None:
    async def run() -> None:
        arguments = {**dsn.connect_args(), "connection_class": Connection}
        engine = create_async_engine(dsn.url, poolclass=NullPool, connect_args=arguments)
        async with engine.begin() as connection:
            streaming = await connection.execution_options(stream_results=True)
            await streaming.run_sync(lambda sync: sync.exec_driver_sql("UPDATE t SET name = 'streamed'"))

    wait(run())
    assert [tuple(row) for row in query(dsn, "SELECT name FROM t")] == [("streamed",)]
