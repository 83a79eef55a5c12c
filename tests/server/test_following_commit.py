"""What is executed with a COMMIT, in the transaction that begins with it: it neither hides nor holds up anything."""

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from service_migrations.connection.dialect import NAME
from service_migrations.connection.drivers import driver_of
from service_migrations.connection.scripts import begin_with, follow_commit
from service_migrations.connection.simple_query import Connection
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, wait

FOLLOWING = ["SET own.mark = 'next'"]
MARK = "SELECT current_setting('own.mark', true)"
Body = Callable[[AsyncConnection], Awaitable[None]]


@pytest.fixture
def run(database: Callable[..., Dsn]) -> Callable[[Body], Dsn]:
    """Return what runs a function over a connection of ours to a database with a table, and returns the database."""

    def run_over(body: Body) -> Dsn:
        dsn = database()
        query(dsn, "CREATE TABLE public.t (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")

        async def connect() -> None:
            arguments = {**dsn.connect_args(), "connection_class": Connection, "prepared_statement_cache_size": 0}
            url = dsn.url.set(drivername=NAME)
            engine = create_async_engine(
                url, poolclass=NullPool, connect_args=arguments, isolation_level="READ COMMITTED"
            )
            async with engine.connect() as connection:
                await body(connection)
            await engine.dispose()

        wait(connect())
        return dsn

    return run_over


async def insert(connection: AsyncConnection, *ids: int) -> None:
    for number in ids:
        await connection.exec_driver_sql(f"INSERT INTO public.t VALUES ({number})")  # noqa: S608 - numbers


async def commit(connection: AsyncConnection, following: list[str] = FOLLOWING) -> None:
    await connection.run_sync(follow_commit, following)
    await connection.commit()


async def mark(connection: AsyncConnection) -> object:
    return (await connection.exec_driver_sql(MARK)).scalar()


def ids(dsn: Dsn) -> list[int]:
    return [row[0] for row in query(dsn, "SELECT id FROM public.t ORDER BY id")]


def test_it_is_in_the_next_transaction(run: Callable[[Body], Dsn]) -> None:
    async def body(connection: AsyncConnection) -> None:
        await insert(connection, 1)
        await commit(connection)
        await connection.run_sync(begin_with, FOLLOWING)
        await insert(connection, 2)
        assert await mark(connection) == "next"
        await connection.rollback()
        assert await mark(connection) in (None, "")

    assert ids(run(body)) == [1]


@pytest.mark.parametrize("expected", [["SET own.mark = 'other'"], [*FOLLOWING, "SET own.more = '1'"]])
def test_other_statements_begin_one_of_their_own(run: Callable[[Body], Dsn], expected: list[str]) -> None:
    async def body(connection: AsyncConnection) -> None:
        await insert(connection, 1)
        await commit(connection, ["SET own.first = '1'", *FOLLOWING])
        await connection.run_sync(begin_with, expected)
        assert (await connection.exec_driver_sql("SELECT current_setting('own.first', true)")).scalar() in (None, "")
        assert await mark(connection) == expected[0].split("'")[1]
        await insert(connection, 2)
        await connection.commit()

    assert ids(run(body)) == [1, 2]


def test_what_is_prepared_begins_one_of_its_own(run: Callable[[Body], Dsn]) -> None:
    async def body(connection: AsyncConnection) -> None:
        await insert(connection, 1)
        await commit(connection)
        assert await mark(connection) in (None, "")
        await connection.run_sync(begin_with, FOLLOWING)
        assert await mark(connection) == "next"
        await insert(connection, 2)
        await connection.commit()

    assert ids(run(body)) == [1, 2]


def test_what_is_executed_at_once_begins_one_of_its_own(run: Callable[[Body], Dsn]) -> None:
    async def body(connection: AsyncConnection) -> None:
        await insert(connection, 1)
        await commit(connection)
        await insert(connection, 2)
        assert await mark(connection) in (None, "")
        await connection.run_sync(begin_with, FOLLOWING)
        assert await mark(connection) == "next"
        await connection.commit()

    assert ids(run(body)) == [1, 2]


