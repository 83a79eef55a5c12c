"""Many services in one command: workers, their order, their limits and what is said of each."""

import asyncio
import gc
import os
import pty
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import service_migrations
from service_migrations.errors import UsageError
from service_migrations.postgres import Server
from service_migrations.rollout import rollout
from service_migrations.settings.dsn import Dsn
from tests.support.database import PASSWORD, query, wait
from tests.support.monorepo import Monorepo

NAMES = ("alpha", "beta", "gamma")


@pytest.fixture
def fleet(monorepo: Monorepo, database: Callable[..., Dsn]) -> dict[str, Dsn]:
    """Make three services with a database each, and two revisions."""
    dsns = {name: database() for name in NAMES}
    for name, dsn in dsns.items():
        monorepo.service(name, dsn=dsn)
        monorepo.table_revision(name, "r1", None)
        monorepo.revision(name, "r2", "r1", f'op.execute("CREATE TABLE {name}_two (id int)")')
    return dsns


def broken(monorepo: Monorepo, name: str) -> None:
    monorepo.revision(name, "r2", "r1", 'op.execute("SELECT nonsense")')


def at(dsn: Dsn, name: str) -> list[str]:
    if query(dsn, "SELECT to_regclass($1)", f"alembic_version_{name}")[0][0] is None:
        return []
    return [row[0] for row in query(dsn, f"SELECT version_num FROM alembic_version_{name}")]  # noqa: S608 - a test's own name


def states(out: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in out.splitlines())


def test_all_services_are_upgraded_and_each_line_names_its_service(monorepo, fleet):
    ran = monorepo.inv("db.upgrade")
    assert ran.code == 0, ran.text
    assert {name: at(dsn, name) for name, dsn in fleet.items()} == {name: ["r2"] for name in NAMES}
    assert list(states(ran.out)) == list(NAMES)
    for name, dsn in fleet.items():
        assert f"{name}: 1 of 2, r1\n{name}: 2 of 2, r2\n".splitlines()[0] in ran.err.splitlines()
        assert f"{name}: 2 of 2, r2" in ran.err.splitlines()
        assert re.search(
            rf" - service_migrations\.upgrade\.run - INFO - {name} -> {re.escape(dsn.target)}$", ran.err, re.MULTILINE
        )
    assert all(re.search(rf"\b({'|'.join(NAMES)})\b", line) for line in ran.err.splitlines()), ran.err
    assert PASSWORD not in ran.text


def test_a_second_run_has_nothing_to_do_and_says_so_of_each(monorepo, fleet):
    assert monorepo.inv("db.upgrade").code == 0
    ran = monorepo.inv("db.upgrade")
    assert ran.code == 0
    assert ran.out == "".join(f"{name}: nothing to do, {dsn.target} is at r2\n" for name, dsn in fleet.items())
    assert ran.err == ""


def test_one_that_fails_does_not_stop_the_others_and_the_summary_lists_all(monorepo, fleet):
    broken(monorepo, "alpha")
    ran = monorepo.inv("db.upgrade")
    assert ran.code == 1
    assert states(ran.out)["alpha"] == "failed"
    assert [at(dsn, name) for name, dsn in fleet.items()] == [["r1"], ["r2"], ["r2"]]
    assert "migrations/versions/alpha/r2.py" in ran.err
    assert ran.err.endswith("1 of 3 services failed.\n")
    assert "Traceback" not in ran.err


def test_the_most_serious_code_of_several_wins(monorepo, fleet):
    broken(monorepo, "beta")
    (monorepo.root / "services/alpha/.env").unlink()
    ran = monorepo.inv("db.upgrade")
    assert ran.code == 1
    assert "services/alpha/.env does not exist" in ran.err
    assert states(ran.out)["alpha"] == states(ran.out)["beta"] == "failed"
    assert at(fleet["gamma"], "gamma") == ["r2"]


def test_fail_fast_starts_no_other_and_lists_what_was_not_started(monorepo, fleet):
    broken(monorepo, "alpha")
    ran = monorepo.inv("db.upgrade", "--jobs", "1", "--fail-fast")
    assert ran.code == 1
    assert states(ran.out) == {"alpha": "failed", "beta": "not started", "gamma": "not started"}
    assert [at(dsn, name) for name, dsn in fleet.items()] == [["r1"], [], []]


def test_without_fail_fast_one_job_does_them_all(monorepo, fleet):
    broken(monorepo, "alpha")
    assert monorepo.inv("db.upgrade", "--jobs", "1").code == 1
    assert [at(dsn, name) for name, dsn in fleet.items()] == [["r1"], ["r2"], ["r2"]]


