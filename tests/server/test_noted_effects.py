"""What an upgrade notes of a revision's own connections and programs, each once, and what it leaves to SQLAlchemy."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from types import SimpleNamespace

import asyncpg
import psycopg
import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from service_migrations.revision_call import call_revision
from service_migrations.settings.dsn import Dsn
from service_migrations.side_effects import SideEffectError, connections_refused, guards_kept, side_effects_noted
from tests.support.monorepo import dsn_text

CONNECTS, STARTS = "opens a connection of its own", "starts a program"


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database(creates=True)


@pytest.fixture
def engine(dsn: Dsn) -> Iterator[Engine]:
    engine = create_engine(dsn_text(dsn).replace("postgresql://", "postgresql+psycopg://"))
    yield engine
    engine.dispose()


def noted(action: Callable[[], object], names: dict[str, object] | None = None) -> list[str]:
    """Return what is noted of an action of a revision with these names."""
    notes: list[str] = []
    with side_effects_noted(notes.append, globals() if names is None else names):
        action()
    return notes


def test_a_connection_of_an_engine_is_left_to_sqlalchemy(engine: Engine) -> None:
    assert noted(lambda: engine.connect().close()) == []
    assert noted(lambda: engine.connect().close()) == []  # from its pool


def test_a_raw_connection_is_noted_once_whether_the_pool_has_it_already(engine: Engine) -> None:
    assert noted(lambda: engine.raw_connection().close()) == [CONNECTS]
    assert noted(lambda: engine.raw_connection().close()) == [CONNECTS]
    assert noted(lambda: engine.pool.connect().close()) == [CONNECTS]


def test_a_connection_of_an_async_engine_is_left_to_sqlalchemy(dsn: Dsn) -> None:
    async def connect() -> None:
        engine = create_async_engine(dsn.url, connect_args=dsn.connect_args())
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        await engine.dispose()

    assert noted(lambda: asyncio.run(connect())) == []


def test_a_connection_of_a_driver_is_noted(dsn: Dsn) -> None:
    async def connect() -> None:
        await (await asyncpg.connect(**dsn.connect_args())).close()

    def by_psycopg() -> None:
        psycopg.connect(dsn_text(dsn)).close()

    assert noted(by_psycopg)[:1] == [CONNECTS]
    assert noted(lambda: asyncio.run(connect()))[:1] == [CONNECTS]


def test_a_connection_that_is_noted_can_be_used(dsn: Dsn) -> None:
    def by_its_class() -> None:
        with psycopg.Connection.connect(dsn_text(dsn)) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)

    assert CONNECTS in noted(by_its_class)


def test_nothing_is_guarded_behind_the_last_block() -> None:
    start, connect = threading.Thread.start, psycopg.connect
    with guards_kept():
        with side_effects_noted(print, {}):
            assert psycopg.connect is not connect
        assert threading.Thread.start is not start
    assert threading.Thread.start is start
    assert psycopg.connect is connect


def test_a_connection_in_the_call_of_a_revision_is_its_own_whatever_its_names_are(dsn: Dsn) -> None:
    namespace: dict[str, object] = {}
    exec("def upgrade(connect): connect()", namespace)  # noqa: S102 - a revision of its own names
    connect = SimpleNamespace(do=lambda: psycopg.connect(dsn_text(dsn)).close())
    assert noted(lambda: call_revision(namespace["upgrade"], connect=connect.do), {})[:1] == [CONNECTS]


def test_a_program_is_noted_once_in_each_of_several_blocks() -> None:
    for _ in range(3):
        assert noted(lambda: subprocess.run([sys.executable, "-c", ""], check=True)).count(STARTS) == 1


def test_a_block_is_over_for_what_it_has_started() -> None:
    with side_effects_noted(print, {}) as is_inside:
        context = copy_context()
        assert is_inside()
        assert context.run(is_inside)
    assert not is_inside()
    assert not context.run(is_inside)


def test_a_replay_takes_no_raw_connection_from_a_pool_of_others(engine: Engine) -> None:
    engine.connect().close()
    with pytest.raises(SideEffectError, match="connection"), connections_refused(globals()):
        engine.raw_connection()
    with pytest.raises(SideEffectError, match="connection"), connections_refused(globals()):
        engine.pool.connect()
    with pytest.raises(SideEffectError, match="connection"), connections_refused(globals()):
        engine.connect()


def test_a_replay_takes_raw_connections_of_its_own(engine: Engine) -> None:
    engine.dialect.__class__ = type(
        "Own", (type(engine.dialect),), {"__module__": "service_migrations.own", "supports_statement_cache": True}
    )
    with connections_refused(globals()):
        engine.raw_connection().close()
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE seen (id int)"))
    assert query_names(engine) == ["seen"]


def query_names(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT relname FROM pg_class WHERE relname = 'seen'")))
