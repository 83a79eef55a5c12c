"""Passwords, and the settings that hold them: what was written arrives, and nobody else hears of it."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import service_migrations
from service_migrations.databases.admin import create
from service_migrations.errors import AccessDeniedError
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import load
from service_migrations.settings.sources import Sources
from tests.support.database import PASSWORDS, SECRET, query, tables, wait
from tests.support.monorepo import Monorepo, dsn_text
from tests.support.network import Make, own_server, role_and_database, until, upgrade
from tests.support.world import World


def test_any_password_connects_from_every_place(
    monorepo: Monorepo, database: Callable[..., Dsn], server: service_migrations.postgres.Server
) -> None:
    """Row 29: percent-encoded, single-quoted, in a file, and from the environment."""
    made = database()
    service = monorepo.service("billing")
    secret = monorepo.root / "secret"
    bare = dsn_text(Dsn(made.user, made.database, made.hosts)).replace(":@", "@")
    for password in PASSWORDS:
        literal = query(server.admin, "SELECT quote_literal($1::text)", password)[0][0]
        query(server.admin, f'ALTER ROLE "{made.user}" PASSWORD {literal}')
        dsn = Dsn(made.user, made.database, made.hosts, password)
        secret.write_text(f"{password}\n", encoding="utf-8")
        quoted = "'" + password.replace("\\", "\\\\").replace("'", "\\'") + "'"
        files: tuple[dict[str, str], ...] = (
            {"DATABASE_DSN": dsn_text(dsn)},
            {"DATABASE_DSN": bare, "DATABASE_PASSWORD": quoted},
            {"DATABASE_DSN": bare, "DATABASE_PASSWORD_FILE": str(secret)},
        )
        for values in files:
            monorepo.env("billing", **values)
            assert query(load(service, Sources({})).dsn, "SELECT current_user")[0][0] == made.user, password
        monorepo.env("billing", DATABASE_DSN=bare)
        environment = {"BILLING_DATABASE_PASSWORD": password}
        assert query(load(service, Sources(environment)).dsn, "SELECT current_user")[0][0] == made.user, password


@pytest.mark.parametrize("password", ["hunter5%40", "hunter5@hunter6", "hunter5 hunter6", "%hunter5%s", "hunter5%(x)s"])
def test_a_wrong_password_is_told_to_nobody(world: World, password: str) -> None:
    """Row 30: neither in the message, nor in what a traceback shows of its causes, nor in the server's log."""
    world.history(1)
    world.aim(replace(world.dsn, password=password))
    with pytest.raises(AccessDeniedError) as caught:
        wait(service_migrations.upgrade(world.monorepo.find("billing")))
    assert "hunter" not in str(caught.value)
    assert "hunter" not in "".join(traceback.format_exception(caught.value))
    if world.server.log:
        log = world.server.log.read_text(errors="replace")
        assert f'password authentication failed for user "{world.dsn.user}"' in log
        assert "hunter5" not in log


def test_two_services_in_one_process_each_talk_to_their_own_database(
    monorepo: Monorepo, database: Callable[..., Dsn], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 32: what is left over in the environment aims at nobody."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://stale:x@nowhere/none")
    dsns = {name: database() for name in ("billing", "catalog")}
    services = [monorepo.service(name, dsn=dsn) for name, dsn in dsns.items()]
    for service in services:
        monorepo.table_revision(service.name, "a1", None)
    before = dict(os.environ)
    for service in services:
        wait(service_migrations.upgrade(service))
    assert dict(os.environ) == before
    for name, dsn in dsns.items():
        assert tables(dsn) == {name, f"alembic_version_{name}"}


@pytest.fixture(scope="module")
def talkative() -> Iterator[Server]:
    """A server that logs each statement, and its arguments where it can."""
    with own_server(log_statement="all", log_connections="on", log_min_duration_statement="0") as server:
        yield server


def test_no_process_shows_the_password_while_a_revision_runs(monorepo: Monorepo, database: Make) -> None:
    dsn = database(password=SECRET)
    monorepo.revision("billing", "r001", None, 'op.execute("SELECT pg_sleep(60)")')
    monorepo.service("billing", dsn=dsn)
    process = monorepo.spawn("db.upgrade", "--service", "billing")
    try:
        sql = "SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%' AND state = 'active'"
        sql += " AND datname = current_database()"

        async def sleeps() -> bool:
            assert process.poll() is None
            return bool(await asyncio.to_thread(query, dsn, sql))

        wait(until(sleeps, "the revision runs"))
        shown = [Path(f"/proc/{process.pid}/cmdline"), *Path("/proc").glob("[0-9]*/cmdline")]
        lists = [_read(path) for path in shown]
        if ps := shutil.which("ps"):
            done = subprocess.run([ps, "-eo", "args"], capture_output=True, timeout=60, check=True)
            lists.append(done.stdout)
        assert b"db.upgrade" in lists[0]
        assert not [one for one in lists if b"hunter" in one]
        titles = query(dsn, "SELECT query, application_name FROM pg_stat_activity WHERE datname = current_database()")
        assert "hunter" not in repr(titles)
    finally:
        process.terminate()
        out, err = process.communicate(timeout=30)
    assert "hunter" not in out + err


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it has ended meanwhile


