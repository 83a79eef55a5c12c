"""What stands between us and a database: poolers, TLS, several hosts, sockets, and those who look for passwords."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import service_migrations
from service_migrations.connection import pooler
from service_migrations.connection.admin import create
from service_migrations.connection.locks import LOCK_KEY
from service_migrations.errors import AccessDeniedError, ConfigurationError, LockNotObtainedError, MigrationError
from service_migrations.postgres import Server, throwaway
from service_migrations.postgres.ports import free_port
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import load
from tests.support.database import query, tables, wait
from tests.support.monorepo import Monorepo, Ran, dsn_text
from tests.support.neighbours import VERSION, Authority, caught_up, connected, folder, pair, pgbouncer, program, until

Make = Callable[..., Dsn]

SECRET = "hunter2%41@ hunter3:/#"
"""A password; every part of it holds the word "hunter", which nobody may read anywhere."""


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
    told = [one for one in ran.err.splitlines() if one.strip() and not re.match(r"\d{4}-\d\d-\d\d ", one)]
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


# PgBouncer

SESSION = """
op.execute("CREATE TABLE seen AS SELECT name, setting FROM pg_settings")
op.execute("CREATE TABLE held AS SELECT pid = pg_backend_pid() AS mine FROM pg_locks WHERE locktype = 'advisory'")
"""


@pytest.mark.parametrize("lenient", [True, False], ids=["swallows_parameters", "refuses_parameters"])
def test_a_pooler_in_session_mode_is_accepted_and_the_settings_are_those_of_a_direct_connection(
    monorepo: Monorepo, database: Make, lenient: bool
) -> None:
    dsn = database(password="plain")
    monorepo.revision("billing", "r001", None, SESSION, "pass")
    monorepo.revision("billing", "r002", "r001", SESSION.replace("seen", "again").replace("held", "held_again"))
    with pgbouncer(dsn, lenient=lenient, mode="session", size=4) as through:
        limits = {"MIGRATIONS_LOCK_TIMEOUT": "4321ms", "MIGRATIONS_SEARCH_PATH": "public"}
        text = dsn_text(through) + "?options=-c%20work_mem%3D7MB"
        monorepo.service("billing", dsn=text, **limits)
        wait(service_migrations.upgrade(monorepo.find("billing"), "r001"))
        # what we set is ours alone: the pooler's next client gets the server's own
        run = query(
            through, "SELECT current_setting('lock_timeout'), count(*) FROM pg_locks WHERE locktype = 'advisory'"
        )
        assert tuple(run[0]) == ("0", 0)

        monorepo.service("billing", dsn=text.replace(dsn_text(through), dsn_text(dsn)), **limits)
        upgrade(monorepo)
    assert query(dsn, "SELECT mine FROM held UNION ALL SELECT mine FROM held_again") == [(True,), (True,)]
    names: tuple[str, ...] = (
        "lock_timeout",
        "statement_timeout",
        "search_path",
        "client_connection_check_interval",
        "work_mem",
    )
    names += ("idle_in_transaction_session_timeout", "idle_session_timeout", "tcp_keepalives_idle", "application_name")
    sql = "SELECT name, s.setting, a.setting FROM seen s JOIN again a USING (name) WHERE name = ANY($1)"
    settings = {name: (pooled, direct) for name, pooled, direct in query(dsn, sql, list(names))}
    assert set(settings) == set(names)
    assert {name: pooled for name, (pooled, _) in settings.items()} == {
        n: direct for n, (_, direct) in settings.items()
    }
    assert settings["lock_timeout"][0] == "432"  # the first try waits for a tenth of it


def test_a_lock_holds_through_a_pooler_in_session_mode(monorepo: Monorepo, database: Make) -> None:
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    with pgbouncer(dsn, lenient=True, mode="session", size=6) as through:
        monorepo.service("billing", dsn=through, MIGRATIONS_LOCK_WAIT="0")

        async def run() -> None:
            async with connected(dsn) as holder:
                await holder.fetchval("SELECT pg_advisory_lock($1)", LOCK_KEY)
                with pytest.raises(LockNotObtainedError, match=f"pid {holder.get_server_pid()}"):
                    await service_migrations.upgrade(monorepo.find("billing"))

        wait(run())
        assert tables(dsn) == set()
        assert upgrade(monorepo).after == ("r001",)


@pytest.mark.parametrize("size", [1, 2, 6])
def test_a_pooler_in_transaction_mode_is_refused_however_busy_it_is(
    monorepo: Monorepo, database: Make, size: int
) -> None:
    """Row 36: before any statement changes anything."""
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    with pgbouncer(dsn, lenient=True, size=size) as through:
        service = monorepo.service("billing", dsn=through, MIGRATIONS_CONNECT_TIMEOUT="1s")

        async def interfere(stop: asyncio.Event) -> None:
            async with connected(through) as client:
                while not stop.is_set():
                    await client.execute("BEGIN; SELECT pg_sleep(0.002); COMMIT")

        async def run() -> None:
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(interfere(stop))
                try:
                    for _ in range(4):
                        with pytest.raises(ConfigurationError, match=r"is behind a pooler, .*DATABASE_DIRECT_DSN"):
                            await service_migrations.upgrade(service)
                finally:
                    stop.set()

        wait(run())
    assert tables(dsn) == set()


def test_each_of_several_processes_gets_one_line_from_a_pooler_in_transaction_mode(
    monorepo: Monorepo, database: Make
) -> None:
    """Each process numbers its prepared statements from 1, so the second one finds those of the first."""
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    with pgbouncer(dsn, lenient=True, size=1) as through:
        monorepo.service("billing", dsn=through)
        for _ in range(2):
            told = line(monorepo.inv("db.upgrade"), 78)
            assert "is behind a pooler" in told
            assert told.endswith("Name the server itself in DATABASE_DIRECT_DSN.")
    assert tables(dsn) == set()


def test_a_pooler_in_statement_mode_is_refused(monorepo: Monorepo, database: Make) -> None:
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    with pgbouncer(dsn, lenient=True, mode="statement") as through:
        monorepo.service("billing", dsn=through)
        assert "is behind a pooler" in refused(monorepo)
    assert tables(dsn) == set()


def test_the_proof_alone_refuses_transaction_mode(
    monorepo: Monorepo, database: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy pool the quick refutations may miss it: two clients get two server connections by chance."""

    async def nothing_seen(*_: object) -> None:
        return None

    monkeypatch.setattr(pooler, "_shared", nothing_seen)
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    with pgbouncer(dsn, lenient=True) as through:
        monorepo.service("billing", dsn=through, MIGRATIONS_CONNECT_TIMEOUT="1s")
        assert "is behind a pooler, and a lock holds only through one in session mode" in refused(monorepo)
    with pgbouncer(dsn, lenient=True, mode="session") as through:
        monorepo.service("billing", dsn=through, MIGRATIONS_CONNECT_TIMEOUT="1s")
        assert upgrade(monorepo).after == ("r001",)


