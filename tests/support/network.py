"""Real programs beside the server: PgBouncer, certificates of an authority of our own, a hot standby."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import asyncpg
import pytest

import service_migrations
from service_migrations.errors import ConfigurationError, MigrationError
from service_migrations.postgres import VERSIONS, Server, throwaway
from service_migrations.postgres.account import give, identity, reachable_folder
from service_migrations.postgres.binaries import provide
from service_migrations.postgres.cluster import SUPERUSER, Cluster
from service_migrations.postgres.ports import free_port
from service_migrations.postgres.postmaster import wait_until_ready
from service_migrations.postgres.supervisor import __file__ as SUPERVISOR  # noqa: N812 - a program, not a class
from service_migrations.settings.dsn import Dsn
from tests.support.database import SECRET, query, wait
from tests.support.deadlines import DEADLINE
from tests.support.monorepo import Monorepo, Ran

VERSION = os.environ.get("POSTGRES_VERSION", VERSIONS[-1])

Make = Callable[..., Dsn]


@asynccontextmanager
async def connected(dsn: Dsn, **settings: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """Connect with these server settings."""
    connection = await asyncpg.connect(**dsn.connect_args(), server_settings=settings)
    try:
        yield connection
    finally:
        await connection.close()


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Ask again and again until a condition is met; fail where that takes too long."""
    deadline = time.monotonic() + DEADLINE
    while not await condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE:g} s: {what}"
        await asyncio.sleep(0.02)


def program(name: str, package: str | None = None) -> str:
    """Return the path of a program; skip the test where it isn't installed, and fail it in CI.

    Args:
        name: the program's.
        package: Debian's package of it, where that has another name.

    """
    executable = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if executable:
        return executable
    message = f"{name} is not installed (Debian: apt-get install {package or name})"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def folder(name: str) -> Iterator[Path]:
    """Make a folder that the servers' account owns and can get to, and remove it at the end."""
    base = reachable_folder(Path(tempfile.gettempdir()), Path("/var/tmp"))  # noqa: S108 - mkdtemp follows
    home = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=base))
    try:
        give(home)
        yield home
    finally:
        shutil.rmtree(home)


IGNORED = (
    "search_path,idle_in_transaction_session_timeout,idle_session_timeout,client_connection_check_interval,"
    "tcp_keepalives_idle,tcp_keepalives_interval,tcp_keepalives_count,lock_timeout,statement_timeout,options,"
    "extra_float_digits"
)
"""The startup parameters that a lenient PgBouncer swallows."""


@contextmanager
def pgbouncer(
    dsn: Dsn, *, lenient: bool, mode: str = "transaction", size: int = 2, every: bool = False
) -> Iterator[Dsn]:
    """Run PgBouncer before a database.

    Args:
        dsn: what it leads to.
        lenient: it swallows our startup parameters; another one refuses them.
        mode: session, transaction or statement.
        size: server connections in its pool.
        every: it leads to each database of the server, not only to this one.

    """
    path = program("pgbouncer")
    with folder("pgbouncer") as home, (home / "log").open("w") as log:
        host, port = dsn.hosts[0]
        own_port = free_port()
        users, ini = home / "users.txt", home / "pgbouncer.ini"
        name = "*" if every else dsn.database
        users.write_text(f'"{dsn.user}" "{dsn.password}"\n', encoding="utf-8")
        ini.write_text(
            f"[databases]\n{name} = host={host} port={port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {own_port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {users}\n"
            f"pool_mode = {mode}\ndefault_pool_size = {size}\n"
            + (f"ignore_startup_parameters = {IGNORED}\n" if lenient else ""),
            encoding="utf-8",
        )
        for file in (users, ini):
            give(file)
        process = subprocess.Popen([path, str(ini)], stdout=log, stderr=log, **identity())
        through = Dsn(dsn.user, dsn.database, (("127.0.0.1", own_port),), dsn.password)

        async def answers() -> bool:
            assert process.poll() is None, (home / "log").read_text(encoding="utf-8")
            try:
                connection = await asyncpg.connect(**through.connect_args())
            except OSError:
                return False
            await connection.close()
            return True

        try:
            wait(until(answers, "PgBouncer answers"))
            yield through
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            finally:
                process.kill()


