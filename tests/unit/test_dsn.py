"""A DSN: what is understood, what is refused by name, and where its password never stands."""

import asyncio
import re
import ssl
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote

import asyncpg
import pytest
from hypothesis import given, settings, strategies as st
from sqlalchemy import make_url

from service_migrations.errors import ConfigurationError
from service_migrations.failures.connections import connect_failure
from service_migrations.settings.dsn import _FILES, Dsn, parse, tls_context
from service_migrations.settings.model import load
from service_migrations.settings.sources import Sources
from tests.support.database import PASSWORDS
from tests.support.monorepo import Monorepo
from tests.support.versions import SQLALCHEMY


def refused(text: str) -> str:
    """Return the message that a DSN is refused with."""
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "services/billing/.env:3: DATABASE_DSN")
    message = str(caught.value)
    assert message.startswith("services/billing/.env:3: DATABASE_DSN")
    assert len(message.splitlines()) == 1
    assert message.endswith(".")
    return message


@pytest.mark.parametrize("password", PASSWORDS)
def test_any_password_works_percent_encoded(password: str) -> None:
    dsn = parse(f"postgresql://app:{quote(password, safe='')}@db.example:6543/billing", "here")
    assert dsn == Dsn("app", "billing", (("db.example", 6543),), password)
    assert dsn.connect_args()["password"]() == password


@pytest.mark.parametrize("password", [secret for secret in PASSWORDS if len(secret) > 3])
def test_a_password_stands_in_nothing_that_can_be_printed(password: str) -> None:
    dsn = parse(f"postgresql://app:{quote(password, safe='')}@localhost/billing", "here")
    shown = f"{dsn!r} {dsn} {dsn.url!r} {dsn.url} {dsn.target} {dsn.masked()} {dsn.connect_args()!r}"
    shown += dsn.url.render_as_string(hide_password=False)
    assert password not in shown
    assert quote(password, safe="") not in shown
    assert dsn.masked() == "postgresql://app:***@localhost:5432/billing"


@pytest.mark.parametrize("text", ["b%E9b:x@localhost/billing", "bob:x%E9@localhost/billing", "bob:x@localhost/b%e9"])
def test_an_escape_of_another_encoding_than_utf8_is_no_other_character(text: str) -> None:
    message = refused(f"postgresql://{text}")
    assert message.endswith(
        "holds an escape that is no UTF-8, such as %E9 for é. Write é as %C3%A9, and a % itself as %25."
    )


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg", "postgresql+psycopg2"]
)
def test_every_way_to_name_postgresql_becomes_asyncpgs(scheme: str) -> None:
    dsn = parse(f"{scheme}://app:x@localhost/billing", "here")
    assert dsn.url.drivername == "postgresql+asyncpg"


def test_the_port_is_postgresqls_where_none_is_given() -> None:
    assert parse("postgresql://app:x@db/billing", "here").target == "app@db:5432/billing"


@pytest.mark.parametrize("scheme", ["mysql", "mysql+aiomysql", "sqlite", "sqlite+aiosqlite", "oracle", "http"])
def test_another_database_is_refused_by_name(scheme: str) -> None:
    message = refused(f"{scheme}://app:hunter2@localhost/billing")
    assert f"is for {scheme!r}, not for PostgreSQL. Write it as postgresql://" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "text",
    [
        "billing",
        "app:hunter2@localhost/billing",
        "host=localhost dbname=billing password=hunter2",
        "postgresql:hunter2",
    ],
)
def test_what_is_no_url_is_refused(text: str) -> None:
    message = refused(text)
    assert "is no URL. Write it as postgresql://user:password@host:5432/database." in message
    assert "hunter2" not in message


@pytest.mark.parametrize("text", ["app:hunter2://x@localhost/billing", "host=db password=hunter2://x dbname=billing"])
def test_what_stands_before_a_password_with_a_double_slash_is_no_scheme(text: str) -> None:
    assert "hunter2" not in refused(text)


