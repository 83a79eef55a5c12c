"""Traps of several migrations at once: they die, wait for ever, or are told the wrong thing by a lock or a pooler."""

import asyncio
import re
import subprocess
from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.errors import ConfigurationError, LockNotObtainedError, MigrationError
from service_migrations.session.locks import LOCK_KEY
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, tables, wait
from tests.support.monorepo import Monorepo, Ran, dsn_text
from tests.support.network import connected, pgbouncer, until

MIGRATING = "FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'migrations %'"


WAITING = "waiting for the migration lock (held by pid "


def upgraded_at_once(monorepo: Monorepo, dsn: Dsn, count: int) -> list[Ran]:
    """Run so many ``inv db.upgrade``, all of which say that they wait before the first of them gets the lock."""

    def listen(process: "subprocess.Popen[str]") -> str:
        assert process.stderr
        heard = ""
        while WAITING not in heard and (line := process.stderr.readline()):
            heard += line
        return heard

    def finish(process: "subprocess.Popen[str]", heard: str) -> Ran:
        assert process.stdout
        assert process.stderr
        with process.stdout as out, process.stderr as err:
            said = heard + err.read()
            return Ran(process.wait(), out.read(), said)

    async def run() -> list[Ran]:
        processes = []
        try:
            async with connected(dsn) as holder, asyncio.timeout(60):
                await holder.fetchval("SELECT pg_advisory_lock($1)", LOCK_KEY)
                processes += [monorepo.spawn("db.upgrade") for _ in range(count)]
                heard = await asyncio.gather(*(asyncio.to_thread(listen, process) for process in processes))
                await holder.fetchval("SELECT pg_advisory_unlock($1)", LOCK_KEY)
                ending = zip(processes, heard, strict=True)
                return await asyncio.gather(*(asyncio.to_thread(finish, *both) for both in ending))
        finally:
            for process in processes:
                process.kill()
                process.wait()

    answered: list[Ran] = wait(run())
    return answered


# Several upgrades at once


