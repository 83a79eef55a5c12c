"""What partitions and children have of their own stays, where their table gets an equal part, or another default."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import models, remodel, written
from tests.support.comparison import catalog, differences
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo
from tests.support.own_parts import EVENTS, PARTITIONS, changed

PLACE = 'Column("place", Integer{more})'
INDEX = f'{PLACE.format(more="")}, Index("ix", "place")'
OWN_KEY = "ALTER TABLE first ADD CONSTRAINT own FOREIGN KEY (place) REFERENCES things"
TAKEN = {
    "an index": (INDEX, ["CREATE INDEX own ON first (place)", "COMMENT ON INDEX own IS 'by hand'"]),
    "an index with options": (INDEX, ["CREATE INDEX own ON first (place) WITH (fillfactor='70')"]),
    "an index of a partitioned partition": (INDEX, ['CREATE INDEX "My own" ON second (place)']),
    "two equal indexes": (INDEX, ["CREATE INDEX own ON first (place)", "CREATE INDEX two ON first (place)"]),
    "an index in another order": (INDEX, ["CREATE INDEX own ON first (place DESC NULLS LAST)"]),
    "another index": (INDEX, ["CREATE INDEX own ON first (place) WHERE place > 0", "CREATE INDEX b ON first (id)"]),
    "a unique constraint beside an equal index": (
        f'{PLACE.format(more="")}, UniqueConstraint("id", name="uq")',
        ["ALTER TABLE first ADD CONSTRAINT own UNIQUE (id)", "CREATE UNIQUE INDEX other ON first (id)"],
    ),
    "a unique index": (
        f'{PLACE.format(more="")}, Index("ix", "id", "place", unique=True)',
        ['CREATE UNIQUE INDEX own ON "Below" (id, place)'],
    ),
    "a unique constraint": (
        f'{PLACE.format(more="")}, UniqueConstraint("id", "place", name="uq")',
        ["ALTER TABLE first ADD CONSTRAINT own UNIQUE (id, place)", "COMMENT ON CONSTRAINT own ON first IS 'by hand'"],
    ),
    "two equal unique constraints": (
        f'{PLACE.format(more="")}, UniqueConstraint("id", "place", name="uq")',
        [
            "ALTER TABLE first ADD CONSTRAINT own UNIQUE (id, place)",
            "ALTER TABLE first ADD CONSTRAINT another UNIQUE (id, place)",
            "COMMENT ON CONSTRAINT another ON first IS 'by hand'",
            "CREATE TABLE referring (a integer, b integer, FOREIGN KEY (a, b) REFERENCES first (id, place))",
        ],
    ),
    "a deferrable unique constraint": (
        f'{PLACE.format(more="")}, UniqueConstraint("id", "place", name="uq")',
        ["ALTER TABLE first ADD CONSTRAINT own UNIQUE (id, place) DEFERRABLE INITIALLY DEFERRED"],
    ),
    "two equal foreign keys": (
        PLACE.format(more=', ForeignKey("things.id", name="fk")'),
        [OWN_KEY, OWN_KEY.replace("own", "another")],
    ),
    "a foreign key": (
        PLACE.format(more=', ForeignKey("things.id", name="fk", ondelete="CASCADE", onupdate="SET NULL")'),
        [f"{OWN_KEY} ON DELETE CASCADE ON UPDATE SET NULL"],
    ),
    "another foreign key": (
        PLACE.format(more=', ForeignKey("things.id", name="fk")'),
        [f"{OWN_KEY} ON DELETE CASCADE"],
    ),
    "a check": (
        f'{PLACE.format(more="")}, CheckConstraint("place > 0", name="positive")',
        ["ALTER TABLE first ADD CONSTRAINT positive CHECK (place > 0)"],
    ),
    "another check": (
        f'{PLACE.format(more="")}, CheckConstraint("place > 0", name="positive")',
        ["ALTER TABLE first ADD CONSTRAINT own CHECK (place > 0)"],
    ),
    "a NOT NULL": (PLACE.format(more=", nullable=False"), ["ALTER TABLE second ALTER place SET NOT NULL"]),
}


@pytest.mark.parametrize(("parts", "own"), TAKEN.values(), ids=TAKEN)
def test_what_becomes_a_part_of_the_table_is_the_partitions_own_again(
    parts: str, own: list[str], monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    before, after = EVENTS.format(parts=PLACE.format(more="")), EVENTS.format(parts=parts)
    changed(monorepo, database(), before, [*PARTITIONS, *own], after)


THREE, FOUR = ', server_default="3"', ', server_default="4"'
DEFAULTS = {
    "set": ("", THREE),
    "changed": (THREE, FOUR),
    "dropped": (THREE, ""),
}
OWN = "SELECT column_default FROM information_schema.columns WHERE table_name = $1 AND column_name = 'place'"


@pytest.mark.parametrize(("before", "after"), DEFAULTS.values(), ids=DEFAULTS)
def test_a_partition_keeps_its_own_default(
    before: str, after: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    own = ["ALTER TABLE first ALTER place SET DEFAULT 7", 'ALTER TABLE "Below" ALTER place SET DEFAULT 8']
    here, there = (EVENTS.format(parts=PLACE.format(more=more)) for more in (before, after))
    changed(monorepo, dsn, here, [*PARTITIONS, *own], there)
    defaults = {table: query(dsn, OWN, table)[0][0] for table in ("first", "second", "Below")}
    assert defaults == {"first": "7", "second": after[-2:-1] or None, "Below": "8"}


@pytest.mark.parametrize(("before", "after"), DEFAULTS.values(), ids=DEFAULTS)
def test_a_child_keeps_its_own_default(
    before: str, after: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    own = ["CREATE TABLE kid () INHERITS (events)", "CREATE TABLE grandkid () INHERITS (kid)"]
    own += ["ALTER TABLE grandkid ALTER place SET DEFAULT 7"]
    here, there = (EVENTS.format(parts=PLACE.format(more=more)) for more in (before, after))
    here, there = (each.replace('postgresql_partition_by="RANGE (id)"', "") for each in (here, there))
    changed(monorepo, dsn, here, own, there)
    assert query(dsn, OWN, "grandkid")[0][0] == "7"


KID = """
things_of = Table("base", metadata, Column("place", Integer{base}))
kid = Table("kid", metadata, Column("place", Integer{kid}), postgresql_inherits="base")
kid.add_is_dependent_on(things_of)
"""


@pytest.mark.parametrize(
    ("before", "after"), [(("", THREE), (FOUR, THREE)), ((THREE, FOUR), ("", THREE)), (("", THREE), (THREE, FOUR))]
)
def test_a_mapped_child_has_the_default_of_its_own_model(
    before: tuple[str, str], after: tuple[str, str], monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    here, there = (KID.format(base=base, kid=kid) for base, kid in (before, after))
    changed(monorepo, dsn, here, [], there)
    assert query(dsn, OWN, "kid")[0][0] == (after[1][-2:-1] or None)


def test_a_default_of_a_partition_that_may_not_fit_another_type_is_named(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    here = EVENTS.format(parts=PLACE.format(more=THREE))
    there = EVENTS.format(parts='Column("place", Text, server_default="none")')
    changed(monorepo, dsn, here, [*PARTITIONS, "ALTER TABLE first ALTER place SET DEFAULT 7"], there)
    folder = monorepo.root / "migrations" / "versions" / "billing"
    texts = [path.read_text(encoding="utf-8") for path in folder.glob("*after*.py")]
    assert "WARNING: first loses its own default of place, 7: it may not fit." in texts[0]


UNIQUE_INDEX = f'{PLACE.format(more="")}, Index("ix", "id", "place", unique=True)'
OWN_UNIQUES = [
    "ALTER TABLE first ADD CONSTRAINT own UNIQUE (id, place)",
    "COMMENT ON CONSTRAINT own ON first IS 'by hand'",
    "CREATE UNIQUE INDEX it ON second (id, place)",
    'ALTER TABLE "Below" ADD CONSTRAINT "My own" UNIQUE (id, place) DEFERRABLE',
]


def test_a_constraint_of_a_partition_that_becomes_a_part_of_an_index_is_the_partitions_own_again(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    before, after = (EVENTS.format(parts=parts) for parts in (PLACE.format(more=""), UNIQUE_INDEX))
    changed(monorepo, database(), before, [*PARTITIONS, *OWN_UNIQUES], after)


USERS = {
    "constraint key on table referring": [
        "CREATE TABLE referring (a int, b int, CONSTRAINT key FOREIGN KEY (a, b) REFERENCES first (id, place))"
    ],
    "constraint later on table second_1": [
        "CREATE TABLE second_1 PARTITION OF second FOR VALUES FROM (15) TO (20)",
        "ALTER TABLE second_1 ADD CONSTRAINT later UNIQUE USING INDEX second_1_id_place_idx",
    ],
}


@pytest.mark.parametrize("user", USERS)
def test_a_downgrade_that_would_drop_a_constraint_of_a_partition_with_what_needs_it_names_that(
    user: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    service = monorepo.service("billing", models(kind="") + EVENTS.format(parts=PLACE.format(more="")), dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    run_script(dsn, [*PARTITIONS, *OWN_UNIQUES])
    remodel(monorepo, service, models(kind="") + EVENTS.format(parts=UNIQUE_INDEX))
    service = monorepo.find("billing")
    assert "made a part of ix of own of first, " in written(monorepo, service, "after").replace("\n    # ", " ")
    wait(service_migrations.upgrade(service))
    run_script(dsn, USERS[user])
    was = catalog(dsn)
    with pytest.raises(service_migrations.MigrationError, match=f"this would drop {user}: drop it first"):
        wait(service_migrations.downgrade(service, "-1"))
    assert [str(each) for each in differences(was, catalog(dsn))] == []


def test_a_primary_key_of_a_partition_that_becomes_a_part_of_a_unique_constraint_comes_back(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    events = EVENTS.replace(", primary_key=True, autoincrement=False", ", nullable=False")
    own = ["ALTER TABLE first ALTER place SET NOT NULL", "ALTER TABLE first ADD PRIMARY KEY (id, place)"]
    after = f'{PLACE.format(more="")}, UniqueConstraint("id", "place", name="uq")'
    changed(
        monorepo,
        database(),
        events.format(parts=PLACE.format(more="")),
        [*PARTITIONS, *own],
        events.format(parts=after),
    )