@pytest.mark.parametrize(
    ("text", "lacks"),
    [
        ("postgresql://app:hunter2@localhost", "database"),
        ("postgresql://app:hunter2@localhost/", "database"),
        ("postgresql://app:hunter2@localhost?sslmode=disable", "database"),
        ("postgresql://app:hunter2@/billing", "host"),
        ("postgresql:///billing", "host"),
        ("postgresql://localhost/billing", "user"),
        ("postgresql://:hunter2@localhost/billing", "user"),
    ],
)
def test_a_part_that_lacks_is_named_and_never_guessed(text: str, lacks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGUSER", "somebody")
    monkeypatch.setenv("PGDATABASE", "somewhere")
    monkeypatch.setenv("PGHOST", "elsewhere")
    message = refused(text)
    assert f"names no {lacks}. Write it as" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "userinfo",
    [
        "first@second",
        "first@second,third",
        "first@second:third",
        "first@second/third",
        "first@second?third=x",
        "@second",
    ],
)
def test_a_password_with_an_unescaped_at_is_refused_and_no_part_of_it_shown(userinfo: str) -> None:
    message = refused(f"postgresql://app:{userinfo}@localhost:5432/billing")
    for part in ("first", "second", "third"):
        assert part not in message


def test_an_unescaped_at_is_told_with_its_escape() -> None:
    message = refused("postgresql://app:first@second@localhost/billing")
    assert "holds an unescaped '@'. Write it as %40, or give the password apart as DATABASE_PASSWORD." in message


@pytest.mark.parametrize("text", ["app@corp:hunter2@h/billing", "app:hunter2@h/billing?application_name=a@b"])
def test_an_unescaped_at_anywhere_is_told_with_its_escape(text: str) -> None:
    assert "Write it as %40" in refused(f"postgresql://{text}")


@pytest.mark.parametrize(
    "rest",
    [
        "app@h/billing&password=hunter2",
        "app@h/billing;Password=hunter2?sslmode=require",
        "app@h,password=hunter2/billing",
        "app password = hunter2@h/billing",
        "app@h/billing?connect_timeout=3password=hunter2",
        "app@h/billing?application_name=x%26password%3Dhunter2",
        "app@h/billing?options=-c%20x=1;PWD=hunter2",
        "app@h/billing?sslmode=require,passwd=hunter2",
    ],
)
def test_a_password_that_a_wrong_separator_hides_in_something_else_is_not_shown(rest: str) -> None:
    message = refused(f"postgresql://{rest}")
    assert "hunter2" not in message
    assert "has a password parameter inside of something else. Begin the parameters with ? and separate" in message


@pytest.mark.parametrize("name", ["hunter2:1/billing", "hunter2/x", "hunter2 x"])
def test_what_is_no_name_of_a_parameter_is_not_shown(name: str) -> None:
    message = refused(f"postgresql://app@h/billing?{name}=1")
    assert "hunter2" not in message
    assert "has a parameter that isn't understood here. Understood: application_name" in message


UNESCAPED = ["100%", "%", "%zz", "a%2", "a/b", "/", "a//b", "a?b", "a#b", "a:b", "a[b", "]", "a b", "a+b", "a&b=c"]


@pytest.mark.parametrize("password", UNESCAPED)
def test_what_is_no_escape_is_taken_as_it_stands(password: str) -> None:
    dsn = parse(f"postgresql://app:{password}@db.example:6543/billing", "here")
    assert dsn == Dsn("app", "billing", (("db.example", 6543),), password)


@pytest.mark.parametrize("password", ["100%", "a%41b", "a%40b", "plain", "a/b"])
def test_a_refused_password_with_a_percent_is_told_with_the_escape_of_one(monorepo: Monorepo, password: str) -> None:
    """A % of the password itself may have been taken for the begin of an escape: %41 is an A."""
    service = monorepo.service("billing")
    hint = "In a DSN, a % of the password itself is written %25."
    error = asyncpg.InvalidPasswordError("password authentication failed")

    def told(**environment: str) -> str:
        dsn = load(service, Sources(environment)).dsn
        message = str(connect_failure(error, service, dsn))
        assert password not in message.replace(hint, "")
        assert "\n" not in message
        return message

    text = f"postgresql://app:{password}@localhost/billing"
    assert (hint in told(DATABASE_DSN=text)) == ("%" in password)
    assert hint not in told(DATABASE_DSN="postgresql://app@localhost/billing", DATABASE_PASSWORD=password)
    dsn = parse(text, "here")
    assert hint not in str(connect_failure(asyncpg.InvalidCatalogNameError("no database"), service, dsn))