def test_a_session_pool_without_room_for_the_proof_is_refused(monorepo: Monorepo, database: Make) -> None:
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    with pgbouncer(dsn, lenient=True, mode="session", size=1) as through:
        monorepo.service("billing", dsn=through, MIGRATIONS_CONNECT_TIMEOUT="500ms")
        assert "it gave no proof within 0.5 s (is its pool full?)" in refused(monorepo)
    assert tables(dsn) == set()


def over_an_engine(service: service_migrations.Service, through: Dsn, **options: Any) -> service_migrations.Outcome:
    """Upgrade over an engine of an application's, whose pool has room for a single connection."""

    async def run() -> service_migrations.Outcome:
        engine = create_async_engine(
            through.url, connect_args=through.connect_args(), pool_size=1, max_overflow=0, pool_timeout=5, **options
        )
        try:
            return await service_migrations.upgrade(service, engine=engine)
        finally:
            await engine.dispose()

    answer: service_migrations.Outcome = wait(run())
    return answer


def test_an_engine_of_the_callers_is_accepted_through_a_pooler_in_session_mode(
    monorepo: Monorepo, database: Make
) -> None:
    """The proof needs a second connection, which is made as the engine makes its own, and beside its pool."""
    dsn = database(password="plain")
    up = SESSION + 'op.execute("CREATE TABLE billing (id int)")'
    monorepo.revision("billing", "r001", None, up)
    service = monorepo.service("billing")
    monorepo.env("billing", MIGRATIONS_LOCK_TIMEOUT="4321ms")
    with pgbouncer(dsn, lenient=True, mode="session", size=4) as through:
        assert over_an_engine(service, through).after == ("r001",)
        assert query(dsn, "SELECT mine FROM held") == [(True,)]
        assert query(dsn, "SELECT setting FROM seen WHERE name = 'lock_timeout'") == [("432",)]
        run = query(
            through, "SELECT current_setting('lock_timeout'), count(*) FROM pg_locks WHERE locktype = 'advisory'"
        )
        assert tuple(run[0]) == ("0", 0)


