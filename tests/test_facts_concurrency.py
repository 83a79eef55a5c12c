"""Traps of several migrations at once: they die, wait for ever, or are told the wrong thing by a lock or a pooler."""

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg
import pytest

import migrations
from migrations.dsn import Dsn
from migrations.errors import ConfigurationError, LockNotObtainedError, MigrationError
from migrations.locks import LOCK_KEY
from migrations.postgres.account import give, identity, reachable_folder
from migrations.postgres.cluster import free_port
from tests.conftest import query, tables, wait
from tests.monorepo import Monorepo, Ran, dsn_text

DEADLINE = 30.0
"""Seconds until a test gives up on something that must happen."""

MIGRATING = "FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'migrations %'"


@asynccontextmanager
async def connected(dsn: Dsn, **settings: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(**dsn.connect_args(), server_settings=settings)
    try:
        yield connection
    finally:
        await connection.close()


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Ask again and again until a condition is met; fail where that takes too long."""
    deadline = time.monotonic() + DEADLINE
    while not await condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE:g} s: {what}"
        await asyncio.sleep(0.02)


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


# F13


def test_six_upgrades_at_once_on_an_empty_database_all_succeed(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    monorepo.table_revision("billing", "r001", None)
    monorepo.table_revision("billing", "r002", "r001", "second")
    monorepo.table_revision("billing", "r003", "r002", "third")
    monorepo.service("billing", dsn=dsn)

    answers = upgraded_at_once(monorepo, dsn, 6)

    assert [answer.code for answer in answers] == [0] * 6, [answer.err for answer in answers if answer.code]
    logged = [re.findall(r"Running upgrade \S* -> (\w+)", answer.err) for answer in answers]
    assert [one for one in logged if one] == [["r001", "r002", "r003"]]
    assert all(WAITING in answer.err for answer in answers)
    assert tables(dsn) == {"billing", "second", "third", "alembic_version_billing"}


# F14


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


# F15


def test_the_lock_timeout_of_tables_does_not_cut_the_wait_for_the_migration_lock(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    monorepo.table_revision("billing", "r001", None)
    service = monorepo.service("billing", dsn=dsn, MIGRATIONS_LOCK_TIMEOUT="100ms")

    async def run() -> migrations.Outcome:
        async with connected(dsn) as holder:
            await holder.fetchval("SELECT pg_advisory_lock($1)", LOCK_KEY)
            waiter = asyncio.create_task(migrations.upgrade(service))

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
                await asyncio.wait_for(migrations.upgrade(service), 5)
            assert caught.value.exit_code == 75
            assert f"held by pid {holder.get_server_pid()}, user {dsn.user}, a deploy by hand" in str(caught.value)
            return str(caught.value)

    assert "\n" not in wait(run())
    assert tables(dsn) == set()


# F16


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
    wait(migrations.upgrade(service, "r001"))

    async def run() -> None:
        async with connected(dsn) as reader, reader.transaction():
            await reader.fetch("SELECT * FROM billing")
            await asyncio.wait_for(migrations.upgrade(service), 10)

    with pytest.raises(LockNotObtainedError, match=r"migrations/versions/billing/r002\.py:\d+: a lock") as caught:
        wait(run())
    assert caught.value.exit_code == 75
    assert tables(dsn) == {"billing", "alembic_version_billing"}
    assert wait(migrations.upgrade(service)).after == ("r002",)


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
        wait(asyncio.wait_for(migrations.upgrade(service), 10))
    assert type(caught.value) is MigrationError
    assert caught.value.exit_code == 1
    assert "before" not in tables(dsn)


# F17


@contextmanager
def pgbouncer(dsn: Dsn, *, lenient: bool) -> Iterator[Dsn]:
    """Run PgBouncer in transaction mode before a database; a lenient one swallows our startup parameters."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        message = "pgbouncer is not installed (Debian: apt-get install pgbouncer)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    base = reachable_folder(Path(tempfile.gettempdir()), Path("/var/tmp"))  # noqa: S108 - mkdtemp follows
    home = Path(tempfile.mkdtemp(prefix="pgbouncer-", dir=base))
    host, port = dsn.hosts[0]
    own_port = free_port()
    users, ini = home / "users.txt", home / "pgbouncer.ini"
    users.write_text(f'"{dsn.user}" "{dsn.password}"\n', encoding="utf-8")
    ignored = (
        "search_path,idle_in_transaction_session_timeout,idle_session_timeout,client_connection_check_interval,"
        "tcp_keepalives_idle,tcp_keepalives_interval,tcp_keepalives_count,lock_timeout,statement_timeout,options,"
        "extra_float_digits"
    )
    ini.write_text(
        f"[databases]\n{dsn.database} = host={host} port={port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {own_port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {users}\n"
        f"pool_mode = transaction\ndefault_pool_size = 2\n"
        + (f"ignore_startup_parameters = {ignored}\n" if lenient else ""),
        encoding="utf-8",
    )
    for path in (home, users, ini):
        give(path)
    log = (home / "log").open("w")
    process = subprocess.Popen([program, str(ini)], stdout=log, stderr=log, **identity())
    through = Dsn(dsn.user, dsn.database, (("127.0.0.1", own_port),), dsn.password)

    async def answers() -> bool:
        assert process.poll() is None, (home / "log").read_text(encoding="utf-8")
        try:
            async with connected(through) as connection:
                return await connection.fetchval("SELECT true") is True
        except OSError:
            return False

    try:
        wait(until(answers, "PgBouncer answers"))
        yield through
    finally:
        process.terminate()
        process.wait(timeout=10)
        log.close()
        shutil.rmtree(home)


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
                wait(migrations.upgrade(service))
            assert caught.value.exit_code == 78
            assert "pooler" in str(caught.value)
        assert tables(dsn) == set()
        assert query(dsn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")[0][0] == 0

        monorepo.service("billing", dsn=pooler, DATABASE_DIRECT_DSN=dsn_text(dsn))
        wait(migrations.upgrade(service))
    assert tables(dsn) == {"billing", "alembic_version_billing"}