@pytest.mark.parametrize("port", ["x", "5432x", "-1", "99999", "0"])
def test_a_port_that_cant_be_is_refused(port: str) -> None:
    assert "port" in refused(f"postgresql://app:hunter2@localhost:{port}/billing")


@pytest.mark.parametrize(
    "text",
    [
        "app:hunter2/billing",
        "app:123456/billing",
        "app@db:hunter2/billing",
        "app@db:1,two:hunter2/billing",
        "@:hunter2/b",
    ],
)
def test_a_password_in_the_place_of_a_host_or_port_is_not_shown(text: str) -> None:
    message = refused(f"postgresql://{text}")
    assert not {"hunter2", "123456"} & set(re.split(r"\W+", message))


PARTS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="@<>"), max_size=8)


@settings(max_examples=500, derandomize=True, deadline=None)
@given(user=PARTS, password=PARTS, database=PARTS, value=PARTS, port=st.integers(1, 65535))
def test_the_parts_of_a_url_are_those_that_sqlalchemy_finds_but_for_a_plus(
    user: str, password: str, database: str, value: str, port: int
) -> None:
    text = f"postgresql://{user}:{password}@db:{port}/{database}?application_name={value}"
    url = make_url(text.replace("+", "%2B"))
    try:
        dsn = parse(text, "here")
    except ConfigurationError:
        unknown = set(url.query) - {"application_name"}
        blank = not all(found for _, found in parse_qsl(f"x={value}", keep_blank_values=True))
        assert (
            unknown
            or blank
            or re.search(r"%[01].|%7f", text, re.IGNORECASE)
            or "\ufffd" in unquote(text)  # bytes that are no UTF-8
            or not (url.username and url.database and url.host)
        )
    else:
        parts = (dsn.user, dsn.password, dsn.hosts, dsn.database, dict(dsn.parameters))
        # SQLAlchemy 2.0 takes the name of the database as it is written
        database = url.database if SQLALCHEMY >= (2, 1) else unquote(url.database or "")
        assert parts == (url.username, url.password, ((url.host, url.port),), database, dict(url.query))


def test_the_examples_placeholders_are_not_taken_for_a_dsn() -> None:
    message = refused("postgresql://<service>:<password>@localhost:5432/<service>")
    assert "still holds the example's <placeholders>. Fill them in, or remove the file and run `inv up`." in message


@pytest.mark.parametrize("key", ["sslmod", "poolclass", "requiressl", "tty"])
def test_an_unknown_parameter_is_refused_by_name(key: str) -> None:
    message = refused(f"postgresql://app:x@localhost/billing?{key}=hunter2")
    assert f"has the parameter {key!r}, which isn't understood here. Understood: application_name, " in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("sslmode=", "sslmode is empty. Give it a value, or remove it."),
        ("sslmode", "sslmode is empty. Give it a value, or remove it."),
        ("sslmode=require&sslmode=", "sslmode is empty."),
        ("nonsense=", "has the parameter 'nonsense', which isn't understood here"),
        ("sslmode=bogus", "sslmode=bogus isn't one of disable, allow, prefer, require, verify-ca, verify-full"),
        ("target_session_attrs=master", "target_session_attrs=master isn't one of any, primary"),
        ("connect_timeout=soon", "connect_timeout=soon isn't a whole number of seconds"),
        ("options=work_mem", "options isn't of the form '-c name=value"),
        ("options=-c%20%22", "options isn't of the form '-c name=value"),
    ],
)
def test_a_parameter_with_a_value_without_sense_is_refused(query: str, says: str) -> None:
    assert says in refused(f"postgresql://app:x@localhost/billing?{query}")


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", "{}\n\n", " {} ", "\n{}", "\t{}"])
def test_white_space_around_a_dsn_is_no_part_of_it(around: str) -> None:
    text = "postgresql://app:x@localhost/billing"
    assert parse(around.format(text), "here") == parse(text, "here")


