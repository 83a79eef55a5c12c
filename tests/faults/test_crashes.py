"""Crashes and networks: every revision is whole or absent, and the next upgrade goes on."""

import asyncio
import contextlib
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

import service_migrations
from service_migrations.postgres import Cluster, throwaway
from service_migrations.postgres.ports import free_port
from service_migrations.settings.dsn import Dsn
from tests.support.database import SECRET, query, wait
from tests.support.deadlines import until
from tests.support.monorepo import Ran
from tests.support.proxy import proxy
from tests.support.sessions import Session, hold
from tests.support.world import INDEX, PAUSED, World, failed, nothing_left


def goes_on(world: World, at: str) -> None:
    """Check that the database is at a revision, and that the next upgrade begins with the one after it."""
    assert world.at() == at
    ran = world.inv()
    assert ran.code == 0, ran.err
    assert f"Running upgrade {at} -> " in ran.err
    assert world.at() == "r005"
    nothing_left(world.admin)


def test_a_killed_run_leaves_whole_revisions_and_no_statement(world: World) -> None:
    """Row 12: killed in the third of five. Nothing else ends its statement: the barrier stays closed."""
    world.history(r003=PAUSED)
    world.close_barrier()
    run = world.start()
    world.paused(run)
    run.signal(signal.SIGKILL)
    run.end()
    nothing_left(world.admin)
    world.open_barrier()
    goes_on(world, "r002")


def test_an_index_whose_build_was_killed_is_built_again(world: World) -> None:
    """Row 13: it is left INVALID, which no run takes for the index that was wanted."""
    world.history(2, r002_alone=INDEX)
    assert world.inv("db.upgrade", "--service", "billing", "--revision", "r001").code == 0
    with hold(world.dsn, "INSERT INTO billing_r001 VALUES (1)"):
        run = world.start()
        world.building(run)
        run.signal(signal.SIGKILL)
        run.end()
        nothing_left(world.admin)
    assert world.at() == "r001"
    assert world.valid("ix") is False
    ran = world.inv()
    assert ran.code == 0, ran.err
    assert world.valid("ix") is True
    assert world.at() == "r002"
    nothing_left(world.admin)


def test_a_terminated_connection_is_told_with_what_is_committed(world: World) -> None:
    """Row 14: 69, the revision's place, what a look says, and that a rerun is safe."""
    world.history(r003=PAUSED)
    world.close_barrier()
    run = world.start()
    backend = world.paused(run)
    query(world.admin, "SELECT pg_terminate_backend($1)", backend)
    said = failed(world, run.end(), 69)
    assert re.search(r"billing: migrations/versions/billing/r003\.py:\d+: the connection was lost", said)
    assert "safe to run the command again" in said
    assert f"{world.dsn.target} is at r002. What ran after that was rolled back." in said
    world.open_barrier()
    goes_on(world, "r002")


@pytest.mark.parametrize("told", [False, True], ids=["before_the_answer", "after_the_answer"])
def test_a_connection_that_is_cut_at_a_commit_is_looked_at_again(world: World, told: bool) -> None:
    """Row 14: the server has committed the third, whether or not the client has heard of it."""
    world.history(r003=PAUSED)
    world.close_barrier()
    with proxy(world.dsn) as (between, through):
        world.aim(through)
        run = world.start()
        world.paused(run)
        between.cut_at_commit("barrier", told=told)
        world.open_barrier()
        said = failed(world, run.end(), 69)
        assert between.cuts == 1
        assert f"{through.target} is at r003. What ran after that was rolled back." in said
        assert "safe to run the command again" in said
    world.aim()
    goes_on(world, "r003")


def test_a_connection_that_is_lost_on_this_side_only_is_ended_on_the_other(world: World) -> None:
    """Row 14: what the server still runs for us is ended before anything is said of the database."""
    world.history(r003=PAUSED)
    world.close_barrier()
    with proxy(world.dsn) as (between, through):
        world.aim(through)
        run = world.start()
        backend = world.paused(run)
        between.hang_up()
        ran = run.end()
        assert not query(world.admin, "SELECT FROM pg_stat_activity WHERE pid = $1", backend)
    said = failed(world, ran, 69)
    assert f"{through.target} is at r002. What ran after that was rolled back." in said
    world.aim()
    world.open_barrier()
    goes_on(world, "r002")


@contextmanager
def moved(world: World, **settings: str) -> Iterator[Cluster]:
    """Aim the world at a server of its own, which may crash or be full, and is gone afterwards."""
    if world.server.data is None:
        pytest.skip("a server that was given is not crashed, and its programs may not be here")
    with throwaway(world.server.version, settings=settings) as own:
        assert own.data
        literal = SECRET.replace("'", "''")
        query(own.admin, f"CREATE ROLE app LOGIN PASSWORD '{literal}'")
        query(own.admin, "CREATE DATABASE app OWNER app")
        world.server, world.dsn = own, Dsn("app", "app", own.admin.hosts, SECRET)
        world.aim()
        yield Cluster(own.data.parent, own.version, own.admin.hosts[0][1], own.admin.password or "")


