"""The names of the indexes and keys that partitions have with their table are what they were, behind a downgrade."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import models, remodel, written
from tests.support.catalog import catalog
from tests.support.comparison import catalog as objects
from tests.support.database import run_script, wait
from tests.support.monorepo import Monorepo
from tests.support.own_parts import EVENTS, EXPRESSION, INDEX, KEY, NONE, PARTITIONS, PLACE, UNIQUE

TWO = EVENTS.format(parts=f'{PLACE}, Index("ix", "place"), Index("ix_2", "place", postgresql_using="hash")')
RENAMED = ["ALTER INDEX first_place_idx RENAME TO other", 'ALTER INDEX "Below_place_idx" RENAME TO "My other"']

CHANGES: dict[str, tuple[str, list[str], str]] = {
    "of a dropped index": (INDEX, RENAMED, NONE),
    "of an index that is dropped with its column": (INDEX, RENAMED, EVENTS.format(parts='Column("other", Integer)')),
    "of a dropped table": (INDEX, [*RENAMED, "ALTER TABLE second RENAME CONSTRAINT second_pkey TO pk"], ""),
    "of an index that is created again": (
        EXPRESSION,
        ["ALTER INDEX first_expr_idx RENAME TO other", "ALTER INDEX other ALTER COLUMN 1 SET STATISTICS 77"],
        EXPRESSION.replace('"place", Integer', '"place", BigInteger'),
    ),
    "of a key": (
        UNIQUE,
        [
            "ALTER TABLE first RENAME CONSTRAINT first_id_place_key TO other",
            "COMMENT ON CONSTRAINT other ON first IS 'it''s'",
        ],
        NONE,
    ),
    "of a foreign key": (KEY, ['ALTER TABLE "Below" RENAME CONSTRAINT fk TO other'], NONE),
    "of two that were chosen in another order": (
        TWO,
        [
            "ALTER INDEX first_place_idx RENAME TO aside",
            "ALTER INDEX first_place_idx1 RENAME TO first_place_idx",
            "ALTER INDEX aside RENAME TO first_place_idx1",
        ],
        NONE,
    ),
    "beside equal ones of the partitions": (
        EVENTS.format(parts=f'{PLACE}, Index("ix", "place"), UniqueConstraint("id", "place", name="uq")'),
        [
            "CREATE INDEX own ON first (place)",
            "COMMENT ON INDEX own IS 'own'",
            "ALTER TABLE second ADD CONSTRAINT own_key UNIQUE (id, place)",
        ],
        NONE,
    ),
    "beside an equal foreign key of a partition": (
        KEY,
        ["ALTER TABLE first ADD CONSTRAINT own FOREIGN KEY (place) REFERENCES things"],
        "",
    ),
    "of keys of a column that gets another type": (
        UNIQUE,
        ['ALTER TABLE "Below" RENAME CONSTRAINT "Below_id_place_key" TO other'],
        UNIQUE.replace('"place", Integer', '"place", BigInteger'),
    ),
    "with comments": (
        INDEX,
        ["COMMENT ON INDEX first_place_idx IS 'some'", "ALTER TABLE first CLUSTER ON first_place_idx"],
        NONE,
    ),
}


@pytest.mark.parametrize(("before", "by_hand", "after"), CHANGES.values(), ids=CHANGES)
def test_they_are_as_they_were(
    before: str, by_hand: list[str], after: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    service = monorepo.service("billing", models(kind="") + before, dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    run_script(dsn, ["INSERT INTO things VALUES (1)", *PARTITIONS, *by_hand])
    was, parts = catalog(dsn), _parts(dsn)
    remodel(monorepo, service, models(kind="") + after)
    service = monorepo.find("billing")
    assert "WARNING: this doesn't bring back" not in written(monorepo, service, "after")
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    wait(service_migrations.downgrade(service, "-1"))
    assert catalog(dsn) == was
    assert _parts(dsn) == parts
    wait(service_migrations.upgrade(service))


@pytest.mark.parametrize("before", [INDEX, UNIQUE, KEY])
def test_names_that_are_chosen_again_are_left_to_the_server(
    before: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    service = monorepo.service("billing", models(kind="") + before, dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    run_script(dsn, ["INSERT INTO things VALUES (1)", *PARTITIONS])
    remodel(monorepo, service, models(kind=""))
    assert "RENAME" not in written(monorepo, service, "after")


GONE = ["ALTER TABLE events DETACH PARTITION first", "DROP TABLE second"]


@pytest.mark.parametrize(("before", "by_hand"), [CHANGES["with comments"][:2], CHANGES["of a foreign key"][:2]])
def test_a_partition_that_is_dropped_or_detached_since_is_passed_over(
    before: str, by_hand: list[str], monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    service = monorepo.service("billing", models(kind="") + before, dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    run_script(dsn, ["INSERT INTO things VALUES (1)", *PARTITIONS, *by_hand, "COMMENT ON INDEX first_pkey IS 'first'"])
    remodel(monorepo, service, models(kind="") + NONE)
    written(monorepo, service, "after")
    wait(service_migrations.upgrade(service))
    run_script(dsn, GONE)
    wait(service_migrations.downgrade(service, "-1"))


def _parts(dsn: Dsn) -> list[tuple[str, object, object]]:
    """Return what the parts of partitions have apart from their definitions."""
    return [
        (item.address, item.comment, {name: item.facts.get(name) for name in ("statistics", "clustered")})
        for item in objects(dsn)
        if item.kind in ("index", "constraint") and item.facts.get("inherited")
    ]
