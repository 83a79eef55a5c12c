"""Tables that pyproject.toml leaves out of check, revision, drift and owners."""

from collections.abc import Callable

import pytest

from service_migrations.settings.dsn import Dsn
from tests.support.database import query
from tests.support.monorepo import Monorepo

BILLING = ("--service", "billing")
LEFT = {
    "a table": (["CREATE TABLE old_archive (id serial PRIMARY KEY, n int CHECK (n > 0))"], "*_archive"),
    "by its schema": (["CREATE SCHEMA jobs", "CREATE TABLE jobs.job (id int)"], "jobs.*"),
    "a view": (["CREATE VIEW seen_archive AS SELECT 1 AS one"], "seen_*"),
    "a partition": (
        [
            "CREATE TABLE p (id int) PARTITION BY RANGE (id)",
            "CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (1) TO (2)",
        ],
        "p",
    ),
}


def ignore(monorepo: Monorepo, pattern: str) -> None:
    path = monorepo.root / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    line = f'[tool.service-migrations]\nignore = ["spatial_ref_sys", "{pattern}"]\n'
    path.write_text(text.replace("[tool.service-migrations]\n", line), encoding="utf-8")


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database(creates=True)


@pytest.fixture
def world(monorepo: Monorepo, dsn: Dsn) -> Monorepo:
    monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    assert monorepo.inv("db.upgrade", *BILLING).code == 0
    return monorepo


@pytest.mark.parametrize("kind", LEFT)
def test_no_comparison_looks_at_an_ignored_table(world: Monorepo, dsn: Dsn, kind: str) -> None:
    statements, pattern = LEFT[kind]
    for statement in statements:
        query(dsn, statement)
    name = statements[-1].split()[2]
    seen = {words: world.inv(*words) for words in (("db.drift", *BILLING), ("db.owners",))}
    assert name in seen["db.owners",].text
    ignore(world, pattern)
    for words in (("db.check", *BILLING), ("db.drift", *BILLING), ("db.owners",)):
        ran = world.inv(*words)
        assert ran.code == 0, ran.text
        assert name not in ran.out
    ran = world.inv("db.revision", *BILLING, "-m", "Nothing.")
    assert "DROP" not in "".join(path.read_text() for path in world.find("billing").versions.glob("*.py")), ran.text
    listed = world.inv("db.services", "--verbose").out
    assert pattern in listed


def test_a_table_that_the_history_made_is_left_out_on_both_sides(world: Monorepo, dsn: Dsn) -> None:
    world.revision("billing", "a2", "a1", 'op.execute("CREATE TABLE old_archive (id int)")')
    assert world.inv("db.upgrade", *BILLING).code == 0
    query(dsn, "ALTER TABLE old_archive ADD COLUMN more int")
    assert world.inv("db.drift", *BILLING).code == 3
    ignore(world, "*_archive")
    assert world.inv("db.drift", *BILLING).code == 0
    query(dsn, "DROP TABLE old_archive")
    assert world.inv("db.drift", *BILLING).code == 0


@pytest.mark.parametrize("pattern", ["bill*", "public.billing", "*"])
def test_a_pattern_that_matches_a_table_of_the_models_is_refused(world: Monorepo, pattern: str) -> None:
    ignore(world, pattern)
    ran = world.inv("db.check", *BILLING)
    assert ran.code == 78
    assert f"ignore = '{pattern}' matches billing, a table of the models" in ran.text