class Authority:
    """A certificate authority of our own, in a folder that the servers' account can read."""

    def __init__(self, home: Path, name: str = "authority") -> None:
        """Make its key and its certificate."""
        self.home = home
        self.certificate = home / f"{name}.crt"
        self.key = home / f"{name}.key"
        self._make(name, self.certificate, self.key)

    def issue(self, name: str, alternative: str = "") -> tuple[Path, Path]:
        """Issue a certificate and its key; the alternative to its name is written like ``DNS:localhost``."""
        certificate, key = self.home / f"{name}.crt", self.home / f"{name}.key"
        more = ["-CA", str(self.certificate), "-CAkey", str(self.key)]
        more += ["-addext", f"subjectAltName={alternative}"] if alternative else []
        self._make(name, certificate, key, *more)
        return certificate, key

    def _make(self, name: str, certificate: Path, key: Path, *more: str) -> None:
        command = [program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(certificate)]
        done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        key.chmod(0o600)
        give(key)
        give(certificate)


@contextmanager
def pair() -> Iterator[tuple[Dsn, Dsn]]:
    """Run a primary and a hot standby of it, and yield their superusers' DSNs; both are gone afterwards.

    The standby's data is a copy from before the primary's first start, so no backup program is needed.
    """
    binaries = provide(VERSION)
    with ExitStack() as stack:
        home = stack.enter_context(folder("pair"))
        primary = Cluster.create(home / "primary", binaries, free_port(), throwaway=True)
        standby = Cluster(home / "standby", primary.version, free_port(), primary.password)
        shutil.copytree(primary.home, standby.home)
        for path in (standby.home, *standby.home.rglob("*")):
            give(path)
        (standby.data / "standby.signal").touch()
        with (standby.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(
                f"port = {standby.port}\nprimary_conninfo = 'host=127.0.0.1 port={primary.port} user={SUPERUSER} "
                f"password={primary.password}'\n"
            )
        for cluster in (primary, standby):
            stack.enter_context(_running(cluster, binaries.bin / "postgres"))
        hosts = [
            Dsn(SUPERUSER, "postgres", (("127.0.0.1", server.port),), server.password) for server in (primary, standby)
        ]
        yield hosts[0], hosts[1]


@contextmanager
def _running(cluster: Cluster, postgres: Path) -> Iterator[None]:
    """Run a cluster under the supervisor, which stops it when this process ends in whichever way."""
    account = identity()
    process = subprocess.Popen(
        [
            *(sys.executable, "-I", SUPERVISOR, str(cluster.home)),
            *(str(account.get("user", -1)), str(account.get("group", -1))),
            *(str(postgres), "-D", str(cluster.data)),
        ],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        wait_until_ready(cluster.data, partial(_lives, cluster.home), cluster.log)
        yield
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait()


def _lives(home: Path) -> bool:
    return not (home / "ended").exists()


def caught_up(primary: Dsn, standby: Dsn) -> None:
    """Wait until a standby has all that its primary has by now."""
    position = query(primary, "SELECT pg_current_wal_insert_lsn()::text")[0][0]

    async def replayed() -> bool:
        sql = "SELECT coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false)"
        async with connected(standby) as connection:
            return bool(await connection.fetchval(sql, position))

    wait(until(replayed, "the standby has caught up"))


def upgrade(monorepo: Monorepo) -> service_migrations.Outcome:
    """Upgrade the only service, in this process."""
    answer: service_migrations.Outcome = wait(service_migrations.upgrade(monorepo.find("billing")))
    return answer


def refused(monorepo: Monorepo, kind: type[MigrationError] = ConfigurationError) -> str:
    """Upgrade, and return the one line that it is refused with."""
    with pytest.raises(kind) as caught:
        upgrade(monorepo)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert "hunter" not in message
    return message


def line(ran: Ran, code: int) -> str:
    """Return the one line that a command ends with; log lines beside it don't count."""
    assert ran.code == code, ran.text
    assert "Traceback" not in ran.text
    assert "hunter" not in ran.text
    told = [text for text in ran.err.splitlines() if text.strip() and not re.match(r"\d{4}-\d\d-\d\d ", text)]
    assert len(told) == 1, ran.err
    return told[0]


@contextmanager
def own_server(**settings: str) -> Iterator[Server]:
    """Run a server with parameters of the test's own, which one that is given from outside can't have."""
    with throwaway(VERSION, settings=settings) as server:
        if server.data is None:
            pytest.skip(f"{server.source} is a server whose parameters can't be set here")
        yield server


def role_and_database(admin: Dsn, name: str, password: str = SECRET) -> Dsn:
    """Make a role and its database on a server."""
    query(admin, f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    query(admin, f"CREATE DATABASE {name} OWNER {name}")
    return Dsn(name, name, admin.hosts, password)
