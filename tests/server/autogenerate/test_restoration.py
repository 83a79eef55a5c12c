"""The way back of a drop: all that drift compares is there again, or the file names what isn't."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import service_migrations
from service_migrations.catalog import objects
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import EMPTY, first_upgrade, models, remodel, written
from tests.support.comparison import catalog, differences, version
from tests.support.database import run_script, wait
from tests.support.monorepo import Monorepo
from tests.support.shop import inside, write_history

TABLE = "CREATE TABLE {t} (id integer PRIMARY KEY, a integer, b text, c varchar(9))"
TRIGGER = "CREATE TRIGGER g AFTER INSERT ON {t} FOR EACH ROW WHEN (new.a > 0) EXECUTE FUNCTION f()"
PARTITIONED = "CREATE TABLE {t} (id integer NOT NULL, kind text DEFAULT 'x') PARTITION BY "

PLANTS: dict[str, list[str]] = {
    "partition_key": [PARTITIONED + "RANGE (id)"],
    "partition_expression": [PARTITIONED + "LIST (lower(kind))"],
    "partitions": [
        PARTITIONED + "RANGE (id)",
        "CREATE INDEX {t}_ix ON {t} (kind)",
        "CREATE TABLE {t}_1 PARTITION OF {t} FOR VALUES FROM (0) TO (9) PARTITION BY LIST (kind)",
        "CREATE TABLE {t}_1_x PARTITION OF {t}_1 (kind DEFAULT 'y' NOT NULL, CHECK (id <> 5)) FOR VALUES IN ('y')",
        "CREATE TABLE {t}_default PARTITION OF {t} DEFAULT",
        "CREATE INDEX {t}_own ON {t}_1_x (id)",
        "ALTER TABLE {t}_1_x ENABLE ROW LEVEL SECURITY",
        TRIGGER.replace("new.a", "new.id"),
        "ALTER TABLE {t}_default DISABLE TRIGGER g",
        "COMMENT ON TABLE {t}_default IS 'the rest'",
    ],
    "partition_settings": [
        PARTITIONED + "RANGE (id)",
        "ALTER TABLE {t} ALTER kind SET STORAGE EXTERNAL, ALTER kind SET COMPRESSION pglz",
        "CREATE TABLE {t}_1 PARTITION OF {t} DEFAULT",
        "ALTER TABLE {t}_1 ALTER kind SET STORAGE EXTENDED, ALTER kind SET COMPRESSION DEFAULT",
    ],
    "partition_foreign_key": [
        "CREATE TABLE {t}_far (id integer PRIMARY KEY)",
        PARTITIONED + "RANGE (id)",
        "CREATE TABLE {t}_1 PARTITION OF {t} FOR VALUES FROM (0) TO (9)",
        "ALTER TABLE {t}_1 ADD CONSTRAINT near FOREIGN KEY (id) REFERENCES {t}_far",
    ],
    "row_security": [TABLE, "ALTER TABLE {t} ENABLE ROW LEVEL SECURITY"],
    "force_row_security": [TABLE, "ALTER TABLE {t} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"],
    "policy": [
        TABLE,
        "CREATE POLICY p ON {t} AS RESTRICTIVE FOR UPDATE TO pg_monitor USING (a > 1) WITH CHECK (c IN ('x', 'y'))",
        "CREATE POLICY q ON {t} USING (b = 'it''s :here')",
        "COMMENT ON POLICY q ON {t} IS 'who may see it'",
    ],
    "trigger": [TABLE, TRIGGER, "COMMENT ON TRIGGER g ON {t} IS 'tells'"],
    "disabled_trigger": [TABLE, TRIGGER, "ALTER TABLE {t} DISABLE TRIGGER g"],
    "replica_trigger": [TABLE, TRIGGER, "ALTER TABLE {t} ENABLE REPLICA TRIGGER g"],
    "always_trigger": [TABLE, TRIGGER, "ALTER TABLE {t} ENABLE ALWAYS TRIGGER g"],
    "constraint_trigger": [
        TABLE,
        (
            "CREATE CONSTRAINT TRIGGER g AFTER UPDATE OF a, b ON {t} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
            "EXECUTE FUNCTION f('x y')"
        ),
    ],
    "rule": [TABLE, "CREATE RULE r AS ON DELETE TO {t} WHERE old.a = 1 DO INSTEAD NOTHING"],
    "disabled_rule": [
        TABLE,
        "CREATE RULE r AS ON DELETE TO {t} DO INSTEAD NOTHING",
        "ALTER TABLE {t} DISABLE RULE r",
        "COMMENT ON RULE r ON {t} IS 'keeps'",
    ],
    "statistics": [
        TABLE,
        "CREATE STATISTICS {t}_s (ndistinct, mcv) ON a, b FROM {t}",
        "CREATE STATISTICS {t}_e ON (a + 1), (lower(b)) FROM {t}",
        "ALTER STATISTICS {t}_s SET STATISTICS 77",
        "COMMENT ON STATISTICS {t}_s IS 'together'",
    ],
    "replica_identity_full": [TABLE, "ALTER TABLE {t} REPLICA IDENTITY FULL"],
    "replica_identity_nothing": [TABLE, "ALTER TABLE {t} REPLICA IDENTITY NOTHING"],
    "replica_identity_index": [
        TABLE,
        "CREATE UNIQUE INDEX {t}_i ON {t} (id) INCLUDE (a)",
        "ALTER TABLE {t} REPLICA IDENTITY USING INDEX {t}_i",
    ],
    "replica_identity_key": [TABLE, "ALTER TABLE {t} REPLICA IDENTITY USING INDEX {t}_pkey"],
    "comments": [
        TABLE,
        "ALTER TABLE {t} ADD CONSTRAINT {t}_c CHECK (c IN ('x', 'y'))",
        "CREATE INDEX {t}_i ON {t} (b) WHERE c IN ('x', 'y')",
        "COMMENT ON TABLE {t} IS E'two\\nlines: \\\\ :x and it''s'",
        "COMMENT ON COLUMN {t}.a IS 'a number'",
        "COMMENT ON CONSTRAINT {t}_c ON {t} IS 'few'",
        "COMMENT ON CONSTRAINT {t}_pkey ON {t} IS 'the key'",
        "COMMENT ON INDEX {t}_pkey IS 'of the key'",
        "COMMENT ON INDEX {t}_i IS 'some'",
    ],
    "grants": [
        TABLE,
        "GRANT SELECT, INSERT ON {t} TO pg_monitor WITH GRANT OPTION",
        "GRANT SELECT ON {t} TO PUBLIC",
        "GRANT UPDATE (a), SELECT (b) ON {t} TO pg_monitor",
        "REVOKE TRUNCATE ON {t} FROM CURRENT_USER",
    ],
    "options": [TABLE + " WITH (fillfactor = 70, toast.autovacuum_enabled = false)"],
    "column_settings": [
        TABLE,
        "ALTER TABLE {t} ALTER b SET STORAGE EXTERNAL, ALTER b SET COMPRESSION pglz, ALTER a SET STATISTICS 500",
        "ALTER TABLE {t} ALTER a SET (n_distinct = -0.5)",
    ],
    "persistence": [TABLE.replace("TABLE", "UNLOGGED TABLE"), "ALTER TABLE {t} ADD s serial"],
    "sequence": [
        "CREATE SEQUENCE {t}_numbers AS bigint INCREMENT 5 START 10 MAXVALUE 1000 CYCLE CACHE 7",
        "CREATE TABLE {t} (id bigint DEFAULT nextval('{t}_numbers') PRIMARY KEY)",
        "ALTER SEQUENCE {t}_numbers OWNED BY {t}.id",
        "COMMENT ON SEQUENCE {t}_numbers IS 'counts'",
        "GRANT USAGE ON SEQUENCE {t}_numbers TO pg_monitor",
    ],
    "serial": ["CREATE TABLE {t} (id serial PRIMARY KEY)", "ALTER SEQUENCE {t}_id_seq RENAME TO {t}_other"],
    "identity": [
        (
            "CREATE TABLE {t} (id integer GENERATED BY DEFAULT AS IDENTITY (SEQUENCE NAME {t}_own INCREMENT 3 "
            "MAXVALUE 99) PRIMARY KEY)"
        ),
        "COMMENT ON SEQUENCE {t}_own IS 'counts'",
    ],
    "generated": [TABLE, "ALTER TABLE {t} ADD d integer GENERATED ALWAYS AS (a * 2) STORED"],
    "collation": ["CREATE TABLE {t} (id text COLLATE \"C\" PRIMARY KEY, d date DEFAULT '2020-01-02')"],
    "not_valid": [
        TABLE,
        "ALTER TABLE {t} ADD CONSTRAINT v CHECK (a > 1) NOT VALID",
        "ALTER TABLE {t} ADD CONSTRAINT w FOREIGN KEY (a) REFERENCES {t} ON DELETE SET NULL NOT VALID",
        "COMMENT ON CONSTRAINT w ON {t} IS 'later'",
    ],
    "index_settings": [
        TABLE,
        "CREATE INDEX {t}_i ON {t} (lower(b), a DESC) WITH (fillfactor = 50)",
        "ALTER INDEX {t}_i ALTER COLUMN 1 SET STATISTICS 99",
        "ALTER TABLE {t} CLUSTER ON {t}_i",
        "ALTER INDEX {t}_pkey SET (fillfactor = 60)",
    ],
    "exclusion": [
        TABLE,
        "ALTER TABLE {t} ADD CONSTRAINT {t}_x EXCLUDE USING gist (box(point(a, a), point(a, a)) WITH &&) WHERE (a > 1)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_u UNIQUE (a, b) DEFERRABLE INITIALLY DEFERRED",
    ],
    "schema": [
        'CREATE SCHEMA "O s"',
        'CREATE TABLE "O s".{t} (id serial PRIMARY KEY, a integer, b text)',
        'CREATE INDEX ix ON "O s".{t} (b)',
        TRIGGER.replace("{t}", '"O s".{t}'),
        'CREATE RULE r AS ON DELETE TO "O s".{t} DO INSTEAD NOTHING',
        'CREATE STATISTICS "O s".s ON a, b FROM "O s".{t}',
        'CREATE POLICY p ON "O s".{t} USING (a > 1)',
        "COMMENT ON INDEX \"O s\".ix IS 'there'",
    ],
    "odd_names": [
        'CREATE TABLE "{t} Odd" ("I ""d" integer PRIMARY KEY, "B%" text)',
        'CREATE STATISTICS "{t} S" ON "I ""d", "B%" FROM "{t} Odd"',
        'CREATE INDEX "{t} I" ON "{t} Odd" ("B%")',
        TRIGGER.replace("{t}", '"{t} Odd"').replace(" WHEN (new.a > 0)", ""),
        'CREATE RULE "R" AS ON DELETE TO "{t} Odd" DO INSTEAD NOTHING',
        'GRANT SELECT ("B%") ON "{t} Odd" TO pg_monitor',
    ],
}
"""What a history may make on a table ``{t}``, each on one of its own; the names are only names."""

NEW_PLANTS: dict[int, dict[str, list[str]]] = {
    15: {"nulls_not_distinct": [TABLE, "CREATE UNIQUE INDEX {t}_i ON {t} (a) NULLS NOT DISTINCT"]},
    18: {
        "virtual": [TABLE, "ALTER TABLE {t} ADD d integer GENERATED ALWAYS AS (a * 2) VIRTUAL"],
        "not_null_not_valid": [TABLE, "ALTER TABLE {t} ADD CONSTRAINT n NOT NULL a NOT VALID"],
        "not_enforced": [TABLE, "ALTER TABLE {t} ADD CONSTRAINT n CHECK (a > 0) NOT ENFORCED"],
    },
}
"""Those that older versions don't have."""

