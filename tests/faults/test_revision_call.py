"""A revision that ends or doubles the process that runs it, or leaves something behind in it."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.database import query
from tests.support.deadlines import DEADLINE, until
from tests.support.monorepo import DRIVER
from tests.support.world import UPGRADE, World, failed

PROMPT = 4.0
"""Seconds in which a command that is stopped ends: two, and what a busy machine needs."""

FORKS = """
import os, sys
child = os.fork()
if child == 0:
    {body}
    return
_, status = os.waitpid(child, 0)
op.execute(f"CREATE TABLE child_{{os.waitstatus_to_exitcode(status)}} (id int)")
"""

CHILDREN = {
    "returns": ("pass", 0),
    "exits": ("sys.exit(3)", 3),
    "exits without a number": ("sys.exit()", 0),
    "exits with a text": ("sys.exit('enough')", 1),
    "raises": ("raise ValueError('of the child')", 1),
    "ends at once": ("os._exit(4)", 4),
    "is replaced": ("os.execv('/bin/false', ['false'])", 1),
    "is replaced by another of the path": ("os.execlp('sh', 'sh', '-c', 'exit 6')", 6),
}


@pytest.fixture(params=["alone", "fleet"])
def fleet(request: pytest.FixtureRequest, world: World) -> bool:
    if request.param == "fleet":
        world.monorepo.service("catalog", dsn=world.dsn)
    return bool(request.param == "fleet")


def command(fleet: bool) -> tuple[str, ...]:
    return ("db.upgrade",) if fleet else ("db.upgrade", "--service", "billing")


EXITS = {
    "exit": ("import os\nos._exit(0)", r"os\._exit\(0\) would end the run without a word"),
    "exit with a code": ("import os\nos._exit(status=5)", r"os\._exit\(5\) would end the run without a word"),
    "exit by name": ("leave(0)", r"os\._exit\(0\) would end the run without a word"),
    **{
        f"exec{how}": (f"import os\nos.exec{how}({arguments})", "os.exec puts another program in the place of the run")
        for how, arguments in {
            "v": "'/bin/true', ['true']",
            "ve": "'/bin/true', ['true'], {}",
            "vp": "'true', ['true']",
            "lp": "'true', 'true'",
            "le": "'/bin/true', 'true', {}",
        }.items()
    },
    "exec by name": ("execv('/bin/true', ['true'])", "os.exec puts another program in the place of the run"),
}


@pytest.mark.parametrize(("body", "said"), EXITS.values(), ids=EXITS)
def test_a_revision_that_would_end_the_process_fails_instead(world: World, fleet: bool, body: str, said: str) -> None:
    world.history(r003=body)
    file = world.monorepo.root / "migrations/versions/billing/r003.py"
    imports = "from os import _exit as leave, execv\n" if "import os" not in body else ""
    file.write_text(imports + file.read_text(encoding="utf-8"), encoding="utf-8")
    text = failed(world, world.inv(*command(fleet)), 1)
    assert "r003.py:" in text
    assert re.search(said, text)
    assert world.at() == "r002"


@pytest.mark.parametrize(("body", "status"), CHILDREN.values(), ids=CHILDREN)
def test_a_process_that_a_revision_forks_ends_with_it(world: World, fleet: bool, body: str, status: int) -> None:
    world.history(4, r003=FORKS.format(body=body))
    ran = world.inv(*command(fleet))
    assert ran.code == 0, ran.text
    assert world.at() == "r004"
    assert query(world.admin, "SELECT to_regclass($1)::text", f"child_{status}") == [(f"child_{status}",)]
    assert ran.text.count("Running upgrade r003 -> r004") + ran.text.count("billing: 4 of 4, r004") == 1
    assert ("of the child" in ran.text) is ("of the child" in body)


ALARM = """
import signal
from signal import signal as set_handler
def late(_, frame):
    while frame and "{where}":
        if frame.f_code.co_name == "{where}":
            break
        frame = frame.f_back
    else:
        if "{where}":
            return
    raise {error}("too late")
{set}(signalnum=signal.SIGALRM, handler=late)
signal.setitimer(signal.ITIMER_REAL, *{times})
op.execute("SELECT pg_sleep(5)")
"""
"""An alarm that meets a function of the event loop, of the watcher or of a driver, or what runs a moment later."""

ALARMS = [
    ("_watch", "ValueError", "signal.signal"),
    ("_watch", "TimeoutError", "set_handler"),
    ("_read_blockers", "TimeoutError", "signal.signal"),
    ("_run_once", "TimeoutError", "signal.signal"),
    ("connect", "ConnectionResetError", "signal.signal"),
    ("", "TimeoutError", "signal.signal"),
    ("", "KeyboardInterrupt", "set_handler"),
    ("", "SystemExit", "signal.signal"),
]


@pytest.mark.parametrize(("where", "error", "set_"), ALARMS, ids=[" ".join(alarm) for alarm in ALARMS])
def test_an_alarm_of_a_revision_fails_it_wherever_its_handler_is_called(
    world: World, fleet: bool, where: str, error: str, set_: str
) -> None:
    """Raised in the watcher, or in a part of asyncio that only logs it, it was lost, and the upgrade went on."""
    world.history(r003=ALARM.format(where=where, error=error, set=set_, times=(0.01, 0.0003) if where else (0.2,)))
    text = failed(world, world.inv(*command(fleet)), 1)
    assert "too late" in text
    assert re.search(r"r003\.py(:|, line)", text)
    assert ("rolled back" in text) or ("ROLLBACK" in text), text
    assert world.at() == "r002"


def test_a_revision_that_stops_its_event_loop_has_failed_in_one_line(world: World, fleet: bool) -> None:
    world.history(r003="import asyncio\nasyncio.get_running_loop().stop()\nop.execute('SELECT 1')")
    text = failed(world, world.inv(*command(fleet)), 1)
    assert "its event loop was ended by what a revision or an import has left in it" in text
    assert f"{world.dsn.target} is at r002." in text
    assert world.at() == "r002"


UNAWAITED = {
    "in a coroutine that is awaited": "async def run(c):\n    c.execute(sa.text('SELECT 1'))\nop.run_async(run)",
    "called": "work()",
    "kept": "unused = work()",
    "of a library": "import asyncio\nasyncio.sleep(1)",
    "task": "import asyncio\nasyncio.get_running_loop().create_task(work())",
}


@pytest.mark.parametrize("body", UNAWAITED.values(), ids=UNAWAITED)
def test_a_coroutine_that_is_never_awaited_is_an_error(world: World, fleet: bool, body: str) -> None:
    """Nothing of it is run, and Python only warns."""
    insert = "op.execute('INSERT INTO billing_r001 VALUES (7)')"
    world.history(r003=f"async def work():\n    {insert}\n{body}")
    text = failed(world, world.inv(*command(fleet)), 1)
    assert re.search(r"r003\.py: RuntimeError: .*was never awaited.*, so nothing of it was run\.", text)
    assert ("(r003.py, line" in text) is (body.endswith(("sleep(1)", "run)")) or body == "work()")
    assert world.at() == "r002"


def test_what_can_not_be_awaited_is_told_with_the_way(world: World) -> None:
    world.history(2, r002="async def run(c):\n    op.execute('SELECT 1')\nop.run_async(run)")
    assert "what op does goes into connection.run_sync();" in failed(world, world.inv(), 1)
    offline = failed(world, world.inv("db.upgrade", "--service", "billing", "--sql"), 1)
    assert "Offline nothing can be awaited: run it online." in offline
    world.history(2, r002="op.run_async(lambda c: c.run_sync(lambda _: op.execute('SELECT 1')))")
    assert world.inv().code == 0


def test_other_warnings_of_a_revision_are_shown(world: World) -> None:
    world.history(3, r003="import warnings\nwarnings.warn('mind this')")
    ran = world.inv()
    assert ran.code == 0, ran.text
    assert "UserWarning: mind this" in ran.err
    assert world.at() == "r003"


@contextmanager
def spawned(world: World, *words: str) -> "Iterator[subprocess.Popen[str]]":
    """Run a command from the start of the interpreter to its real end."""
    process = world.monorepo.spawn(*words)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


THREAD = "import threading, time\nthread = threading.Thread(target=time.sleep, args=(600,))\nthread.start()\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_command_that_waits_for_a_thread_of_a_revision_says_so_and_hears_a_signal(
    world: World, fleet: bool, number: signal.Signals
) -> None:
    world.history(3, r002=THREAD)
    with spawned(world, *command(fleet)) as process:
        assert process.stderr is not None
        assert any("a revision or an import has left running" in line for line in process.stderr)
        assert world.at() == "r003"
        sent = time.monotonic()
        os.kill(process.pid, number)
        assert process.wait(DEADLINE) in (-number, 128 + number)
        assert time.monotonic() - sent < PROMPT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_thread_of_a_revision_does_not_delay_the_end_of_a_run_that_is_stopped(
    world: World, fleet: bool, number: signal.Signals
) -> None:
    world.history(3, r002=f"{THREAD}thread.join()")
    with spawned(world, *command(fleet)) as process:
        sql = (
            "SELECT FROM pg_stat_activity WHERE datname = $1 AND state LIKE 'idle in%' AND query LIKE '%billing_r002%'"
        )
        until(lambda: query(world.admin, sql, world.dsn.database), "the revision waits for its thread")
        sent = time.monotonic()
        os.kill(process.pid, number)
        assert process.wait(DEADLINE) == 128 + number
        assert time.monotonic() - sent < PROMPT
    assert world.at() == "r001"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_stops_a_run_also_where_its_revision_catches_everything(
    world: World, fleet: bool, number: signal.Signals
) -> None:
    """Without this the revision is committed, and the next one begins."""
    world.history(4, r003="import time\ntry:\n    time.sleep(600)\nexcept:\n    pass")
    run = world.start(*command(fleet))
    sql = "SELECT FROM pg_stat_activity WHERE datname = $1 AND state LIKE 'idle in%' AND query LIKE '%billing_r003%'"
    until(lambda: query(world.admin, sql, world.dsn.database), "the revision sleeps")
    run.signal(number)
    text = failed(world, run.end(), 128 + number)
    assert f"{world.dsn.target} is at r002. What ran after that was rolled back." in text
    assert world.at() == "r002"


HANDLERS = ["os._exit, 0", "lambda: os._exit(0)"]


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("where", ["models", "revision"])
def test_an_exit_handler_does_not_hide_a_failure(world: World, handler: str, where: str) -> None:
    register = f"import atexit, os\natexit.register({handler})\n"
    world.history(3, r003="raise ValueError('no')", r002=register if where == "revision" else "pass")
    if where == "models":
        path = world.monorepo.root / "services/billing/models.py"
        path.write_text(register + path.read_text(encoding="utf-8"), encoding="utf-8")
    ran = world.monorepo.process(*UPGRADE)
    assert ran.code == 1, ran.text
    assert "r003.py:11: ValueError: no. It was rolled back." in ran.text
    assert world.at() == "r002"


OPEN = {
    "block": "with op.get_context().autocommit_block():\n    {begin}",
    "raised in": "try:\n    raise ValueError\nexcept ValueError:\n    with op.get_context().autocommit_block():\n"
    "        {begin}",
    "raising": "try:\n    with op.get_context().autocommit_block():\n        {begin}\n        raise ValueError\n"
    "except ValueError:\n    pass",
}


@pytest.mark.parametrize("body", OPEN.values(), ids=OPEN)
def test_a_transaction_that_is_left_open_in_an_autocommit_block(world: World, body: str) -> None:
    """As over psycopg2, psycopg commits it at the end of the block; asyncpg would lose it."""
    begin = "op.execute('BEGIN'); op.execute('INSERT INTO billing_r001 VALUES (7)')"
    world.history(3, r003_alone=body.format(begin=begin))
    if DRIVER == "psycopg":
        ran = world.inv()
        assert ran.code == 0, ran.text
        assert query(world.dsn, "SELECT id FROM billing_r001") == [(7,)]
    else:
        text = failed(world, world.inv(), 1)
        assert re.search(r"r003\.py:\d+: it began a transaction in an autocommit block, and didn't end it", text)
        assert query(world.dsn, "SELECT id FROM billing_r001") == []
        assert world.at() == "r002"


STATE = """
import decimal, io, locale, socket, sys
values = [decimal.Decimal(1) / 3, locale.setlocale(locale.LC_ALL), socket.getdefaulttimeout(), sys.getrecursionlimit()]
op.execute(sa.text("INSERT INTO found VALUES (:value)").bindparams(value=" ".join(map(str, values))))
"""
LEFT = f"""
op.execute("CREATE TABLE found (value text)")
{STATE}
decimal.getcontext().prec = 2
locale.setlocale(locale.LC_ALL, "C.UTF-8")
socket.setdefaulttimeout(0.001)
sys.setrecursionlimit(120)
sys.stdout = io.StringIO()
op.execute = print
"""


def test_what_a_revision_leaves_in_python_is_not_for_the_next_one(world: World, fleet: bool) -> None:
    """With a precision of two digits the next one would compute other values than where it is run by itself."""
    world.history(r002=LEFT, r003=STATE)
    ran = world.inv(*command(fleet))
    assert ran.code == 0, ran.out
    assert "went from base to r005 (5 revisions" in ran.out
    (before,), (after,) = query(world.dsn, "SELECT value FROM found")
    assert before == after
    assert before.startswith("0.333333")


CLOSED = {
    "the output": 'print("begun")\nsys.stdout.close()\nprint("closed")',
    "the errors": 'sys.stderr.write("begun\\n")\nsys.stderr.close()\nsys.stderr.write("closed\\n")',
    "by a with": 'with sys.stdout as out:\n    out.write("begun\\n")\nprint("closed")',
    "by a redirection": (
        "from contextlib import redirect_stdout\n"
        'with redirect_stdout(sys.stderr) as out, out:\n    print("begun")\nprint("closed")'
    ),
}


@pytest.mark.parametrize("body", CLOSED.values(), ids=CLOSED)
def test_an_output_that_a_revision_closes_stays_open(world: World, fleet: bool, body: str) -> None:
    """The next line of the log ended the run: with 1, an unfinished history, and a dump of Python's."""
    world.history(r002=f"import sys\n{body}")
    ran = world.monorepo.process(*command(fleet))
    assert ran.code == 0, ran.text
    assert "went from base to r005 (5 revisions" in ran.out
    assert "begun\n" in ran.err
    assert "closed\n" in ran.err
    assert "lost sys.stderr" not in ran.err
