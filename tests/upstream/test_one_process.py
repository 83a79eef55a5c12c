"""Traps of Alembic inside a process: module globals, a running event loop, a transaction that is never committed."""

import asyncio
import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import pytest
from alembic import command
from sqlalchemy import URL, create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

import service_migrations
from service_migrations.connection.connector import connector
from service_migrations.errors import MigrationError, ResultError, UsageError
from service_migrations.history.revisions import read
from service_migrations.monorepo import Service
from service_migrations.session.locks import process_lock
from service_migrations.session.session import open_session
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, tables, wait
from tests.support.monorepo import Monorepo, dsn_text

NOBODY_LISTENS = "postgresql://app:secret@127.0.0.1:1/app"
"""Whoever connects to it gets another error than the one that a test waits for."""


def several_revisions(monorepo: Monorepo, name: str, count: int = 5) -> None:
    """Write a history that asks the server often, so that two of them at once do meet."""
    monorepo.table_revision(name, "r001", None)
    for number in range(2, count + 1):
        monorepo.table_revision(name, f"r{number:03}", f"r{number - 1:03}", f"{name}_{number}")


def expected_tables(name: str, count: int = 5) -> set[str]:
    return {name, f"alembic_version_{name}", *(f"{name}_{number}" for number in range(2, count + 1))}


# Two upgrades in one process


