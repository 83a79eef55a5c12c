"""A revision that is run for its SQL alone does nothing else: for a plan, for the guard of an upgrade, for --sql."""

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextvars import copy_context
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from sqlalchemy import URL, create_engine, text

import service_migrations
from service_migrations.errors import MigrationError
from service_migrations.plan.plan import plan
from service_migrations.settings.dsn import Dsn
from service_migrations.side_effects import (
    _OTHERS,
    SideEffectError,
    connections_refused,
    side_effects_noted,
    side_effects_refused,
)
from tests.support.database import query, tables, wait
from tests.support.monorepo import Monorepo, dsn_text

FOLDER = "os.environ['EFFECTS']"
ENGINES = {
    "an engine": "import sqlalchemy as s\ns.create_engine(URL.replace('asyncpg', 'psycopg')).connect()",
    "a session": "import sqlalchemy as s, sqlalchemy.orm as o\n"
    "o.Session(s.create_engine(URL.replace('asyncpg', 'psycopg'))).execute(s.text('CREATE TABLE seen (id int)'))",
    "an async engine": "import threading, asyncio\nfrom sqlalchemy.ext.asyncio import create_async_engine\n"
    "async def run():\n    async with create_async_engine(URL).connect() as c:\n        await c.run_sync(print)\n"
    "def main():\n    asyncio.run(run())\nt = threading.Thread(target=main)\nt.start()\nt.join()",
    "psycopg": "import psycopg\npsycopg.connect(URL.replace('+asyncpg', ''))",
    "a class of psycopg's": "import psycopg\npsycopg.Connection.connect(URL.replace('+asyncpg', ''))",
    "psycopg2": "import psycopg2\npsycopg2.connect(URL.replace('+asyncpg', ''))",
    "a socket": "import socket\nsocket.create_connection(('127.0.0.1', PORT))",
    "a datagram": "import socket\nwith socket.socket(type=socket.SOCK_DGRAM) as s:\n"
    "    s.sendto(b'x', ('127.0.0.1', PORT))",
    "http": "import urllib.request\nurllib.request.urlopen(f'http://127.0.0.1:{PORT}/')",
    "sqlite": f"import sqlite3\nsqlite3.connect({FOLDER} + '/seen')",
}
PROGRAMS = {
    "subprocess": f"import subprocess\nsubprocess.run(['touch', {FOLDER} + '/seen'])",
    "os.system": f"os.system('touch ' + {FOLDER} + '/seen')",
    "os.popen": f"os.popen('touch ' + {FOLDER} + '/seen').read()",
    "os.spawnlp": f"os.spawnlp(os.P_WAIT, 'touch', 'touch', {FOLDER} + '/seen')",
    "os.posix_spawnp": f"os.waitpid(os.posix_spawnp('touch', ['touch', {FOLDER} + '/seen'], os.environ), 0)",
    "os.fork": "os.fork()",
    "os.kill": "os.kill(os.getpid(), 0)",
    "a pool": f"from concurrent.futures import ThreadPoolExecutor\n"
    f"with ThreadPoolExecutor() as pool:\n    pool.submit(open, {FOLDER} + '/seen', 'w')",
}
FILES = {
    "open": f"open({FOLDER} + '/seen', 'a').close()",
    "pathlib": f"import pathlib\npathlib.Path({FOLDER}, 'seen').write_text('x')",
    "os.open": f"os.open({FOLDER} + '/seen', os.O_CREAT | os.O_RDWR)",
    "a temporary file": f"import tempfile\ntempfile.NamedTemporaryFile(dir={FOLDER}, delete=False)",
    "mkdir": f"os.mkdir({FOLDER} + '/seen')",
    "remove": f"os.remove({FOLDER} + '/kept')",
    "rmtree": f"import shutil\nshutil.rmtree({FOLDER})",
    "rename": f"os.rename({FOLDER} + '/kept', {FOLDER} + '/seen')",
    "replace": f"os.replace({FOLDER} + '/kept', {FOLDER} + '/seen')",
    "link": f"os.link({FOLDER} + '/kept', {FOLDER} + '/seen')",
    "symlink": f"os.symlink('kept', {FOLDER} + '/seen')",
    "truncate": f"os.truncate({FOLDER} + '/kept', 0)",
    "chmod": f"os.chmod({FOLDER} + '/kept', 0)",
}
EFFECTS = {**ENGINES, **PROGRAMS, **FILES}
NONE = {
    "reading": f"with open({FOLDER} + '/kept') as file:\n    assert file.read() == 'kept'",
    "importing": "import colorsys",
    "nowhere": "with open(os.devnull, 'w') as file:\n    print('x', file=file)",
    "a variable": "os.environ['OF_A_REVISION'] = 'x'",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "effects"
    folder.mkdir()
    (folder / "kept").write_text("kept", encoding="utf-8")
    monkeypatch.setenv("EFFECTS", str(folder))
    return folder


def untouched(folder: Path, dsn: Dsn) -> bool:
    """Whether nothing was done."""
    (kept,) = folder.iterdir()
    mode = kept.stat().st_mode & 0o777
    return kept.read_text(encoding="utf-8") == "kept" and mode != 0 and "seen" not in tables(dsn)


@pytest.fixture
def world(monorepo: Monorepo, database: Callable[..., Dsn]) -> tuple[Monorepo, Dsn]:
    dsn = database()
    monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    return monorepo, dsn


def body(effect: str, dsn: Dsn) -> str:
    """Return a revision's body with an effect before its SQL."""
    port = dsn.hosts[0][1]
    url = URL.create("postgresql+asyncpg", dsn.user, dsn.password, "127.0.0.1", port, dsn.database)
    text = url.render_as_string(hide_password=False)
    return f'import os\nURL, PORT = {text!r}, {port}\n{effect}\nop.execute("SELECT 1")'


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # what a library has made for the refused call
@pytest.mark.parametrize("effect", EFFECTS.values(), ids=EFFECTS)
def test_a_plan_does_nothing_that_a_revision_does_beside_its_sql(
    effect: str, world: tuple[Monorepo, Dsn], folder: Path
) -> None:
    pytest.importorskip("psycopg2") if "psycopg2" in effect else None
    monorepo, dsn = world
    path = monorepo.revision("billing", "b2", "a1", body(effect, dsn))
    planned = wait(plan(monorepo.find("billing"))).revisions[-1]
    gc.collect()
    assert untouched(folder, dsn)
    (finding,) = (finding for finding in planned.findings if finding.rule == "offline")
    assert "beside its SQL" in finding.message
    assert finding.line is not None
    assert finding.line >= path.read_text(encoding="utf-8").splitlines().index("    import os") + 1
    assert "additive" not in planned.classes


FIRST = """
from service_migrations.side_effects import SideEffectError, side_effects_refused
import sys
assert not {"psycopg", "psycopg2"} & {*sys.modules}
try:
    with side_effects_refused():
        DRIVER_IMPORT
        connect("host=127.0.0.1 port=1 connect_timeout=1")
except SideEffectError as error:
    print(error)
import DRIVER
assert DRIVER.connect.__module__.startswith("psycopg"), DRIVER.connect
try:
    DRIVER.connect("host=127.0.0.1 port=1 connect_timeout=1")
except DRIVER.OperationalError:
    print("tried")
"""


@pytest.mark.parametrize("way", ["from DRIVER import connect", "import DRIVER; connect = DRIVER.connect"])
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_driver_that_a_revision_imports_first_is_refused_too(driver: str, way: str) -> None:
    pytest.importorskip(driver)
    code = FIRST.replace("DRIVER_IMPORT", way).replace("DRIVER", driver)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout.split("\n")[:2] == [
        "it opens a connection of its own, beside its SQL, which is all that it is run for here",
        "tried",
    ], ran.stderr


@pytest.mark.parametrize("effect", NONE.values(), ids=NONE)
def test_what_changes_nothing_is_no_side_effect(effect: str, world: tuple[Monorepo, Dsn], folder: Path) -> None:
    monorepo, dsn = world
    monorepo.revision("billing", "b2", "a1", body(effect, dsn))
    planned = wait(plan(monorepo.find("billing"))).revisions[-1]
    assert planned.sql == "SELECT 1;"
    assert untouched(folder, dsn)


CAUGHT = f"try:\n    {FILES['open']}\nexcept Exception:\n    pass"


@pytest.mark.parametrize("effect", [FILES["open"], CAUGHT], ids=["raised", "caught"])
def test_a_script_that_would_lack_a_side_effect_is_refused(
    effect: str, world: tuple[Monorepo, Dsn], folder: Path
) -> None:
    monorepo, dsn = world
    path = monorepo.revision("billing", "b2", "a1", body(effect, dsn))
    ran = monorepo.inv("db.upgrade", "--service", "billing", "--sql")
    assert ran.code == 1, ran.text
    line = ran.err.splitlines()[-1]
    assert f"it writes {folder}/seen, beside its SQL" in line
    assert path.name in line
    assert untouched(folder, dsn)


def test_a_plan_has_a_finding_where_a_revision_catches_the_refusal(world: tuple[Monorepo, Dsn], folder: Path) -> None:
    monorepo, dsn = world
    monorepo.revision("billing", "b2", "a1", body(CAUGHT, dsn))
    planned = wait(plan(monorepo.find("billing"))).revisions[-1]
    assert planned.findings[0].rule == "offline"
    assert untouched(folder, dsn)


def test_the_guard_takes_nothing_away_from_the_upgrade_after_it(
    world: tuple[Monorepo, Dsn], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs the revision for its SQL: what that uses up, and what it does once, belongs to the upgrade."""
    monorepo, dsn = world
    rows = (
        'op.bulk_insert(sa.table("billing", sa.column("id"), sa.column("name")), [{"id": i, "name": ""} for i in ROWS])'
    )
    path = monorepo.revision("billing", "b2", "a1", rows)
    text = path.read_text(encoding="utf-8").replace("def upgrade", "ROWS = iter([1, 2, 3])\n\n\ndef upgrade")
    path.write_text(text, encoding="utf-8")
    effect = f"with open({FOLDER} + '/seen', 'a') as file:\n    file.write('x')"
    monorepo.revision("billing", "c3", "b2", body(effect, dsn))
    monkeypatch.setattr(Dsn, "is_local", False)  # on a target that is local, nothing is guarded
    wait(service_migrations.upgrade(monorepo.find("billing"), allow=()))
    assert [row[0] for row in query(dsn, "SELECT id FROM billing ORDER BY id")] == [1, 2, 3]
    assert (folder / "seen").read_text(encoding="utf-8") == "x"


REPLAYED = {
    "an engine": "sa.create_engine(URL.replace('asyncpg', 'psycopg')).connect()",
    "a raw connection": "sa.create_engine(URL.replace('asyncpg', 'psycopg')).raw_connection()",
    "a session": "import sqlalchemy.orm as o\n"
    "o.Session(sa.create_engine(URL.replace('asyncpg', 'psycopg'))).execute(sa.text('INSERT INTO seen VALUES (1)'))",
    "an engine with a creator": "import psycopg\ncreate = lambda: psycopg.connect(URL.replace('+asyncpg', ''))\n"
    "sa.create_engine('postgresql+psycopg://', creator=create).connect()",
    "in a thread": "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor() as pool:\n"
    "    pool.submit(lambda: sa.create_engine(URL.replace('asyncpg', 'psycopg')).connect()).result()",
    "an async engine in a thread": "import asyncio, threading\n"
    "from sqlalchemy.ext.asyncio import create_async_engine\nasync def main():\n"
    "    async with create_async_engine(URL).begin() as c:\n"
    "        await c.execute(sa.text('INSERT INTO seen VALUES (1)'))\n"
    "t = threading.Thread(target=lambda: asyncio.run(main()))\nt.start()\nt.join()",
    "psycopg2": "import psycopg2\npsycopg2.connect(URL.replace('+asyncpg', ''))",
    "asyncpg in a thread": "import asyncio, asyncpg, threading\nasync def main():\n"
    "    await asyncpg.connect(URL.replace('+asyncpg', ''))\n"
    "t = threading.Thread(target=lambda: asyncio.run(main()))\nt.start()\nt.join()",
    "asyncpg that is awaited": "import asyncpg\nasync def main(_):\n"
    "    await asyncpg.connect(URL.replace('+asyncpg', ''))\nop.run_async(main)",
    "a pool of asyncpg's": "import asyncpg\nasync def main(_):\n"
    "    async with asyncpg.create_pool(URL.replace('+asyncpg', '')) as pool:\n"
    "        await pool.execute('INSERT INTO seen VALUES (1)')\nop.run_async(main)",
    "an async engine that is awaited": "from sqlalchemy.ext.asyncio import create_async_engine\nasync def main(_):\n"
    "    async with create_async_engine(URL).begin() as c:\n"
    "        await c.execute(sa.text('INSERT INTO seen VALUES (1)'))\nop.run_async(main)",
    "caught": "try:\n    sa.create_engine(URL.replace('asyncpg', 'psycopg')).connect()\nexcept Exception:\n    pass",
}
OWN = "with op.get_bind().engine.connect() as c:\n    c.execute(sa.text('SELECT 1'))"


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("effect", REPLAYED.values(), ids=REPLAYED)
def test_a_replay_connects_to_no_database_but_its_own(
    effect: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database(creates=True)
    service = monorepo.service("billing", dsn=dsn)
    monorepo.revision("billing", "a1", None, 'op.execute("CREATE TABLE seen (id int)")')
    path = monorepo.revision("billing", "b2", "a1", body(effect, dsn))
    wait(service_migrations.upgrade(service, "a1"))
    wait(service_migrations.stamp(service, "head"))
    with pytest.raises(MigrationError) as raised:
        wait(service_migrations.drift(service))
    gc.collect()
    assert "it opens a connection of its own, beside its SQL, and this is a replay" in str(raised.value)
    assert "Let the revision take op.get_bind()" in str(raised.value)
    assert "create everything" not in str(raised.value)
    assert path.name in str(raised.value)
    assert query(dsn, "SELECT count(*) FROM seen")[0][0] == 0
    assert query(dsn, "SELECT count(*) FROM pg_stat_activity WHERE usename = current_user")[0][0] == 1


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_replay_uses_no_connection_that_was_open_before(
    monorepo: Monorepo, database: Callable[..., Dsn], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as that of an application's session, which env.py has used."""
    dsn = database(creates=True)
    service = monorepo.service("billing", dsn=dsn)
    query(dsn, "CREATE TABLE seen (id int)")
    engine = create_engine(dsn_text(dsn).replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as session:
        session.execute(text("SELECT 1"))
        monkeypatch.setitem(sys.modules, "application", SimpleNamespace(session=session))
        used = "session.execute(sa.text('INSERT INTO seen VALUES (1)'))\nsession.commit()"
        monorepo.revision("billing", "a1", None, f"from application import session\n{used}")
        wait(service_migrations.upgrade(service))
        with pytest.raises(MigrationError, match="it opens a connection of its own, beside its SQL, and this is a rep"):
            wait(service_migrations.drift(service))
    engine.dispose()
    assert query(dsn, "SELECT count(*) FROM seen")[0][0] == 1


def test_a_replay_runs_what_connects_by_the_engine_of_its_own(
    monorepo: Monorepo, database: Callable[..., Dsn], folder: Path
) -> None:
    """Whatever else it does is what it does in a database that is new; only its SQL has to be the same."""
    dsn = database(creates=True)
    service = monorepo.service("billing", dsn=dsn)
    monorepo.revision("billing", "a1", None, f"{OWN}\n{body(FILES['open'], dsn)}")
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.drift(service)).differences == ()
    assert (folder / "seen").exists()


def test_an_upgrade_may_open_connections(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    service = monorepo.service("billing", dsn=dsn)
    effect = "engine = sa.create_engine(URL.replace('asyncpg', 'psycopg'))\nwith engine.begin() as c:\n"
    effect += "    c.execute(sa.text('CREATE TABLE seen (id int)'))\nengine.dispose()"
    monorepo.revision("billing", "a1", None, body(effect, dsn))
    wait(service_migrations.upgrade(service))
    assert "seen" in tables(dsn)


def test_a_refusal_is_of_its_thread_and_of_its_block(folder: Path) -> None:
    """An application that plans has other threads, which go on with what they do."""

    def write() -> None:
        (folder / "seen").write_text("x", encoding="utf-8")

    thread = threading.Thread(target=write)
    begun = threading.Event()
    waiting = threading.Thread(target=lambda: (begun.wait(10), write()))
    waiting.start()
    with side_effects_refused():
        begun.set()
        waiting.join()
    assert (folder / "seen").read_text(encoding="utf-8") == "x"
    thread.start()
    thread.join()
    with pytest.raises(SideEffectError, match="writes"), side_effects_refused():
        write()
    write()


def test_blocks_may_overlap_and_leave_everything_as_it_was() -> None:
    """An application upgrades and plans several services at once."""
    before = psycopg.connect, vars(psycopg.Connection)["connect"], threading.Thread.start
    noted: list[str] = []
    first, second, third = (
        side_effects_noted(noted.append, globals()),
        connections_refused(globals()),
        side_effects_refused(),
    )
    contexts = [copy_context() for _ in range(3)]
    for context, block in zip(contexts, (first, second, third), strict=True):
        context.run(block.__enter__)
    contexts[0].run(first.__exit__, None, None, None)
    with pytest.raises(SideEffectError, match="connection"):
        contexts[2].run(psycopg.connect, "host=/nowhere")
    with pytest.raises(SideEffectError):
        contexts[2].run(third.__exit__, None, None, None)
    with pytest.raises(SideEffectError, match="connection"):
        contexts[1].run(psycopg.connect, "host=/nowhere")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect("host=/nowhere")
    with pytest.raises(SideEffectError):
        contexts[1].run(second.__exit__, None, None, None)
    assert (psycopg.connect, vars(psycopg.Connection)["connect"], threading.Thread.start) == before
    assert noted == []


@pytest.mark.parametrize("flag", ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"])
def test_a_file_that_is_opened_for_writing_is_refused_by_each_flag(flag: str, folder: Path) -> None:
    with pytest.raises(SideEffectError, match="writes"), side_effects_refused():
        os.close(os.open(folder / "kept", getattr(os, flag)))
    with side_effects_refused():
        os.close(os.open(folder / "kept", os.O_RDONLY))
        os.close(os.open(os.devnull, getattr(os, flag)))


NAMES = """
socket.connect socket.sendto sqlite3.connect subprocess.Popen os.system os.exec os.posix_spawn os.spawn pty.spawn
os.fork os.forkpty os.kill os.killpg signal.pthread_kill os.remove os.rename os.rmdir os.mkdir os.link os.symlink
os.truncate os.chmod os.chown os.utime os.setxattr os.removexattr
"""


def test_each_event_that_is_refused_is_one_of_pythons() -> None:
    """As the library reference lists them ("Audit events table")."""
    assert {*NAMES.split()} == {*_OTHERS}
    for name, effect in _OTHERS.items():
        with pytest.raises(SideEffectError, match=effect), side_effects_refused():
            sys.audit(name)
