"""Signals: a prompt end, a server that idles, and a message that claims no more than is known."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service_migrations.postgres import Server
from service_migrations.postgres.postmaster import postmaster_is_ready
from tests.support.database import query
from tests.support.deadlines import until
from tests.support.monorepo import ROOT, default_signals
from tests.support.proxy import proxy
from tests.support.sessions import hold
from tests.support.world import INDEX, PAUSED, World, failed, nothing_left

PROMPT = 4.0
"""Seconds until a command has ended whose server answers: two, and as many for a machine that is busy."""

BOUND = 10.0
"""Seconds until a command has ended whose server doesn't answer."""

UNKNOWN = "the state is unknown. Run `inv db.current`."


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_the_run_and_its_statement(world: World, number: signal.Signals) -> None:
    """Row 19: 128 and the signal's number; nothing but the cancelling ends the statement."""
    world.history(r003=PAUSED)
    world.close_barrier()
    run = world.start()
    backend = world.paused(run)
    run.signal(number)
    sent = time.monotonic()
    ran = run.end()
    assert time.monotonic() - sent < PROMPT
    assert not query(world.admin, "SELECT FROM pg_stat_activity WHERE pid = $1", backend)
    said = failed(world, ran, 128 + number)
    assert f"{world.dsn.target} is at r002. What ran after that was rolled back." in said
    assert said.endswith(f"Stopped by {number.name}.\n")
    assert world.at() == "r002"


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
def test_a_signal_ends_a_run_whose_server_is_silent(world: World, times: int) -> None:
    """Row 20: the first gives the server some time to answer, the second gives it none."""
    world.history(r003=PAUSED)
    world.close_barrier()
    with proxy(world.dsn) as (between, through):
        world.aim(through)
        run = world.start()
        world.paused(run)
        between.swallow()
        sent = time.monotonic()
        run.signal(signal.SIGTERM)
        if times == 2:
            until(lambda: heard(run.process.pid), "the first signal is handled")
            run.signal(signal.SIGTERM)
        ran = run.end()
        assert time.monotonic() - sent < (BOUND if times == 1 else PROMPT)
    said = failed(world, ran, 143)
    assert "unknown" in said
    assert "inv db.current" in said
    assert "is at" not in said
    if times == 2:
        assert UNKNOWN in said
    assert world.at() == "r002"


def heard(pid: int) -> bool:
    """Whether a command has handled its first signal: it sets its alarm then.

    That the kernel has delivered it isn't enough. Python runs the handler a moment later, and once for all signals of
    one number that arrive before.
    """
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    caught = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(caught >> (signal.SIGALRM - 1) & 1)


def test_a_signal_during_a_concurrent_build_names_the_invalid_index(world: World) -> None:
    """Row 21: nothing is said to be rolled back, and the next upgrade builds it again."""
    world.history(2, r002_alone=INDEX)
    assert world.inv("db.upgrade", "--service", "billing", "--revision", "r001").code == 0
    with hold(world.dsn, "INSERT INTO billing_r001 VALUES (1)"):
        run = world.start()
        world.building(run)
        run.signal(signal.SIGTERM)
        sent = time.monotonic()
        ran = run.end()
        assert time.monotonic() - sent < PROMPT
        said = failed(world, ran, 143)
    assert f"{world.dsn.target} is at r001. What the revision that ran had committed before is kept." in said
    assert "INVALID indexes: ix." in said
    assert "rolled back" not in said
    assert world.valid("ix") is False
    assert world.inv().code == 0
    assert world.valid("ix") is True
    nothing_left(world.admin)