def test_two_services_upgraded_by_one_gather_land_each_in_its_own_database(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsns = {name: database() for name in ("billing", "orders")}
    services = [monorepo.service(name, dsn=dsn) for name, dsn in dsns.items()]
    for name in dsns:
        several_revisions(monorepo, name)

    async def both() -> list[service_migrations.Outcome]:
        async with asyncio.timeout(20):
            return await asyncio.gather(*(service_migrations.upgrade(service) for service in services))

    outcomes = wait(both())

    assert [outcome.applied for outcome in outcomes] == [("r001", "r002", "r003", "r004", "r005")] * 2
    for name, dsn in dsns.items():
        assert tables(dsn) == expected_tables(name)


def test_two_services_upgraded_by_two_threads_land_each_in_its_own_database(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """Row 10: one Alembic at a time, whichever thread it runs in."""
    dsns = {name: database() for name in ("billing", "orders")}
    services = [monorepo.service(name, dsn=dsn) for name, dsn in dsns.items()]
    for name in dsns:
        several_revisions(monorepo, name)
    together = threading.Barrier(2)

    def upgrade(service: Service) -> service_migrations.Outcome:
        together.wait(timeout=10)
        return asyncio.run(asyncio.wait_for(service_migrations.upgrade(service), 20))

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(upgrade, services))

    assert [outcome.applied for outcome in outcomes] == [("r001", "r002", "r003", "r004", "r005")] * 2
    for name, dsn in dsns.items():
        assert tables(dsn) == expected_tables(name)


def test_an_upgrade_that_fails_lets_the_next_one_in_the_process_through(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    monorepo.revision("billing", "r001", None, "raise ValueError('no')")
    monorepo.table_revision("orders", "r001", None)
    dsn = database()
    with pytest.raises(MigrationError):
        wait(service_migrations.upgrade(monorepo.service("billing", dsn=database())))

    wait(asyncio.wait_for(service_migrations.upgrade(monorepo.service("orders", dsn=dsn)), 20))
    assert "orders" in tables(dsn)


def test_histories_read_by_threads_leave_the_warning_filters_of_the_process_alone(monorepo: Monorepo) -> None:
    services = [monorepo.service(name) for name in ("billing", "orders")]
    for service in services:
        several_revisions(monorepo, service.name, 3)
    together = threading.Barrier(8)

    def reader(number: int) -> None:
        for _ in range(10):
            together.wait(timeout=120)  # a busy machine may let a thread wait
            read(services[number % 2])

    with warnings.catch_warnings():
        before = list(warnings.filters)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(reader, range(8)))
        assert list(warnings.filters) == before


# A running event loop


APPLICATION = """
import asyncio, os
import service_migrations
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

async def main():
    engine = create_async_engine(os.environ["APPLICATION_URL"])
    outcome = await service_migrations.upgrade("billing"{argument})
    async with engine.begin() as connection:
        await connection.execute(text("INSERT INTO billing (name) VALUES ('own')"))
    await engine.dispose()
    print(*outcome.applied)

asyncio.run(main())
"""


@pytest.mark.parametrize("argument", ["", ", engine=engine"])
def test_an_application_upgrades_itself_inside_its_own_event_loop(
    argument: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """Row 10: the loop that runs is used, and no other started."""
    dsn = database()
    monorepo.table_revision("billing", "r001", None)
    monorepo.table_revision("billing", "r002", "r001", "more")
    # with an engine of its own, the application needs no other settings
    monorepo.service("billing", dsn=None if argument else dsn)
    url = dsn_text(dsn).replace("postgresql://", "postgresql+asyncpg://")

    done = subprocess.run(
        [sys.executable, "-c", APPLICATION.format(argument=argument)],
        cwd=monorepo.root,
        env={**os.environ, "APPLICATION_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "r001 r002\n", "")
    assert query(dsn, "SELECT name FROM billing")[0][0] == "own"


def own_engine(dsn: Dsn, **options: Any) -> AsyncEngine:
    host, port = dsn.hosts[0]
    url = URL.create("postgresql+asyncpg", dsn.user, dsn.password, host, port, dsn.database)
    return create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=5, **options)


async def session_of(engine: AsyncEngine) -> dict[str, Any]:
    """Return every setting of a pooled connection that differs from the server's, and its advisory locks."""
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT name, setting FROM pg_settings WHERE source = 'session'"))
        settings = {row.name: row.setting for row in rows}
        locks = await connection.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"))
        isolation = await connection.get_isolation_level()
        return {**settings, "locks": locks, "isolation": isolation}


@pytest.mark.parametrize("options", [{}, {"isolation_level": "AUTOCOMMIT"}, {"isolation_level": "SERIALIZABLE"}])
def test_an_engine_of_the_callers_stays_usable_and_as_it_was(
    options: dict[str, Any], monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    monorepo.table_revision("billing", "r001", None)
    monorepo.revision("billing", "r002", "r001", 'op.create_table("half", sa.Column("id", sa.Integer))\n1 / 0')
    service = monorepo.service("billing")

    async def run() -> None:
        engine = own_engine(dsn, **options)
        try:
            before = await session_of(engine)
            outcome = await service_migrations.upgrade(service, "r001", engine=engine)
            assert outcome.after == ("r001",)
            assert await session_of(engine) == before
            with pytest.raises(MigrationError):
                await service_migrations.upgrade(service, engine=engine)
            assert await session_of(engine) == before
            assert [state.revision for state in await service_migrations.current(service, engine=engine)] == ["r001"]
            assert await session_of(engine) == before
        finally:
            await engine.dispose()

    wait(run())
    assert tables(dsn) == {"billing", "alembic_version_billing"}


# A statement before Alembic is configured


def test_what_a_revision_did_is_committed_although_statements_ran_before_alembic(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    monorepo.table_revision("billing", "r001", None)
    monorepo.revision("billing", "r002", "r001", "op.execute(\"INSERT INTO billing (id, name) VALUES (1, 'kept')\")")
    service = monorepo.service("billing", dsn=dsn, MIGRATIONS_LOCK_TIMEOUT="1s", MIGRATIONS_STATEMENT_TIMEOUT="10s")

    async def run() -> list[asyncpg.Record]:
        outcome = await service_migrations.upgrade(service)
        assert outcome.after == ("r002",)
        second = await asyncpg.connect(**dsn.connect_args())
        try:
            return await second.fetch("SELECT name, (SELECT version_num FROM alembic_version_billing) FROM billing")
        finally:
            await second.close()

    assert [tuple(row) for row in wait(run())] == [("kept", "r002")]


def test_what_a_stamp_wrote_is_committed_although_statements_ran_before_alembic(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    monorepo.table_revision("billing", "r001", None)
    service = monorepo.service("billing", dsn=dsn)
    wait(service_migrations.upgrade(service))
    query(dsn, "UPDATE alembic_version_billing SET version_num = 'gone'")

    wait(
        service_migrations.stamp(service, "r001", purge=True)
    )  # the one command that reads nothing after it has the lock
    assert query(dsn, "SELECT version_num FROM alembic_version_billing")[0][0] == "r001"


def test_a_connection_with_an_open_transaction_is_refused_before_anything_is_run(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    monorepo.table_revision("billing", "r001", None)
    service = monorepo.service("billing", dsn=dsn)

    async def run() -> None:
        async with open_session(read(service), connector(service)) as session, process_lock():
            await session.connection.execute(text("SET lock_timeout = '1s'"))
            await session.run(lambda alembic: command.upgrade(alembic, "head"))

    with pytest.raises(ResultError, match="Nothing was run") as caught:
        wait(run())
    assert caught.value.exit_code == 70
    assert tables(dsn) == set()


# Options of online and offline mode


SCHEMA_MODELS = """
from enum import Enum
from sqlalchemy import CheckConstraint, Enum as EnumType, ForeignKey, Index, MetaData, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from shared_models import NAMING_CONVENTION

__all__ = ["Base", "Customer", "Invoice"]

class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION, schema={schema!r})

class State(Enum):
    open = "open"
    paid = "paid"

class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(200), unique=True)

class Invoice(Base):
    __tablename__ = "invoices"
    __table_args__ = (
        CheckConstraint("total >= 0", name="total_not_negative"),
        Index(None, "customer_id", postgresql_where=text("state = 'open'")),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey(Customer.id, ondelete="RESTRICT"))
    total: Mapped[int] = mapped_column(server_default=text("0"))
    state: Mapped[State] = mapped_column(EnumType(State, name="state"), server_default="open")
    note: Mapped[str | None] = mapped_column(String(20), comment="It's 100% optional: %(x)s")
"""

# as a person writes it: no constraint has a name, so that each gets the convention's
BY_HAND = """
op.create_table(
    "extra",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("code", sa.String(10), unique=True),
    sa.Column("customer_id", sa.Integer, sa.ForeignKey("{prefix}customers.id")),
    sa.CheckConstraint("code <> ''", name="code_not_empty"),
    schema={schema!r},
)
op.bulk_insert(
    sa.table("extra", sa.column("id", sa.Integer), sa.column("code", sa.String), schema={schema!r}),
    [{{"id": 1, "code": "it's 5%"}}, {{"id": 2, "code": ":name"}}],
)
"""

CATALOG = {
    "columns": "SELECT c.relnamespace::regnamespace::text, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), "
    "a.attnotnull, pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum) FROM pg_class c "
    "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
    "LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (c.oid, a.attnum) "
    "WHERE c.relkind = 'r' AND c.relnamespace::regnamespace::text IN ('public', 'billing') ORDER BY 1, 2, a.attnum",
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE connamespace::regnamespace::text IN ('public', 'billing') ORDER BY 1, 2",
    "indexes": "SELECT schemaname, tablename, indexname, indexdef FROM pg_indexes "
    "WHERE schemaname IN ('public', 'billing') ORDER BY 1, 2, 3",
    "types": "SELECT typnamespace::regnamespace::text, typname, enumlabel FROM pg_enum e "
    "JOIN pg_type t ON t.oid = enumtypid ORDER BY 1, 2, enumsortorder",
}


def catalog(dsn: Dsn) -> dict[str, list[tuple[Any, ...]]]:
    """Return what a database has; without the ledger, which the printed SQL doesn't write."""
    rows = {kind: [tuple(row) for row in query(dsn, sql)] for kind, sql in CATALOG.items()}
    return {
        kind: [row for row in kind_rows if "migration_log_" not in f"{row[:2]}"] for kind, kind_rows in rows.items()
    }


async def apply(dsn: Dsn, script: str) -> None:
    connection = await asyncpg.connect(**dsn.connect_args())
    try:
        await connection.execute(script)
    finally:
        await connection.close()


@pytest.mark.parametrize("schema", [None, "billing"])
def test_the_printed_sql_makes_the_same_database_as_an_upgrade(
    schema: str | None, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    online, offline = database(), database()
    service = monorepo.service("billing", SCHEMA_MODELS.format(schema=schema), online)
    written = wait(service_migrations.revision(service, "create customers and invoices"))
    assert written is not None
    prefix = f"{schema}." if schema else ""
    monorepo.revision("billing", "r002", written.revision, BY_HAND.format(schema=schema, prefix=prefix))
    wait(service_migrations.upgrade(service))
    (monorepo.root / "services" / "billing" / ".env").unlink()  # offline needs no DSN

    wait(apply(offline, wait(service_migrations.sql(service, "head"))))

    objects = catalog(online)
    assert catalog(offline) == objects
    names = {name for _, name, _ in objects["constraints"]}
    assert {"pk_extra", "uq_extra_code", "fk_extra_customer_id_customers", "ck_extra_code_not_empty"} <= names
    assert {"ck_invoices_total_not_negative", "fk_invoices_customer_id_customers"} <= names
    where = {row[:2] for row in objects["columns"] if row[1] == "alembic_version_billing"}
    assert where == {(schema or "public", "alembic_version_billing")}
    for dsn in (online, offline):
        assert query(dsn, f"SELECT version_num FROM {prefix}alembic_version_billing")[0][0] == "r002"  # noqa: S608
        assert [row[0] for row in query(dsn, f"SELECT code FROM {prefix}extra ORDER BY id")] == ["it's 5%", ":name"]  # noqa: S608


# Two heads


def test_two_heads_are_refused_before_connecting_and_can_still_be_read(monorepo: Monorepo) -> None:
    monorepo.table_revision("billing", "r001", None)
    monorepo.table_revision("billing", "r002a", "r001", "a")
    monorepo.table_revision("billing", "r002b", "r001", "b")
    service = monorepo.service("billing", dsn=NOBODY_LISTENS)

    ran = monorepo.inv("db.upgrade")
    assert ran.code == 2
    assert "migrations/versions/billing has 2 heads: r002" in ran.err
    assert "inv db.merge --service billing" in ran.err
    for refused in (
        service_migrations.upgrade(service),
        service_migrations.sql(service, "head"),
        service_migrations.revision(service, "x"),
    ):
        with pytest.raises(UsageError, match="2 heads"):
            wait(refused)

    ran = monorepo.inv("db.heads")
    assert ran.code == 0
    assert "r002a" in ran.out
    assert "r002b" in ran.out
    assert len(wait(service_migrations.history(service)).revisions) == 3


# A long revision id


def test_an_id_that_the_version_table_cannot_hold_is_refused_before_anything_is_run(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    monorepo.table_revision("billing", "r" * 33, None)
    service = monorepo.service("billing", dsn=dsn)
    query(dsn, "CREATE TABLE alembic_version_billing (version_num varchar(32) NOT NULL)")
    with pytest.raises(UsageError, match=r"billing/r{33}\.py: the id 'r{33}' has 33 characters") as caught:
        wait(service_migrations.upgrade(service))
    assert caught.value.exit_code == 2
    assert tables(dsn) == {"alembic_version_billing"}
    query(dsn, "ALTER TABLE alembic_version_billing ALTER version_num TYPE varchar(33)")
    assert wait(service_migrations.upgrade(service)).after == ("r" * 33,)


def test_an_id_of_32_characters_can_be_applied(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    monorepo.table_revision("billing", "r" * 32, None)
    outcome = wait(service_migrations.upgrade(monorepo.service("billing", dsn=database())))
    assert outcome.after == ("r" * 32,)


# Calls of an application that goes on


def test_the_path_of_an_application_does_not_grow_with_each_history_that_it_reads(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    assert "prepend_sys_path" in (monorepo.root / "pyproject.toml").read_text(encoding="utf-8")
    for name in ("billing", "orders"):
        monorepo.service(name, dsn=database())
        monorepo.table_revision(name, "r001", None)

    async def ask() -> list[str]:
        for name in ("billing", "orders"):
            await service_migrations.upgrade(monorepo.find(name))
            await service_migrations.stamp(monorepo.find(name), "r001")
            await service_migrations.current(monorepo.find(name))
        return list(sys.path)

    assert wait(ask()) == wait(ask()) == wait(ask())


@pytest.mark.parametrize("relative", ["+1", "-1", "head-1", "r001+1"])
def test_a_stamp_of_a_relative_revision_is_refused_before_anything_is_written(
    relative: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    service = monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "r001", None)
    monorepo.table_revision("billing", "r002", "r001", "more")

    with pytest.raises(UsageError, match=re.escape(f"billing: '{relative}' is counted from another revision")):
        wait(service_migrations.stamp(service, relative))

    assert tables(dsn) == set()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda _: service_migrations.upgrade(None), "a service is its name or a Service, not NoneType"),
        (lambda _: service_migrations.check(["billing"]), "a service is its name or a Service, not list"),
        (lambda _: service_migrations.status([5]), "a service is its name or a Service, not int"),
        (lambda _: service_migrations.owners(b"billing"), "a service is its name or a Service, not int"),
        (lambda service: service_migrations.plan(service, None), "a revision is its id, not NoneType"),
        (lambda service: service_migrations.upgrade(service, 5), "a revision is its id, not int"),
        (lambda service: service_migrations.downgrade(service, None), "a revision is its id, not NoneType"),
        (lambda service: service_migrations.sql(service, ["head"]), "a revision is its id, not list"),
        (
            lambda service: service_migrations.current(service, engine="postgresql://"),
            "an engine is one of create_async_engine(), not str",
        ),
        (
            lambda service: service_migrations.upgrade(service, engine=create_engine("postgresql+asyncpg://")),
            "an engine is one of create_async_engine(), not Engine",
        ),
    ],
)
def test_an_argument_of_another_type_is_named(
    call: Callable[[Service], Coroutine[Any, Any, Any]], message: str, monorepo: Monorepo
) -> None:
    service = monorepo.service("billing", dsn=NOBODY_LISTENS)
    monorepo.table_revision("billing", "r001", None)

    with pytest.raises(TypeError, match=re.escape(message)):
        wait(call(service))


@pytest.mark.parametrize("name", [None, 5, ["billing"]])
def test_a_service_is_found_by_a_string_only(name: Any) -> None:
    with pytest.raises(TypeError, match=f"a service is its name or a Service, not {type(name).__name__}"):
        service_migrations.find(name)
