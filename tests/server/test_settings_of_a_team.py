"""Settings as a team has them, over a real server: its variables, another .env, and a password that expires."""

import asyncio
import json
from collections.abc import Callable

import pytest

from service_migrations.connection.connector import connector
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import load
from service_migrations.settings.sources import Sources
from tests.support.database import query, tables
from tests.support.monorepo import Monorepo, Ran, dsn_text
from tests.support.table import set_keys

TEMPLATE = "postgresql://{PG_USER}:{PG_PASSWORD}@{PG_HOST}:{PG_PORT}/{PG_DB}"


def done(ran: Ran) -> Ran:
    assert ran.code == 0, ran.text
    return ran


def variables(dsn: Dsn) -> dict[str, str]:
    host, port = dsn.hosts[0]
    values = {"PG_USER": dsn.user, "PG_HOST": host, "PG_PORT": str(port), "PG_DB": dsn.database}
    escaped = (dsn.password or "").replace("\\", "\\\\").replace("'", "\\'")
    return {**values, "PG_PASSWORD": f"'{escaped}'"}


@pytest.fixture
def repo(monorepo: Monorepo) -> Monorepo:
    for name in ("billing", "catalog"):
        monorepo.service(name)
        monorepo.table_revision(name, f"{name}1", None)
    return monorepo


def test_the_variables_of_a_team_lead_every_command_to_its_database(
    repo: Monorepo, database: Callable[..., Dsn]
) -> None:
    set_keys(repo, f'dsn = "{TEMPLATE}"')
    set_keys(repo, 'dsn_key = "DATABASE_URL"', service="catalog")
    first, second = database(), database()
    repo.env("billing", **variables(first))
    repo.env("catalog", DATABASE_URL=dsn_text(second).replace("postgresql:", "postgresql+psycopg2:"))
    for words in (("db.plan",), ("db.upgrade",), ("db.status",), ("db.check",), ("db.doctor",), ("db.drift",)):
        ran = repo.inv(*words)
        assert ran.code == 0 or words == ("db.drift",), ran.text
        assert (first.password or "") not in ran.text
    assert tables(first) == {"billing", "alembic_version_billing"}
    assert tables(second) == {"catalog", "alembic_version_catalog"}
    listed = json.loads(done(repo.inv("db.services", "--json")).out)
    assert [(row.get("dsn"), row.get("dsn_key")) for row in listed] == [(TEMPLATE, None), (None, "DATABASE_URL")]
    assert "*** " in done(repo.inv("db.env", "--service", "billing")).out


@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_named_environment_holds_for_the_whole_fleet(repo: Monorepo, database: Callable[..., Dsn], by: str) -> None:
    development, staging = {}, {}
    for name in ("billing", "catalog"):
        staging[name], development[name] = database(), database()
        path = repo.env(name, DATABASE_DSN=dsn_text(staging[name]))
        path.rename(path.with_name(".env.staging"))
        repo.env(name, DATABASE_DSN=dsn_text(development[name]), MIGRATIONS_SEARCH_PATH="nowhere")
    words = ["--env", "staging"] if by == "option" else []
    env = {} if by == "option" else {"MIGRATIONS_ENV": "staging"}
    done(repo.inv("db.upgrade", *words, env=env))
    for name in ("billing", "catalog"):
        assert tables(staging[name]) == {name, f"alembic_version_{name}"}
        assert tables(development[name]) == set()
    shown = done(repo.inv("db.services", "--verbose", *words, env=env)).out
    assert "services/billing/.env.staging" in shown
    assert "MIGRATIONS_ENV" in shown
    assert "nowhere" not in repo.inv("db.env", *words, env=env).text
    done(repo.inv("db.alembic", "--service", "billing", *words, "--", "check", env=env))


def test_a_file_for_this_command_is_read_instead_of_every_other(repo: Monorepo, database: Callable[..., Dsn]) -> None:
    first, second = database(), database()
    file = repo.root.parent / "deploy.env"
    file.write_text(f"BILLING_DATABASE_DSN={dsn_text(first)}\nCATALOG_DATABASE_DSN={dsn_text(second)}\n", "utf-8")
    file.chmod(0o600)
    done(repo.inv("db.upgrade", "--env-file", "../deploy.env"))
    assert tables(first) == {"billing", "alembic_version_billing"}
    assert tables(second) == {"catalog", "alembic_version_catalog"}
    file.write_text(f"DATABASE_DSN={dsn_text(first)}\n", encoding="utf-8")
    refused = repo.inv("db.status", "--env-file", "../deploy.env")
    assert refused.code == 2, refused.text
    assert "it would aim all 2 services at one database" in refused.err
    missing = repo.inv("db.status", "--env-file", "nowhere.env")
    assert missing.code == 78, missing.text
    assert "nowhere.env does not exist" in missing.err
    assert repo.inv("db.status", "--env", "").code == 2


def test_the_password_of_a_command_works_in_workers_in_a_wait_and_in_each_connection(
    repo: Monorepo, database: Callable[..., Dsn]
) -> None:
    for name in ("billing", "catalog"):
        made = database()
        (repo.root / f"{name}.secret").write_text(f"{made.password}\n", encoding="utf-8")
        without = dsn_text(made).replace(f":{dsn_text(made).split(':')[2].split('@')[0]}@", "@")
        repo.env(name, DATABASE_DSN=without, DATABASE_PASSWORD_COMMAND=f"'cat {name}.secret'")
    for words in (("db.upgrade",), ("db.status",), ("db.wait", "--service", "billing", "--head"), ("db.locks",)):
        done(repo.inv(*words))
    settings = load(repo.find("billing"), Sources({}))
    assert query(settings.dsn, "SELECT count(*) FROM billing")[0][0] == 0

    async def connect_twice() -> None:
        own = connector(settings.service, settings=settings)
        async with own.connect() as first, own.connect() as second:
            assert first is not second

    asyncio.run(connect_twice())


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("false", 77, "DATABASE_PASSWORD_COMMAND: false ended with 1."),
        ("echo wrong", 77, "Does the command or function return a password for this role?"),
        ("nowhere", 78, "DATABASE_PASSWORD_COMMAND: nowhere can't be run: No such file"),
    ],
)
def test_a_command_that_returns_no_valid_password_is_one_line(
    repo: Monorepo, database: Callable[..., Dsn], command: str, code: int, says: str
) -> None:
    made = database()
    host, port = made.hosts[0]
    repo.env(
        "billing",
        DATABASE_DSN=f"postgresql://{made.user}@{host}:{port}/{made.database}",
        DATABASE_PASSWORD_COMMAND=f"'{command}'",
    )
    for words in (("db.upgrade", "-s", "billing"), ("db.status", "-s", "billing"), ("db.wait", "-s", "billing")):
        ran = repo.inv(*words)
        assert ran.code == code, ran.text
        assert says in ran.err
        assert "Traceback" not in ran.text
