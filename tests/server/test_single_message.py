"""A query of the library's own is one message, and comes to the same as one that is prepared."""

from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import service_migrations
from service_migrations.connection.rows import rows, together
from service_migrations.connection.simple_query import Connection, Held
from service_migrations.connection.single_message import fetch
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo
from tests.support.proxy import proxy

TEXTS = [
    "",
    "plain",
    "it's",
    'a "b"',
    r"back\slash",
    r"\n",
    "new\nline",
    "tab\t",
    "\r",
    "ä€😀",
    ":name",
    "$1",
    "%s",
    r"\'",
]
TYPES = (
    "SELECT CAST(:text AS text) AS text, CAST(:list AS text[]) AS list, :number AS number, :flag AS flag, :none AS none"
)


def over(dsn: Dsn, run: Callable[[Connection], Any], **settings: str) -> Any:
    """Return what a function returns over a connection of ours."""

    async def connect() -> Any:
        connection = await asyncpg.connect(**dsn.connect_args(), connection_class=Connection, server_settings=settings)
        try:
            return await run(connection)
        finally:
            await connection.close()

    return wait(connect())


@pytest.mark.parametrize("standard_strings", ["on", "off"])
def test_each_value_comes_back_as_it_was(database: Callable[..., Dsn], standard_strings: str) -> None:
    async def read(connection: Connection) -> list[Any]:
        values: dict[str, Any] = {"number": 2**62, "flag": True, "none": None}
        found = [await fetch(connection, TYPES, text=text, list=[text, "x"], **values) for text in TEXTS]
        return [vars(row) for (row,) in found]

    texts = over(database(), read, standard_conforming_strings=standard_strings, escape_string_warning="off")
    assert texts == [{"text": t, "list": [t, "x"], "number": 2**62, "flag": True, "none": None} for t in TEXTS]


def test_a_query_without_parameters_may_have_colons_in_a_name(database: Callable[..., Dsn]) -> None:
    rows_of = over(database(), lambda connection: fetch(connection, 'SELECT 1 AS ":name" ORDER BY 1'))
    assert [vars(row) for row in rows_of] == [{":name": 1}]


def test_rows_keep_their_order_and_an_empty_list_is_one(database: Callable[..., Dsn]) -> None:
    async def read(connection: Connection) -> Any:
        descending = await fetch(connection, "SELECT n FROM generate_series(1, 500) AS n ORDER BY n DESC")
        nothing = await fetch(connection, "SELECT n FROM generate_series(1, :last) AS n", last=0)
        return [row.n for row in descending], nothing

    assert over(database(), read) == (list(range(500, 0, -1)), [])


@pytest.mark.parametrize("options", [{"connection_class": Connection}, {}], ids=["ours", "anybodys"])
def test_it_is_sent_through_sqlalchemy_and_waits_once_over_a_connection_of_ours(
    database: Callable[..., Dsn], options: dict[str, Any]
) -> None:
    dsn = database()

    async def read(through: Dsn, count: Callable[[], int]) -> None:
        engine = create_async_engine(
            through.url, poolclass=NullPool, connect_args={**through.connect_args(), **options}
        )
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            before = count()
            (row,) = await rows(connection, TYPES, text="a%b", list=["c"], number=1, flag=False, none=None)
            assert (row.text, row.list, row.number, row.flag, row.none) == ("a%b", ["c"], 1, False, None)
            assert count() - before == (1 if options else 2)
            first, second = await together(
                connection, ("SELECT 1 AS n", {}), ("SELECT 2 AS n WHERE :no", {"no": False})
            )
            assert ([row.n for row in first], second) == ([1], [])
        await engine.dispose()

    with proxy(dsn) as (between, through):
        wait(read(through, lambda: between.asked))


