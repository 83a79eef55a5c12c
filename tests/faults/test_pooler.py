"""A pooler between us and a database: one that keeps the session is accepted, every other refused."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import service_migrations
from service_migrations.connection import pooler
from service_migrations.errors import ConfigurationError, LockNotObtainedError
from service_migrations.session.locks import LOCK_KEY
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, tables, wait
from tests.support.monorepo import Monorepo, dsn_text
from tests.support.network import Make, connected, line, pgbouncer, refused, upgrade

SESSION = """
op.execute("CREATE TABLE seen AS SELECT name, setting FROM pg_settings")
op.execute("CREATE TABLE held AS SELECT pid = pg_backend_pid() AS mine FROM pg_locks WHERE locktype = 'advisory'")
"""


@pytest.mark.parametrize("lenient", [True, False], ids=["swallows_parameters", "refuses_parameters"])
def test_a_pooler_in_session_mode_is_accepted_and_the_settings_are_those_of_a_direct_connection(
    monorepo: Monorepo, database: Make, lenient: bool
) -> None:
    dsn = database(password="plain")
    monorepo.revision("billing", "r001", None, SESSION, "pass")
    monorepo.revision("billing", "r002", "r001", SESSION.replace("seen", "again").replace("held", "held_again"))
    with pgbouncer(dsn, lenient=lenient, mode="session", size=4) as through:
        limits = {"MIGRATIONS_LOCK_TIMEOUT": "4321ms", "MIGRATIONS_SEARCH_PATH": "public"}
        text = dsn_text(through) + "?options=-c%20work_mem%3D7MB"
        monorepo.service("billing", dsn=text, **limits)
        wait(service_migrations.upgrade(monorepo.find("billing"), "r001"))
        # what we set is ours alone: the pooler's next client gets the server's own
        run = query(
            through, "SELECT current_setting('lock_timeout'), count(*) FROM pg_locks WHERE locktype = 'advisory'"
        )
        assert tuple(run[0]) == ("0", 0)

        monorepo.service("billing", dsn=text.replace(dsn_text(through), dsn_text(dsn)), **limits)
        upgrade(monorepo)
    assert query(dsn, "SELECT mine FROM held UNION ALL SELECT mine FROM held_again") == [(True,), (True,)]
    names: tuple[str, ...] = (
        "lock_timeout",
        "statement_timeout",
        "search_path",
        "client_connection_check_interval",
        "work_mem",
    )
    names += ("idle_in_transaction_session_timeout", "idle_session_timeout", "tcp_keepalives_idle", "application_name")
    sql = "SELECT name, s.setting, a.setting FROM seen s JOIN again a USING (name) WHERE name = ANY($1)"
    settings = {name: (pooled, direct) for name, pooled, direct in query(dsn, sql, list(names))}
    assert set(settings) == set(names)
    assert {name: pooled for name, (pooled, _) in settings.items()} == {
        n: direct for n, (_, direct) in settings.items()
    }
    assert settings["lock_timeout"][0] == "432"  # the first try waits for a tenth of it


def test_a_lock_holds_through_a_pooler_in_session_mode(monorepo: Monorepo, database: Make) -> None:
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    with pgbouncer(dsn, lenient=True, mode="session", size=6) as through:
        monorepo.service("billing", dsn=through, MIGRATIONS_LOCK_WAIT="0")

        async def run() -> None:
            async with connected(dsn) as holder:
                await holder.fetchval("SELECT pg_advisory_lock($1)", LOCK_KEY)
                with pytest.raises(LockNotObtainedError, match=f"pid {holder.get_server_pid()}"):
                    await service_migrations.upgrade(monorepo.find("billing"))

        wait(run())
        assert tables(dsn) == set()
        assert upgrade(monorepo).after == ("r001",)


@pytest.mark.parametrize("lenient", [True, False], ids=["swallows_parameters", "refuses_parameters"])
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_a_history_is_replayed_through_a_pooler_in_session_mode(
    monorepo: Monorepo, database: Make, driver: str, lenient: bool
) -> None:
    """Where an upgrade is accepted, so is the scratch database of a comparison."""
    dsn = database(password="plain", creates=True)
    monorepo.table_revision("billing", "r001", None)
    with (monorepo.root / "pyproject.toml").open("a") as table:
        table.write(f'\n[tool.service-migrations.service.billing]\ndriver = "{driver}"\n')
    with pgbouncer(dsn, lenient=lenient, mode="session", size=6, every=True) as through:
        monorepo.service("billing", dsn=through)
        assert upgrade(monorepo).after == ("r001",)
        ran = monorepo.inv("db.drift", "--service", "billing")
    assert ran.code == 0, ran.text


@pytest.mark.parametrize("size", [1, 2, 6])
def test_a_pooler_in_transaction_mode_is_refused_however_busy_it_is(
    monorepo: Monorepo, database: Make, size: int
) -> None:
    """Row 36: before any statement changes anything."""
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    with pgbouncer(dsn, lenient=True, size=size) as through:
        service = monorepo.service("billing", dsn=through, MIGRATIONS_CONNECT_TIMEOUT="1s")

        async def interfere(stop: asyncio.Event) -> None:
            async with connected(through) as client:
                while not stop.is_set():
                    await client.execute("BEGIN; SELECT pg_sleep(0.002); COMMIT")

        async def run() -> None:
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(interfere(stop))
                try:
                    for _ in range(4):
                        with pytest.raises(ConfigurationError, match=r"is behind a pooler, .*DATABASE_DIRECT_DSN"):
                            await service_migrations.upgrade(service)
                finally:
                    stop.set()

        wait(run())
    assert tables(dsn) == set()


def test_each_of_several_processes_gets_one_line_from_a_pooler_in_transaction_mode(
    monorepo: Monorepo, database: Make
) -> None:
    """Each process numbers its prepared statements from 1, so the second one finds those of the first."""
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    with pgbouncer(dsn, lenient=True, size=1) as through:
        monorepo.service("billing", dsn=through)
        for _ in range(2):
            told = line(monorepo.inv("db.upgrade"), 78)
            assert "is behind a pooler" in told
            assert told.endswith("Name the server itself in DATABASE_DIRECT_DSN.")
    assert tables(dsn) == set()


def test_a_pooler_in_statement_mode_is_refused(monorepo: Monorepo, database: Make) -> None:
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    with pgbouncer(dsn, lenient=True, mode="statement") as through:
        monorepo.service("billing", dsn=through)
        assert "is behind a pooler" in refused(monorepo)
    assert tables(dsn) == set()


def test_the_proof_alone_refuses_transaction_mode(
    monorepo: Monorepo, database: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy pool the quick checks may miss it: two clients get two server connections by chance."""

    async def nothing_seen(*_: object) -> None:
        return None

    monkeypatch.setattr(pooler, "_process_problem", nothing_seen)
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    with pgbouncer(dsn, lenient=True) as through:
        monorepo.service("billing", dsn=through, MIGRATIONS_CONNECT_TIMEOUT="1s")
        assert "is behind a pooler, and a lock holds only through one in session mode" in refused(monorepo)
    with pgbouncer(dsn, lenient=True, mode="session") as through:
        monorepo.service("billing", dsn=through, MIGRATIONS_CONNECT_TIMEOUT="1s")
        assert upgrade(monorepo).after == ("r001",)


