"""inv db.owners: each object of the databases, the service that claims it and why, and what nobody claims."""

import json
from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.errors import ConfigurationError, UsageError
from service_migrations.settings.dsn import Dsn
from tests.support.database import PASSWORD, query, wait
from tests.support.monorepo import MODELS, Monorepo, Ran, dsn_text

Databases = Callable[..., Dsn]

STATEMENTS = """
op.execute("CREATE TABLE removed (id serial PRIMARY KEY)")
op.execute("CREATE VIEW latest AS SELECT 1 AS one")
op.execute("CREATE MATERIALIZED VIEW totals AS SELECT 1 AS one")
op.execute("CREATE FUNCTION twice(a int) RETURNS int LANGUAGE sql AS 'SELECT 2 * a'")
op.execute("CREATE PROCEDURE nothing() LANGUAGE sql AS ''")
op.execute("CREATE TYPE mood AS ENUM ('good')")
op.execute("CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
op.execute("CREATE TYPE point3 AS (x int, y int, z int)")
op.execute("CREATE TYPE span AS RANGE (subtype = int)")
op.execute("CREATE SEQUENCE numbers")
op.execute("CREATE SCHEMA archive")
op.execute("CREATE TABLE archive.old (id int)")
op.execute("CREATE TABLE part (id int) PARTITION BY RANGE (id)")
op.execute("CREATE TABLE parent (id int)")
op.execute("CREATE INDEX by_id ON part (id)")
"""

OUT_OF_BAND = [
    "CREATE TABLE nobodys (id int PRIMARY KEY)",
    "CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (1) TO (2)",
    "CREATE TABLE child () INHERITS (parent)",
    "CREATE VIEW nobodys_view AS SELECT 1 AS one",
    "CREATE SCHEMA lonely",
]


def notes(ran: Ran) -> list[str]:
    """Return what a command told beside its result and Alembic's log."""
    return [line for line in ran.err.splitlines() if " - INFO - " not in line]


@pytest.fixture
def world(monorepo: Monorepo, database: Databases, server) -> tuple[Monorepo, Dsn]:
    """Billing and orders in one database, catalog in another."""
    dsn = database()
    for name, where in (("billing", dsn), ("orders", database(shared=dsn)), ("catalog", database())):
        service = monorepo.service(name, dsn=where)
        monorepo.table_revision(name, f"{name}1", None)
        if name == "orders":
            monorepo.revision(name, "orders2", "orders1", STATEMENTS)
            query(
                Dsn(server.admin.user, dsn.database, server.admin.hosts, server.admin.password),
                f'GRANT CREATE ON DATABASE "{dsn.database}" TO "{where.user}"',
            )
        wait(service_migrations.upgrade(service))
    admin = Dsn(server.admin.user, dsn.database, server.admin.hosts, server.admin.password)
    for statement in [*OUT_OF_BAND, "CREATE EXTENSION pg_stat_statements", "CREATE EXTENSION citext"]:
        query(admin, statement)
    return monorepo, dsn