STUCK = """
import asyncio
from pathlib import Path

import asyncpg


def test_that_never_ends(postgres_server):
    async def sleep():
        connection = await asyncpg.connect(**postgres_server.admin.connect_args())
        data = await connection.fetchval("SHOW data_directory")
        Path("stuck").write_text(data)
        await connection.fetch("SELECT pg_sleep(600)")

    asyncio.run(sleep())
"""


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Make a folder for temporary files that a server's account can reach."""
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_to_nox_leaves_no_server_and_no_test_behind(
    server: Server, tmp_path: Path, temporary: Path, number: signal.Signals
) -> None:
    """Row 22: the end of nox is the end of its pytest, of pytest's server and of that server's files."""
    repo = tmp_path / "repo"
    shutil.copytree(ROOT, repo, ignore=shutil.ignore_patterns(".*", "__pycache__", "faults"))
    (repo / "service_migrations" / "testing" / "test_every_service.py").write_text(STUCK, encoding="utf-8")
    log = tmp_path / "log"
    with log.open("w", encoding="utf-8") as output:
        nox = subprocess.Popen(
            [sys.executable, "-m", "nox", "-s", f"migrations(pg{server.version})"],
            cwd=repo,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=default_signals,  # noqa: PLW1509 - no threads here
        )
    try:

        def stuck() -> bool:
            assert nox.poll() is None, log.read_text(encoding="utf-8")
            return (repo / "stuck").exists()

        until(stuck, "the test of the session runs", 120)
        data = Path(until((repo / "stuck").read_text, "it has said where its server is"))
        assert postmaster_is_ready(data)
        assert data.is_relative_to(temporary)
        postmaster = int((data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])
        nox.send_signal(number)
        assert nox.wait(BOUND) != 0
        until(lambda: not data.parent.exists(), "the server's files are gone", BOUND)
        until(lambda: not Path(f"/proc/{postmaster}").exists(), "the server is gone", BOUND)
        until(lambda: not in_session(nox.pid), "nothing that nox has started is left", BOUND)
        assert not list(temporary.glob("pg*"))
    finally:
        for pid in [nox.pid, *in_session(nox.pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        nox.wait()


def in_session(leader: int) -> list[int]:
    """Return the processes of a session that live."""
    numbers = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = path.read_text(encoding="utf-8").rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue  # it has ended meanwhile
        if int(session) == leader and state != "Z":
            numbers.append(int(path.parent.name))
    return numbers


BEGUN = 'from pathlib import Path; Path("begun").touch()\n'
# a program that is started already: one that a signal finds in subprocess's start-up would go on, here as anywhere
PROGRAM = "import subprocess; subprocess.run(['sh', '-c', 'sleep 0.5; touch begun; exec sleep 60'])"
PYTHON = {
    "sleeps": BEGUN + "import time; time.sleep(60)",
    "sleeps where it awaits": BEGUN + "import time\nasync def run(_):\n    time.sleep(60)\nop.run_async(run)",
    "awaits a sleep": BEGUN + "import asyncio\nasync def run(_):\n    await asyncio.sleep(60)\nop.run_async(run)",
    "catches where it awaits": BEGUN + "import time\nasync def run(_):\n    try:\n        time.sleep(60)\n"
    "    except BaseException:\n        time.sleep(60)\nop.run_async(run)",
    "computes": BEGUN + "while True: sum(range(1000))",
    "waits for a thread": BEGUN
    + (
        "import threading, time; thread = threading.Thread(target=time.sleep, args=(30,), daemon=True); "
        "thread.start(); thread.join()"
    ),
    "waits for a program": PROGRAM,
    "waits for an event": BEGUN + "import threading; threading.Event().wait(60)",
    "catches what it can": BEGUN + "import time\ntry:\n    time.sleep(60)\nexcept Exception:\n    time.sleep(60)",
    "catches the first": BEGUN + "import time\ntry:\n    time.sleep(60)\nexcept BaseException:\n    time.sleep(60)",
    "waits for a pool of threads": BEGUN
    + (
        "import time\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor() as pool:\n    pool.submit(time.sleep, 30).result()"
    ),
    "computes behind a commit": BEGUN + "op.get_bind().commit()\nwhile True: pass",
}
DEAF = """
from pathlib import Path
while True:
    try:
        Path("begun").touch()
        while True: pass
    except BaseException: pass
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("body", PYTHON.values(), ids=PYTHON)
def test_a_signal_ends_a_revision_that_runs_python(world: World, body: str, number: signal.Signals) -> None:
    """Row 19: the event loop gets no turn there in which to cancel anything."""
    world.history(r003=body)
    run = world.start()
    begun = world.monorepo.root / "begun"
    until(begun.exists, "the revision has begun")
    run.signal(number)
    sent = time.monotonic()
    ran = run.end()
    assert time.monotonic() - sent < PROMPT
    said = failed(world, ran, 128 + number)
    kept = "What the revision that ran had committed before is kept." in said
    assert kept is ("commit" in body)
    assert f"{world.dsn.target} is at r002." in said


@pytest.mark.parametrize("place", ["models", "revision"])
@pytest.mark.parametrize("fleet", [False, True], ids=["alone", "fleet"])
def test_a_signal_is_heard_though_imported_code_ignores_it(world: World, place: str, *, fleet: bool) -> None:
    world.history(r003=PAUSED)
    root = world.monorepo.root
    path = root / ("services/billing/models.py" if place == "models" else "migrations/versions/billing/r001.py")
    ignores = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{ignores}", encoding="utf-8")
    if fleet:
        world.monorepo.service("catalog", dsn=world.dsn)
    world.close_barrier()
    run = world.start("db.upgrade", *(() if fleet else ("--service", "billing")))
    world.paused(run)
    run.signal(signal.SIGTERM)
    sent = time.monotonic()
    ran = run.end()
    assert time.monotonic() - sent < PROMPT
    failed(world, ran, 143)
    assert world.at() == "r002"


@pytest.mark.parametrize("words", [("db.plan",), ("db.upgrade", "--sql")], ids=["plan", "sql"])
def test_a_signal_ends_a_revision_that_runs_python_offline(world: World, words: tuple[str, ...]) -> None:
    # it may make no file: that is no SQL
    world.history(r003="import sys, time\nprint('begun', file=sys.stderr, flush=True)\ntime.sleep(60)")
    run = world.start(*words, "--service", "billing")
    run.says("begun")
    run.signal(signal.SIGINT)
    sent = time.monotonic()
    ran = run.end()
    assert time.monotonic() - sent < PROMPT
    assert failed(world, ran, 130).endswith("Stopped by SIGINT.\n")


@pytest.mark.parametrize("body", [body for body in PYTHON.values() if "commit" not in body])
def test_a_signal_ends_a_revision_of_a_fleet_that_runs_python(world: World, body: str) -> None:
    world.history(r003=body)
    world.monorepo.service("catalog", dsn=world.dsn)
    run = world.start("db.upgrade")
    until((world.monorepo.root / "begun").exists, "the revision has begun")
    run.signal(signal.SIGTERM)
    sent = time.monotonic()
    ran = run.end()
    assert time.monotonic() - sent < PROMPT
    failed(world, ran, 143)
    assert "billing: stopped" in ran.out
    assert world.at() == "r002"


def test_a_revision_that_catches_everything_is_ended_by_the_second_signal(world: World) -> None:
    world.history(r003=DEAF)
    run = world.start()
    until((world.monorepo.root / "begun").exists, "the revision has begun")
    assert not heard(run.process.pid)
    run.signal(signal.SIGTERM)
    until(lambda: heard(run.process.pid), "the first signal is handled")
    run.signal(signal.SIGTERM)
    sent = time.monotonic()
    ran = run.end()
    assert time.monotonic() - sent < PROMPT
    assert UNKNOWN in failed(world, ran, 143)


@pytest.mark.slow
def test_a_revision_that_catches_everything_is_ended_after_eight_seconds(world: World) -> None:
    world.history(r003=DEAF)
    run = world.start()
    until((world.monorepo.root / "begun").exists, "the revision has begun")
    run.signal(signal.SIGTERM)
    sent = time.monotonic()
    ran = run.end()
    assert time.monotonic() - sent < BOUND
    assert UNKNOWN in failed(world, ran, 143)