OUTSIDE: dict[str, tuple[list[str], str]] = {
    "publication": (["CREATE PUBLICATION {t}_p FOR TABLE {t}"], "the publication {t}_p of {t}"),
    "invalid": (
        [
            "CREATE INDEX {t}_i ON {t} (a)",
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{t}_i'::regclass",
        ],
        "that the index {t}_i is INVALID",
    ),
    "enforced": (
        [
            "ALTER TABLE {t} ADD CONSTRAINT {t}_f FOREIGN KEY (a) REFERENCES {t}",
            "ALTER TABLE {t} DISABLE TRIGGER ALL",
        ],
        "the disabled triggers of the constraint {t}_f",
    ),
    "owner": (["ALTER TABLE {t} OWNER TO {admin}"], "the owner {admin} of {t}"),
    "foreign_partition": (
        [
            "CREATE TABLE {t}_far (id integer) PARTITION BY RANGE (id)",
            "CREATE EXTENSION IF NOT EXISTS postgres_fdw",
            "CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw",
            "CREATE FOREIGN TABLE {t}_f PARTITION OF {t}_far DEFAULT SERVER elsewhere",
            "ALTER TABLE {t}_far OWNER TO {user}",
        ],
        "the foreign table {t}_f, a partition",
    ),
}
"""What an administrator makes, and how the file names it."""

