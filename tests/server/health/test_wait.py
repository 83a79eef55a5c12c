"""Waiting ends when the server answers, or the database is at head; what never gets better is told at once."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import asyncpg
import pytest

import service_migrations
from service_migrations.errors import (
    AccessDeniedError,
    ConfigurationError,
    DifferenceError,
    NotReadyError,
    UnreachableError,
    UsageError,
)
from service_migrations.monorepo import Service
from service_migrations.session.locks import LOCK_KEY
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, tables, wait
from tests.support.monorepo import Monorepo

LONG = 60.0
"""Seconds that no test takes, unless what it waits for never comes."""


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database()


@pytest.fixture
def service(monorepo: Monorepo, dsn: Dsn) -> Service:
    monorepo.table_revision("billing", "a1", None)
    return monorepo.service("billing", dsn=dsn)


@contextmanager
def a_port(*, listening: bool) -> Iterator[Dsn]:
    """Hold a port at which nobody listens, or where connections are taken and never answered."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        if listening:
            held.listen()
        yield Dsn("app", "billing", (held.getsockname(),), "x")


async def while_waiting(
    coroutine: "asyncio.Future[service_migrations.Answer]",
    caplog: pytest.LogCaptureFixture,
    said: str,
    then: Callable[[], object],
) -> service_migrations.Answer:
    """Do something when the log says what is waited for, and return what the waiting came to."""
    task = asyncio.ensure_future(coroutine)
    while said not in caplog.text and not task.done():  # noqa: ASYNC110 - the log has no event
        await asyncio.sleep(0.01)
    assert not task.done()
    await asyncio.to_thread(then)
    return await task


def test_a_server_that_answers_is_not_waited_for(service, dsn):
    answer = wait(service_migrations.wait(service))
    assert (answer.service, answer.target, answer.revisions) == ("billing", dsn.target, None)
    assert tables(dsn) == set()


def test_waiting_goes_on_while_a_server_has_too_many_connections(service, dsn, server, caplog):
    caplog.set_level(logging.INFO, "service_migrations")
    query(server.admin, f'ALTER DATABASE "{dsn.database}" CONNECTION LIMIT 0')

    def lift() -> None:
        query(server.admin, f'ALTER DATABASE "{dsn.database}" CONNECTION LIMIT -1')

    answer = wait(while_waiting(service_migrations.wait(service, timeout=LONG), caplog, "too many connections", lift))
    assert answer.revisions is None


@pytest.mark.parametrize(
    ("listening", "reason", "timeout"),
    # a refusal needs the time of a first connection, also on a busy machine
    [(False, "connection refused", 4), (True, "no answer", 0.5)],
)
def test_a_server_that_never_answers_is_69(monorepo, listening, reason, timeout):
    with a_port(listening=listening) as dsn:
        service = monorepo.service("billing", dsn=dsn)
        with pytest.raises(UnreachableError, match=rf"{reason}.*Gave up after {timeout} s\.$"):
            wait(service_migrations.wait(service, timeout=timeout))


def test_a_wrong_password_is_told_at_once(service, monorepo, dsn):
    monorepo.service("billing", dsn=replace(dsn, password="wrong"))
    with pytest.raises(AccessDeniedError, match="password authentication failed"):
        wait(asyncio.wait_for(service_migrations.wait(service, timeout=LONG), LONG / 2))


def test_a_database_that_does_not_exist_is_told_at_once(service, monorepo, dsn):
    monorepo.service("billing", dsn=replace(dsn, database="nowhere"))
    with pytest.raises(ConfigurationError, match=r"inv db\.create"):
        wait(asyncio.wait_for(service_migrations.wait(service, timeout=LONG), LONG / 2))


def test_with_head_it_ends_when_somebody_has_upgraded(service, caplog):
    caplog.set_level(logging.INFO, "service_migrations")

    def upgrade() -> None:
        asyncio.run(service_migrations.upgrade(service))

    answer = wait(
        while_waiting(service_migrations.wait(service, head=True, timeout=LONG), caplog, "is at base", upgrade)
    )
    assert answer.revisions == ("a1",)


def test_with_head_neither_a_lock_is_needed_nor_taken(service, dsn):
    wait(service_migrations.upgrade(service))

    async def run() -> service_migrations.Answer:
        holder = await asyncpg.connect(**dsn.connect_args())
        try:
            assert await holder.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY)
            return await service_migrations.wait(service, head=True, timeout=LONG)
        finally:
            await holder.close()

    assert wait(run()).revisions == ("a1",)


def test_with_head_a_database_that_stays_behind_is_75_and_says_where_it_is(service, dsn, monorepo):
    with pytest.raises(NotReadyError, match=r"is at base, and not at the head a1 after 2 s"):
        wait(service_migrations.wait(service, head=True, timeout=2.0))
    assert tables(dsn) == set()
    wait(service_migrations.upgrade(service))
    monorepo.revision("billing", "b2", "a1")
    with pytest.raises(NotReadyError, match="is at a1, and not at the head b2") as caught:
        wait(service_migrations.wait(service, head=True, timeout=2.0))
    assert caught.value.exit_code == 75


def test_with_head_a_history_without_revisions_is_there_at_once(monorepo, dsn):
    assert wait(service_migrations.wait(monorepo.service("billing", dsn=dsn), head=True)).revisions == ()


def test_with_head_a_database_that_newer_code_has_upgraded_is_3(service, dsn):
    wait(service_migrations.upgrade(service))
    query(dsn, "UPDATE alembic_version_billing SET version_num = 'later'")
    with pytest.raises(DifferenceError, match="is at later, which"):
        wait(asyncio.wait_for(service_migrations.wait(service, head=True, timeout=LONG), LONG / 2))


def test_with_head_a_version_table_that_may_not_be_read_is_77_with_the_grant(service, dsn, database, monorepo):
    wait(service_migrations.upgrade(service))
    monorepo.service("billing", dsn=database(shared=dsn))
    with pytest.raises(AccessDeniedError) as caught:
        wait(service_migrations.wait(service, head=True, timeout=LONG))
    query(dsn, str(caught.value).partition("can run: ")[2])
    assert wait(service_migrations.wait(service, head=True, timeout=LONG)).revisions == ("a1",)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_timeout_without_sense_is_refused(service, timeout):
    with pytest.raises(UsageError, match="timeout"):
        wait(service_migrations.wait(service, timeout=timeout))


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("timeout", ["0", "0s", "-1s", "soon", ""])
def test_a_timeout_without_sense_is_one_line_at_the_command_line(monorepo, timeout):
    ran = monorepo.inv("db.wait", "--service", "billing", f"--timeout={timeout}")
    assert (ran.code, ran.out) == (2, "")
    (line,) = ran.err.splitlines()
    assert line.startswith("--timeout")


def test_the_task_says_what_there_is(service, monorepo, dsn):
    words = ("db.wait", "--service", "billing", "--head", "--timeout", "3s")
    ran = monorepo.inv(*words)
    assert (ran.code, ran.out) == (75, "")
    assert "is at base, and not at the head a1" in ran.err.splitlines()[-1]
    wait(service_migrations.upgrade(service))
    ran = monorepo.inv(*words)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"billing: {dsn.target} is at head, a1 (")
    assert monorepo.inv("db.wait").code == 2
