"""The pytest plugin: nothing happens until it is used, one server for all workers, and none is left."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service_migrations.history.matrix_rows import FOLDER, ROWS
from service_migrations.postgres import VERSIONS, Server
from tests.support.database import query
from tests.support.deadlines import until
from tests.support.monorepo import Monorepo, default_signals
from tests.support.pytest_runs import given, pytest_in
from tests.support.version import VERSION

LIGHT = """
import sys

def test_it():
    loaded = set(sys.modules)
    assert not {"alembic", "asyncpg", "dotenv", "invoke", "nox", "rich", "sqlalchemy"} & loaded
    ours = {name for name in loaded if name.startswith("service_migrations.")}
    assert ours == {"service_migrations.testing", "service_migrations.testing.plugin"}
"""

SHARING = """
import json, os, time
from pathlib import Path
import pytest

@pytest.mark.parametrize("number", range(2))
def test_it(postgres_server, number):
    seen = Path(os.environ["SEEN"])
    (seen / f"{os.getpid()}.json").write_text(json.dumps([str(postgres_server.data), os.getppid()]))
    time.sleep(float(os.environ["PAUSE"]))
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "test_it.py"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_run_that_uses_nothing_of_it_imports_nothing_and_starts_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    folder.mkdir()
    write(folder, LIGHT)
    for words in ((), ("-n", "1")):
        ran = pytest_in(folder, *words)
        assert ran.code == 0, ran.text
        assert "PostgreSQL" not in ran.out


def test_the_workers_of_a_run_share_one_server_of_that_run_which_is_gone_afterwards(tmp_path: Path) -> None:
    seen = []
    for name in ("one", "two"):
        folder = tmp_path / name / "repo"
        (folder / "seen").mkdir(parents=True)
        (folder / "pyproject.toml").write_text("[tool.service-migrations]\n")
        write(folder, SHARING)
        ran = pytest_in(folder, "-n", "2", "--dist=each", SEEN=str(folder / "seen"), PAUSE="0")
        assert ran.code == 0, ran.text
        assert f"PostgreSQL {VERSIONS[-1]} (" in ran.out
        found = [json.loads(path.read_text()) for path in (folder / "seen").iterdir()]
        assert len(found) == 2
        assert len({data for data, _ in found}) == 1
        seen.append(Path(found[0][0]))
    assert seen[0] != seen[1]
    assert not [data for data in seen if data.parent.exists()]


def test_a_run_that_is_killed_leaves_no_server_behind(tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    (folder / "seen").mkdir(parents=True)
    (folder / "pyproject.toml").write_text("[tool.service-migrations]\n")
    write(folder, SHARING)
    words = ["-m", "pytest", "-q", "-n", "2", f"--basetemp={tmp_path / 'basetemp'}"]
    env = {**os.environ, "SEEN": str(folder / "seen"), "PAUSE": "120"}
    run = subprocess.Popen([sys.executable, *words], cwd=folder, env=env, start_new_session=True)
    try:
        files = until(lambda: [path for path in (folder / "seen").iterdir() if path.stat().st_size], "the tests run")
        data = Path(json.loads(files[0].read_text())[0])
        assert data.exists()
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    until(lambda: not data.parent.exists(), "the server is gone")


SLOW = """
def test_it(migrated_database):
    migrated_database("billing")
"""


def test_ctrl_c_ends_a_run_that_waits_for_a_revision(monorepo: Monorepo, server: Server) -> None:
    """It waited for the revision, and Ctrl-C had to be pressed three times."""
    monorepo.service("billing")
    monorepo.revision("billing", "r001", None, "op.execute('SELECT 40, pg_sleep(40)')")
    (monorepo.root / "test_slow.py").write_text(SLOW, encoding="utf-8")
    outside = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            f"--basetemp={monorepo.root.parent / 'bt'}",
            "test_slow.py",
        ],
        cwd=monorepo.root,
        env={**outside, **given(server)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=default_signals,  # noqa: PLW1509 - no threads here
    ) as process:
        sleeping = "SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT 40%' AND state = 'active'"
        try:
            until(lambda: query(server.admin, sleeping), "the revision runs")
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == pytest.ExitCode.INTERRUPTED, out
    assert "KeyboardInterrupt" in out
    assert query(server.admin, sleeping) == []
    assert query(server.admin, "SELECT datname FROM pg_database WHERE datname LIKE '%unready'") == []


