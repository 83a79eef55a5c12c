"""A type that is recreated: what uses it stops the revision, and what was said of the type is said again."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.errors import UsageError
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import models, remodel, written
from tests.support.database import query, run_script, wait
from tests.support.monorepo import MODELS, Monorepo

FUNCTION = "CREATE FUNCTION rank_of(s state) RETURNS int LANGUAGE sql AS 'SELECT 1'"
USERS = {
    "argument": ([FUNCTION], "function public.rank_of"),
    "argument that is an array": ([FUNCTION.replace("s state", "s state[]")], "function public.rank_of"),
    "result": (["CREATE FUNCTION first_of() RETURNS state LANGUAGE sql AS $$ SELECT 'new'::state $$"],
               "function public.first"),
    "function body": (["CREATE FUNCTION f() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT 'new'::state::text; END"],
                      "function public.f"),
    "procedure": (["CREATE PROCEDURE pay(s state) LANGUAGE sql AS 'SELECT 1'"], "procedure public.pay"),
    "domain": (["CREATE DOMAIN good AS state"], "type public.good"),
    "CHECK of a domain": (["CREATE DOMAIN good AS text CHECK (VALUE::state = 'new'::state)"],
                          "domain constraint good_check on public.good"),
    "composite type": (["CREATE TYPE pair AS (a int, b state)"], "public.pair.b"),
    "range": (["CREATE TYPE span AS RANGE (subtype = state)"], "type public.span"),
    "cast": ([FUNCTION, "CREATE CAST (state AS int) WITH FUNCTION rank_of(state)"], "cast "),
    "view of the type alone": (["CREATE VIEW v AS SELECT 'new'::state AS s"], "view public.v"),
    "expression of a view": (["CREATE VIEW v AS SELECT 1 AS one WHERE 'new'::state <> 'old'"], "view public.v"),
    "materialized view": (["CREATE MATERIALIZED VIEW v AS SELECT 'new'::state AS s"], "materialized view public.v"),
    "policy": (["CREATE POLICY p ON things USING ('new'::state <> 'old')"], "policy p on public.things"),
    "statistics": (["CREATE STATISTICS s ON (number::text::state), id FROM things"], "statistics object public.s"),
    "foreign table": (["CREATE FOREIGN DATA WRAPPER w", "CREATE SERVER s FOREIGN DATA WRAPPER w",
                       "CREATE FOREIGN TABLE ft (s state) SERVER s"], "ft"),
    "another service's column": (["CREATE TABLE bees (s state)"], "bees"),
    "another service's default": (["CREATE TABLE bees (s text DEFAULT ('new'::state)::text)"], "for public.bees.s"),
    "another service's CHECK": (["CREATE TABLE bees (s text CHECK (s::state <> 'new'))"],
                                "bees_s_check on public.bees"),
    "another service's index": (["CREATE TABLE bees (s int)",
                                 "CREATE INDEX i ON bees ((1)) WHERE 'new'::state <> 'old'"], "index public.i"),
}  # fmt: skip


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database()


def make_superuser(server: Server, dsn: Dsn) -> None:
    """Make a role one that may do all, in a schema where nobody else may create anything."""
    query(server.admin, f'ALTER ROLE "{dsn.user}" SUPERUSER')
    query(dsn, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")


@pytest.mark.parametrize("after", [models(labels=("new",)), models(kind="")], ids=["recreated", "dropped"])
@pytest.mark.parametrize(("statements", "name"), USERS.values(), ids=USERS)
def test_what_uses_a_type_stops_the_revision(
    statements: list[str], name: str, after: str, monorepo: Monorepo, dsn: Dsn, server: Server
) -> None:
    service = monorepo.service("billing", models(), dsn)
    monorepo.service("hive", MODELS.format(table="bees"), dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    if "FOREIGN" in statements[0]:
        make_superuser(server, dsn)
    run_script(dsn, statements)
    remodel(monorepo, service, after)
    if after == models(kind="") and name in ("bees", "ft"):
        assert "DROP TYPE" not in written(monorepo, service, "after")  # the type is not ours alone
        wait(service_migrations.upgrade(service))
        return
    with pytest.raises(UsageError, match=rf"{name}.* uses? (it|the type state)"):
        wait(service_migrations.revision(service, "after"))
    assert len(list(service.versions.glob("*.py"))) == 1


@pytest.mark.parametrize(
    "statements",
    [
        statements
        for each, (statements, _) in USERS.items()
        if "another service" not in each and "FOREIGN" not in str(statements)
    ],
)
def test_a_type_that_only_something_else_needs_is_not_dropped(
    statements: list[str], monorepo: Monorepo, dsn: Dsn
) -> None:
    service = monorepo.service("billing", models(kind=""), dsn)
    created = [f"op.execute({statement!r})" for statement in ("CREATE TYPE state AS ENUM ('new', 'old')", *statements)]
    written(monorepo, service, "before")
    parent = next(service.versions.glob("*before.py")).name.split("_")[2]
    monorepo.revision("billing", "made", parent, "\n".join(created))
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    remodel(monorepo, service, models("Column('note', Text)", kind=""))
    assert "DROP TYPE" not in written(monorepo, service, "after")
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()


def test_all_that_uses_a_type_is_named(monorepo: Monorepo, dsn: Dsn) -> None:
    service = monorepo.service("billing", models(), dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    run_script(dsn, [FUNCTION, "CREATE DOMAIN good AS state"])
    remodel(monorepo, service, models(labels=("new",)))
    with pytest.raises(UsageError, match=r"function public\.rank_of\(.*type public\.good uses the type state"):
        wait(service_migrations.revision(service, "after"))


def test_a_downgrade_names_what_is_in_its_way(monorepo: Monorepo, dsn: Dsn) -> None:
    service = monorepo.service("billing", models(), dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    run_script(dsn, [FUNCTION])
    remodel(monorepo, service, models(labels=("new", "old", "last")))
    code = written(monorepo, service, "after")
    assert "The function public.rank_of(public.state) uses the type: drop it before" in code
    wait(service_migrations.upgrade(service))


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("CREATE VIEW v AS SELECT state FROM things", "view public.v"),
        ("CREATE POLICY p ON things USING (state IS NOT NULL)", "policy p on public.things"),
    ],
    ids=["view", "policy"],
)
def test_a_downgrade_names_what_is_in_the_way_of_a_column(
    statement: str, said: str, monorepo: Monorepo, dsn: Dsn
) -> None:
    service = monorepo.service("billing", models(), dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    run_script(dsn, [statement])
    remodel(monorepo, service, models(labels=("new", "old", "last")))
    code = written(monorepo, service, "after")
    assert code.count(f"The {said} uses the type: drop it before") == 1
    wait(service_migrations.upgrade(service))


def test_a_downgrade_names_the_partition_key_that_is_in_its_way(monorepo: Monorepo, dsn: Dsn) -> None:
    def partitioned(*labels: str) -> str:
        return models(
            "postgresql_partition_by='LIST (state)'", labels=labels, key="Integer, primary_key=False"
        ).replace(", primary_key=False, primary_key=True", "")

    service = monorepo.service("billing", partitioned("new", "old"), dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    remodel(monorepo, service, partitioned("new", "old", "last"))
    code = written(monorepo, service, "after")
    assert "The partition key public.things uses the type: drop it before" in code
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()


PROPERTIES = (
    "SELECT obj_description(t.oid, 'pg_type'), pg_get_userbyid(typowner), ARRAY(SELECT concat(grantee::regrole, "
    "is_grantable) FROM aclexplode(coalesce(typacl, acldefault('T', typowner))) ORDER BY 1) "
    "FROM pg_type t WHERE typname = 'state'"
)
STATEMENTS = {
    "comment": ["COMMENT ON TYPE state IS 'it''s :one'"],
    "revoked": ["REVOKE USAGE ON TYPE state FROM PUBLIC"],
    "revoked of all": ["REVOKE ALL ON TYPE state FROM PUBLIC, CURRENT_USER"],
    "granted": ["REVOKE USAGE ON TYPE state FROM PUBLIC", 'GRANT USAGE ON TYPE state TO "{other}" WITH GRANT OPTION'],
    "default privileges": ["ALTER DEFAULT PRIVILEGES REVOKE USAGE ON TYPES FROM PUBLIC",
                           'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON TYPES TO "{other}"'],
    "owner": ['GRANT "{other}" TO CURRENT_USER', 'GRANT CREATE ON SCHEMA public TO "{other}"',
              'ALTER TYPE state OWNER TO "{other}"', "REVOKE USAGE ON TYPE state FROM PUBLIC"],
    "all": ["COMMENT ON TYPE state IS 'x'", "REVOKE USAGE ON TYPE state FROM PUBLIC",
            'GRANT USAGE ON TYPE state TO "{other}"'],
    "none": [],
}  # fmt: skip


@pytest.mark.parametrize("after", [models(labels=("new",)), models(labels=("new", "old", "x")), models(kind="")],
                         ids=["recreated", "recreated by the downgrade", "dropped"])  # fmt: skip
@pytest.mark.parametrize("statements", STATEMENTS.values(), ids=STATEMENTS)
def test_a_recreated_type_keeps_its_comment_owner_and_privileges(
    statements: list[str], after: str, monorepo: Monorepo, database: Callable[..., Dsn], server: Server
) -> None:
    dsn, other = database(), database()
    make_superuser(server, dsn)
    service = monorepo.service("billing", models(), dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    run_script(dsn, [statement.replace("{other}", str(other.user)) for statement in statements])
    former = query(dsn, PROPERTIES)
    remodel(monorepo, service, after)
    written(monorepo, service, "after")
    wait(service_migrations.upgrade(service))
    assert query(dsn, PROPERTIES) == (former if "state" in after.split("Table(")[1] else [])
    wait(service_migrations.downgrade(service, "-1"))
    assert query(dsn, PROPERTIES) == former