def test_a_canary_that_fails_keeps_all_others_from_starting(monorepo, fleet):
    broken(monorepo, "gamma")
    ran = monorepo.inv("db.upgrade", "--canary", "gamma")
    assert ran.code == 1
    assert states(ran.out) == {"alpha": "not started", "beta": "not started", "gamma": "failed"}
    assert [at(dsn, name) for name, dsn in fleet.items()] == [[], [], ["r1"]]


def test_a_canary_goes_first_and_alone(monorepo, fleet):
    ran = monorepo.inv("db.upgrade", "--canary", "gamma")
    assert ran.code == 0
    told = [line for line in ran.err.splitlines() if " of 2, " in line]
    assert told[:2] == ["gamma: 1 of 2, r1", "gamma: 2 of 2, r2"]
    assert {name: at(dsn, name) for name, dsn in fleet.items()} == {name: ["r2"] for name in NAMES}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--jobs", "0"), "--jobs '0'"),
        (("--jobs", "-1"), "--jobs"),
        (("--jobs", "many"), "--jobs 'many'"),
        (("--canary", "delta"), "'delta'"),
        (("--service", "alpha", "--service", "beta", "--canary", "gamma"), "--canary gamma"),
    ],
)
def test_wrong_use_is_told_before_anything_is_connected_to(monorepo, fleet, words, said):
    ran = monorepo.inv("db.upgrade", *words)
    assert ran.code == 2, ran.text
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not at(fleet["alpha"], "alpha")


def test_services_that_share_a_database_go_one_after_the_other(monorepo, database, fleet):
    """Without any patience for the lock, two at once would fail."""
    monorepo.service("delta", dsn=database(shared=fleet["alpha"]))
    monorepo.table_revision("delta", "r1", None)
    for name in ("alpha", "delta"):
        monorepo.revision(name, "r2", "r1", 'op.execute("SELECT pg_sleep(0.5)")')
    ran = monorepo.inv("db.upgrade", "--lock-wait", "0", "--jobs", "4")
    assert ran.code == 0, ran.text
    assert "waiting" not in ran.err


def test_a_role_with_few_connections_makes_it_slower_and_that_is_said(
    monorepo: Monorepo, server: Server, database: Callable[..., Dsn]
) -> None:
    """Three databases of one role, which may have three connections: at two each, one upgrade at a time."""
    dsns = {}
    owner = database()
    for name in NAMES:
        query(server.admin, f'CREATE DATABASE "{owner.user}_{name}" OWNER "{owner.user}"')
        dsns[name] = Dsn(owner.user, f"{owner.user}_{name}", owner.hosts, owner.password)
        monorepo.service(name, dsn=dsns[name])
        monorepo.revision(name, "r1", None, 'op.execute("SELECT pg_sleep(0.3)")')
    query(server.admin, f'ALTER ROLE "{owner.user}" CONNECTION LIMIT 3')
    ran = monorepo.inv("db.upgrade", "--jobs", "3")
    assert ran.code == 0, ran.text
    said = [line for line in ran.err.splitlines() if "at a time" in line]
    assert len(said) == 1
    assert f"the role {owner.user} has 3 connections left" in said[0]
    assert "1 at a time instead of 3" in said[0]
    assert [at(dsn, name) for name, dsn in dsns.items()] == [["r1"]] * 3


@pytest.mark.usefixtures("fleet")
def test_what_a_revision_prints_and_logs_carries_the_name_of_its_service(monorepo):
    for name in ("alpha", "beta"):
        body = 'import logging\nprint("half", end="")\nprint(" a line")\nlogging.getLogger("mine").warning("beware")'
        monorepo.revision(name, "r2", "r1", body)
    ran = monorepo.inv("db.upgrade")
    assert ran.code == 0, ran.text
    for name in ("alpha", "beta"):
        assert f"{name}: half a line" in ran.err.splitlines()
        assert re.search(rf" - mine - WARNING - {name}: beware$", ran.err, re.MULTILINE)
    assert set(states(ran.out)) == set(NAMES)


PROGRAMS = """
import subprocess, sys
slow = "echo given; printf 'in part' >&2; sleep 0.3; echo ' whole' >&2"
subprocess.run(["sh", "-c", slow], stdout=sys.stdout, check=True)
subprocess.run(["echo", "inherited"], check=True)
subprocess.run(["sh", "-c", "head -c 300000 /dev/zero | tr '\\\\0' x; echo; printf unended"], check=True)
sys.stdout.buffer.write(b"gr\\xf6\\xdfe\\n")
print("last", end="")
"""