@pytest.mark.parametrize("character", ["\n", "\r", "\x7f", "%00", "%0A", "%0d", "%1f"])
@pytest.mark.parametrize(
    "text",
    ["ap{}p:hunter2@h/b", "app:hunter2{}@h/b", "app:hunter2@h{}h/b", "app:hunter2@h/b{}b", "a:hunter2@h/b?host=x{}x"],
)
def test_a_control_character_inside_a_dsn_is_refused(text: str, character: str) -> None:
    message = refused(f"postgresql://{text.format(character)}")
    assert "holds a control character, such as a line end or %00. Remove it." in message
    assert "hunter2" not in message


def test_a_plus_in_a_parameter_is_a_plus_as_with_libpq() -> None:
    dsn = parse("postgresql://app:x@localhost/billing?application_name=a+b%20c", "here")
    assert dsn.parameters == {"application_name": "a+b c"}
    assert parse(dsn.masked(), "here").parameters == dsn.parameters


def test_several_hosts_keep_their_ports() -> None:
    dsn = parse("postgresql://app:x@one:1,two:2/billing?target_session_attrs=read-write", "here")
    assert dsn.hosts == (("one", 1), ("two", 2))
    assert dsn.target == "app@one:1,two:2/billing"
    arguments = dsn.connect_args()
    assert (arguments["host"], arguments["port"]) == (["one", "two"], [1, 2])
    assert arguments["target_session_attrs"] == "read-write"
    assert not dsn.is_local


@pytest.mark.parametrize("host", ["h", "/run", "[::1]", "%2Frun", "one,/run", "/run,one"])
@pytest.mark.parametrize("port", ["x", "0", "65536", "-1", "1.5", "99999999999"])
def test_a_port_that_cannot_be_is_refused_also_for_a_socket(host: str, port: str) -> None:
    assert "a port that can't be" in refused(f"postgresql://app:x@/billing?host={host}&port={port}")
    for valid in (1, 65535):
        hosts = parse(f"postgresql://app:x@/billing?host={host}&port={valid}", "here").hosts
        assert {number for _, number in hosts} == {valid}


def test_hosts_and_ports_as_parameters_are_those_of_libpq() -> None:
    assert parse("postgresql://app:x@/billing?host=one,two&port=1,2", "here").hosts == (("one", 1), ("two", 2))
    assert parse("postgresql://app:x@/billing?host=one,two", "here").hosts == (("one", 5432), ("two", 5432))
    assert "names 2 hosts and 3 ports" in refused("postgresql://app:x@/billing?host=one,two&port=1,2,3")


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("one:1/billing?host=two", (("two", 1),)),
        ("one:1/billing?port=2", (("one", 2),)),
        ("one:1/billing?host=/run/postgresql&port=2", (("/run/postgresql", 2),)),
        ("[::1]:1/billing?host=two&port=2", (("two", 2),)),
        (":1/billing?host=two", (("two", 1),)),
        ("one:1,two:2/billing?host=three", (("three", 5432),)),
    ],
)
def test_a_host_or_port_as_a_parameter_beats_the_one_before_the_path(text: str, hosts: tuple[object, ...]) -> None:
    dsn = parse(f"postgresql://app:x@{text}", "here")
    assert dsn.hosts == hosts
    assert dsn.parameters == {}


def test_an_ipv6_address_is_a_host() -> None:
    assert parse("postgresql://app:x@[::1]:6543/billing", "here").hosts == (("::1", 6543),)
    assert parse("postgresql://app:x@[::1]:1,[fe80::1]:2/billing", "here").hosts == (("::1", 1), ("fe80::1", 2))


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("postgresql://app:x@/billing?host=/cloudsql/shop:europe-west1:db-1", 5432),
        ("postgresql://app:x@/billing?host=/cloudsql/shop%3Aeurope-west1%3Adb-1&port=6432", 6432),
        ("postgresql://app:x@%2Fcloudsql%2Fshop%3Aeurope-west1%3Adb-1/billing", 5432),
        ("postgresql://app:x@%2Fcloudsql%2Fshop:europe-west1:db-1:6432/billing", 6432),
    ],
)
def test_the_folder_of_a_socket_may_have_colons(text: str, port: int) -> None:
    dsn = parse(text, "here")
    assert dsn.hosts == (("/cloudsql/shop:europe-west1:db-1", port),)
    assert parse(dsn.masked(), "here").hosts == dsn.hosts
    assert f"@/cloudsql/shop:europe-west1:db-1:{port}/" in dsn.target


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://app:x@${HOST}/billing",
        "postgresql://${USER}:x@h/billing",
        "postgresql://app:x@h/${DATABASE}",
        "postgresql://app:x@h/billing?sslmode=${MODE}",
        "postgresql://app:${PASSWORD}@h/billing",
        "postgresql://app:x@h:${PORT:-5432}/billing",
        "postgresql://app:x@$HOST/billing",
        "postgresql://app:x@$HOST:5432/billing",
        "postgresql://app:x@h:$PORT/billing",
    ],
)
def test_a_variable_that_nobody_replaces_is_refused_by_its_name(text: str) -> None:
    said = refused(text)
    assert "nothing is interpolated" in said
    assert re.search(r"\$(\{[A-Z]+|[A-Z]+)", said)


