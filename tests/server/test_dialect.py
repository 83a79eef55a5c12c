"""What the dialect asks for in one message is what SQLAlchemy asks for in two."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Column, Connection, Integer, MetaData, Table, inspect
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from service_migrations.connection.dialect import NAME
from service_migrations.connection.simple_query import Connection as OwnConnection
from service_migrations.settings.dsn import Dsn
from tests.support.database import run_script, wait

MADE = [
    "CREATE SCHEMA other",
    "CREATE TABLE there (id int PRIMARY KEY) PARTITION BY LIST (id)",
    "CREATE TABLE partition PARTITION OF there DEFAULT",
    'CREATE TABLE other."Mixed Case" ()',
    "CREATE VIEW v AS SELECT 1 AS one",
    "CREATE MATERIALIZED VIEW other.m AS SELECT 1 AS one",
    "CREATE INDEX ix ON there (id)",
    "CREATE SEQUENCE s",
    "CREATE TYPE c AS (id int)",
    f"""CREATE TABLE "{"é" * 31}" ()""",
    """CREATE TABLE "it's \\" ()""",
]
PATH = "SET search_path TO public, pg_temp"
TEMPORARY = "CREATE TEMPORARY TABLE temporary (id int)"
NAMES = [
    *(
        "there",
        "partition",
        "Mixed Case",
        "mixed case",
        "v",
        "m",
        "ix",
        "there_pkey",
        "s",
        "c",
        "temporary",
        "pg_class",
    ),
    *("é" * 31, "é" * 31 + "x", "é" * 31 + "xy", "it's \\", "", "%", ":name"),
]
SCHEMAS = (None, "public", "other", "Other", "pg_catalog", "nowhere", "it's")


def engine_of(dsn: Dsn, dialect: str) -> AsyncEngine:
    options = dsn.connect_args() | ({"connection_class": OwnConnection} if dialect == NAME else {})
    return create_async_engine(dsn.url.set(drivername=dialect), poolclass=NullPool, connect_args=options)


def tables_there(dsn: Dsn, dialect: str, **options: Any) -> list[bool]:
    """Return whether each table is there, as SQLAlchemy has it over a dialect."""

    def look(connection: Connection) -> list[bool]:
        connection.execution_options(**options)
        connection.exec_driver_sql(PATH)
        connection.exec_driver_sql(TEMPORARY)
        MetaData().create_all(connection)
        Table("there", MetaData(), Column("id", Integer)).create(connection, checkfirst=True)
        Table("gone", MetaData(), Column("id", Integer)).drop(connection, checkfirst=True)
        return [inspect(connection).has_table(name, schema) for name in NAMES for schema in SCHEMAS]

    async def run() -> list[bool]:
        engine = engine_of(dsn, dialect)
        async with engine.connect() as connection:
            tables = await connection.run_sync(look)
        await engine.dispose()
        return tables

    tables: list[bool] = wait(run())
    return tables


def test_whether_a_table_is_there(database: Callable[..., Dsn]) -> None:
    dsn = database()
    run_script(dsn, MADE)
    own, sqlalchemys = tables_there(dsn, NAME), tables_there(dsn, "postgresql+asyncpg")
    each = [(name, schema) for name in NAMES for schema in SCHEMAS]
    assert dict(zip(each, own, strict=True)) == dict(zip(each, sqlalchemys, strict=True))
    assert set(own) == {True, False}
    assert tables_there(dsn, NAME, stream_results=True) == own
    assert tables_there(dsn, NAME, yield_per=2) == own


def test_an_inspector_asks_once(database: Callable[..., Dsn]) -> None:
    dsn = database()

    def look(connection: Connection) -> tuple[bool, bool, bool]:
        connection.exec_driver_sql(PATH)
        inspector = inspect(connection)
        before = inspector.has_table("late")
        connection.exec_driver_sql("CREATE TABLE late (id int)")
        return before, inspector.has_table("late"), inspect(connection).has_table("late")

    async def run(dialect: str) -> tuple[bool, bool, bool]:
        engine = engine_of(dsn, dialect)
        async with engine.connect() as connection:
            seen = await connection.run_sync(look)
        await engine.dispose()
        return seen

    assert wait(run(NAME)) == wait(run("postgresql+asyncpg"))