@pytest.mark.usefixtures("fleet")
def test_what_the_programs_print_that_a_revision_starts_carries_the_name_of_its_service(monorepo):
    for name in ("alpha", "beta"):
        monorepo.revision(name, "r2", "r1", PROGRAMS)
    ran = monorepo.inv("db.upgrade")
    assert ran.code == 0, ran.text
    for name in ("alpha", "beta"):
        own = [line for line in ran.err.splitlines() if line.startswith(f"{name}: ") and "r2" not in line]
        for line in ("given", "in part whole", "inherited", "x" * 300_000, "unended", "gr\\xf6\\xdfe", "last"):
            assert f"{name}: {line}" in own, line[:20]
        assert own.index(f"{name}: given") < own.index(f"{name}: in part whole") < own.index(f"{name}: inherited")
    assert set(states(ran.out)) == set(NAMES)
    assert all(re.search(rf"\b({'|'.join(NAMES)})\b", line) for line in ran.err.splitlines())


@pytest.mark.usefixtures("fleet")
def test_what_a_revision_prints_before_it_fails_is_not_lost(monorepo):
    body = 'import os\nprint("before", end="")\nos.write(1, b"beneath")\nraise ValueError("wrong")'
    monorepo.revision("alpha", "r2", "r1", body)
    ran = monorepo.inv("db.upgrade")
    assert ran.code == 1
    assert {"alpha: before", "alpha: beneath"} <= set(ran.err.splitlines())


@pytest.mark.usefixtures("fleet")
def test_what_a_worker_prints_before_it_dies_is_not_lost(monorepo):
    monorepo.revision("alpha", "r2", "r1", 'import os\nos.write(2, b"beneath")\nos.kill(os.getpid(), 9)')
    ran = monorepo.inv("db.upgrade")
    assert ran.code == 69
    assert "alpha: beneath" in ran.err.splitlines()
    assert "killed by signal 9" in ran.err


FORKED = """
import os, pathlib, time
pid = os.fork()
if not pid:
    os.closerange(0, 3)
    time.sleep(60)
    os._exit(0)
pathlib.Path("forked").write_text(str(pid))
os.kill(os.getpid(), 9)
"""

THREADS = """
import logging, threading
def report():
    for _ in range(30):
        logging.getLogger("mine").warning("x" * 200_000)
threads = [threading.Thread(target=report) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(30):
    print("y" * 200_000)
for thread in threads:
    thread.join()
"""


@pytest.mark.usefixtures("fleet")
def test_threads_of_a_revision_that_log_and_print_at_once_write_whole_lines(monorepo):
    monorepo.revision("alpha", "r2", "r1", THREADS)
    ran = monorepo.inv("db.upgrade")
    assert ran.code == 0, ran.text[-1000:]
    assert ran.err.splitlines().count(f"alpha: {'y' * 200_000}") == 30
    assert len(re.findall(rf" - mine - WARNING - alpha: {'x' * 200_000}$", ran.err, re.MULTILINE)) == 60


OBJECT = """
import logging
class Unit:
    def __str__(self):
        return "a unit"
{}
logging.getLogger("mine").warning("beware", extra={{"unit": Unit(), "parts": ("a", 1)}})
"""


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize(
    "reduce", ["", "    def __reduce__(self):\n        return int, ('imported in the first process',)"]
)
def test_a_log_record_with_an_object_of_a_services_code_arrives(monorepo, reduce):
    monorepo.revision("alpha", "r2", "r1", OBJECT.format(reduce))
    ran = monorepo.inv("db.upgrade")
    assert ran.code == 0, ran.text
    assert re.search(r" - mine - WARNING - alpha: beware$", ran.err, re.MULTILINE), ran.text
    assert "Traceback" not in ran.text


@pytest.mark.usefixtures("fleet")
def test_a_worker_that_dies_is_reported_at_once_where_a_process_that_it_forked_lives_on(monorepo):
    monorepo.revision("alpha", "r2", "r1", FORKED)
    ran = monorepo.inv("db.upgrade")
    os.kill(int((monorepo.root / "forked").read_text(encoding="utf-8")), 9)  # it is still there
    assert ran.code == 69, ran.text
    assert "alpha: its worker process was killed by signal 9" in ran.err
    assert {"beta", "gamma"} <= {name for name, state in states(ran.out).items() if state != "failed"}


