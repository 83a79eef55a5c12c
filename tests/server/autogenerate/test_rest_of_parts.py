"""What a part has besides its definition, where it is recreated around its column, also under another name."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import first_upgrade, models, remodel, written
from tests.support.comparison import catalog, differences
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo

COMMENTS = """
SELECT coalesce(obj_description(k.oid, 'pg_constraint'), obj_description(c.oid, 'pg_class'))
FROM (VALUES ($1)) AS of (name) LEFT JOIN pg_constraint k ON k.conname = of.name
LEFT JOIN pg_class c ON c.relname = of.name
"""
CHECK = "CheckConstraint('a IS NOT NULL', name='{}')"
PARTIAL = "Index('{}', 'number', postgresql_where=text('a IS NOT NULL'))"
KEY = "UniqueConstraint('a', name='uq'), ForeignKeyConstraint(['a'], ['things.a'], name='{}')"
APART = "ExcludeConstraint(('number', '='), name='{}', using='btree', where=text('a IS NOT NULL'))"
PARTS = {
    "a check": (CHECK, "CONSTRAINT {} ON things"),
    "an index": (PARTIAL, "INDEX {}"),
    "a foreign key": (KEY, "CONSTRAINT {} ON things"),
    "an exclusion": (APART, "CONSTRAINT {} ON things"),
}


@pytest.mark.parametrize("name", ["the part", 'new "part"'])
@pytest.mark.parametrize(("part", "commented"), PARTS.values(), ids=PARTS)
def test_its_comment_stays_where_it_is_recreated(
    part: str, commented: str, name: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    before, after = (
        models(f"Column('a', {kind})", part.format(each), kind="")
        for kind, each in (("Integer", "the part"), ("BigInteger", name))
    )
    service = monorepo.service("billing", before, dsn)
    first_upgrade(monorepo, service)
    address = commented.format('"the part"')
    query(dsn, f"COMMENT ON {address} IS 'by hand'")
    was = catalog(dsn)
    remodel(monorepo, service, after)
    written(monorepo, service)
    wait(service_migrations.upgrade(service))
    assert query(dsn, COMMENTS, name)[0][0] == "by hand"
    wait(service_migrations.downgrade(service, "-1"))
    assert [str(each) for each in differences(was, catalog(dsn))] == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Integer", "BigInteger"),
        ("Integer, Computed('id', persisted=True)", "BigInteger, Computed('id', persisted=True)"),
    ],
)
def test_the_target_of_statistics_stays_where_a_column_gets_another_type(
    before: str, after: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    here, there = (models(f"Column('a', {kind})", kind="") for kind in (before, after))
    service = monorepo.service("billing", here, dsn)
    first_upgrade(monorepo, service)
    run_script(dsn, ["CREATE STATISTICS related ON id, a FROM things", "ALTER STATISTICS related SET STATISTICS 50"])
    was = catalog(dsn)
    remodel(monorepo, service, there)
    written(monorepo, service)
    wait(service_migrations.upgrade(service))
    assert query(dsn, "SELECT stxstattarget FROM pg_statistic_ext")[0][0] == 50
    wait(service_migrations.downgrade(service, "-1"))
    assert [str(each) for each in differences(was, catalog(dsn))] == []


UNIQUE, UNIQUE_INDEX = "UniqueConstraint({}, name='ri')", "Index('ri', {}, unique=True)"
SUCCESSORS = {
    "another index": (UNIQUE_INDEX.format("'a'"), UNIQUE_INDEX.format("'a', 'id'"), True),
    "another constraint": (UNIQUE.format("'a'"), UNIQUE.format("'a', 'id'"), True),
    "an index for a constraint": (UNIQUE.format("'a'"), UNIQUE_INDEX.format("'a'"), True),
    "a constraint for an index": (UNIQUE_INDEX.format("'a'"), UNIQUE.format("'a'"), True),
    "none": (UNIQUE_INDEX.format("'a'"), "", False),
    "a column with NULL": (UNIQUE_INDEX.format("'a'"), UNIQUE_INDEX.format("'a', 'number'"), False),
    "a condition": (UNIQUE_INDEX.format("'a'"), UNIQUE_INDEX.format("'a', postgresql_where=text('a > 0')"), False),
    "not unique": (UNIQUE_INDEX.format("'a'"), "Index('ri', 'a')", False),
    "a deferrable constraint": (UNIQUE.format("'a'"), UNIQUE.format("'a', deferrable=True"), False),
}


@pytest.mark.parametrize(("before", "after", "kept"), SUCCESSORS.values(), ids=SUCCESSORS)
def test_a_replica_identity_is_kept_by_another_key_of_the_name_or_its_loss_is_named(
    before: str, after: str, kept: bool, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    line = "Column('a', Integer, nullable=False)"
    here, there = (models(line, *filter(None, (part,)), kind="") for part in (before, after))
    service = monorepo.service("billing", here, dsn)
    first_upgrade(monorepo, service)
    run_script(dsn, ["ALTER TABLE things REPLICA IDENTITY USING INDEX ri", "INSERT INTO things (a) VALUES (1)"])
    query(dsn, "CREATE PUBLICATION feed FOR TABLE things")
    was = catalog(dsn)
    remodel(monorepo, service, there)
    code = written(monorepo, service).partition("def downgrade")[0]
    assert ("WARNING: things loses its replica identity with ri" in code) is not kept
    wait(service_migrations.upgrade(service))
    if kept:
        query(dsn, "UPDATE things SET a = 2")
    wait(service_migrations.downgrade(service, "-1"))
    assert [str(each) for each in differences(was, catalog(dsn))] == []
