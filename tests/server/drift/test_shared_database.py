"""Services that share a database: what a sibling made is invisible, and foreign keys into its tables are replayed."""

import pytest

import service_migrations
from service_migrations.drift.drift import drift
from tests.support.database import query, wait
from tests.support.monorepo import MODELS as ONE_TABLE
from tests.support.shop import FIRST, MODELS, SECOND, inside, may_create, scratches, write_history

THEIRS = [
    "CREATE TABLE depot (id integer PRIMARY KEY, name varchar(50) NOT NULL)",
    "CREATE TYPE shelf AS ENUM ('high', 'low')",
    "CREATE FUNCTION restock() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE SEQUENCE pallets",
    "CREATE VIEW stock AS SELECT id FROM depot",
]


LEADS_THERE = "ALTER TABLE orders ADD depot integer CONSTRAINT fk_depot REFERENCES depot"


@pytest.fixture
def sharing(monorepo, database, server):
    """Two services, depot and shop, in one database with a role each."""
    dsn = may_create(server, database())
    other = may_create(server, database(shared=dsn))
    shop = monorepo.service("shop", MODELS.format(schema=None), dsn)
    depot = monorepo.service("depot", ONE_TABLE.format(table="depot"), other)
    write_history(monorepo, "depot", THEIRS)
    yield shop, depot, dsn, other
    assert scratches(server) == []


def test_what_a_sibling_made_is_invisible_also_what_no_model_claims(sharing, monorepo):
    shop, depot, _, _ = sharing
    write_history(monorepo, "shop", FIRST, SECOND)
    wait(service_migrations.upgrade(shop))
    wait(service_migrations.upgrade(depot))
    for service in (shop, depot):
        assert wait(drift(service)).differences == ()


def test_a_change_of_a_siblings_object_is_the_siblings_drift(sharing, monorepo):
    shop, depot, dsn, other = sharing
    write_history(monorepo, "shop", FIRST, SECOND)
    wait(service_migrations.upgrade(shop))
    wait(service_migrations.upgrade(depot))
    query(other, "ALTER TABLE depot ADD more text")
    query(dsn, "ALTER TABLE customers ADD phone text")
    assert [difference.name for difference in wait(drift(shop)).differences] == ["customers.phone"]
    assert [difference.name for difference in wait(drift(depot)).differences] == ["depot.more"]


def test_what_nobody_claims_is_seen_by_both(sharing, monorepo):
    shop, depot, dsn, _ = sharing
    write_history(monorepo, "shop", FIRST, SECOND)
    wait(service_migrations.upgrade(shop))
    wait(service_migrations.upgrade(depot))
    query(dsn, "CREATE TABLE nobodys (id integer)")
    for service in (shop, depot):
        assert [difference.name for difference in wait(drift(service)).differences] == ["nobodys"]


def test_a_history_that_leads_into_a_siblings_table_is_replayed_after_the_siblings(sharing, monorepo):
    shop, depot, dsn, other = sharing
    wait(service_migrations.upgrade(depot))
    query(other, f'GRANT REFERENCES ON depot TO "{dsn.user}"')
    write_history(monorepo, "shop", [*FIRST, LEADS_THERE],
                  SECOND)  # fmt: skip
    wait(service_migrations.upgrade(shop))
    assert wait(drift(shop)).differences == ()
    query(dsn, "ALTER TABLE orders DROP CONSTRAINT fk_depot")
    [difference] = wait(drift(shop)).differences
    assert difference.sql == (
        "ALTER TABLE public.orders ADD CONSTRAINT fk_depot FOREIGN KEY (depot) REFERENCES public.depot(id);"
    )
    assert wait(drift(depot)).differences == ()


def test_a_service_with_a_schema_of_its_own_is_compared_there(monorepo, database, server):
    dsn = may_create(server, database())
    service = monorepo.service("shop", MODELS.format(schema="app"), dsn, MIGRATIONS_SEARCH_PATH="app")
    write_history(monorepo, "shop", FIRST, SECOND)
    wait(service_migrations.upgrade(service))
    assert wait(drift(service)).differences == ()
    query(dsn, "ALTER TABLE app.customers DROP CONSTRAINT ck_score")
    query(inside(server, dsn), "CREATE SCHEMA elsewhere")
    query(inside(server, dsn), "CREATE TABLE elsewhere.t (id integer)")
    [difference] = wait(drift(service)).differences
    assert (difference.name, difference.sql) == (
        "app.customers.ck_score",
        "ALTER TABLE app.customers ADD CONSTRAINT ck_score CHECK ((score >= 0));",
    )