def test_each_object_has_its_owner_and_the_reason(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    ran = monorepo.inv("db.owners", "--json")
    assert (ran.code, notes(ran)) == (0, [])
    answers = {row["database"]: row for row in json.loads(ran.out)}
    assert [answers[dsn.database]["services"], answers[dsn.database]["errors"]] == [["billing", "orders"], []]
    ownerships = {
        (owned["kind"], f"{owned['schema']}.{owned['name']}"): (owned["owner"], owned["why"])
        for owned in answers[dsn.database]["objects"]
    }
    expected = {
        ("table", "public.billing"): ("billing", "models"),
        ("index", "public.billing_pkey"): ("billing", "part of table public.billing"),
        ("sequence", "public.billing_id_seq"): ("billing", "part of table public.billing"),
        ("table", "public.alembic_version_billing"): ("billing", "version table"),
        ("table", "public.migration_log_billing"): ("billing", "ledger"),
        ("index", "public.migration_log_billing_pkey"): ("billing", "part of table public.migration_log_billing"),
        ("table", "public.orders"): ("orders", "models"),
        ("table", "public.removed"): ("orders", "history"),
        ("sequence", "public.removed_id_seq"): ("orders", "part of table public.removed"),
        ("view", "public.latest"): ("orders", "history"),
        ("materialized view", "public.totals"): ("orders", "history"),
        ("function", "public.twice(a integer)"): ("orders", "history"),
        ("procedure", "public.nothing()"): ("orders", "history"),
        ("enum", "public.mood"): ("orders", "history"),
        ("domain", "public.positive"): ("orders", "history"),
        ("composite type", "public.point3"): ("orders", "history"),
        ("range type", "public.span"): ("orders", "history"),
        ("sequence", "public.numbers"): ("orders", "history"),
        ("schema", "archive.archive"): ("orders", "history"),
        ("table", "archive.old"): ("orders", "history"),
        ("table", "public.part"): ("orders", "history"),
        ("index", "public.by_id"): ("orders", "part of table public.part"),
        ("table", "public.part_1"): ("orders", "part of table public.part"),
        ("index", "public.part_1_id_idx"): ("orders", "part of table public.part_1"),
        ("table", "public.child"): ("orders", "part of table public.parent"),
        ("view", "public.pg_stat_statements"): (None, "extension pg_stat_statements"),
        ("extension", "public.citext"): (None, ""),
        ("table", "public.nobodys"): (None, ""),
        ("index", "public.nobodys_pkey"): (None, ""),
        ("view", "public.nobodys_view"): (None, ""),
        ("schema", "lonely.lonely"): (None, ""),
    }
    assert {key: ownerships.get(key) for key in expected} == expected
    nobodys = {name for (_, name), answer in ownerships.items() if answer == (None, "")}
    assert nobodys == {"public.citext", "public.pg_stat_statements", "public.nobodys", "public.nobodys_pkey",
                       "public.nobodys_view", "lonely.lonely"}  # fmt: skip


def test_the_table_names_one_database_and_ends_with_what_is_nobodys(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    ran = monorepo.inv("db.owners", "--database", dsn.database, "--service", "billing")
    assert ran.code == 0, ran.text
    lines = [line.split() for line in ran.out.splitlines() if line.strip()]
    assert lines[0] == ["database", "kind", "object", "owner", "why"]
    assert {line[0] for line in lines[2:]} == {dsn.database}
    assert [dsn.database, "table", "public.orders", "orders", "models"] in lines
    assert lines[-1][-1] == "nobody"
    owners = [line[-1] == "nobody" for line in lines[2:]]
    assert owners == sorted(owners)
    assert "catalog" not in ran.out


def test_a_service_that_cannot_be_reached_stops_no_other(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    monorepo.env("catalog", DATABASE_DSN="postgresql://x:secret@127.0.0.1:1/nowhere")
    monorepo.service("lost")
    wrong = Dsn(dsn.user, dsn.database, dsn.hosts, PASSWORD + "x")
    monorepo.env("billing", DATABASE_DSN=dsn_text(wrong))
    ran = monorepo.inv("db.owners")
    assert ran.code == 78
    assert "public.orders" in ran.out
    said = notes(ran)
    assert len(said) == 4
    assert [line.partition(":")[0] for line in said[:2]] == ["billing", "catalog"]
    assert said[2].startswith("services/lost/.env does not exist")
    assert "secret" not in ran.text
    assert PASSWORD not in ran.text


def test_two_services_that_claim_one_table_are_told(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    monorepo.service("orders", MODELS.format(table="billing"))
    ran = monorepo.inv("db.owners", "--database", dsn.database)
    assert (ran.code, ran.out.count("public.")) == (78, 0)
    assert "services/billing/models.py and services/orders/models.py both claim the table public.billing" in ran.err


def test_a_database_that_no_service_has_is_wrong_use(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, _ = world
    ran = monorepo.inv("db.owners", "--database", "nowhere")
    assert ran.code == 2
    assert "--database 'nowhere': no service that was asked has it. Known: " in ran.err


def test_it_is_a_function_of_the_library_too(monorepo: Monorepo, database: Databases) -> None:
    service = monorepo.service("billing", dsn=database())
    monorepo.table_revision("billing", "r1", None)
    wait(service_migrations.upgrade(service))
    (ownership,) = wait(service_migrations.owners([service]))
    assert ("table", "billing", "models") in {(owned.kind, owned.name, owned.why) for owned in ownership.objects}
    with pytest.raises(UsageError):
        wait(service_migrations.owners([service], database="other"))
    (failed,) = wait(service_migrations.owners([monorepo.service("lost")]))
    assert isinstance(failed.errors[0], ConfigurationError)


def test_what_a_baseline_accepts_is_shown_so_and_is_no_failure(monorepo: Monorepo, database: Databases, server) -> None:
    dsn = database()
    query(server.admin, f'ALTER ROLE "{dsn.user}" CREATEDB')
    monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "b1", None)
    wait(service_migrations.upgrade(monorepo.find("billing")))
    for statement in ("CREATE TABLE legacy (id int)", "CREATE VIEW old AS SELECT 1 AS one"):
        query(dsn, statement)
    ran = monorepo.inv("db.baseline", "--service", "billing", "--write")
    assert ran.code == 0, ran.text
    query(dsn, "CREATE TABLE leg (id int)")
    ran = monorepo.inv("db.owners", "--json")
    assert ran.code == 0, ran.text
    why = {item["name"]: (item["owner"], item["why"]) for item in json.loads(ran.out)[0]["objects"]}
    accepted = (None, "accepted in the baseline of billing")
    assert (why["legacy"], why["old"], why["leg"]) == (accepted, accepted, (None, ""))
