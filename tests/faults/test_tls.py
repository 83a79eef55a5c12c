"""TLS: the line is as safe as the DSN says, or there is none."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import service_migrations
from service_migrations.databases.admin import create
from service_migrations.errors import AccessDeniedError, ConfigurationError
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import load
from tests.support.database import query, tables, wait
from tests.support.monorepo import Monorepo, dsn_text
from tests.support.network import (
    Authority,
    Make,
    connected,
    folder,
    own_server,
    program,
    refused,
    role_and_database,
    until,
    upgrade,
)


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


def test_a_refusal_without_tls_is_shown_to_come_from_a_server(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    """asyncpg tries once more with TLS, and the server has none: it was called no PostgreSQL."""
    monorepo.table_revision("billing", "r001", None)
    monorepo.service("billing", dsn=f"{dsn_text(replace(database(), password='wrong'))}?sslmode=allow")
    told = refused(monorepo)
    assert "it refused a connection without TLS, and has no TLS to try instead" in told
    assert told.endswith("With sslmode=disable its reason is shown.")