@pytest.fixture
def crashing(world: World) -> Iterator[Cluster]:
    """Aim the world at a server that may crash."""
    with moved(world, synchronous_commit="on") as cluster:
        try:
            yield cluster
        finally:
            crash(cluster)


@pytest.fixture
def full(world: World) -> Iterator[list[Session]]:
    """Aim the world at a server all of whose connections are taken, but for those of superusers."""
    with moved(world, max_connections="5", superuser_reserved_connections="3"):
        taken = [Session(world.dsn) for _ in range(2)]
        yield taken
        for session in taken:
            session.close()


def crash(cluster: Cluster) -> None:
    if (cluster.data / "postmaster.pid").exists():
        cluster._ctl("stop", "-w", "-m", "immediate")


def restart(cluster: Cluster, *options: str) -> None:
    cluster._ctl("start", "-w", "-l", str(cluster.data / "restarted.log"), *options)


def test_a_server_that_crashes_is_told_and_the_run_goes_on_after_its_restart(world: World, crashing: Cluster) -> None:
    """Row 15: nobody can be asked, so the state is unknown, and 69 says that a rerun is safe."""
    world.history(r003=PAUSED)
    world.close_barrier()
    run = world.start()
    world.paused(run)
    crash(crashing)
    ran = run.end()
    restart(crashing)
    said = failed(world, ran, 69)
    assert "r003.py:" in said
    assert "safe to run the command again" in said
    assert "state is unknown: run `inv db.current --service billing`" in said
    assert "rolled back" not in said
    world.open_barrier()
    goes_on(world, "r002")


@pytest.fixture
def starting(crashing: Cluster) -> Cluster:
    """Let the server answer 57P03, as while it recovers, until it is promoted: as a standby of nobody."""
    crash(crashing)
    (crashing.data / "standby.signal").touch()
    restart(crashing, "-o", "-c hot_standby=off")
    return crashing


BUSY = "Trying again for up to "


def given_up(world: World, seconds: float, says: str) -> None:
    """Check that an upgrade ends at 69 within its connect timeout, after one warning."""
    world.aim(MIGRATIONS_CONNECT_TIMEOUT=f"{seconds:g}s")
    started = time.monotonic()
    ran = world.inv()
    assert seconds / 2 < time.monotonic() - started < seconds + 5
    assert ran.code == 69, ran.text
    assert "hunter" not in ran.text
    warning, told = ran.text.splitlines()
    assert re.search(rf" billing: {world.dsn.target}: {says}\. {BUSY}{seconds:g} s\.$", warning)
    assert re.fullmatch(rf"billing: {world.dsn.target}: {says}, for {seconds:g} s now\. Try again in a moment\.", told)


@pytest.mark.usefixtures("starting")
def test_a_server_that_starts_up_for_too_long_is_given_up(world: World) -> None:
    """Row 17: 57P03 for ever; 69 when the time to connect is over."""
    world.history(1)
    given_up(world, 2, "the database system is .*")


def test_a_server_that_starts_up_is_waited_for(world: World, starting: Cluster) -> None:
    """Row 17: 57P03, and the upgrade goes on when the server has started."""
    world.history(1)
    run = world.start()
    run.says(BUSY)
    starting._ctl("promote", "-w")
    ran = run.end()
    assert ran.code == 0, ran.err
    assert ran.err.count(BUSY) == 1
    assert world.at() == "r001"


@pytest.mark.usefixtures("full")
def test_a_server_with_too_many_connections_is_given_up(world: World) -> None:
    """Row 17: 53300 for ever; 69 when the time to connect is over."""
    world.history(1)
    given_up(world, 2, "(sorry, too many clients already|remaining connection slots are reserved for .*)")


def test_a_server_with_too_many_connections_is_waited_for(world: World, full: list[Session]) -> None:
    """Row 17: 53300, and the upgrade goes on when somebody has left."""
    world.history(1)
    run = world.start()
    run.says(BUSY)
    full.pop().close()
    ran = run.end()
    assert ran.code == 0, ran.err
    assert ran.err.count(BUSY) == 1
    assert world.at() == "r001"


def test_an_engine_of_the_callers_meets_a_busy_server_as_we_do(
    world: World, full: list[Session], caplog: pytest.LogCaptureFixture
) -> None:
    """Row 17: 53300 over an engine of an application's, inside its own event loop."""
    world.history(1)

    async def run() -> tuple[str, ...]:
        engine = create_async_engine(world.dsn.url, connect_args=world.dsn.connect_args())
        try:
            upgrade = asyncio.create_task(service_migrations.upgrade(world.monorepo.find("billing"), engine=engine))
            while BUSY not in caplog.text and not upgrade.done():  # noqa: ASYNC110 - the log has no event
                await asyncio.sleep(0.01)
            await asyncio.to_thread(full.pop().close)
            return (await upgrade).after
        finally:
            await engine.dispose()

    assert wait(run()) == ("r001",)


def unreachable(ran: Ran, says: str) -> None:
    assert ran.code == 69, ran.text
    assert len(ran.text.splitlines()) == 1, ran.text
    assert says in ran.text
    assert "hunter" not in ran.text


