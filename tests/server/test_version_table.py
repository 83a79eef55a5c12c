"""The version table: there is one of a service, and nothing is read from what only looks like it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, run_script, tables
from tests.support.monorepo import Monorepo, Ran

ONE_SERVICE = ("--service", "billing")
COMMANDS = [
    ("db.status",),
    ("db.current", *ONE_SERVICE),
    ("db.upgrade", *ONE_SERVICE),
    ("db.upgrade",),
    ("db.plan", *ONE_SERVICE),
    ("db.check", *ONE_SERVICE),
    ("db.drift", *ONE_SERVICE),
    ("db.stamp", *ONE_SERVICE, "--revision", "a1", "--yes"),
    ("db.stamp", *ONE_SERVICE, "--revision", "a1", "--yes", "--purge"),
    ("db.doctor",),
    ("db.downgrade", *ONE_SERVICE, "--revision", "base", "--yes"),
    ("db.wait", *ONE_SERVICE, "--head", "--timeout", "20s"),
]


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database()


@pytest.fixture
def world(monorepo: Monorepo, dsn: Dsn) -> Monorepo:
    monorepo.table_revision("billing", "a1", None)
    monorepo.service("billing", dsn=dsn)
    return monorepo


def refused(ran: Ran, *names: str) -> None:
    assert ran.code == 78, ran.text
    assert "Traceback" not in ran.text
    assert all(name in ran.text for name in names), ran.text


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("used", [True, False], ids=["in both", "in the other one"])
def test_a_version_table_in_another_schema_is_refused(
    world: Monorepo, dsn: Dsn, used: bool, words: tuple[str, ...]
) -> None:
    query(dsn, "CREATE SCHEMA app")
    query(dsn, "CREATE TABLE app.alembic_version_billing (version_num varchar(32))")
    query(dsn, "INSERT INTO app.alembic_version_billing VALUES ('a1')")
    if used:
        query(dsn, "CREATE TABLE alembic_version_billing (version_num varchar(32))")
    before = tables(dsn)
    refused(world.inv(*words), "app.alembic_version_billing")
    assert tables(dsn) == before


_TABLE = ["CREATE TABLE public.{0} (version_num varchar(32))", "INSERT INTO public.{0} VALUES ('a1')"]
PLANTED = {
    "policy": [
        *_TABLE,
        "ALTER TABLE public.{0} ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY p ON public.{0} USING (public.evil())",
    ],
    "view": ["CREATE VIEW public.{0} AS SELECT 'a1'::varchar AS version_num WHERE public.evil()"],
    "materialized view": ["CREATE MATERIALIZED VIEW public.{0} AS SELECT 'a1'::varchar AS version_num"],
    "foreign table": ["CREATE FOREIGN TABLE public.{0} (version_num varchar(32)) SERVER planted"],
    "sequence": ["CREATE SEQUENCE public.{0}"],
    "table": _TABLE,
    "trigger": [
        *_TABLE,
        "CREATE TRIGGER t BEFORE INSERT OR UPDATE ON public.{0} FOR EACH ROW EXECUTE FUNCTION public.pulled()",
    ],
    "rule": [*_TABLE, "CREATE RULE r AS ON UPDATE TO public.{0} DO ALSO SELECT public.evil()"],
    "check": [*_TABLE, "ALTER TABLE public.{0} ADD CHECK (public.evil()) NOT VALID"],
    "type": [
        "CREATE TYPE public.id AS ENUM ('a1')",
        "CREATE FUNCTION public.shown(public.id) RETURNS varchar LANGUAGE sql AS 'SELECT public.evil()::varchar'",
        "CREATE CAST (public.id AS varchar) WITH FUNCTION public.shown(public.id) AS IMPLICIT",
        "CREATE TABLE public.{0} (version_num public.id)",
        "INSERT INTO public.{0} VALUES ('a1')",
    ],
}
"""What a hostile role creates where everybody may create, as in the schema public of PostgreSQL 14."""

TRAPS = (
    "CREATE SEQUENCE public.ran",
    "GRANT ALL ON SEQUENCE public.ran TO PUBLIC",
    "CREATE FUNCTION public.evil() RETURNS bool LANGUAGE sql AS 'SELECT nextval(''public.ran'') > 0'",
    "CREATE FUNCTION public.pulled() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM evil(); RETURN NEW; END'",
)


def plant(server: Server, owner: Dsn, hostile: Dsn, kind: str, table: str) -> None:
    admin = replace(server.admin, database=owner.database)
    query(admin, "GRANT CREATE ON SCHEMA public TO PUBLIC")
    if kind == "foreign table":
        run_script(
            admin,
            [
                "CREATE FOREIGN DATA WRAPPER planted",
                "CREATE SERVER planted FOREIGN DATA WRAPPER planted",
                "GRANT USAGE ON FOREIGN SERVER planted TO PUBLIC",
            ],
        )
    statements = [*TRAPS, *PLANTED[kind], "GRANT ALL ON public.{0} TO PUBLIC"]
    run_script(hostile, [statement.format(table) for statement in statements])


def has_run(dsn: Dsn) -> bool:
    return bool(query(dsn, "SELECT is_called FROM public.ran")[0][0])


@pytest.mark.parametrize("role", ["owner", "superuser"])
@pytest.mark.parametrize("kind", PLANTED)
def test_what_looks_like_a_version_table_runs_nobodys_function(
    server: Server, world: Monorepo, dsn: Dsn, database: Callable[..., Dsn], kind: str, role: str
) -> None:
    plant(server, dsn, database(shared=dsn), kind, "alembic_version_billing")
    if role == "superuser":
        world.service("billing", dsn=replace(server.admin, database=dsn.database))
    for words in COMMANDS if role == "owner" else COMMANDS[:4]:
        refused(world.inv(*words), "alembic_version_billing")
        assert not has_run(dsn), words


@pytest.mark.parametrize("role", ["owner", "superuser"])
@pytest.mark.parametrize("kind", PLANTED)
def test_what_looks_like_a_ledger_runs_nobodys_function(
    server: Server, world: Monorepo, dsn: Dsn, database: Callable[..., Dsn], kind: str, role: str
) -> None:
    """A ledger stops no upgrade; it isn't read, nor written."""
    plant(server, dsn, database(shared=dsn), kind, "migration_log_billing")
    if role == "superuser":
        query(replace(server.admin, database=dsn.database), "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        world.service("billing", dsn=replace(server.admin, database=dsn.database))
    else:
        refused(world.inv("db.log", *ONE_SERVICE), "migration_log_billing")
    back = ("db.downgrade", *ONE_SERVICE, "--revision", "base", "--yes")
    for words in [*COMMANDS[:5], back, COMMANDS[9]] if role == "owner" else COMMANDS[1:3]:
        result = world.inv(*words)
        assert result.code == 0, result.text
        assert "Traceback" not in result.text
        assert not has_run(dsn), words
    assert world.inv("db.undo", *ONE_SERVICE, "--yes").code == 2
    assert not has_run(dsn)


@pytest.mark.parametrize("command", ["db.status", "db.current", "db.upgrade", "db.plan"])
def test_a_table_of_something_else_is_refused_as_version_table(world: Monorepo, dsn: Dsn, command: str) -> None:
    query(dsn, "CREATE TABLE things (id int)")
    ran = world.inv(command, "--service", "billing", env={"BILLING_MIGRATIONS_VERSION_TABLE": "things"})
    assert ran.code == 78, ran.text
    assert "the version table public.things has no column version_num" in ran.err
    assert "Correct MIGRATIONS_VERSION_TABLE" in ran.err
    assert "rolled back" not in ran.text


@pytest.mark.parametrize(
    "owner", ["itself", "a role that it is a member of", "the owner of the database", "a superuser"]
)
def test_an_ordinary_owner_of_the_version_table_is_trusted(
    server: Server, world: Monorepo, dsn: Dsn, database: Callable[..., Dsn], owner: str
) -> None:
    admin = replace(server.admin, database=dsn.database)
    query(admin, "GRANT CREATE ON SCHEMA public TO PUBLIC")
    assert world.inv("db.upgrade", *ONE_SERVICE).code == 0
    service = dsn
    if owner == "the owner of the database":
        service = database(shared=dsn)
        query(dsn, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC")
    elif owner == "a role that it is a member of":
        other = database(shared=dsn)
        query(admin, f'ALTER TABLE alembic_version_billing OWNER TO "{other.user}"')
        query(admin, f'GRANT "{other.user}" TO "{dsn.user}"')
    elif owner == "a superuser":
        query(admin, f'ALTER TABLE alembic_version_billing OWNER TO "{admin.user}"')
        query(admin, "GRANT SELECT ON alembic_version_billing TO PUBLIC")
    world.service("billing", dsn=service)
    for words in [("db.status",), ("db.current", *ONE_SERVICE), ("db.upgrade", *ONE_SERVICE), ("db.upgrade",)]:
        result = world.inv(*words)
        assert result.code == 0, result.text


def test_another_role_reads_the_version_table_where_not_everybody_may_create(
    server: Server, world: Monorepo, dsn: Dsn, database: Callable[..., Dsn]
) -> None:
    """The owner of the schema has let the owner of the table create in it."""
    admin = replace(server.admin, database=dsn.database)
    run_script(
        admin,
        [
            *("REVOKE CREATE ON SCHEMA public FROM PUBLIC", f'GRANT CREATE ON SCHEMA public TO "{dsn.user}"'),
            f'ALTER DATABASE "{dsn.database}" OWNER TO "{admin.user}"',
        ],
    )
    assert world.inv("db.upgrade", *ONE_SERVICE).code == 0
    query(dsn, "GRANT SELECT ON alembic_version_billing TO PUBLIC")
    world.service("billing", dsn=database(shared=dsn))
    assert world.inv("db.status").code == 0


def test_a_policy_that_does_not_hold_for_the_owner_stops_nothing(world: Monorepo, dsn: Dsn) -> None:
    assert world.inv("db.upgrade", *ONE_SERVICE).code == 0
    query(dsn, "ALTER TABLE alembic_version_billing ENABLE ROW LEVEL SECURITY")
    assert world.inv("db.status").code == 0