PARTS = ("table", "column", "constraint", "index", "sequence", "trigger", "rule", "policy", "statistics")


@pytest.fixture
def planted(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> tuple[service_migrations.Service, Dsn, dict[str, list[str]]]:
    """A service at head whose history has all plants, and whose models have nothing."""
    dsn = database()
    plants = PLANTS.copy()
    for since, newer in NEW_PLANTS.items():
        plants |= newer if version(dsn) >= since else {}
    service = monorepo.service("billing", EMPTY, dsn)
    function = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
    lines = [line.replace("{t}", f"t_{name}") for name, statements in plants.items() for line in statements]
    lines = [line.replace(":here", "\\:here").replace(":x", "\\:x") for line in lines]
    write_history(monorepo, "billing", [function, *lines])
    wait(service_migrations.upgrade(service))
    return service, dsn, plants


def test_a_dropped_table_has_everything_again_that_drift_compares(planted, monorepo: Monorepo) -> None:
    service, dsn, plants = planted
    before = catalog(dsn)
    code = written(monorepo, service)
    assert "WARNING" not in code
    wait(service_migrations.upgrade(service))
    left = {each.name for each in catalog(dsn) if each.kind == "table"}
    assert not {name for name in plants if f"t_{name}" in left}
    wait(service_migrations.downgrade(service, "-1"))
    assert [str(each) for each in differences(before, catalog(dsn))] == []


def test_every_fact_of_a_table_and_its_parts_is_planted(planted) -> None:
    """A fact that is read, and isn't planted here, may be one that doesn't come back."""
    _, dsn, _ = planted
    sql = Path(objects.__file__).with_suffix(".sql").read_text(encoding="utf-8")
    sections = sql[: sql.index("-- types; a range's")] + sql[sql.index("-- triggers, rules") :]
    facts = set(re.findall(r"^\s+'([a-z_]+)', |jsonb_build_object\('([a-z_]+)', ", sections, re.MULTILINE))
    names = {name for pair in facts for name in pair if name}
    seen = {fact for each in catalog(dsn) if each.kind in PARTS for fact in each.facts}
    unplanted = {"outside", "enforced", "access_method", "server", "schema", "name", "foreign_options"}
    unplanted |= {"detach_pending", "valid_index", "not_null_constraint"}  # no state of a history, or no fact
    unplanted |= {
        "of_type",
        "not_null_name",
        "not_null_no_inherit",
    }  # tests/server/drift/test_every_catalog.py has them
    assert names - seen == unplanted


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_no_history_makes_is_named_in_the_file(
    name: str, monorepo: Monorepo, database: Callable[..., Dsn], server: Server
) -> None:
    dsn = database()
    service = monorepo.service("billing", EMPTY, dsn)
    write_history(monorepo, "billing", [TABLE.replace("{t}", "things")])
    wait(service_migrations.upgrade(service))
    statements, named = OUTSIDE[name]
    names = {"{t}": "things", "{admin}": server.admin.user, "{user}": f'"{dsn.user}"'}
    for placeholder, value in names.items():
        statements, named = [each.replace(placeholder, value) for each in statements], named.replace(placeholder, value)
    run_script(inside(server, dsn), statements)
    upgrade, _, downgrade = written(monorepo, service).partition("def downgrade")
    assert "WARNING" not in upgrade
    assert "WARNING: this doesn't bring back\n" in downgrade
    assert f"# - {named}\n" in downgrade


def test_grants_that_only_new_tables_get_are_revoked(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    service = monorepo.service("billing", EMPTY, dsn)
    grant = "ALTER DEFAULT PRIVILEGES {}GRANT SELECT ON TABLES TO {}"
    write_history(
        monorepo,
        "billing",
        [
            grant.format("", "pg_monitor"),
            TABLE.replace("{t}", "things"),
            "REVOKE SELECT ON things FROM pg_monitor",
            grant.format("IN SCHEMA public ", "PUBLIC"),
        ],
    )
    wait(service_migrations.upgrade(service))
    before = catalog(dsn)
    written(monorepo, service)
    wait(service_migrations.upgrade(service))
    wait(service_migrations.downgrade(service, "-1"))
    assert [str(each) for each in differences(before, catalog(dsn))] == []


LINE = "Column('a', Integer, CheckConstraint('a > 0', name='few'), nullable=False, server_default='7')"
UNIQUE = "UniqueConstraint('a', name='one')"
KEY = "ForeignKeyConstraint(['a'], ['things.id'], name='far')"
INDEX = "Index('ix', 'a')"
ALL = (LINE, UNIQUE, KEY, INDEX)
SETTINGS = [
    "COMMENT ON COLUMN things.a IS 'a number'",
    "COMMENT ON CONSTRAINT few ON things IS 'few'",
    "COMMENT ON CONSTRAINT one ON things IS 'one'",
    "COMMENT ON CONSTRAINT far ON things IS 'far'",
    "COMMENT ON INDEX one IS 'its index'",
    "COMMENT ON INDEX ix IS 'an index'",
    "ALTER TABLE things CLUSTER ON ix",
    "ALTER TABLE things REPLICA IDENTITY USING INDEX one",
    "ALTER INDEX one SET (fillfactor = 50)",
    "ALTER TABLE things ALTER a SET STATISTICS 44, ALTER a SET (n_distinct = 5)",
    "GRANT SELECT (a), UPDATE (a) ON things TO pg_monitor",
    "CREATE STATISTICS s ON a, number FROM things",
    "COMMENT ON STATISTICS s IS 'together'",
]
AFTER = {
    "nothing of it": (),
    "no constraint": (LINE.replace("CheckConstraint('a > 0', name='few'), ", ""), INDEX),
    "no index": (LINE, UNIQUE, KEY),
    "another type": (LINE.replace("Integer", "BigInteger"), *ALL[1:]),
}


@pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)
def test_a_part_has_everything_again(after, monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    service = monorepo.service("billing", models(*ALL, kind=""), dsn)
    first_upgrade(monorepo, service)
    run_script(dsn, SETTINGS)
    before = catalog(dsn)
    remodel(
        monorepo,
        service,
        models(*after, kind="").replace("nullable=False, server", "comment='a number', nullable=False, server"),
    )
    code = written(monorepo, service)
    assert "WARNING: this doesn't bring back" not in code
    assert ("# PostgreSQL drops with a: the statistics object s." in code.partition("def downgrade")[0]) == (not after)
    wait(service_migrations.upgrade(service))
    if "BigInteger" in str(after):
        # what is recreated around a change has everything in the upgrade too
        [change] = differences(before, catalog(dsn))
        assert "is bigint" in str(change)
    wait(service_migrations.downgrade(service, "-1"))
    assert [str(each) for each in differences(before, catalog(dsn))] == []