WORDS = ["hunter1", "hunter2%41@ hunter3:/#", "hünter2 hunter\u00a04", "it's hunter5", "hunter6\\", "\u05d0hunter7"]
"""Passwords for ``db.create``: ASCII, with what SASLprep changes, and with what it leaves alone."""


@pytest.mark.parametrize("password", WORDS)
def test_creating_a_role_tells_the_servers_log_no_password(
    talkative: Server, monorepo: Monorepo, password: str
) -> None:
    assert talkative.log
    name = f"made_{WORDS.index(password)}"
    _, port = talkative.admin.hosts[0]
    dsn = Dsn(name, name, (("127.0.0.1", port),), password)
    service = monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "r001", None)
    wait(create(load(service), talkative.admin))
    with pytest.raises(AccessDeniedError):  # the role may not: the statement is logged as the cause of an error
        wait(create(replace(load(service), dsn=replace(dsn, user="another")), dsn))
    assert upgrade(monorepo).after == ("r001",)
    log = talkative.log.read_text(encoding="utf-8", errors="replace")
    assert f'CREATE ROLE "{name}"' in log or f"CREATE ROLE {name}" in log
    assert not re.search("h[uü]nter", log)
    assert password not in log


def test_a_wrong_password_stands_neither_in_the_servers_log_nor_in_the_debug_log(
    talkative: Server, monorepo: Monorepo
) -> None:
    assert talkative.log
    role_and_database(talkative.admin, "wrong", "right")
    _, port = talkative.admin.hosts[0]
    monorepo.table_revision("billing", "r001", None)
    monorepo.service("billing", dsn=Dsn("wrong", "wrong", (("127.0.0.1", port),), SECRET))
    for words in (("--debug", "db.upgrade"), ("--debug", "db.create", "--service", "billing")):
        ran = monorepo.inv(*words)
        assert ran.code == 77, ran.text
        assert "hunter" not in ran.text
        assert "hunter" not in ran.text.encode().decode("unicode_escape", errors="replace")
    log = talkative.log.read_text(encoding="utf-8", errors="replace")
    assert 'password authentication failed for user "wrong"' in log
    assert "hunter" not in log


REPORTED = """
import asyncio
import service_migrations
import pytest
import shutil

@pytest.mark.parametrize("service", ["wrong", "failing", "assignment", "url", "certificate", "one"])
def test_upgrade(service):
    if service == "one":
        shutil.copy("services/one/.env", "services/two/.env")
    async def run():
        await service_migrations.upgrade(service)
    asyncio.run(run())
"""


def test_a_report_with_the_variables_of_every_frame_shows_no_password(monorepo: Monorepo, database: Make) -> None:
    """Not only arguments: ``--showlocals`` prints every variable of each frame of the exception's chain."""
    dsn = database(password=SECRET)
    text = dsn_text(dsn)
    for name in ("wrong", "failing", "assignment", "url", "certificate", "one", "two"):
        monorepo.service(name, dsn=dsn)
    monorepo.revision("failing", "r001", None, 'op.execute("SELECT nothing")')
    with (monorepo.root / "services/assignment/.env").open("a", encoding="utf-8") as file:
        file.write("DATABASE_PASSWORD='hunter7\n")
    monorepo.env("one", DATABASE_DSN=text, MIGRATIONS_VERSION_TABLE="shared_versions")
    (monorepo.root / "test_it.py").write_text(REPORTED, encoding="utf-8")
    # the environment as a variable is cut when it is long: here it isn't
    environment = {
        "WRONG_DATABASE_DSN": dsn_text(replace(dsn, password="hunter5@ hunter6")),
        "URL_DATABASE_DSN": "app:hunter8@localhost/x",
        "CERTIFICATE_DATABASE_DSN": f"{text}?sslmode=verify-full&sslrootcert=/nowhere.crt",
        **{key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ},
        "PYTHONPATH": str(monorepo.root),
    }
    options = ["-p", "no:cacheprovider", "-p", "no:xdist", "-vv", "--tb=long", "--showlocals", "-c", os.devnull]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", ".", "test_it.py"],
        cwd=monorepo.root,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    shown = done.stdout + done.stderr
    assert done.returncode == 1, shown
    assert "6 failed" in shown
    assert "password authentication failed" in shown
    assert "SELECT nothing" in shown
    for error in ("is no KEY=value line", "DATABASE_DSN is no URL", "can't be read", "both keep their revision in"):
        assert error in shown
    assert "hunter" not in shown, [line for line in shown.splitlines() if "hunter" in line][:5]