@pytest.mark.parametrize("options", [{}, {"poolclass": NullPool}], ids=["pool", "no_pool"])
def test_the_second_connection_of_an_engine_is_made_as_the_caller_says(
    monorepo: Monorepo, database: Make, options: dict[str, Any]
) -> None:
    """The URL alone may not lead to the database: the address is told by a listener, the password by an argument."""
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    service = monorepo.service("billing")
    made = []

    async def run(through: Dsn) -> tuple[str, ...]:
        url = URL.create("postgresql+asyncpg", dsn.user, None, "nowhere.invalid", 1, dsn.database)
        engine = create_async_engine(url, connect_args={"password": "plain", "ssl": False}, **options)

        @event.listens_for(engine.sync_engine, "do_connect")
        def _(_dialect: object, _record: object, _cargs: object, cparams: dict[str, Any]) -> None:
            made.append(cparams["password"])
            cparams["host"], cparams["port"] = through.hosts[0]

        try:
            return (await service_migrations.upgrade(service, engine=engine)).after
        finally:
            await engine.dispose()

    with pgbouncer(dsn, lenient=True, mode="session", size=4) as through:
        assert wait(run(through)) == ("r001",)
    assert len(made) >= 2
    assert set(made) == {"plain"}


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_an_engine_of_the_callers_is_refused_through_a_pooler_that_keeps_no_session(
    monorepo: Monorepo, database: Make, mode: str
) -> None:
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    service = monorepo.service("billing")
    monorepo.env("billing", MIGRATIONS_CONNECT_TIMEOUT="1s")
    with pgbouncer(dsn, lenient=True, mode=mode) as through:
        for _ in range(3):  # a server connection that has served before answers otherwise than a new one
            with pytest.raises(ConfigurationError, match=r"is behind a pooler, .*DATABASE_DIRECT_DSN") as caught:
                over_an_engine(service, through)
            assert caught.value.exit_code == 78
            assert "plain" not in str(caught.value)
    assert tables(dsn) == set()
    assert query(dsn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")[0][0] == 0


def test_an_engine_of_the_callers_without_room_for_the_proof_is_refused(monorepo: Monorepo, database: Make) -> None:
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    service = monorepo.service("billing")
    monorepo.env("billing", MIGRATIONS_CONNECT_TIMEOUT="500ms")
    with (
        pgbouncer(dsn, lenient=True, mode="session", size=1) as through,
        pytest.raises(ConfigurationError, match=r"it gave no proof within 0\.5 s \(is its pool full\?\)"),
    ):
        over_an_engine(service, through)
    assert tables(dsn) == set()


def test_what_a_pooler_swallows_and_a_session_cant_set_is_refused(monorepo: Monorepo, database: Make) -> None:
    """log_connections is fixed when a connection begins, so no SET can make up for it."""
    dsn = database(password="plain")
    monorepo.table_revision("billing", "r001", None)
    with pgbouncer(dsn, lenient=False, mode="session") as through:
        monorepo.service("billing", dsn=dsn_text(through) + "?options=-c%20ignore_system_indexes%3Don")
        assert "it passed no startup parameter on, and" in refused(monorepo)
    assert tables(dsn) == set()


# TLS


@dataclass(frozen=True)
class Tls:
    """A server with TLS, a database on it, and certificates."""

    server: Server
    dsn: Dsn
    authority: Path
    stranger: Path
    client: tuple[Path, Path]

    def text(self, query: str, host: str = "localhost") -> str:
        port = self.dsn.hosts[0][1]
        return dsn_text(replace(self.dsn, hosts=((host, port),))) + f"?{query}"


@pytest.fixture(scope="module")
def tls() -> Iterator[Tls]:
    with folder("tls") as home:
        authority, stranger = Authority(home), Authority(home, "stranger")
        certificate, key = authority.issue("server", "DNS:localhost")
        client = authority.issue("app")
        files = {"ssl_cert_file": certificate, "ssl_key_file": key, "ssl_ca_file": authority.certificate}
        with own_server(ssl="on", **{name: str(path) for name, path in files.items()}) as server:
            yield Tls(
                server, role_and_database(server.admin, "app"), authority.certificate, stranger.certificate, client
            )


def encrypted(tls: Tls, monorepo: Monorepo, text: str) -> bool:
    """Upgrade over a DSN, and return whether the migrating connection itself was encrypted."""
    query(tls.dsn, "DROP TABLE IF EXISTS line, alembic_version_billing, migration_log_billing")
    monorepo.service("billing", dsn=text)
    up = 'op.execute("CREATE TABLE line AS SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")'
    monorepo.revision("billing", "r001", None, up)
    assert upgrade(monorepo).after == ("r001",)
    return bool(query(tls.dsn, "SELECT ssl FROM line")[0][0])


@pytest.mark.parametrize(
    ("sslmode", "host", "safe"),
    [
        ("sslmode=require", "127.0.0.1", True),
        ("sslmode=require&sslrootcert={authority}", "127.0.0.1", True),
        ("sslmode=verify-ca&sslrootcert={authority}", "127.0.0.1", True),
        ("sslmode=verify-full&sslrootcert={authority}", "localhost", True),
        ("sslmode=prefer", "127.0.0.1", True),
        ("sslmode=allow", "127.0.0.1", False),
        ("sslmode=disable", "127.0.0.1", False),
    ],
)
def test_the_line_is_encrypted_as_the_sslmode_says(
    tls: Tls, monorepo: Monorepo, sslmode: str, host: str, safe: bool
) -> None:
    """Row 34: as the server sees it."""
    text = tls.text(sslmode.format(authority=tls.authority), host)
    assert encrypted(tls, monorepo, text) is safe


@pytest.mark.parametrize(
    ("sslmode", "host", "says"),
    [
        ("sslmode=verify-full&sslrootcert={authority}", "127.0.0.1", "certificate is not valid for '127.0.0.1'"),
        ("sslmode=verify-full&sslrootcert={stranger}", "localhost", "certificate verify failed"),
        ("sslmode=verify-ca&sslrootcert={stranger}", "127.0.0.1", "certificate verify failed"),
        ("sslmode=require&sslrootcert={stranger}", "127.0.0.1", "certificate verify failed"),
        ("sslmode=verify-full", "localhost", "certificate verify failed"),
        ("sslmode=verify-full&sslrootcert=system", "localhost", "certificate verify failed"),
    ],
)
def test_a_server_that_isnt_the_one_that_was_meant_is_refused(
    tls: Tls, monorepo: Monorepo, sslmode: str, host: str, says: str
) -> None:
    """Row 34: by its certificate."""
    monorepo.table_revision("billing", "r001", None)
    monorepo.service("billing", dsn=tls.text(sslmode.format(authority=tls.authority, stranger=tls.stranger), host))
    told = refused(monorepo)
    assert says in told
    assert told.endswith("Is it the server that was meant? If so, correct its host name or sslrootcert.")
    assert "billing" not in tables(tls.dsn)


@pytest.mark.parametrize("sslmode", ["require", "verify-ca", "verify-full"])
def test_tls_that_a_server_doesnt_have_is_never_plaintext_instead(
    monorepo: Monorepo, database: Make, sslmode: str
) -> None:
    """Row 34: refused, and nothing was sent."""
    dsn = database(password="hunter2")
    monorepo.table_revision("billing", "r001", None)
    monorepo.service("billing", dsn=f"{dsn_text(dsn)}?sslmode={sslmode}")
    assert f"the server has no TLS, and sslmode={sslmode} asks for it." in refused(monorepo)
    assert tables(dsn) == set()


def test_a_socket_among_several_hosts_takes_no_tls_from_the_others(monorepo: Monorepo, database: Make) -> None:
    """The server on the other host has no TLS: had it been asked in plaintext, it would have answered."""
    dsn = database(password="hunter2")
    _, port = dsn.hosts[0]
    monorepo.table_revision("billing", "r001", None)
    text = f"postgresql://{dsn.user}:hunter2@/{dsn.database}?host=/nowhere,127.0.0.1&port={port}&sslmode=require"
    monorepo.service("billing", dsn=text)
    assert "the server has no TLS, and sslmode=require asks for it." in refused(monorepo)
    assert tables(dsn) == set()


def test_a_client_certificate_is_the_proof_that_a_server_asks_for(tls: Tls, monorepo: Monorepo) -> None:
    assert tls.server.data
    query(tls.dsn, "DROP TABLE IF EXISTS line, alembic_version_billing, migration_log_billing")
    rules = tls.server.data / "pg_hba.conf"
    before = rules.read_text(encoding="utf-8")
    rules.write_text(f"hostssl app app 127.0.0.1/32 cert\n{before}", encoding="utf-8")
    try:
        query(tls.server.admin, "SELECT pg_reload_conf()")
        certificate, key = tls.client
        monorepo.table_revision("billing", "r001", None)
        asked = f"sslmode=verify-full&sslrootcert={tls.authority}"
        monorepo.service("billing", dsn=tls.text(asked))

        async def is_asked_for() -> bool:
            try:
                await service_migrations.current(monorepo.find("billing"))
            except AccessDeniedError as error:
                return "certificate" in str(error)
            return False

        wait(until(is_asked_for, "the server asks for a certificate"))
        monorepo.service("billing", dsn=tls.text(f"{asked}&sslcert={certificate}&sslkey={key}"))
        assert upgrade(monorepo).target == f"app@localhost:{tls.dsn.hosts[0][1]}/app"
    finally:
        rules.write_text(before, encoding="utf-8")
        query(tls.server.admin, "SELECT pg_reload_conf()")
        wait(until(lambda: _reaches(tls.dsn), "the server asks for a password again"))
        query(tls.dsn, "DROP TABLE IF EXISTS billing, alembic_version_billing, migration_log_billing")


async def _reaches(dsn: Dsn) -> bool:
    try:
        async with connected(dsn):
            return True
    except Exception:  # noqa: BLE001 - whatever it is, it isn't reached
        return False


@pytest.mark.parametrize(
    ("parameter", "content"), [("sslrootcert", None), ("sslrootcert", "no certificate"), ("sslcert", None)]
)
def test_a_certificate_that_cant_be_read_is_named(
    monorepo: Monorepo, database: Make, parameter: str, content: str | None
) -> None:
    dsn = database(password="hunter2")
    file = monorepo.root / "some.crt"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    service = monorepo.service("billing", dsn=f"{dsn_text(dsn)}?sslmode=verify-full&{parameter}={file}")
    monorepo.table_revision("billing", "r001", None)
    assert f"{parameter}={file}" in refused(monorepo)
    with pytest.raises(ConfigurationError, match=f"{parameter}={file}"):
        wait(create(load(service)))


def test_a_key_with_a_passphrase_is_refused_rather_than_asked_for(tls: Tls, monorepo: Monorepo) -> None:
    certificate, key = tls.client
    locked = monorepo.root / "locked.key"
    command = [program("openssl"), "ec", "-in", str(key), "-out", str(locked), "-aes256", "-passout", "pass:hunter9"]
    subprocess.run(command, capture_output=True, timeout=60, check=True)
    monorepo.table_revision("billing", "r001", None)
    monorepo.service("billing", dsn=tls.text(f"sslmode=require&sslcert={certificate}&sslkey={locked}"))
    assert f"sslkey={locked}" in refused(monorepo)


# Several hosts


@dataclass(frozen=True)
class Hosts:
    """A primary and its standby: the superuser's DSNs, and how a new database on both is made."""

    primary: Dsn
    standby: Dsn

    def make(self, name: str) -> Dsn:
        dsn = role_and_database(self.primary, name)
        caught_up(self.primary, self.standby)
        return dsn

    def text(self, dsn: Dsn, *hosts: tuple[str, int], attrs: str = "") -> str:
        return dsn_text(replace(dsn, hosts=hosts)) + (f"?target_session_attrs={attrs}" if attrs else "")


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with pair() as (primary, standby):
        assert query(standby, "SELECT pg_is_in_recovery()")[0][0]
        yield Hosts(primary, standby)


@pytest.mark.parametrize("attrs", ["read-write", "primary"])
@pytest.mark.parametrize("order", ["standby_first", "primary_first", "first_is_down"])
def test_the_primary_among_several_hosts_is_upgraded(hosts: Hosts, monorepo: Monorepo, order: str, attrs: str) -> None:
    """Row 35: wherever it stands in the list."""
    dsn = hosts.make(f"app_{order}_{attrs.replace('-', '_')}")
    (primary,), (standby,) = hosts.primary.hosts, hosts.standby.hosts
    down = ("127.0.0.1", free_port())
    places = {
        "standby_first": (standby, primary),
        "primary_first": (primary, standby),
        "first_is_down": (down, standby, primary),
    }[order]
    monorepo.table_revision("billing", "r001", None)
    monorepo.service("billing", dsn=hosts.text(dsn, *places, attrs=attrs))
    assert upgrade(monorepo).after == ("r001",)
    assert "billing" in tables(dsn)


@pytest.mark.parametrize("attrs", ["", "read-write", "any"])
def test_a_standby_alone_takes_no_writes(hosts: Hosts, monorepo: Monorepo, attrs: str) -> None:
    """Row 35: 78, whatever was asked for."""
    dsn = hosts.make(f"alone_{attrs.replace('-', '_')}")
    monorepo.table_revision("billing", "r001", None)
    monorepo.service("billing", dsn=hosts.text(dsn, *hosts.standby.hosts, attrs=attrs))
    told = refused(monorepo)
    assert re.search("takes no writes|read-only|standby", told), told
    assert tables(dsn) == set()


def test_without_a_target_the_first_host_is_meant_even_if_it_is_a_standby(hosts: Hosts, monorepo: Monorepo) -> None:
    dsn = hosts.make("untold")
    monorepo.table_revision("billing", "r001", None)
    monorepo.service("billing", dsn=hosts.text(dsn, *hosts.standby.hosts, *hosts.primary.hosts))
    told = line(monorepo.inv("db.upgrade"), 78)
    assert re.search("read-only|standby", told), told
    assert tables(dsn) == set()


def test_a_service_with_a_schema_of_its_own_is_refused_by_a_standby_too(hosts: Hosts, monorepo: Monorepo) -> None:
    """Its schema is made before the first revision runs, so the standby is met there."""
    dsn = hosts.make("with_schema")
    models = """
    from sqlalchemy import MetaData
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

    __all__ = ["Base", "Thing"]


    class Base(DeclarativeBase):
        metadata = MetaData(schema="billing")


    class Thing(Base):
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True)
    """
    monorepo.table_revision("billing", "r001", None)
    monorepo.service("billing", models, hosts.text(dsn, *hosts.standby.hosts))
    told = refused(monorepo)
    assert re.search("read-only|standby", told), told


def test_a_standby_can_be_asked_for_its_revision(hosts: Hosts, monorepo: Monorepo) -> None:
    dsn = hosts.make("asked")
    monorepo.table_revision("billing", "r001", None)
    monorepo.service("billing", dsn=dsn)
    upgrade(monorepo)
    caught_up(hosts.primary, hosts.standby)
    monorepo.service("billing", dsn=hosts.text(dsn, *hosts.standby.hosts, attrs="standby"))
    found = wait(service_migrations.current(monorepo.find("billing")))
    assert [revision.revision for revision in found] == ["r001"]


# Unix socket


@pytest.fixture(scope="module")
def socket() -> Iterator[tuple[Dsn, Path]]:
    with folder("socket") as home:
        home.chmod(0o755)
        with own_server(unix_socket_directories=str(home)) as server:
            yield role_and_database(server.admin, "app"), home


@pytest.mark.parametrize("form", ["parameter", "escaped"])
def test_a_socket_is_as_good_as_a_host(socket: tuple[Dsn, Path], monorepo: Monorepo, form: str) -> None:
    dsn, home = socket
    _, port = dsn.hosts[0]
    start = f"postgresql://app:{quote(SECRET, safe='')}@"
    text = {
        "parameter": f"{start}/app?host={home}&port={port}",
        "escaped": f"{start}{quote(str(home), safe='')}:{port}/app?sslmode=prefer",
    }[form]
    up = 'op.execute("CREATE TABLE line AS SELECT inet_client_addr() IS NULL AS local")'
    monorepo.revision("billing", "r001", None, up)
    monorepo.service("billing", dsn=text)
    assert upgrade(monorepo).target == f"app@{home}:{port}/app"
    assert query(dsn, "SELECT local FROM line")[0][0] is True
    words = {"parameter": ("db.status",), "escaped": ("db.env", "--service", "billing")}[form]
    ran = monorepo.inv(*words)
    assert ran.code == 0, ran.text
    assert "hunter" not in ran.text
    assert {"parameter": f"app@{home}:{port}/app", "escaped": quote(str(home), safe="")}[form] in ran.out.replace(
        "\n", ""
    )
    query(dsn, "DROP TABLE line, alembic_version_billing, migration_log_billing")


# Passwords


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
    assert "hunter" not in shown, [one for one in shown.splitlines() if "hunter" in one][:5]