def test_in_autocommit_nothing_is_left_open(run: Callable[[Body], Dsn]) -> None:
    async def body(connection: AsyncConnection) -> None:
        await insert(connection, 1)
        await commit(connection)
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await insert(connection, 2)
        assert not (await connection.run_sync(driver_of)).is_in_transaction()
        assert await mark(connection) in (None, "")

    assert ids(run(body)) == [1, 2]


def test_a_commit_that_fails_is_an_error_and_nothing_follows(run: Callable[[Body], Dsn]) -> None:
    async def body(connection: AsyncConnection) -> None:
        await insert(connection, 1, 1)
        with pytest.raises(IntegrityError, match="duplicate key"):
            await commit(connection)
        await connection.rollback()  # as SQLAlchemy wants it
        await insert(connection, 3)
        await connection.rollback()
        assert not (await connection.run_sync(driver_of)).is_in_transaction()
        assert await mark(connection) in (None, "")
        await insert(connection, 2)
        await connection.commit()
        assert not (await connection.run_sync(driver_of)).is_in_transaction()

    assert ids(run(body)) == [2]


@pytest.mark.parametrize("failing", ["SELECT 1 / 0", "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(9)"])
def test_where_what_follows_fails_the_commit_is_done_all_the_same(run: Callable[[Body], Dsn], failing: str) -> None:
    """A query may be cancelled at any moment: a COMMIT that was done isn't told as one that failed."""

    async def body(connection: AsyncConnection) -> None:
        await insert(connection, 1)
        await commit(connection, [failing])
        await connection.run_sync(begin_with, FOLLOWING)
        assert await mark(connection) == "next"
        await insert(connection, 2)
        await connection.commit()

    assert ids(run(body)) == [1, 2]


def test_what_has_failed_behind_a_commit_was_not_executed(run: Callable[[Body], Dsn]) -> None:
    async def body(connection: AsyncConnection) -> None:
        await commit(connection, ["SELECT 1 / 0"])
        with pytest.raises(DBAPIError, match="division by zero"):
            await connection.run_sync(begin_with, ["SELECT 1 / 0"])

    run(body)


def test_a_rollback_forgets_it(run: Callable[[Body], Dsn]) -> None:
    async def body(connection: AsyncConnection) -> None:
        await insert(connection, 1)
        await connection.run_sync(follow_commit, FOLLOWING)
        await connection.rollback()
        await insert(connection, 2)
        await connection.commit()
        assert not (await connection.run_sync(driver_of)).is_in_transaction()

    assert ids(run(body)) == [2]


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_the_next_transaction_takes_over_nothing_that_the_last_one_was_set_to(
    run: Callable[[Body], Dsn], level: str
) -> None:
    async def body(connection: AsyncConnection) -> None:
        await connection.execution_options(isolation_level=level)
        other = "SERIALIZABLE" if level != "SERIALIZABLE" else "READ COMMITTED"
        await connection.exec_driver_sql(f"SET TRANSACTION ISOLATION LEVEL {other}, DEFERRABLE")
        await insert(connection, 1)
        await commit(connection)
        await connection.run_sync(begin_with, FOLLOWING)
        settings = "SELECT current_setting('transaction_isolation'), current_setting('transaction_deferrable')"
        assert (await connection.exec_driver_sql(settings)).one() == (level.lower(), "off")

    run(body)


def test_where_the_level_is_not_known_nothing_follows(run: Callable[[Body], Dsn]) -> None:
    async def body(connection: AsyncConnection) -> None:
        raw = (await connection.get_raw_connection()).driver_connection
        await insert(connection, 1)
        await raw.execute("COMMIT")
        await raw.execute("BEGIN READ WRITE;")
        await insert(connection, 2)
        await commit(connection)
        assert not (await connection.run_sync(driver_of)).is_in_transaction()

    assert ids(run(body)) == [1, 2]