def test_a_version_that_cannot_be_provided_is_exit_code_69_before_any_test(tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    folder.mkdir()
    write(folder, "def test_it():\n    pass\n")
    ran = pytest_in(folder, "--postgres=16", "-n", "2", POSTGRES_SOURCES="dsn")
    assert ran.code == 69
    assert "name a server in POSTGRES_16_DSN" in ran.text
    assert "Traceback" not in ran.text
    assert "passed" not in ran.out


def test_a_version_that_does_not_exist_is_wrong_use(tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    folder.mkdir()
    ran = pytest_in(folder, "--postgres=3")
    assert ran.code == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: PostgreSQL '3' is not in the matrix" in ran.err


def test_without_the_option_it_is_a_failure_of_the_tests_that_need_a_server(tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[tool.service-migrations]\npostgres = ["15", "16"]\n')
    write(folder, "def test_it(postgres_server):\n    pass\n\ndef test_other():\n    pass\n")
    ran = pytest_in(folder, POSTGRES_SOURCES="dsn")
    assert ran.code == 1
    assert "1 passed, 1 error" in ran.out
    assert "PostgreSQL 16: this machine has no binaries" in ran.out
    assert "Traceback" not in ran.text


def test_a_teams_own_test_has_a_database_at_head(monorepo: Monorepo, server: Server) -> None:
    monorepo.service("billing")
    monorepo.table_revision("billing", "r001", None)
    write(
        monorepo.root,
        """
import asyncio
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

@pytest.mark.parametrize("number", range(4))
def test_it(migrated_database, number):
    found = migrated_database("billing")
    with psycopg.connect(found.dsn) as connection:
        connection.execute("INSERT INTO billing (name) VALUES ('one')")
        assert connection.execute("SELECT count(*) FROM billing").fetchone() == (1,)
    assert migrated_database("billing") == found

    async def ask():
        engine = create_async_engine(migrated_database("billing").url)
        async with engine.connect() as connection:
            assert await connection.scalar(text("SELECT version_num FROM alembic_version_billing")) == "r001"
        await engine.dispose()

    asyncio.run(ask())
""",
    )
    ran = pytest_in(monorepo.root, "test_it.py", "-n", "2", **given(server))
    assert ran.code == 0, ran.text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("biling", "'biling': there is no such service in services/*. Did you mean billing?"),
        ("billing", "billing: migrations/versions/billing/r001.py:10: division by zero [22012]. It was rolled back."),
    ],
)
def test_a_mistake_is_the_line_of_the_test_and_a_message(
    monorepo: Monorepo, server: Server, name: str, message: str
) -> None:
    monorepo.service("billing")
    monorepo.revision("billing", "r001", None, 'op.execute("SELECT 1/0")')
    write(monorepo.root, f"def test_it(migrated_database):\n    migrated_database({name!r})\n")
    ran = pytest_in(monorepo.root, "test_it.py", **given(server))
    assert (ran.code, message in ran.out) == (1, True), ran.text
    assert "test_it.py:2: " in ran.out
    assert "templates.py" not in ran.out
    assert "direct cause" not in ran.out


@pytest.mark.parametrize("words", [("test_it.py",), ("--pyargs", "service_migrations.testing")], ids=["own", "ours"])
@pytest.mark.parametrize(
    ("admin", "message"),
    [
        ({"password": "hunter2"}, "password authentication failed for user"),
        ({"database": "nowhere"}, 'database "nowhere" does not exist. Correct it.'),
        ({"hosts": (("127.0.0.1", 1),)}, "connection refused. Is the server up, and this its address?"),
    ],
    ids=["password", "database", "address"],
)
def test_a_server_that_cannot_be_used_is_one_line_for_each_test_without_its_password(
    monorepo: Monorepo, server: Server, admin: dict[str, Any], message: str, words: tuple[str, ...]
) -> None:
    monorepo.service("billing")
    monorepo.table_revision("billing", "r001", None)
    write(monorepo.root, "def test_it(migrated_database):\n    migrated_database('billing')\n")
    ran = pytest_in(monorepo.root, *words, **given(replace(server, admin=replace(server.admin, **admin))))
    assert ran.code == 1, ran.text
    # in CI, pytest's summary has the whole messages too
    lines = [line for line in ran.out.splitlines() if message in line and not line.startswith("ERROR ")]
    assert len(lines) == len(re.findall("^ERROR ", ran.out, re.MULTILINE)), ran.out
    assert all(line.startswith(f"environment POSTGRES_{server.version}_DSN: ") for line in lines)
    assert not re.search(r"^\S+\.py:\d+: ", ran.out, re.MULTILINE), ran.out
    assert "Traceback" not in ran.text
    assert not any(secret in ran.text for secret in ("hunter2", server.admin.password or "") if secret)


def test_a_server_of_another_version_than_it_is_named_for_is_refused(monorepo: Monorepo, server: Server) -> None:
    monorepo.service("billing")
    monorepo.table_revision("billing", "r001", None)
    write(monorepo.root, "def test_it(migrated_database):\n    migrated_database('billing')\n")
    ran = pytest_in(monorepo.root, "test_it.py", **given(replace(server, version="16")))
    assert ran.code == 1, ran.text
    assert f"environment POSTGRES_16_DSN: {server.admin.target} is PostgreSQL {server.version}. Name one of " in ran.out


def test_a_role_that_may_not_create_databases_is_the_line_of_the_test(monorepo: Monorepo, server: Server) -> None:
    monorepo.service("billing")
    monorepo.table_revision("billing", "r001", None)
    write(monorepo.root, "def test_it(migrated_database):\n    migrated_database('billing')\n")
    query(server.admin, "CREATE ROLE weak LOGIN PASSWORD 'hunter2'")
    weak = replace(server.admin, user="weak", password="hunter2")
    try:
        ran = pytest_in(monorepo.root, "test_it.py", **given(replace(server, admin=weak)))
    finally:
        query(server.admin, "DROP ROLE weak")
    assert ran.code == 1, ran.text
    assert "permission denied" in ran.out
    assert "It has to name a superuser." in ran.out
    assert "test_it.py:2: " in ran.out
    assert not {"connect_utils.py", "databases.py", "event_loop.py"} & set(re.split(r"[\s/:]+", ran.out))
    assert "hunter2" not in ran.text


def test_a_server_that_a_test_has_stopped_is_a_line_for_each_of_the_others(monorepo: Monorepo) -> None:
    monorepo.service("billing")
    monorepo.table_revision("billing", "r001", None)
    write(
        monorepo.root,
        """
import os
import signal
import time

def test_it(migrated_database, postgres_server):
    migrated_database("billing")
    pid_file = postgres_server.data / "postmaster.pid"
    os.kill(int(pid_file.read_text().splitlines()[0]), signal.SIGQUIT)
    while pid_file.exists():
        time.sleep(0.05)

def test_next(migrated_database):
    migrated_database("billing")
""",
    )
    ran = pytest_in(monorepo.root, "test_it.py", POSTGRES_VERSION=VERSION, POSTGRES_SOURCES="installed,npm")
    assert ran.code == 1, ran.text
    assert "1 failed, 1 passed, 1 error" in ran.out
    line = f"PostgreSQL {VERSION} of this run: postgres@127.0.0.1:"
    assert ran.out.count("connection refused. Has a test stopped it?") >= 2
    assert line in ran.out
    assert len(ran.out.splitlines()) < 40, ran.text


def test_the_rows_of_the_matrix_are_in_one_folder_for_the_plugin_and_the_library(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.getini(ROWS) == FOLDER
