"""What partitions have of their own stays what it is behind a downgrade, with the names of what is below it.

The catalog of drift leaves out the names that PostgreSQL chooses; here they are compared too.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

import service_migrations
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import models, remodel, written
from tests.support.comparison import catalog, differences
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo
from tests.support.own_parts import EVENTS, EXPRESSION, INDEX, KEY, NONE, PARTITIONS, PLACE, UNIQUE

PARTS = """
SELECT c.oid::regclass::text, coalesce((SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = c.oid), ''),
    obj_description(c.oid, 'pg_class')
FROM pg_class c
WHERE relkind IN ('i', 'I') AND relnamespace = 'public'::regnamespace AND relname !~ '^(alembic|migration)'
UNION ALL
SELECT c.conrelid::regclass || ' ' || conname,
    coalesce((SELECT conname FROM pg_constraint WHERE oid = c.conparentid), '') || c.confrelid::regclass
    || c.conindid::regclass, obj_description(c.oid, 'pg_constraint')
FROM pg_constraint c
WHERE connamespace = 'public'::regnamespace AND conname !~ '^(alembic|migration)'
ORDER BY 1, 2
"""
OTHER = EVENTS.format(parts='Column("other", Integer)')
UNIQUE_INDEX = EVENTS.format(parts=f'{PLACE}, Index("ix", "id", "place", unique=True)')
SELF = EVENTS.format(parts='Column("place", Integer, ForeignKey("events.id", name="fk_self"))')
REFERRING = """
refs = Table("refs", metadata, Column("id", Integer, primary_key=True), Column("event", Integer{more}))
"""
REFERS = NONE + REFERRING.format(more=', ForeignKey("events.id", name="fk_event")')
OWN_INDEX = "CREATE INDEX own ON second (place)"
OWN_KEY = "ALTER TABLE second ADD CONSTRAINT own UNIQUE (id, place)"
OWN_FOREIGN_KEY = "ALTER TABLE second ADD CONSTRAINT own FOREIGN KEY (place) REFERENCES things"
BELOW = 'ALTER TABLE "Below" RENAME CONSTRAINT own TO zz'
COPIES = """DO $$ DECLARE r record; BEGIN FOR r IN
    SELECT conname, row_number() OVER () AS n FROM pg_constraint WHERE conrelid = 'refs'::regclass AND conparentid <> 0