def test_workers_need_no_output_of_the_process_that_started_them(monorepo, fleet):
    command = f"{sys.executable} -m invoke db.upgrade >&-"
    subprocess.run(["/bin/sh", "-c", command], cwd=monorepo.root, check=False, capture_output=True, timeout=60)
    assert {name: at(dsn, name) for name, dsn in fleet.items()} == {name: ["r2"] for name in NAMES}


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize("command", ["db.upgrade", "up"])
@pytest.mark.parametrize("no_color", [{}, {"NO_COLOR": "1"}], ids=["colours", "no colours"])
def test_a_terminal_gets_one_live_line_for_each_service(monorepo, command, no_color):
    ours, theirs = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        try:
            while piece := os.read(ours, 4096):
                shown.append(piece)
        except OSError:
            pass

    reader = threading.Thread(target=read)
    reader.start()
    monorepo.revision("beta", "r3", "r2", 'op.execute("SELECT pg_sleep(2.5)")')
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "24", **no_color}
    done = subprocess.run(
        [sys.executable, "-m", "invoke", command],
        cwd=monorepo.root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        check=False,
    )
    os.close(theirs)
    reader.join()
    os.close(ours)
    text = b"".join(shown).decode()
    assert done.returncode == 0, text
    assert all(name in done.stdout for name in NAMES)
    assert "\x1b" not in done.stdout
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "").splitlines()
    for name in NAMES:
        assert any(line.startswith(f"{name}: ") for line in lines), lines
    running = [re.fullmatch(r"beta: 3 of 3, r3 r3\. \((\d) s\) -> .*@.*", line) for line in lines]
    assert len({match[1] for match in running if match}) > 1, lines  # the seconds go on
    assert "INFO" not in text
    assert bool(re.search(r"\x1b\[3[26]m", text)) == (not no_color)
    assert "\x1b[1A" in text or "\x1b[2K" in text  # lines are overwritten


@pytest.mark.usefixtures("fleet")
def test_the_library_upgrades_them_too_and_says_what_became_of_each(monorepo: Monorepo) -> None:
    script = monorepo.root / "deploy.py"
    script.write_text(
        "import service_migrations\n"
        "for result in service_migrations.upgrade_all(service_migrations.discover(), jobs=2):\n"
        "    print(result.service, result.state, result.outcome.after)\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, str(script)], cwd=monorepo.root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{name} done ('r2',)" for name in NAMES]


def test_the_library_refuses_to_fork_an_application_that_runs_a_loop(monorepo, fleet):
    async def inside() -> None:
        service_migrations.upgrade_all(service_migrations.discover(monorepo.root))

    with pytest.raises(UsageError, match="event loop"):
        wait(inside())
    assert not at(fleet["alpha"], "alpha")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"jobs": 0}, "nothing could run"), ({"canary": "gamma"}, "gamma isn't one of the services"), ({}, "threads")],
)
def test_the_library_refuses_what_can_run_nothing_or_forks_an_application_with_threads(
    monorepo: Monorepo, fleet: dict[str, Dsn], arguments: dict[str, Any], said: str
) -> None:
    alpha, gamma = monorepo.find("alpha"), monorepo.find("gamma")
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        canary = {"canary": gamma} if "canary" in arguments else {}
        with pytest.raises(UsageError, match=said):
            service_migrations.upgrade_all([alpha], **(arguments | canary))
    finally:
        ended.set()
        thread.join()
    assert not at(fleet["alpha"], "alpha")


@pytest.mark.parametrize("is_silent", [False, True], ids=["a server", "a silent server"])
def test_the_library_starts_nothing_once_it_is_stopped(
    monorepo: Monorepo, fleet: dict[str, Dsn], *, is_silent: bool
) -> None:
    script = monorepo.root / "deploy.py"
    script.write_text(
        "import service_migrations\n"
        "for result in service_migrations.upgrade_all(service_migrations.discover(), stop=lambda: 1):\n"
        "    print(result.service, result.state, result.outcome)\n",
        encoding="utf-8",
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        if is_silent:
            for name in NAMES:
                monorepo.env(name, DATABASE_DSN=f"postgresql://a:b@127.0.0.1:{silent.getsockname()[1]}/{name}")
        done = subprocess.run(
            [sys.executable, str(script)], cwd=monorepo.root, capture_output=True, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{name} not started None" for name in NAMES]
    assert [at(dsn, name) for name, dsn in fleet.items()] == [[], [], []]


def test_what_asyncpg_leaves_behind_in_a_scan_that_is_stopped_is_not_printed(caplog: pytest.LogCaptureFixture) -> None:
    """It does where a socket was connected to and the first message isn't sent yet: too short a time to meet."""

    async def connecting() -> None:
        left_behind = asyncio.get_running_loop().create_future()
        try:
            await asyncio.sleep(60)
        finally:
            left_behind.set_exception(ConnectionError("unexpected connection_lost() call"))

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(rollout._until(connecting(), lambda: 1))
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_worker_is_replaced_after_some_services_so_that_memory_stays_flat(monorepo, database):
    dsn = database()
    names = [f"s{number:02}" for number in range(35)]
    for name in names:
        monorepo.service(name, dsn=database(shared=dsn))
        monorepo.revision(name, "r1", None, 'import os\nprint("pid", os.getpid())')
    ran = monorepo.inv("db.upgrade", "--jobs", "1")
    assert ran.code == 0, ran.text
    pids = [line.split()[-1] for line in ran.err.splitlines() if ": pid " in line]
    assert len(pids) == 35
    assert max(pids.count(pid) for pid in pids) == 8
