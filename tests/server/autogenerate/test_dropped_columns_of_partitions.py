"""Columns of partitioned tables that are dropped: what only a partition has comes back with them."""

import re
from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import models, remodel, written
from tests.support.comparison import catalog, differences
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo

EVENTS = """
events = Table("events", metadata, Column("id", Integer, primary_key=True){columns},
    postgresql_partition_by="RANGE (id)")
"""
COLUMNS = ', Column("place", Integer, server_default="1"), Column("note", Text)'
PARTITIONS = [
    "CREATE TABLE first PARTITION OF events FOR VALUES FROM (0) TO (10)",
    "CREATE TABLE second PARTITION OF events FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (id)",
    'CREATE TABLE "Below" PARTITION OF second FOR VALUES FROM (10) TO (15)',
]
OWN = {
    "an index": ["CREATE INDEX own ON first (place)", "COMMENT ON INDEX own IS 'by hand'"],
    "an index of a partitioned partition": ["CREATE INDEX own ON second (place, note) WHERE note <> ''"],
    "an expression": ['CREATE INDEX own ON "Below" (lower(note), id)'],
    "a check": ["ALTER TABLE first ADD CONSTRAINT own CHECK (place > 0 OR note = '')"],
    "a unique constraint": ['ALTER TABLE "Below" ADD CONSTRAINT own UNIQUE (note, place)'],
    "a foreign key": ["ALTER TABLE first ADD CONSTRAINT own FOREIGN KEY (place) REFERENCES things (id)"],
    "a foreign key to a key of its own": [
        "ALTER TABLE first ADD CONSTRAINT own UNIQUE (place)",
        "ALTER TABLE first ADD CONSTRAINT led FOREIGN KEY (place) REFERENCES first (place)",
    ],
    "statistics": ["CREATE STATISTICS own ON place, note FROM first", "ALTER STATISTICS own SET STATISTICS 7"],
    "a default": ["ALTER TABLE first ALTER place SET DEFAULT 7", 'ALTER TABLE "Below" ALTER place DROP DEFAULT'],
    "a NOT NULL": ["ALTER TABLE second ALTER place SET NOT NULL"],
    "a comment": ["COMMENT ON COLUMN \"Below\".note IS 'by hand'"],
    "a privilege": ["GRANT SELECT (note) ON first TO PUBLIC"],
    "a target": ["ALTER TABLE first ALTER note SET STATISTICS 7", "ALTER TABLE second ALTER note SET STORAGE EXTERNAL"],
}


@pytest.mark.parametrize("own", OWN.values(), ids=OWN)
def test_what_only_a_partition_has_comes_back_with_its_column(
    own: list[str], monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """PostgreSQL drops it with the column, and the way back had that of the partitioned table alone."""
    dsn = database()
    before, after = (models(kind="") + EVENTS.format(columns=columns) for columns in (COLUMNS, ""))
    service = monorepo.service("billing", before, dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    run_script(dsn, [*PARTITIONS, *own])
    was = catalog(dsn)
    remodel(monorepo, service, after)
    upgrade, _, downgrade = written(monorepo, service, "after").partition("def downgrade")
    names = re.findall(r"(?:INDEX|CONSTRAINT|CREATE STATISTICS) (own|led)", " ".join(own))
    assert all(re.search(rf"# PostgreSQL drops with .*\b{name}\b", upgrade) for name in names)
    assert ("# PostgreSQL drops with" in upgrade) == bool(names)
    assert "# PostgreSQL drops with" not in downgrade
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    wait(service_migrations.downgrade(service, "-1"))
    assert [str(each) for each in differences(was, catalog(dsn))] == []


def test_so_it_does_where_a_column_is_recreated(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    before, after = (
        models(kind="") + EVENTS.format(columns=f', Column("twice", {kind}, Computed("{value}", persisted=True))')
        for kind, value in (("Integer", "id * 2"), ("Text", "(id * 2)::text"))
    )
    service = monorepo.service("billing", before, dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    run_script(dsn, [*PARTITIONS, "CREATE INDEX own ON first (twice)"])
    was = catalog(dsn)
    remodel(monorepo, service, after)
    written(monorepo, service, "after")
    wait(service_migrations.upgrade(service))
    assert query(dsn, "SELECT to_regclass('own')")[0][0]
    wait(service_migrations.downgrade(service, "-1"))
    assert [str(each) for each in differences(was, catalog(dsn))] == []