LOOP EXECUTE format('ALTER TABLE refs RENAME CONSTRAINT %I TO copy_%s', r.conname, r.n); END LOOP; END $$"""

CHANGES: dict[str, tuple[str, list[str], str]] = {
    "an index of a partitioned partition": (
        INDEX,
        [OWN_INDEX, 'ALTER INDEX "Below_place_idx1" RENAME TO zz', "COMMENT ON INDEX zz IS 'below'"],
        NONE,
    ),
    "a key of a partitioned partition": (
        UNIQUE,
        [OWN_KEY, 'ALTER INDEX "Below_id_place_key1" RENAME TO zz'],
        NONE,
    ),
    "a key of a partitioned partition of a dropped table": (
        UNIQUE,
        [OWN_KEY, 'ALTER INDEX "Below_id_place_key1" RENAME TO zz'],
        "",
    ),
    "an index of a partitioned partition that becomes a part": (
        NONE,
        [OWN_INDEX, 'ALTER INDEX "Below_place_idx" RENAME TO zz', "COMMENT ON INDEX zz IS 'below'"],
        INDEX,
    ),
    "a key of a partitioned partition that becomes a part": (
        NONE,
        [OWN_KEY, 'ALTER INDEX "Below_id_place_key" RENAME TO zz'],
        UNIQUE,
    ),
    "an index of a partitioned partition that is dropped with its column": (
        NONE,
        [OWN_INDEX, 'ALTER INDEX "Below_place_idx" RENAME TO zz'],
        OTHER,
    ),
    "an index of a partitioned partition whose column gets another type": (
        NONE,
        [OWN_INDEX, 'ALTER INDEX "Below_place_idx" RENAME TO zz'],
        NONE.replace('"place", Integer', '"place", BigInteger'),
    ),
    "a foreign key of a partitioned partition": (
        KEY,
        [OWN_FOREIGN_KEY, BELOW, "COMMENT ON CONSTRAINT own ON second IS 'second'"],
        NONE,
    ),
    "a foreign key of a partitioned partition of a dropped table": (NONE, [OWN_FOREIGN_KEY, BELOW], ""),
    "a foreign key of a partitioned partition that becomes a part": (NONE, [OWN_FOREIGN_KEY, BELOW], KEY),
    "a constraint beside an equal index": (
        UNIQUE_INDEX,
        [
            "ALTER TABLE first ADD CONSTRAINT own UNIQUE (id, place)",
            OWN_KEY.replace("own", "another"),
            'ALTER INDEX "Below_id_place_idx" RENAME TO zz',
        ],
        NONE,
    ),
    "an index whose condition and name have two spaces": (
        EVENTS.format(parts=f"""{PLACE}, Index("ix  2", "place", postgresql_where=text("place::text <> 'a  b'"))"""),
        [
            "CREATE INDEX own ON first (place) WHERE place::text <> 'a  b'",
            'ALTER INDEX "Below_place_idx" RENAME TO "z  z"',
        ],
        NONE,
    ),
    "an index with settings": (
        INDEX,
        [
            "CREATE INDEX own ON first (place) WITH (fillfactor='70')",
            "ALTER TABLE first CLUSTER ON own",
            "COMMENT ON INDEX own IS 'own'",
        ],
        NONE,
    ),
    "a key with settings": (
        UNIQUE,
        [
            "ALTER TABLE first ADD CONSTRAINT own UNIQUE (id, place) WITH (fillfactor='70')",
            "ALTER TABLE second ADD CONSTRAINT another UNIQUE (id, place) DEFERRABLE",
        ],
        NONE,
    ),
    "an index of an expression whose column gets another type": (
        EXPRESSION,
        [
            "CREATE INDEX own ON second ((place + 1))",
            "ALTER INDEX own ALTER COLUMN 1 SET STATISTICS 77",
            "CREATE INDEX other ON first ((place + 2))",
            "ALTER INDEX other ALTER COLUMN 1 SET STATISTICS 78",
        ],
        EXPRESSION.replace('"place", Integer', '"place", BigInteger'),
    ),
    "copies of a foreign key": (REFERS, [], NONE + REFERRING.format(more="")),
    "copies of a foreign key with other names": (REFERS, [COPIES], ""),
    "copies of a foreign key of a dropped table": (REFERS, [], NONE),
    "copies of a foreign key to its own table": (SELF, [], NONE),
}


@pytest.mark.parametrize(("before", "by_hand", "after"), CHANGES.values(), ids=CHANGES)
def test_it_is_as_it_was(
    before: str, by_hand: list[str], after: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    service = monorepo.service("billing", models(kind="") + before, dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    run_script(dsn, ["INSERT INTO things VALUES (1)", *PARTITIONS, *by_hand])
    was, parts = catalog(dsn), query(dsn, PARTS)
    remodel(monorepo, service, models(kind="") + after)
    service = monorepo.find("billing")
    assert "WARNING: this doesn't bring back" not in written(monorepo, service, "after")
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    wait(service_migrations.downgrade(service, "-1"))
    assert [str(each) for each in differences(was, catalog(dsn))] == []
    assert query(dsn, PARTS) == parts
    wait(service_migrations.upgrade(service))


def test_an_index_of_a_table_with_a_foreign_partition_is_valid(
    monorepo: Monorepo, server: Server, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    index, none = (
        each.replace(", primary_key=True, autoincrement=False", ", nullable=False") for each in (INDEX, NONE)
    )
    service = monorepo.service("billing", models(kind="") + index, dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    run_script(dsn, ["INSERT INTO things VALUES (1)", *PARTITIONS, OWN_INDEX, "COMMENT ON INDEX own IS 'own'"])
    foreign = "CREATE FOREIGN TABLE far PARTITION OF events FOR VALUES FROM (50) TO (60) SERVER elsewhere"
    wrapper = ["CREATE FOREIGN DATA WRAPPER none", "CREATE SERVER elsewhere FOREIGN DATA WRAPPER none"]
    run_script(
        replace(server.admin, database=dsn.database),
        [*wrapper, f"GRANT USAGE ON FOREIGN SERVER elsewhere TO {dsn.user}"],
    )
    run_script(dsn, [foreign])
    was, parts = catalog(dsn), query(dsn, PARTS)
    remodel(monorepo, service, models(kind="") + none)
    service = monorepo.find("billing")
    written(monorepo, service, "after")
    wait(service_migrations.upgrade(service))
    wait(service_migrations.downgrade(service, "-1"))
    assert query(dsn, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix'::regclass")[0][0]
    assert [str(each) for each in differences(was, catalog(dsn))] == []
    assert query(dsn, PARTS) == parts


def test_an_index_that_is_created_beside_a_constraint_has_a_part_in_each_partition_that_came_since(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    service = monorepo.service("billing", models(kind="") + UNIQUE_INDEX, dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    run_script(dsn, ["INSERT INTO things VALUES (1)", *PARTITIONS, OWN_KEY])
    remodel(monorepo, service, models(kind="") + NONE)
    service = monorepo.find("billing")
    written(monorepo, service, "after")
    wait(service_migrations.upgrade(service))
    run_script(dsn, ["CREATE TABLE third PARTITION OF events FOR VALUES FROM (20) TO (30)", "DROP TABLE first"])
    wait(service_migrations.downgrade(service, "-1"))
    names = [row[0] for row in query(dsn, "SELECT relid::regclass::text FROM pg_partition_tree('ix') ORDER BY 1")]
    assert names == ['"Below_id_place_idx"', "ix", "second_id_place_idx", "third_id_place_idx"]
    assert query(dsn, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix'::regclass")[0][0]
    wait(service_migrations.upgrade(service))