def test_a_server_that_says_nothing_is_given_up(world: World) -> None:
    """Row 17: a black hole at connect, within the time that is set for it."""
    world.history(1)
    with proxy(world.dsn) as (between, through):
        between.swallow()
        world.aim(through, MIGRATIONS_CONNECT_TIMEOUT="500ms")
        started = time.monotonic()
        unreachable(world.inv(), f"{through.target}: no answer within MIGRATIONS_CONNECT_TIMEOUT.")
        assert time.monotonic() - started < 10
        between.refuse()
        unreachable(world.inv(), f"{through.target}: connection refused. Is the server up, and this its address?")
    assert world.at() == "base"


def test_a_host_that_nobody_knows_is_unreachable(world: World) -> None:
    """Row 17: the name is in the message, for it may be mistyped."""
    world.history(1)
    world.aim(replace(world.dsn, hosts=(("no-such-host.invalid", 5432),)))
    unreachable(world.inv(), "@no-such-host.invalid:5432/")


FOREIGN = "what answers there is no PostgreSQL. Correct host and port."
CLOSED = "the connection was closed before the server answered. Is the server up, and this its address?"
ANSWERS = {
    "a greeting": (b"J\x00\x00\x00\n8.0.33\x00", 78, FOREIGN),
    "a text": (b"HTTP/1.1 400 Bad Request\r\n\r\n", 78, FOREIGN),
    "nothing": (b"", 69, CLOSED),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_port_of_another_program_is_named_as_that(world: World, answer: str) -> None:
    """Row 17: asyncpg says of it that it has rejected TLS, for which nobody had asked."""
    content, code, text = ANSWERS[answer]
    world.history(1)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):  # it is closed at the end
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(100)
                        connection.sendall(content)

        threading.Thread(target=serve, daemon=True).start()
        aimed = replace(world.dsn, hosts=(("127.0.0.1", listening.getsockname()[1]),))
        world.aim(aimed)
        ran = world.inv()
        listening.shutdown(socket.SHUT_RDWR)
    assert ran.code == code, ran.text
    assert f"{aimed.target}: {text}" in ran.err


def test_what_does_not_get_better_is_not_tried_again(world: World) -> None:
    """Row 17: neither a wrong password nor a host that nobody knows nor a port where nobody listens."""
    world.history(1)
    nobody = (("127.0.0.1", free_port()),)
    for wrong in (replace(world.dsn, password="wrong"), replace(world.dsn, hosts=nobody)):
        world.aim(wrong, MIGRATIONS_CONNECT_TIMEOUT="30s")
        started = time.monotonic()
        ran = world.inv()
        assert time.monotonic() - started < 10
        assert ran.code in (69, 77), ran.text
        assert BUSY not in ran.text


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('raise ValueError("no")', r"ValueError|no\."),
        ('op.execute("SELECT 1/0")', r"division by zero \[22012\]"),
    ],
    ids=["python", "sql"],
)
def test_a_revision_that_fails_is_told_with_its_place(world: World, body: str, says: str) -> None:
    """Row 18: service, file, line and SQLSTATE; those before it are kept."""
    world.history(r003=body)
    said = failed(world, world.inv(), 1)
    place = r"^billing: migrations/versions/billing/r003\.py:11: "
    end = r" It was rolled back\. Now \S+ is at r002\.$"
    assert re.search(rf"{place}({says}).*{end}", said, re.MULTILINE)
    assert world.at() == "r002"
    world.history()
    goes_on(world, "r002")


def test_a_connection_in_a_black_hole_ends_on_both_sides(world: World) -> None:
    """Row 16: the server ends what idles in a transaction, and the client what nobody answers any more."""
    world.history(r003=f"{PAUSED}\n{PAUSED}")
    world.close_barrier()
    with proxy(world.dsn) as (between, through):
        world.aim(through, MIGRATIONS_IDLE_TIMEOUT="500ms", MIGRATIONS_CONNECT_TIMEOUT="1s")
        run = world.start()
        backend = world.paused(run)
        between.swallow()
        swallowed = time.monotonic()
        world.open_barrier()
        gone = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)"
        until(lambda: query(world.admin, gone, backend)[0][0], "the server has given up", 10)
        ran = run.end()
        assert time.monotonic() - swallowed < 15
    said = failed(world, ran, 69)
    assert "r003.py:" in said
    assert "state is unknown" in said
    world.aim()
    goes_on(world, "r002")


def test_a_server_process_that_ended_unheard_is_noticed(world: World) -> None:
    """Row 16: the server has given the connection up, and the news never comes; new connections work."""
    world.history(r003=PAUSED)
    world.close_barrier()
    with proxy(world.dsn) as (between, through):
        world.aim(through, MIGRATIONS_CONNECT_TIMEOUT="1s")
        run = world.start()
        backend = world.paused(run)
        between.swallow(new=False)
        query(world.admin, "SELECT pg_terminate_backend($1)", backend)
        ran = run.end()
    said = failed(world, ran, 69)
    assert f"{through.target} is at r002. What ran after that was rolled back." in said
    world.aim()
    world.open_barrier()
    goes_on(world, "r002")