def test_a_session_pool_without_room_for_the_proof_is_refused(monorepo: Monorepo, database: Make) -> None:
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    with pgbouncer(dsn, lenient=True, mode="session", size=1) as through:
        monorepo.service("billing", dsn=through, MIGRATIONS_CONNECT_TIMEOUT="500ms")
        assert "it gave no proof within 0.5 s (is its pool full?)" in refused(monorepo)
    assert tables(dsn) == set()


def over_an_engine(service: service_migrations.Service, through: Dsn, **options: Any) -> service_migrations.Outcome:
    """Upgrade over an engine of an application's, whose pool has room for a single connection."""

    async def run() -> service_migrations.Outcome:
        engine = create_async_engine(
            through.url, connect_args=through.connect_args(), pool_size=1, max_overflow=0, pool_timeout=5, **options
        )
        try:
            return await service_migrations.upgrade(service, engine=engine)
        finally:
            await engine.dispose()

    answer: service_migrations.Outcome = wait(run())
    return answer


def test_an_engine_of_the_callers_is_accepted_through_a_pooler_in_session_mode(
    monorepo: Monorepo, database: Make
) -> None:
    """The proof needs a second connection, which is made as the engine makes its own, and beside its pool."""
    dsn = database(password="plain")
    up = SESSION + 'op.execute("CREATE TABLE billing (id int)")'
    monorepo.revision("billing", "r001", None, up)
    service = monorepo.service("billing")
    monorepo.env("billing", MIGRATIONS_LOCK_TIMEOUT="4321ms")
    with pgbouncer(dsn, lenient=True, mode="session", size=4) as through:
        assert over_an_engine(service, through).after == ("r001",)
        assert query(dsn, "SELECT mine FROM held") == [(True,)]
        assert query(dsn, "SELECT setting FROM seen WHERE name = 'lock_timeout'") == [("432",)]
        run = query(
            through, "SELECT current_setting('lock_timeout'), count(*) FROM pg_locks WHERE locktype = 'advisory'"
        )
        assert tuple(run[0]) == ("0", 0)


