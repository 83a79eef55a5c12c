"""Comparisons of several services: those with a database of their own run in worker processes, several at once."""

import json
import signal
import time

import pytest

from service_migrations.settings.model import load
from tests.support.database import query
from tests.support.deadlines import until
from tests.support.monorepo import MODELS
from tests.support.world import Run

NAMES = ("alpha", "beta", "gamma")

NOTED = """
import os
with open(os.environ["PROCESSES"], "a") as processes:
    processes.write(f"{os.getpid()}\\n")
"""
"""What a module of models may do when it is imported: here it notes its process."""

SLOW = 'op.execute("SELECT pg_sleep(600)")'

SCRATCHES = "SELECT datname FROM pg_database WHERE datname LIKE 'migrations\\_scratch%'"


@pytest.fixture
def fleet(monorepo, database):
    """Return a monorepo with services at head, each in a database of its own."""
    for name in NAMES:
        monorepo.service(name, NOTED + MODELS.format(table=name), database(creates=True))
        monorepo.table_revision(name, f"{name}_1", None)
    ran = monorepo.inv("db.upgrade", env={"PROCESSES": "/dev/null"})
    assert ran.code == 0, ran.err
    return monorepo


@pytest.fixture
def processes(tmp_path, fleet):
    """Return a function that runs a task, and returns its answer with the processes that imported models."""

    def run(*words):
        path = tmp_path / "processes"
        path.write_text("")
        ran = fleet.inv(*words, env={"PROCESSES": str(path)})
        return ran, path.read_text().splitlines()

    return run


def dsn_of(monorepo, name):
    return load(monorepo.find(name)).dsn


@pytest.mark.parametrize("task", ["db.check", "db.drift"])
def test_services_with_a_database_of_their_own_are_compared_in_workers_and_told_in_their_order(fleet, processes, task):
    query(dsn_of(fleet, "beta"), "ALTER TABLE beta ADD COLUMN phone text")
    ran, imported = processes(task)
    assert ran.code == 3
    lines = ran.out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [*NAMES]
    assert "phone" in lines[1]
    assert "phone" not in lines[0] + lines[2]
    assert ran.err.count("beta: 1 difference") == 1
    assert len(set(imported)) > 1
    told = json.loads(fleet.inv(task, "--json", env={"PROCESSES": "/dev/null"}).out)
    assert [(each["service"], len(each["differences"])) for each in told] == [("alpha", 0), ("beta", 1), ("gamma", 0)]


@pytest.mark.parametrize("task", ["db.check", "db.drift"])
def test_the_answer_is_that_of_each_service_alone(fleet, processes, task):
    query(dsn_of(fleet, "gamma"), "ALTER TABLE gamma ADD CONSTRAINT positive CHECK (id > 0)")
    alone = [processes(task, "--service", name)[0] for name in NAMES]
    ran, _ = processes(task)
    assert ran.out == "".join(each.out for each in alone)
    assert ran.err.startswith("".join(each.err for each in alone))
    assert ran.code == max(each.code for each in alone) == 3


def test_services_of_one_database_are_compared_in_one_process(fleet, processes, database):
    shared = database()
    for name in ("left", "right"):
        fleet.service(name, NOTED + MODELS.format(table=name), shared)
        fleet.table_revision(name, f"{name}_1", None)
        assert fleet.inv("db.upgrade", "--service", name, env={"PROCESSES": "/dev/null"}).code == 0
    ran, imported = processes("db.check", "--service", "left", "--service", "right")
    assert (ran.code, ran.err) == (0, "")
    assert len(set(imported)) == 1
    assert len(imported) == 2
    ran, _ = processes("db.check")
    assert (ran.code, ran.err) == (0, "")
    assert [line.partition(":")[0] for line in ran.out.splitlines()] == [*NAMES, "left", "right"]


def test_an_error_of_one_service_is_told_once_and_stops_no_other(fleet, processes):
    (fleet.root / "services" / "beta" / "models.py").write_text("raise RuntimeError('no models today')\n")
    ran, _ = processes("db.check")
    assert ran.code == 78
    assert [line.partition(":")[0] for line in ran.out.splitlines()] == ["alpha", "gamma"]
    assert ran.err.count("no models today") == 1
    assert "Traceback" not in ran.err
    assert "1 of 3 services has a problem." in ran.err
    ran, _ = processes("--debug", "db.check")
    assert "Traceback" in ran.err
    assert 'raise RuntimeError("no models today")' in ran.err.replace("'", '"')


@pytest.mark.parametrize("task", ["db.check", "db.drift"])
def test_errors_are_told_in_the_order_of_the_services_whichever_ends_first(fleet, processes, task):
    for name, seconds in (("alpha", 2), ("gamma", 0)):
        text = f"import time\ntime.sleep({seconds})\nraise RuntimeError('no models today')\n"
        (fleet.root / "services" / name / "models.py").write_text(text)
    (fleet.root / "services" / "beta" / ".env").write_text("DATABASE_DSN=postgresql://app@127.0.0.1:1/app\n")
    ran, _ = processes(task)
    assert ran.code == 78
    assert [line.partition(":")[0] for line in ran.err.splitlines()[:-1] if line.startswith(NAMES)] == [*NAMES]
    assert ran.err.splitlines()[-1] == "3 of 3 services have a problem."


def test_a_service_whose_worker_is_killed_is_an_error_and_the_others_are_compared(fleet, processes):
    killed = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    path = fleet.root / "services" / "beta" / "models.py"
    path.write_text(killed + path.read_text())
    ran, _ = processes("db.check")
    assert ran.code == 69
    assert "beta: its worker process was killed by signal 9" in ran.err
    assert [line.partition(":")[0] for line in ran.out.splitlines()] == ["alpha", "gamma"]


def test_settings_that_cannot_be_loaded_stop_no_other(fleet, processes):
    (fleet.root / "services" / "alpha" / ".env").unlink()
    ran, _ = processes("db.drift")
    assert ran.code == 78
    assert "alpha" in ran.err
    assert [line.partition(":")[0] for line in ran.out.splitlines()] == ["beta", "gamma"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_ends_all_of_them_and_leaves_no_scratch_database(fleet, server, number, request):
    for name in NAMES:
        path = fleet.root / "migrations" / "versions" / name / f"{name}_1.py"
        path.write_text(path.read_text().replace("op.create_table", f"{SLOW}\n    op.create_table"))
    run = Run(fleet.start("db.drift", env={"PROCESSES": "/dev/null"}))
    request.addfinalizer(run.kill)
    until(lambda: len(query(server.admin, SCRATCHES)) > 1, "several replays run")
    sleeping = "SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()"
    until(lambda: len(query(server.admin, sleeping)) > 1, "several replays sleep")
    sent = time.monotonic()
    run.signal(number)
    ran = run.end(30)
    assert time.monotonic() - sent < 12
    assert ran.code == 128 + number
    assert ran.out == ""
    assert ran.err.splitlines()[-1] == f"Stopped by {number.name}."
    assert query(server.admin, SCRATCHES) == []