def test_eight_upgrades_at_once_on_an_empty_database_all_succeed(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """Row 1: each revision is run by one of them, and the others say that they wait."""
    dsn = database()
    monorepo.table_revision("billing", "r001", None)
    monorepo.table_revision("billing", "r002", "r001", "second")
    monorepo.table_revision("billing", "r003", "r002", "third")
    monorepo.service("billing", dsn=dsn)

    answers = upgraded_at_once(monorepo, dsn, 8)

    assert [answer.code for answer in answers] == [0] * 8, [answer.err for answer in answers if answer.code]
    logged = [re.findall(r"Running upgrade \S* -> (\w+)", answer.err) for answer in answers]
    assert [revisions for revisions in logged if revisions] == [["r001", "r002", "r003"]]
    assert all(WAITING in answer.err for answer in answers)
    assert tables(dsn) == {"billing", "second", "third", "alembic_version_billing"}


# A waiter's snapshot


def test_two_upgrades_at_once_with_a_concurrent_index_both_succeed(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    monorepo.table_revision("billing", "r001", None)
    monorepo.revision(
        "billing",
        "r002",
        "r001",
        """
        with op.get_context().autocommit_block():
            op.create_index("ix_billing_name", "billing", ["name"], postgresql_concurrently=True)
        """,
    )
    monorepo.service("billing", dsn=dsn)

    answers = upgraded_at_once(monorepo, dsn, 2)

    assert [answer.code for answer in answers] == [0, 0], [answer.err for answer in answers]
    assert query(dsn, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_billing_name'::regclass")[0][0]
    assert query(dsn, "SELECT version_num FROM alembic_version_billing")[0][0] == "r002"


# lock_timeout and the migration lock


def test_the_lock_timeout_of_tables_does_not_cut_the_wait_for_the_migration_lock(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    monorepo.table_revision("billing", "r001", None)
    service = monorepo.service("billing", dsn=dsn, MIGRATIONS_LOCK_TIMEOUT="100ms")

    async def run() -> service_migrations.Outcome:
        async with connected(dsn) as holder:
            await holder.fetchval("SELECT pg_advisory_lock($1)", LOCK_KEY)
            waiter = asyncio.create_task(service_migrations.upgrade(service))

            async def waited_for_long() -> bool:
                return waiter.done() or bool(
                    await holder.fetchval(
                        f"SELECT 1 {MIGRATING} AND clock_timestamp() - backend_start > interval '600 ms'"
                    )
                )

            await until(waited_for_long, "the migration waits for six times its lock timeout")
            assert not waiter.done()
            assert await holder.fetchval("SELECT to_regclass('billing')") is None
            # it blocks nobody: neither does it stand in a queue, nor does it keep a snapshot
            assert await holder.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") == 0
            await holder.fetchval("SELECT pg_advisory_unlock($1)", LOCK_KEY)
            return await waiter

    assert wait(run()).after == ("r001",)


def test_a_lock_wait_of_0_fails_at_once_and_names_the_holder(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    monorepo.table_revision("billing", "r001", None)
    service = monorepo.service("billing", dsn=dsn, MIGRATIONS_LOCK_WAIT="0")

    async def run() -> str:
        async with connected(dsn, application_name="a deploy by hand") as holder:
            await holder.fetchval("SELECT pg_advisory_lock($1)", LOCK_KEY)
            with pytest.raises(LockNotObtainedError) as caught:
                await asyncio.wait_for(service_migrations.upgrade(service), 5)
            assert caught.value.exit_code == 75
            assert f"held by pid {holder.get_server_pid()}, user {dsn.user}, a deploy by hand" in str(caught.value)
            return str(caught.value)

    assert "\n" not in wait(run())
    assert tables(dsn) == set()


# The class of an error tells nothing


def test_a_lock_timeout_on_a_table_is_told_apart_from_a_failed_migration(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    monorepo.table_revision("billing", "r001", None)
    monorepo.revision(
        "billing",
        "r002",
        "r001",
        'op.create_table("before", sa.Column("id", sa.Integer))\n'
        'op.add_column("billing", sa.Column("more", sa.Integer))',
    )
    service = monorepo.service("billing", dsn=dsn, MIGRATIONS_LOCK_TIMEOUT="100ms")
    wait(service_migrations.upgrade(service, "r001"))

    async def run() -> None:
        async with connected(dsn) as reader, reader.transaction():
            await reader.fetch("SELECT * FROM billing")
            await asyncio.wait_for(service_migrations.upgrade(service), 60)

    with pytest.raises(LockNotObtainedError, match=r"migrations/versions/billing/r002\.py:\d+: a lock") as caught:
        wait(run())
    assert caught.value.exit_code == 75
    assert tables(dsn) == {"billing", "alembic_version_billing"}
    assert wait(service_migrations.upgrade(service)).after == ("r002",)


def test_a_statement_timeout_is_a_failed_migration_with_its_sqlstate(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    monorepo.revision(
        "billing",
        "r001",
        None,
        'op.create_table("before", sa.Column("id", sa.Integer))\nop.execute("SELECT pg_sleep(60)")',
    )
    service = monorepo.service("billing", dsn=dsn, MIGRATIONS_STATEMENT_TIMEOUT="100ms")

    with pytest.raises(MigrationError, match=r"r001\.py:\d+: .*\[57014\]") as caught:
        wait(asyncio.wait_for(service_migrations.upgrade(service), 10))
    assert type(caught.value) is MigrationError
    assert caught.value.exit_code == 1
    assert "before" not in tables(dsn)


# A pooler in transaction mode


@pytest.mark.parametrize("lenient", [True, False], ids=["swallows_parameters", "refuses_parameters"])
def test_a_pooler_in_transaction_mode_is_refused_and_the_server_behind_it_is_not(
    monorepo: Monorepo, database: Callable[..., Dsn], lenient: bool
) -> None:
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    with pgbouncer(dsn, lenient=lenient) as pooler:
        service = monorepo.service("billing", dsn=pooler)
        for _ in range(4):  # a server connection that has served before answers otherwise than a new one
            with pytest.raises(ConfigurationError, match="DATABASE_DIRECT_DSN") as caught:
                wait(service_migrations.upgrade(service))
            assert caught.value.exit_code == 78
            assert "pooler" in str(caught.value)
        assert tables(dsn) == set()
        assert query(dsn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")[0][0] == 0

        monorepo.service("billing", dsn=pooler, DATABASE_DIRECT_DSN=dsn_text(dsn))
        wait(service_migrations.upgrade(service))
    assert tables(dsn) == {"billing", "alembic_version_billing"}
