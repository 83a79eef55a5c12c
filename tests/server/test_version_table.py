"""The version table: there is one of a service, and nothing is read from what only looks like it."""

from collections.abc import Callable

import pytest

from service_migrations.settings.dsn import Dsn
from tests.support.database import query, tables
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
EVIL = (
    "CREATE FUNCTION public.evil() RETURNS bool LANGUAGE plpgsql AS "
    "'BEGIN INSERT INTO public.ran VALUES (current_user); RETURN true; END'"
)


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


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("kind", ["policy", "view"])
def test_what_looks_like_a_version_table_runs_nobodys_function(
    world: Monorepo, dsn: Dsn, database: Callable[..., Dsn], kind: str, words: tuple[str, ...]
) -> None:
    other = database(shared=dsn)
    for statement in (
        "CREATE TABLE public.ran (who name)",
        "GRANT INSERT, SELECT ON public.ran TO PUBLIC",
        EVIL,
        *(
            (
                "CREATE TABLE public.alembic_version_billing (version_num varchar(32))",
                "INSERT INTO public.alembic_version_billing VALUES ('a1')",
                "ALTER TABLE public.alembic_version_billing ENABLE ROW LEVEL SECURITY",
                "CREATE POLICY p ON public.alembic_version_billing USING (public.evil())",
            )
            if kind == "policy"
            else (
                "CREATE VIEW public.alembic_version_billing AS SELECT 'a1'::varchar AS version_num WHERE public.evil()",
            )
        ),
        "GRANT ALL ON public.alembic_version_billing TO PUBLIC",
    ):
        query(other, statement)
    refused(world.inv(*words), "alembic_version_billing")
    assert query(dsn, "SELECT FROM public.ran") == []


def test_a_policy_that_does_not_hold_for_the_owner_stops_nothing(world: Monorepo, dsn: Dsn) -> None:
    assert world.inv("db.upgrade", *ONE_SERVICE).code == 0
    query(dsn, "ALTER TABLE alembic_version_billing ENABLE ROW LEVEL SECURITY")
    assert world.inv("db.status").code == 0
