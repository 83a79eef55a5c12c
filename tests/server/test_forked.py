"""A forked child of the tests answers as a process does that starts with the interpreter."""

import os
import re
import signal
from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.database import wait
from tests.support.monorepo import Monorepo, Running

COMMANDS = {
    "a list": (("--list",), 0),
    "help": (("db.upgrade", "--help"), 0),
    "JSON": (("db.services", "--json"), 0),
    "SQL": (("db.upgrade", "--service", "billing", "--sql"), 0),
    "log lines": (("db.upgrade", "--service", "billing"), 0),
    "worker processes, one of which fails": (("db.upgrade", "--jobs", "1"), 1),
    "no such service": (("db.upgrade", "--service", "biling"), 2),
    "no such task": (("db.upgrad",), 1),
    "a task of the repository's own": (("environment",), 0),
    "an exception that nobody expects": (("broken",), 1),
}

READING = {
    ("db.current",): 0,
    ("db.heads",): 0,
    ("db.history", "--service", "billing"): 0,
    ("db.status",): 0,
    ("db.check",): 3,
    ("db.plan",): 0,
    ("db.owners",): 0,
    ("db.drift", "--service", "billing"): 0,
    ("db.log", "--service", "billing"): 0,
    ("db.locks",): 0,
    ("db.doctor",): 0,
    ("pg.versions",): 0,
}
"""Tasks that change nothing, each with its imports."""

TASKS = '''

@task
def environment(_):
    """Print what a process is made of."""
    import os, signal, sys, threading
    print(os.getcwd(), sorted(os.environ.items()), sys.argv, sys.path, sys.flags)
    print(signal.getsignal(signal.SIGINT), threading.active_count(), os.isatty(0), os.isatty(1), sys.stdout.encoding)
    print(sys.dont_write_bytecode, sorted(os.listdir("/proc/self/fd")), gc.get_threshold())


@task
def broken(_):
    """Raise what is no error of ours."""
    raise ZeroDivisionError("on purpose")


namespace.add_task(environment)
namespace.add_task(broken)
'''


@pytest.fixture
def repo(monorepo: Monorepo, database: Callable[..., Dsn]) -> Monorepo:
    """Make a service at base, and one whose revision fails."""
    for name in ("billing", "catalog"):
        monorepo.service(name, dsn=database())
        monorepo.table_revision(name, f"{name}1", None)
    monorepo.revision("catalog", "catalog2", "catalog1", 'op.execute("SELECT 1 / 0")')
    tasks = monorepo.root / "tasks.py"
    tasks.write_text("import gc\nfrom invoke.tasks import task\n" + tasks.read_text(encoding="utf-8") + TASKS, "utf-8")
    return monorepo


def same(text: str) -> str:
    """Return a text without what differs from one run to the next."""
    text = re.sub(r"\d+-\d+-\d+ \d+:\d+:\d+[,.]\d+(\+\d+)?|\b\d+\.\d+ s\b|0x[0-9a-f]+|pid \d+", "…", text)
    return re.sub(r"Traceback.*\n(?=\w)", "Traceback\n", text, flags=re.DOTALL)


@pytest.mark.parametrize(
    ("words", "code"), [*COMMANDS.values(), *READING.items()], ids=[*COMMANDS, *map(" ".join, READING)]
)
def test_code_and_both_streams_are_those_of_a_process(words: tuple[str, ...], code: int, repo: Monorepo) -> None:
    forked = repo.inv(*words)
    for name in ("billing", "catalog"):
        wait(service_migrations.downgrade(repo.find(name), "base"))
    started = repo.process(*words)
    assert (forked.code, same(forked.out), same(forked.err)) == (started.code, same(started.out), same(started.err))
    assert forked.code == code, forked.text


def test_a_command_that_takes_too_long_is_killed_and_the_next_one_runs(
    repo: Monorepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.revision("billing", "billing2", "billing1", 'op.execute("SELECT pg_sleep(60)")')
    monkeypatch.setattr("tests.support.monorepo.PATIENCE", 2.0)
    with pytest.raises(TimeoutError):
        repo.inv("db.upgrade", "--service", "billing")
    monkeypatch.undo()
    assert repo.inv("db.heads", "--service", "billing").out.startswith("billing: billing2 (head)")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_a_command_that_runs_beside_the_test(repo: Monorepo, number: signal.Signals) -> None:
    repo.revision("billing", "billing2", "billing1", 'print("begun", flush=True)\nop.execute("SELECT pg_sleep(60)")')
    codes = []
    for command in (repo.start, repo.spawn):
        running = command("db.upgrade", "--service", "billing")
        process, out, err = (
            (running.child, running.out, running.err)
            if isinstance(running, Running)
            else (running, running.stdout, running.stderr)
        )
        assert out is not None
        assert err is not None
        with out, err:
            assert os.getsid(process.pid) == process.pid
            assert process.poll() is None
            assert "begun\n" in iter(err.readline, "")  # stdout is for results
            os.kill(process.pid, number)
            codes.append(process.wait(30))
            assert process.poll() == codes[-1]
    assert codes[0] == codes[1] != 0
