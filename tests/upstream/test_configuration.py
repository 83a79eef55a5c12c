"""Traps of configuration: a DSN that stays in the process, characters that a parser takes for its own, logging."""

import logging
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

import service_migrations
from service_migrations.errors import ConfigurationError
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.duration import seconds as duration
from service_migrations.settings.model import load
from service_migrations.settings.sources import Sources
from tests.support.database import PASSWORD, query, tables, wait
from tests.support.monorepo import ROOT, Monorepo, dsn_text

NASTY = (
    "p%40w",
    "%",
    "%%",
    "%(here)s",
    "100% sure",
    "a@b",
    "@",
    "a:b",
    "a/b",
    "a?b=c&d",
    "a#b",
    "a #b",
    "[::1]",
    "a+b",
    "a;b",
    "a,b",
    "$HOME",
    "${HOME}",
    "${X:-y}",
    "$$",
    'double"quoted"',
    "single'quoted'",
    "'",
    "back\\slash",
    "ends in \\",
    "\\n",
    " spaces around ",
    "tab\there",
    "`id`",
    "{brace}",
    "héllö wörld",
    "пароль密码",
    "=equals=",
    "export X=1",
    PASSWORD,
)


def single_quoted(value: str) -> str:
    """Return a value as it stands in a .env, in single quotes."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def without_password(dsn: Dsn) -> str:
    return dsn_text(Dsn(dsn.user, dsn.database, dsn.hosts)).replace(":@", "@", 1)


# One .env leaks into the next


def test_two_services_in_one_process_land_each_in_its_own_database(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    environment = dict(os.environ)
    dsns = {name: database() for name in ("billing", "orders")}
    for name, dsn in dsns.items():
        monorepo.table_revision(name, "r001", None)
        wait(service_migrations.upgrade(monorepo.service(name, dsn=dsn)))

    for name, dsn in dsns.items():
        assert tables(dsn) == {name, f"alembic_version_{name}"}
    assert dict(os.environ) == environment


def test_a_service_without_a_dsn_does_not_inherit_the_one_of_the_service_before(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    first = database()
    monorepo.table_revision("billing", "r001", None)
    monorepo.table_revision("orders", "r001", None)
    wait(service_migrations.upgrade(monorepo.service("billing", dsn=first)))

    with pytest.raises(ConfigurationError, match=r"services/orders/\.env does not exist"):
        wait(service_migrations.upgrade(monorepo.service("orders")))
    assert tables(first) == {"billing", "alembic_version_billing"}


def test_a_value_that_has_left_the_environment_is_not_remembered(
    monorepo: Monorepo, database: Callable[..., Dsn], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, own = database(), database()
    monorepo.table_revision("billing", "r001", None)
    service = monorepo.service("billing", dsn=own)
    monkeypatch.setenv("DATABASE_DSN", dsn_text(elsewhere))
    wait(service_migrations.upgrade(service))
    monkeypatch.delenv("DATABASE_DSN")
    assert tables(own) == set()

    wait(service_migrations.upgrade(service))
    assert tables(own) == tables(elsewhere) == {"billing", "alembic_version_billing"}


def test_a_bare_dsn_in_the_environment_is_not_aimed_at_several_services(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    stale, dsns = database(), [database(), database()]
    for name, dsn in zip(("billing", "orders"), dsns, strict=True):
        monorepo.table_revision(name, "r001", None)
        monorepo.service(name, dsn=dsn)

    ran = monorepo.inv("db.upgrade", env={"DATABASE_DSN": dsn_text(stale)})

    assert ran.code == 2
    assert "environment DATABASE_DSN: it would aim all 2 services at one database." in ran.err
    assert [tables(dsn) for dsn in (stale, *dsns)] == [set(), set(), set()]


# A percent sign in a password


@pytest.mark.parametrize("way", ["DSN", "PASSWORD", "PASSWORD_FILE"])
def test_a_password_with_a_percent_sign_works_in_every_place(
    way: str, monorepo: Monorepo, database: Callable[..., Dsn], tmp_path: Path
) -> None:
    dsn = database()
    monorepo.table_revision("billing", "r001", None)
    if way == "DSN":
        service = monorepo.service("billing", dsn=dsn)
    elif way == "PASSWORD":
        service = monorepo.service(
            "billing", dsn=without_password(dsn), DATABASE_PASSWORD=single_quoted(dsn.password or "")
        )
    else:
        file = tmp_path / "secret"
        file.write_text(f"{dsn.password}\n", encoding="utf-8")
        service = monorepo.service("billing", dsn=without_password(dsn), DATABASE_PASSWORD_FILE=str(file))

    wait(service_migrations.upgrade(service))
    assert "billing" in tables(dsn)


@pytest.mark.parametrize("password", NASTY)
def test_any_password_arrives_as_it_was_written(password: str, monorepo: Monorepo, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(password + "\n", encoding="utf-8")
    encoded = dsn_text(Dsn("app", "app", (("localhost", 5432),), password))
    bare = "postgresql://app@localhost/app"

    for env in (
        {"DATABASE_DSN": encoded},
        {"DATABASE_DSN": f"'{encoded}'"},
        {"DATABASE_DSN": bare, "DATABASE_PASSWORD": single_quoted(password)},
        {"DATABASE_DSN": bare, "DATABASE_PASSWORD_FILE": str(file)},
    ):
        monorepo.service("billing")
        monorepo.env("billing", **env)
        assert load(monorepo.find("billing"), Sources({})).dsn.password == password

    service = monorepo.service("orders")
    for environment in (
        {"DATABASE_DSN": encoded},
        {"ORDERS_DATABASE_DSN": encoded},
        {"DATABASE_DSN": bare, "DATABASE_PASSWORD": password},
        {"DATABASE_DSN": bare, "DATABASE_PASSWORD_FILE": str(file)},
    ):
        assert load(service, Sources(environment)).dsn.password == password


def test_a_server_accepts_every_password_as_it_was_parsed(
    monorepo: Monorepo, server: Server, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    monorepo.service("billing")
    bare = without_password(dsn)

    async def connect(password: str) -> str:
        """Connect with what the settings made of it; the server was told the password itself."""
        parsed = load(monorepo.find("billing"), Sources({})).dsn
        connection = await asyncpg.connect(**parsed.connect_args())
        try:
            return await connection.fetchval("SELECT $1::text", password)
        finally:
            await connection.close()

    for number, password in enumerate(NASTY):
        statement = query(
            server.admin, "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)", dsn.user, password
        )[0][0]
        query(server.admin, statement)
        if number % 2:
            monorepo.env("billing", DATABASE_DSN=bare, DATABASE_PASSWORD=single_quoted(password))
        else:
            monorepo.env("billing", DATABASE_DSN=dsn_text(Dsn(dsn.user, dsn.database, dsn.hosts, password)))
        assert wait(connect(password)) == password

    # the server does look: whatever it is told, a wrong one is refused
    monorepo.env("billing", DATABASE_DSN=bare, DATABASE_PASSWORD="wrong")
    with pytest.raises(asyncpg.InvalidPasswordError):
        wait(connect(""))


# Logging of the application


def test_an_upgrade_leaves_the_logging_of_the_application_alone(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    monorepo.table_revision("billing", "r001", None)
    logger = logging.getLogger("application.of.somebody")
    logger.disabled = False
    root = logging.getLogger()
    names = ("application.of.somebody", "alembic", "alembic.runtime.migration", "sqlalchemy", "service_migrations")
    before = root.level, list(root.handlers), [(logging.getLogger(name).level, name) for name in names]

    wait(service_migrations.upgrade(monorepo.service("billing", dsn=database())))

    assert not logger.disabled
    assert not any(logging.getLogger(name).disabled for name in names)
    assert (root.level, list(root.handlers), [(logging.getLogger(name).level, name) for name in names]) == before


# alembic.ini


def test_no_alembic_ini_is_needed_and_one_that_lies_about_is_ignored(
    monorepo: Monorepo, database: Callable[..., Dsn], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, elsewhere = database(), database()
    monorepo.table_revision("billing", "r001", None)
    monorepo.table_revision("billing", "r002", "r001", "more")
    service = monorepo.service("billing", dsn=own)
    assert not list(monorepo.root.rglob("alembic.ini"))
    wait(service_migrations.upgrade(service, "r001"))

    ini = monorepo.root / "alembic.ini"
    url = dsn_text(elsewhere).replace("%", "%%")
    ini.write_text(
        f"[alembic]\nscript_location = nowhere\nversion_locations = nowhere\nsqlalchemy.url = {url}\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(monorepo.root)
    monkeypatch.setenv("ALEMBIC_CONFIG", str(ini))
    wait(service_migrations.upgrade(service))

    assert tables(own) == {"billing", "more", "alembic_version_billing"}
    assert tables(elsewhere) == set()


# greenlet


def test_greenlet_is_asked_for_by_the_extra_of_sqlalchemy() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [line for line in project["dependencies"] if re.match(r"sqlalchemy\b", line, re.IGNORECASE)]
    assert len(wanted) == 1
    extras = re.match(r"sqlalchemy\[([\w\s,]+)\]", wanted[0], re.IGNORECASE)
    assert extras
    assert "asyncio" in {extra.strip() for extra in extras[1].split(",")}


# A dollar sign in a .env


@pytest.mark.parametrize("written", ["{0}", "'{0}'", '"{0}"'])
@pytest.mark.parametrize("value", ["pa$HOME", "pa${HOME}", "pa${MISSING}x", "pa${MISSING:-default}", "$"])
def test_a_dollar_sign_in_a_dotenv_file_means_itself(value: str, written: str, monorepo: Monorepo) -> None:
    service = monorepo.service("billing", dsn="postgresql://app@localhost/app", DATABASE_PASSWORD=written.format(value))
    assert load(service, Sources({"HOME": "/expanded"})).dsn.password == value


@pytest.mark.parametrize("text", ["2147483647ms", "596h", "1ms"])
def test_the_longest_and_the_shortest_duration_are_kept_by_postgresql(database: Callable[..., Dsn], text: str) -> None:
    shown = query(database(), "SELECT set_config('lock_timeout', $1, false)", f"{duration(text, 'here') * 1000:.0f}")
    assert shown[0][0] != "0"
