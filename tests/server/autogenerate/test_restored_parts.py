"""The way back of a sequence and of a NOT NULL that a revision drops, and the comments that don't come back."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import EMPTY, first_upgrade, models, remodel, written
from tests.support.comparison import catalog, differences, version
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo
from tests.support.shop import write_history

SERIAL = models("Column('a', Integer)", kind="")
IDENTITY = models("Column('a', Integer, Identity())", kind="")
PLAIN = models("Column('a', Integer, nullable=False)", kind="")
NULLABLE = models("Column('a', Integer, nullable=True)", kind="")
NO_SERIAL = models("Column('a', Integer)", key="Integer, autoincrement=False", kind="")
OTHERWISE = models("Column('a', Integer)", key="Integer, Identity()", kind="")

CHANGES: dict[str, tuple[str, str, list[str]]] = {
    "a serial's sequence": (
        SERIAL,
        NO_SERIAL,
        [
            "ALTER SEQUENCE things_id_seq AS bigint INCREMENT 10 MINVALUE 10 START 20 CACHE 5 RESTART",
            "GRANT USAGE ON SEQUENCE things_id_seq TO pg_monitor",
            "COMMENT ON SEQUENCE things_id_seq IS 'counts'",
        ],
    ),
    "a serial's sequence that counts down": (
        SERIAL,
        NO_SERIAL,
        ["ALTER SEQUENCE things_id_seq INCREMENT -1 MINVALUE -9 MAXVALUE -1 START -1 RESTART"],
    ),
    "that of a serial that becomes an identity": (
        SERIAL,
        OTHERWISE,
        ["GRANT USAGE ON SEQUENCE things_id_seq TO pg_monitor", "ALTER SEQUENCE things_id_seq RENAME TO mine"],
    ),
    "an identity's sequence": (
        IDENTITY,
        PLAIN,
        [
            'ALTER SEQUENCE things_a_seq RENAME TO "My seq"',
            'GRANT USAGE ON SEQUENCE "My seq" TO pg_monitor',
            "COMMENT ON SEQUENCE \"My seq\" IS 'counts'",
        ],
    ),
    "the sequence of an identity column that is dropped": (
        IDENTITY,
        models(kind=""),
        [
            'ALTER SEQUENCE things_a_seq RENAME TO "My seq"',
            'GRANT USAGE ON SEQUENCE "My seq" TO pg_monitor',
            "COMMENT ON SEQUENCE \"My seq\" IS 'counts'",
        ],
    ),
    "the name of a NOT NULL": (PLAIN, NULLABLE, ["ALTER TABLE things RENAME CONSTRAINT things_a_not_null TO must"]),
    "a NOT NULL that no child inherits": (
        PLAIN,
        NULLABLE,
        ["ALTER TABLE things ALTER a DROP NOT NULL, ADD CONSTRAINT must NOT NULL a NO INHERIT"],
    ),
}


@pytest.mark.parametrize(("before", "after", "by_hand"), CHANGES.values(), ids=CHANGES)
def test_it_is_as_it_was(
    before: str, after: str, by_hand: list[str], monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    if "CONSTRAINT" in by_hand[0] and version(dsn) < 18:
        pytest.skip("a NOT NULL is no constraint before 18")
    service = monorepo.service("billing", before, dsn)
    first_upgrade(monorepo, service)
    run_script(dsn, by_hand)
    was = catalog(dsn)
    remodel(monorepo, service, after)
    assert "WARNING: this doesn't bring back" not in written(monorepo, service)
    wait(service_migrations.upgrade(service))
    wait(service_migrations.downgrade(service, "-1"))
    assert [str(each) for each in differences(was, catalog(dsn))] == []


def test_the_comments_on_what_a_partition_has_of_its_parent_come_back_or_are_named(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    service = monorepo.service("billing", EMPTY, dsn)
    write_history(
        monorepo,
        "billing",
        [
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "CREATE TABLE far (id integer PRIMARY KEY)",
            "CREATE TABLE t (id integer PRIMARY KEY, kind text) PARTITION BY RANGE (id)",
            "ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (id) REFERENCES far",
            "CREATE INDEX ON t (kind)",
            "CREATE TABLE t_1 PARTITION OF t DEFAULT",
            "CREATE TRIGGER g AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
            "COMMENT ON CONSTRAINT k ON t_1 IS 'near'",
            "COMMENT ON CONSTRAINT t_1_pkey ON t_1 IS 'the key'",
            "COMMENT ON INDEX t_1_kind_idx IS 'some'",
            "COMMENT ON TRIGGER g ON t_1 IS 'tells'",
        ],
    )
    wait(service_migrations.upgrade(service))
    comments = "SELECT classoid::regclass::text, description FROM pg_description WHERE objoid > 16383 ORDER BY 1, 2"
    before = query(dsn, comments)
    assert "WARNING: this doesn't bring back\n    # - the comment on the trigger g of t_1\n" in written(
        monorepo, service
    )
    wait(service_migrations.upgrade(service))
    wait(service_migrations.downgrade(service, "-1"))
    assert query(dsn, comments) == [row for row in before if row[1] != "tells"]