@pytest.mark.parametrize("options", [{}, {"poolclass": NullPool}], ids=["pool", "no_pool"])
def test_the_second_connection_of_an_engine_is_made_as_the_caller_says(
    monorepo: Monorepo, database: Make, options: dict[str, Any]
) -> None:
    """The URL alone may not lead to the database: the address is told by a listener, the password by an argument."""
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    service = monorepo.service("billing")
    made = []

    async def run(through: Dsn) -> tuple[str, ...]:
        url = URL.create("postgresql+asyncpg", dsn.user, None, "nowhere.invalid", 1, dsn.database)
        engine = create_async_engine(url, connect_args={"password": "plain", "ssl": False}, **options)

        @event.listens_for(engine.sync_engine, "do_connect")
        def _(_dialect: object, _record: object, _cargs: object, cparams: dict[str, Any]) -> None:
            made.append(cparams["password"])
            cparams["host"], cparams["port"] = through.hosts[0]

        try:
            return (await service_migrations.upgrade(service, engine=engine)).after
        finally:
            await engine.dispose()

    with pgbouncer(dsn, lenient=True, mode="session", size=4) as through:
        assert wait(run(through)) == ("r001",)
    assert len(made) >= 2
    assert set(made) == {"plain"}


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_an_engine_of_the_callers_is_refused_through_a_pooler_that_keeps_no_session(
    monorepo: Monorepo, database: Make, mode: str
) -> None:
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    service = monorepo.service("billing")
    monorepo.env("billing", MIGRATIONS_CONNECT_TIMEOUT="1s")
    with pgbouncer(dsn, lenient=True, mode=mode) as through:
        for _ in range(3):  # a server connection that has served before answers otherwise than a new one
            with pytest.raises(ConfigurationError, match=r"is behind a pooler, .*DATABASE_DIRECT_DSN") as caught:
                over_an_engine(service, through)
            assert caught.value.exit_code == 78
            assert "plain" not in str(caught.value)
    assert tables(dsn) == set()
    assert query(dsn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")[0][0] == 0


def test_an_engine_of_the_callers_without_room_for_the_proof_is_refused(monorepo: Monorepo, database: Make) -> None:
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    service = monorepo.service("billing")
    monorepo.env("billing", MIGRATIONS_CONNECT_TIMEOUT="500ms")
    with (
        pgbouncer(dsn, lenient=True, mode="session", size=1) as through,
        pytest.raises(ConfigurationError, match=r"it gave no proof within 0\.5 s \(is its pool full\?\)"),
    ):
        over_an_engine(service, through)
    assert tables(dsn) == set()


def test_what_a_pooler_swallows_and_a_session_cant_set_is_refused(monorepo: Monorepo, database: Make) -> None:
    """log_connections is fixed when a connection begins, so no SET can make up for it."""
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    with pgbouncer(dsn, lenient=False, mode="session") as through:
        monorepo.service("billing", dsn=dsn_text(through) + "?options=-c%20ignore_system_indexes%3Don")
        assert "it passed no startup parameter on, and" in refused(monorepo)
    assert tables(dsn) == set()
