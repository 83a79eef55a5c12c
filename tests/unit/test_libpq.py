"""The parameters of a DSN: each of libpq's is decided, and so are those that drivers take from a URL."""

import re
import ssl
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from service_migrations.errors import ConfigurationError
from service_migrations.libpq.conninfo import _arguments
from service_migrations.libpq.of_psycopg2 import as_caught, row_factory
from service_migrations.settings.dsn import Dsn, parse
from service_migrations.settings.libpq import HONOURED, PASSED_OVER, REFUSED, server_options

LIBPQ = (
    *("host", "hostaddr", "port", "dbname", "user", "password", "passfile", "require_auth", "channel_binding"),
    *("connect_timeout", "client_encoding", "options", "application_name", "fallback_application_name", "keepalives"),
    *("keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout", "replication", "gssencmode"),
    *("sslmode", "sslnegotiation", "sslcompression", "sslcert", "sslkey", "sslkeylogfile", "sslpassword"),
    *("sslcertmode", "sslrootcert", "sslcrl", "sslcrldir", "sslsni", "requirepeer", "ssl_min_protocol_version"),
    *("ssl_max_protocol_version", "min_protocol_version", "max_protocol_version", "krbsrvname", "gsslib"),
    *("gssdelegation", "scram_client_key", "scram_server_key", "service", "target_session_attrs"),
    *("load_balance_hosts", "oauth_issuer", "oauth_client_id", "oauth_client_secret", "oauth_scope"),
)
"""The keywords of PostgreSQL 18 (documentation, 34.1.2)."""


def of(query: str) -> Dsn:
    return parse(f"postgresql+psycopg2://app:hunter2@db/billing?{query}", "here")


def refused(query: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        of(query)
    message = str(caught.value)
    assert message.startswith("here")
    assert "hunter2" not in message
    return message


def test_each_keyword_of_libpq_is_decided_once() -> None:
    assert set(LIBPQ) <= {*HONOURED, *PASSED_OVER, *REFUSED}
    assert len({*HONOURED, *PASSED_OVER, *REFUSED}) == len(HONOURED) + len(PASSED_OVER) + len(REFUSED)


@pytest.mark.parametrize(
    "query",
    [
        "client_encoding=utf8",
        "client_encoding=UTF-8",
        "client_encoding=auto",
        "channel_binding=prefer",
        "channel_binding=disable",
        "keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=5",
        "tcp_user_timeout=1000",
        "gssencmode=disable",
        "gssencmode=prefer",
        "sslcompression=0",
        "sslnegotiation=postgres",
        "sslsni=1",
        "fallback_application_name=shop",
        "replication=false",
        "min_protocol_version=3.0&max_protocol_version=latest",
        "krbsrvname=postgres&gssdelegation=0",
        "prepared_statement_cache_size=0&statement_cache_size=0&command_timeout=60",
        "async_fallback=true&prepare_threshold=5&timeout=10",
    ],
)
def test_what_means_nothing_for_a_migration_changes_nothing(query: str) -> None:
    assert of(query) == Dsn("app", "billing", (("db", 5432),), "hunter2")
    assert of(query).connect_args().keys() == of("application_name=x").connect_args().keys()


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (
            "channel_binding=require",
            "channel_binding=require can't be honoured: asyncpg binds no channel: write channel",
        ),
        ("client_encoding=latin1", "client_encoding=latin1 can't be honoured: a migration speaks UTF-8."),
        ("gssencmode=require", "gssencmode=require can't be honoured: asyncpg encrypts with TLS only."),
        ("sslnegotiation=direct", "sslnegotiation=direct can't be honoured"),
        ("replication=database", "replication=database can't be honoured: a connection for replication runs no"),
        ("min_protocol_version=3.2", "min_protocol_version=3.2 can't be honoured: asyncpg speaks version 3.0."),
        ("krbsrvname=pg", "krbsrvname=pg can't be honoured: Kerberos is not supported here."),
        ("keepalives=maybe", "keepalives=maybe can't be honoured: write 0 or 1."),
        ("keepalives_idle=", "keepalives_idle is empty."),
        ("sslsni=0", "sslsni=0 can't be honoured"),
        ("sslcertmode=require", "sslcertmode=require can't be honoured"),
        ("load_balance_hosts=maybe", "load_balance_hosts=maybe isn't disable or random."),
        ("ssl=true", "sslmode=true isn't one of disable, allow"),
        ("ssl=require&sslmode=disable", "ssl and sslmode differ. Leave ssl out."),
        ("sslmode=disable&ssl=require", "ssl and sslmode differ. Leave ssl out."),
        ("sslcrl=x", "sslcrl has no effect with sslmode=prefer. Set sslmode=verify-full."),
        ("sslmode=require&sslcrl=x", "sslcrl has no effect with sslmode=require and no sslrootcert."),
        ("ssl_min_protocol_version=TLSv1.3", "ssl_min_protocol_version has no effect with sslmode=prefer."),
        ("sslmode=require&ssl_max_protocol_version=3", "ssl_max_protocol_version=3 isn't a version such as TLSv1.3."),
        (
            "sslmode=require&ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2",
            "ssl_min_protocol_version is above ssl_max_protocol_version.",
        ),
    ],
)
def test_a_value_that_cant_be_honoured_is_refused_with_its_reason(query: str, says: str) -> None:
    assert says in refused(query)


