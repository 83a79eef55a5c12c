"""An upgrade goes on over the connection of the scan, and reads again what may have changed meanwhile."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, wait
from tests.support.deadlines import until
from tests.support.monorepo import MODELS, Monorepo
from tests.support.proxy import proxy
from tests.support.sessions import hold_the_lock
from tests.support.world import Run

ENDS_THE_CONNECTION = """
import asyncio, threading
import asyncpg

async def end():
    connection = await asyncpg.connect(**{arguments!r})
    ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'migrations %'"
    assert await connection.fetchval(ended) == 1
    await connection.close()

thread = threading.Thread(target=lambda: asyncio.run(end()))
thread.start()
thread.join()
"""
UPGRADES = """
import pathlib, subprocess, sys
first = pathlib.Path(__file__).with_name("first")
if not first.exists():
    first.touch()
    words = [sys.executable, "-m", "invoke", "db.upgrade", "--service", "billing"]
    subprocess.run(words, check=True, capture_output=True)
"""
WAITS = """
import pathlib, time
here = pathlib.Path(__file__)
here.with_name("imported").touch()
while not here.with_name("go").exists():
    time.sleep(0.02)
"""
ONCE = 'op.execute("CREATE TABLE once (pid int)")\nop.execute("INSERT INTO once SELECT pg_backend_pid()")'


def arguments(dsn: Dsn) -> dict[str, object]:
    [(host, port)] = dsn.hosts
    return {"host": host, "port": port, "user": dsn.user, "password": dsn.password, "database": dsn.database}


def set_psycopg(monorepo: Monorepo) -> None:
    table = '[tool.service-migrations.service.billing]\ndriver = "psycopg"\n\n'
    pyproject = monorepo.root / "pyproject.toml"
    pyproject.write_text(table + pyproject.read_text(encoding="utf-8"), encoding="utf-8")


def test_an_upgrade_connects_once(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    with proxy(dsn) as (between, through):
        monorepo.service("billing", dsn=through)
        monorepo.revision("billing", "r1", None, ONCE)
        ran = monorepo.inv("db.upgrade", "--service", "billing")
        assert ran.code == 0, ran.text
        assert between.connections == 1
    assert len(query(dsn, "SELECT FROM once")) == 1


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_over_a_connection_that_has_ended_meanwhile_nothing_goes_on(
    monorepo: Monorepo, database: Callable[..., Dsn], driver: str
) -> None:
    dsn = database()
    models = ENDS_THE_CONNECTION.format(arguments=arguments(dsn)) + MODELS
    service = monorepo.service("billing", models, dsn=dsn)
    if driver == "psycopg":
        set_psycopg(monorepo)
    monorepo.revision("billing", "r1", None, ONCE)
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    assert ran.code == 0, ran.text
    assert "Traceback" not in ran.text
    assert len(query(dsn, "SELECT FROM once")) == 1
    assert [row[0] for row in query(dsn, f"SELECT revision FROM {service.ledger_table}")] == ["r1"]  # noqa: S608


@pytest.mark.parametrize("answers", [True, False], ids=["a new connection answers", "nothing answers"])
def test_a_server_that_is_silent_meanwhile_is_not_waited_for(
    monorepo: Monorepo, database: Callable[..., Dsn], answers: bool
) -> None:
    dsn = database()
    folder = monorepo.root / "services" / "billing"
    with proxy(dsn) as (between, through):
        monorepo.service("billing", WAITS + MODELS, dsn=through, MIGRATIONS_CONNECT_TIMEOUT="2s")
        monorepo.revision("billing", "r1", None, ONCE)
        run = Run(monorepo.start("db.upgrade", "--service", "billing"))
        until((folder / "imported").exists, "the models are imported")
        between.swallow(new=not answers)
        (folder / "go").touch()
        ran = run.end()
        run.kill()
        assert ran.code == (0 if answers else 69), ran.text
        assert "Traceback" not in ran.text
    if answers:
        assert len(query(dsn, "SELECT FROM once")) == 1


def test_a_connection_that_another_driver_cannot_use_is_closed_before(
    monorepo: Monorepo, database: Callable[..., Dsn], server: Server
) -> None:
    dsn = database()
    query(server.admin, f'ALTER ROLE "{dsn.user}" CONNECTION LIMIT 1')
    monorepo.service("billing", dsn=dsn)
    set_psycopg(monorepo)
    monorepo.revision("billing", "r1", None, ONCE)
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    assert ran.code == 0, ran.text


@pytest.mark.parametrize("words", [("--service", "billing"), ()], ids=["one", "all"])
def test_what_an_upgrade_refuses_is_refused_without_waiting_for_the_lock(
    monorepo: Monorepo, database: Callable[..., Dsn], words: tuple[str, ...]
) -> None:
    dsn = database()
    monorepo.service("billing", dsn=dsn)
    for number in (1, 2, 3):
        monorepo.revision("billing", f"r{number}", f"r{number - 1}" if number > 1 else None)
    assert monorepo.inv("db.upgrade", "--service", "billing", "--revision", "r2").code == 0
    with hold_the_lock(dsn):
        query(dsn, "UPDATE alembic_version_billing SET version_num = 'of_another_image'")
        ran = monorepo.inv("db.upgrade", *words)
        assert (ran.code, "of_another_image" in ran.text, "waiting" in ran.text) == (3, True, False), ran.text


def test_what_another_run_has_done_meanwhile_is_not_done_again(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    service = monorepo.service("billing", UPGRADES + MODELS, dsn=dsn)
    monorepo.revision("billing", "r1", None, ONCE)
    monorepo.revision("billing", "r2", "r1", "op.execute('CREATE TABLE second ()')")
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    assert ran.code == 0, ran.text
    assert "nothing to do, another run took" in ran.text
    assert len(query(dsn, "SELECT FROM once")) == 1
    assert len(query(dsn, f"SELECT FROM {service.ledger_table}")) == 2


def test_a_revision_meets_the_settings_of_a_connection_of_its_own(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """What RESET leads back to, too: nothing of the scan is left."""
    shown = "SELECT name || '=' || setting FROM pg_settings WHERE source IN ('client', 'session')"
    seen: list[list[str]] = []
    for name in ("task", "library"):
        dsn = database()
        service = monorepo.service(name, dsn=dsn)
        monorepo.revision(
            name, f"{name}1", None, f'op.execute("RESET ALL")\nop.execute("CREATE TABLE shown AS {shown}")'
        )
        if name == "task":
            assert monorepo.inv("db.upgrade", "--service", name).code == 0
        else:
            wait(service_migrations.upgrade(service))
        rows = query(dsn, "SELECT * FROM shown ORDER BY 1")
        seen.append([row[0] for row in rows if not row[0].startswith("application_name=")])
    assert seen[0] == seen[1]
    assert "search_path=public, pg_temp" in seen[0]