def test_a_password_may_hold_what_looks_like_a_variable() -> None:
    assert parse("postgresql://app:a${X}b@h/billing", "here").password == "a${X}b"
    assert parse("postgresql://app:$X@h/billing", "here").password == "$X"


def test_a_name_may_have_a_dollar() -> None:
    dsn = parse("postgresql://$APP:x@h/$billing", "here")
    assert (dsn.user, dsn.database) == ("$APP", "$billing")


def test_a_socket_is_a_host() -> None:
    dsn = parse("postgresql://app:x@/billing?host=/run/postgresql", "here")
    assert dsn.hosts == (("/run/postgresql", 5432),)
    assert dsn.is_local
    assert dsn.connect_args()["ssl"] is False


@pytest.mark.parametrize(
    ("host", "local"), [("localhost", True), ("127.0.0.1", True), ("[::1]", True), ("db.example", False)]
)
def test_only_this_machine_is_local(host: str, local: bool) -> None:
    assert parse(f"postgresql://app:x@{host}/billing", "here").is_local is local


def test_one_database_is_the_same_by_each_of_its_names() -> None:
    dsns = [
        parse(f"postgresql://{text}", "here")
        for text in ("a:1@localhost/x", "b:2@127.0.0.1:5432/x", "c@[::1]/x?application_name=y")
    ]
    assert len({dsn.identity for dsn in dsns}) == 1
    others = [parse(f"postgresql://a@{text}", "here") for text in ("localhost/y", "localhost:1/x", "db/x")]
    assert dsns[0].identity not in {dsn.identity for dsn in others}


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ("-c work_mem=64MB -c jit=off", {"work_mem": "64MB", "jit": "off"}),
        ("-cwork_mem=64MB", {"work_mem": "64MB"}),
        ("--work-mem=64MB", {"work_mem": "64MB"}),
        ("-c 'search_path=a, b'", {"search_path": "a, b"}),
    ],
)
def test_libpqs_options_become_server_settings(options: str, settings: dict[str, str]) -> None:
    dsn = parse(f"postgresql://app:x@localhost/billing?options={quote(options)}&application_name=me", "here")
    assert dsn.server_settings == {**settings, "application_name": "me"}