def test_what_is_held_goes_with_the_next_statement(database: Callable[..., Dsn]) -> None:
    dsn = database()

    async def run(connection: Connection) -> None:
        connection.held = Held("CREATE TABLE held (id int)")
        assert await (await connection.prepare("INSERT INTO held VALUES (1), (2)")).fetch() == []
        connection.held = Held("DELETE FROM held WHERE id = 1")
        assert [row[0] for row in await (await connection.prepare("SELECT id FROM held")).fetch()] == [2]
        connection.held = Held("DELETE FROM held")
        await connection.execute("ROLLBACK")
        assert connection.held is None
        connection.held = Held("DELETE FROM held WHERE id = 3")
        assert await connection.execute("INSERT INTO held VALUES ($1)", 3) == "INSERT 0 1"

    over(dsn, run)
    assert sorted(row[0] for row in query(dsn, "SELECT id FROM held")) == [2, 3]


def test_an_error_of_what_is_held_is_recovered_from_or_raised(database: Callable[..., Dsn]) -> None:
    errors: list[Exception] = []

    async def run(connection: Connection) -> None:
        async def recover(error: Exception) -> bool:
            errors.append(error)
            return len(errors) == 1

        for _ in range(2):
            connection.held = Held("SELECT 1 / 0", recover)
            await connection.execute("CREATE TABLE once (id int)")

    dsn = database()
    with pytest.raises(asyncpg.DivisionByZeroError):
        over(dsn, run)
    assert len(errors) == 2
    assert query(dsn, "SELECT count(*) FROM pg_tables WHERE tablename = 'once'") == [(1,)]


def test_a_begin_that_is_held_begins_the_transaction_of_the_next_statement(database: Callable[..., Dsn]) -> None:
    async def run(connection: Connection) -> Any:
        connection.holds_next = True
        transaction = connection.transaction(isolation="serializable")
        await transaction.start()
        assert not connection.is_in_transaction()
        await connection.execute("CREATE TABLE begun (id int)")
        level = await connection.fetchval("SHOW transaction_isolation")
        await transaction.rollback()
        return level, await connection.fetchval("SELECT to_regclass('begun')")

    assert over(database(), run) == ("serializable", None)


def test_a_listener_may_use_the_drivers_connection_while_something_is_held(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """Such as that of a tracing library: it runs between a revision and Alembic's statement for the version table."""
    dsn = database()
    listen = """
    def before(connection, cursor, statement, *_):
        if "alembic_version" in statement:
            for query in ("fetchval", "execute"):
                connection.connection.run_async(lambda driver: getattr(driver, query)("SELECT 1"))

    sa.event.listen(op.get_bind().engine, "before_cursor_execute", before)
    op.execute("SET ROLE NONE")
    op.execute("CREATE TABLE listened (id int)")
    """
    monorepo.table_revision("billing", "r1", None)
    monorepo.revision("billing", "r2", "r1", listen)
    monorepo.revision("billing", "r3", "r2", 'op.execute("DROP TABLE listened")')
    wait(service_migrations.upgrade(monorepo.service("billing", dsn=dsn)))
    assert query(dsn, "SELECT version_num FROM alembic_version_billing") == [("r3",)]
    assert [row[0] for row in query(dsn, "SELECT revision FROM migration_log_billing ORDER BY id")] == [
        "r1",
        "r2",
        "r3",
    ]


@pytest.mark.parametrize("comment", ["{} -- traced", "/* traced */ {}", "{} /* traced */"])
def test_a_listener_may_comment_each_statement(monorepo: Monorepo, database: Callable[..., Dsn], comment: str) -> None:
    dsn = database()
    monorepo.table_revision("billing", "r1", None)
    monorepo.revision("billing", "r2", "r1", 'op.execute("CREATE TABLE commented (id int)")')

    def add(_: object, __: object, statement: str, parameters: object, *___: object) -> tuple[str, object]:
        return comment.format(statement), parameters

    event.listen(Engine, "before_cursor_execute", add, retval=True)
    try:
        wait(service_migrations.upgrade(monorepo.service("billing", dsn=dsn)))
    finally:
        event.remove(Engine, "before_cursor_execute", add)
    assert query(dsn, "SELECT revision FROM migration_log_billing ORDER BY id") == [("r1",), ("r2",)]