@pytest.mark.parametrize("key", REFUSED)
def test_what_cant_be_honoured_is_refused_by_name_with_what_to_do(key: str) -> None:
    assert refused(f"{key}=hunter2") == (
        f"here has the parameter {key!r}, which can't be honoured here. {REFUSED[key]}."
    )


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ('-c search_path="Sales"', '"Sales"'),
        ("-c search_path=a\\ b", "a b"),
        ("--search-path='a b'", "a b"),
        ("-csearch_path=#a", "#a"),
    ],
)
def test_a_double_quote_of_the_options_is_a_part_of_the_value(options: str, path: str) -> None:
    """Without it, another schema would be the first."""
    assert server_options(options) == [("search_path", path)]


def test_asyncpgs_name_of_sslmode_means_the_same() -> None:
    assert of("ssl=require").parameters == of("sslmode=require").parameters == {"sslmode": "require"}
    assert of("ssl=require&sslmode=require").parameters == {"sslmode": "require"}


def test_the_versions_of_tls_hold() -> None:
    context = of("sslmode=require&ssl_min_protocol_version=TLSv1.3").connect_args()["ssl"]
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    context = of("sslmode=require&ssl_max_protocol_version=TLSv1.2").connect_args()["ssl"]
    assert context.maximum_version is ssl.TLSVersion.TLSv1_2


def test_a_list_of_revoked_certificates_that_cant_be_read_is_a_mistake_of_the_dsn(tmp_path: Path) -> None:
    dsn = of(f"sslmode=verify-full&sslcrl={tmp_path / 'missing.pem'}")
    with pytest.raises(ConfigurationError, match=r"can't be read .sslcrl="):
        dsn.connect_args()


def test_hosts_are_tried_in_any_order_where_that_is_asked_for() -> None:
    dsn = parse("postgresql://app@a:1,b:2,c:3/x?load_balance_hosts=random", "here")
    orders = set()
    for _ in range(200):
        arguments = dsn.connect_args()
        pairs = tuple(zip(arguments["host"], arguments["port"], strict=True))
        assert set(pairs) == set(dsn.hosts)
        orders.add(pairs)
    assert len(orders) > 1
    fixed = parse("postgresql://app@a:1,b:2,c:3/x?load_balance_hosts=disable", "here")
    assert fixed.connect_args()["host"] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "text",
    [
        "postgresql+psycopg2://app:x@/b?host=/cloudsql/shop:europe-west1:db-1",
        "postgresql+asyncpg://app:x@/b?host=/cloudsql/shop:europe-west1:db-1/.s.PGSQL.5432",
        "postgres://app:x@%2Fcloudsql%2Fshop%3Aeurope-west1%3Adb-1/b",
        "postgresql://app:x@/b?host=/cloudsql/shop%3Aeurope-west1%3Adb-1&port=5432",
    ],
)
def test_a_socket_of_cloud_sql_is_a_host_in_each_form(text: str) -> None:
    ((host, port),) = parse(text, "here").hosts
    assert re.fullmatch(r"/cloudsql/shop:europe-west1:db-1(/\.s\.PGSQL\.5432)?", host)
    assert port == 5432


ELSEWHERE = {"application_name", "connect_timeout", "host", "options", "port"}
"""What becomes an address, a timeout or a startup parameter."""
GIVEN = {
    "load_balance_hosts": "random",
    "ssl_max_protocol_version": "TLSv1.3",
    "ssl_min_protocol_version": "TLSv1.2",
    "sslcert": "/certificate",
    "sslcrl": "/revoked",
    "sslkey": "/key",
    "sslmode": "require",
    "sslrootcert": "/root",
    "target_session_attrs": "primary",
}


@pytest.mark.parametrize("name", sorted(HONOURED.keys() - ELSEWHERE))
def test_what_is_honoured_arrives_at_psycopg_too(name: str) -> None:
    dsn = Dsn("app", "app", (("db", 5432),), parameters={name: GIVEN[name]})
    assert _arguments(dsn, 10, {})[name] == GIVEN[name]


def test_an_error_has_its_code_also_without_psycopg2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "psycopg2", raising=False)
    error = psycopg.errors.UndefinedTable("no such table")
    caught = as_caught(error)
    assert caught is error
    assert (vars(caught)["pgcode"], vars(caught)["pgerror"]) == ("42P01", None)


def test_a_class_of_cursors_that_does_more_than_rows_is_refused_by_name() -> None:
    class LoggingCursor:
        pass

    with pytest.raises(psycopg.NotSupportedError, match="a cursor can't be of the class LoggingCursor: leave it out"):
        row_factory(LoggingCursor)


def test_backslashes_of_what_psycopg2_has_wrapped_are_kept_without_a_connection_of_its_own() -> None:
    # which backslashes psycopg2 writes twice depends on the connection that the process has used last
    code = """
from psycopg2.extensions import Binary, QuotedString, adapt, register_adapter
from psycopg2.extras import Json
from service_migrations.libpq.literals import constant
class OfAClass(Json): pass
register_adapter(set, lambda values: adapt(sorted(values)))
for value in (QuotedString("a\\\\b"), Binary(b"a\\\\b"), OfAClass("a\\\\b"), {"a\\\\b"}):
    print(constant(value))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [r"E'a\\b'", r"'\x615c62'::bytea", r"""E'"a\\\\b"'""", r"ARRAY[ E'a\\b']"]