def test_tls_that_was_asked_for_is_tls_or_nothing() -> None:
    def tls(query: str) -> object:
        return parse(f"postgresql://app:x@db/billing?{query}", "here").connect_args()["ssl"]

    assert tls("sslmode=disable") is False
    assert tls("") == "prefer"
    required, full, authority = tls("sslmode=require"), tls("sslmode=verify-full"), tls("sslmode=verify-ca")
    assert isinstance(required, ssl.SSLContext)
    assert required.verify_mode is ssl.CERT_NONE
    assert isinstance(full, ssl.SSLContext)
    assert (full.verify_mode, full.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert isinstance(authority, ssl.SSLContext)
    assert (authority.verify_mode, authority.check_hostname) == (ssl.CERT_REQUIRED, False)


@pytest.mark.parametrize("mode", ["allow", "prefer"])
def test_a_mode_that_goes_on_without_tls_is_left_to_the_driver(mode: str) -> None:
    assert tls_context({"sslmode": mode}) == mode


@pytest.mark.parametrize("content", ["missing", "device", "folder", "text"])
@pytest.mark.parametrize("key", [*_FILES, "sslrootcert", "sslcert", "sslkey", "sslcrl"])
def test_no_file_of_tls_is_left_out(tmp_path: Path, key: str, content: str) -> None:
    """A list of revoked certificates that isn't read would be a verification less."""
    path = tmp_path / "file.pem"
    if content == "device":
        path.symlink_to("/dev/null")
    elif content == "folder":
        path.mkdir()
    elif content == "text":
        path.write_text("no certificate", encoding="utf-8")
    if (key, content) == ("sslkey", "text"):
        return  # it is read with its certificate only
    reason = {"device": "it is a device", "folder": "Is a directory"}.get(content, "")
    with pytest.raises(ConfigurationError, match=f"can't be read .*{key}={path}.*{reason}"):
        tls_context({"sslmode": "verify-full", key: str(path)})


def test_a_dsn_is_the_same_however_its_password_is_written_or_given() -> None:
    async def source() -> str:
        return "hunter2"

    plain = Dsn("app", "billing", (("h", 5432),), "hunter2")
    other = replace(plain, has_escapes=True, password_source=source)
    assert plain == other
    assert repr(plain) == repr(other)
    assert "hunter2" not in repr(plain)


@pytest.mark.parametrize("key", ["sslrootcert", "sslcert"])
def test_a_certificate_that_cant_be_read_is_a_mistake_of_the_dsn(tmp_path: Path, key: str) -> None:
    missing = tmp_path / "missing.pem"
    dsn = parse(f"postgresql://app:hunter2@db/billing?sslmode=require&{key}={missing}", "here")
    with pytest.raises(ConfigurationError, match=f"can't be read .{key}={missing}") as caught:
        dsn.connect_args()
    assert "hunter2" not in str(caught.value)


def test_the_password_of_a_connection_is_the_sources_before_the_dsns() -> None:
    async def source() -> str:
        return "token"

    for dsn, expected in (("app@h", ""), ("app:own@h", "own")):
        parsed = parse(f"postgresql://{dsn}/billing", "here")
        assert asyncio.run(parsed.current_password()) == expected
        assert asyncio.run(replace(parsed, password_source=source).current_password()) == "token"


@pytest.mark.parametrize(("query", "seconds"), [("", 0), ("?connect_timeout=3", 3), ("?connect_timeout=0", 0)])
def test_a_dsn_may_have_a_timeout_of_its_own(query: str, seconds: float) -> None:
    assert parse(f"postgresql://app@h/billing{query}", "here").connect_timeout == seconds


def test_a_missing_password_is_empty_rather_than_looked_for() -> None:
    """asyncpg reads PGPASSWORD and ~/.pgpass where the password is None."""
    assert parse("postgresql://app@localhost/billing", "here").connect_args()["password"]() == ""


def test_a_masked_dsn_keeps_everything_but_the_password() -> None:
    text = "postgresql://app:hunter2@one:1,two:2/billing?sslmode=require&application_name=me%20too"
    assert parse(text, "here").masked() == text.replace("hunter2", "***")


def test_what_asyncpg_would_read_from_the_environment_is_always_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLNEGOTIATION", "direct")
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "standby")
    given = parse("postgresql://app@localhost/billing", "here").connect_args()
    assert (given["direct_tls"], given["target_session_attrs"]) == (False, "any")


@pytest.mark.parametrize(("userinfo", "expected"), [("app:a%40b", True), ("app:ab", False), ("a%40pp:x", False)])
def test_a_password_that_was_written_with_escapes_is_known_as_such(userinfo: str, expected: bool) -> None:
    assert parse(f"postgresql://{userinfo}@localhost/billing", "here").has_escapes is expected
    assert not Dsn("app", "billing", (("localhost", 5432),), "a%40b").has_escapes


@pytest.mark.parametrize(
    ("mode", "authority", "verified", "checks_name"),
    [
        ("require", None, False, False),
        ("require", "system", True, False),
        ("verify-ca", None, True, False),
        ("verify-ca", "system", True, False),
        ("verify-full", "system", True, True),
    ],
)
def test_a_root_certificate_is_verified_in_every_mode_that_requires_tls(
    mode: str, authority: str | None, verified: bool, checks_name: bool
) -> None:
    context = tls_context({"sslmode": mode, **({"sslrootcert": authority} if authority else {})})
    assert isinstance(context, ssl.SSLContext)
    assert (context.verify_mode is ssl.CERT_REQUIRED, context.check_hostname) == (verified, checks_name)
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
