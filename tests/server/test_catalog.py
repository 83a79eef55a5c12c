"""The reader of pg_catalog: every kind of object once, its parts, and texts that don't depend on who asks."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from service_migrations.catalog.objects import Key, Object, read, read_own
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, run_script

EVERYTHING = [
    "CREATE SCHEMA app",
    "CREATE TYPE app.mood AS ENUM ('sad', 'happy')",
    "CREATE DOMAIN app.email AS varchar(320) DEFAULT 'a@b' NOT NULL CONSTRAINT has_at CHECK (VALUE LIKE '%@%')",
    "CREATE TYPE app.pair AS (low integer, high numeric(5, 2))",
    "CREATE TYPE app.span AS RANGE (subtype = integer)",
    "CREATE FUNCTION app.twice(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 2 * $1'",
    "CREATE PROCEDURE app.nothing() LANGUAGE sql AS 'SELECT 1'",
    "CREATE AGGREGATE app.total(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0')",
    "CREATE FUNCTION app.stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    'CREATE TABLE app.parent (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE "C" NOT NULL)',
    (
        "CREATE TABLE app.child (id serial, parent integer CONSTRAINT fk REFERENCES app.parent, mood app.mood "
        "DEFAULT 'sad', twice integer GENERATED ALWAYS AS (id * 2) STORED, stamped timestamptz "
        "DEFAULT '2020-01-01 00:00+00', CONSTRAINT positive CHECK (id > 0), CONSTRAINT one UNIQUE (id))"
    ),
    "CREATE INDEX ix_child ON app.child ((id + parent)) WHERE mood = 'sad'",
    "CREATE TRIGGER stamp BEFORE INSERT ON app.child FOR EACH ROW EXECUTE FUNCTION app.stamp()",
    "CREATE RULE quiet AS ON DELETE TO app.child DO INSTEAD NOTHING",
    "CREATE POLICY mine ON app.child FOR SELECT USING (id > 1)",
    "CREATE STATISTICS app.related ON id, parent FROM app.child",
    "CREATE SEQUENCE app.free INCREMENT 5",
    "CREATE VIEW app.seen AS SELECT id FROM app.child",
    "CREATE MATERIALIZED VIEW app.kept AS SELECT id FROM app.child",
    "CREATE INDEX ix_kept ON app.kept (id)",
    "CREATE TABLE app.log (at date, what text) PARTITION BY RANGE (at)",
    "CREATE INDEX ix_log ON app.log (what)",
    "CREATE TABLE app.log_2020 PARTITION OF app.log FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')",
    'CREATE TABLE app."Odd Name" ("Odd Column" integer)',
    "COMMENT ON COLUMN app.child.mood IS 'how it feels'",
    "COMMENT ON FUNCTION app.twice(integer) IS 'doubles'",
    "CREATE TEMPORARY TABLE gone (id integer)",
]


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    made: Dsn = database()
    run_script(made, EVERYTHING)
    return made


def objects(dsn: Dsn, **settings: str) -> tuple[Object, ...]:
    """Read a database over an engine whose sessions have these settings."""

    async def look() -> tuple[Object, ...]:
        arguments = {**dsn.connect_args(), "server_settings": settings}
        engine = create_async_engine(dsn.url, poolclass=NullPool, connect_args=arguments)
        async with engine.connect() as connection:
            rows = await read(connection)
            assert not connection.in_transaction()
            assert await connection.scalar(text("SHOW search_path")) == settings.get("search_path", '"$user", public')
        await engine.dispose()
        return rows

    return asyncio.run(look())


def one(found: Iterable[Object], kind: str, name: str, table: str | None = None) -> Object:
    [only] = [each for each in found if (each.kind, each.name, each.table) == (kind, name, table)]
    return only


def test_every_kind_of_object_is_seen_once(dsn):
    rows = objects(dsn)
    keys = [each.key for each in rows]
    assert len(keys) == len(set(keys))
    assert {each.kind for each in rows} == {
        *("schema", "table", "view", "materialized view", "column", "constraint", "index", "sequence"),
        *("enum", "domain", "domain constraint", "composite type", "range type"),
        *("function", "procedure", "aggregate", "trigger", "rule", "policy", "statistics"),
    }


def test_neither_the_systems_objects_nor_temporary_ones_are_seen(dsn):
    rows = objects(dsn)
    assert {each.schema for each in rows} == {"app", "public"}
    assert "gone" not in {each.name for each in rows}


def test_a_part_says_what_it_is_part_of(dsn):
    rows = objects(dsn)
    child, parent = ("table", "app", "child"), ("table", "app", "parent")
    for kind, name in [("column", "mood"), ("constraint", "positive"), ("index", "ix_child"), ("trigger", "stamp"),
                       ("rule", "quiet"), ("policy", "mine"), ("statistics", "related")]:  # fmt: skip
        assert one(rows, kind, name, "child").part_of == child
    assert one(rows, "sequence", "child_id_seq").part_of == child
    assert one(rows, "sequence", "parent_id_seq").part_of == parent
    assert one(rows, "sequence", "parent_id_seq").facts["identity"] == "id"
    assert one(rows, "sequence", "free").part_of is None
    assert one(rows, "table", "log_2020").part_of == ("table", "app", "log")
    assert one(rows, "domain constraint", "has_at", "email").part_of == ("domain", "app", "email")
    assert one(rows, "index", "ix_kept", "kept").part_of == ("materialized view", "app", "kept")
    assert [each.name for each in rows if each.part_of is None and each.table is not None] == []


def test_what_a_partition_has_from_its_parent_says_so(dsn):
    rows = objects(dsn)
    inherited = {(each.kind, each.name) for each in rows if each.facts.get("inherited")}
    assert inherited == {("column", "at"), ("column", "what"), ("index", "log_2020_what_idx")}
    assert {each.table for each in rows if each.facts.get("inherited")} == {"log_2020"}


def test_an_index_says_which_constraint_made_it(dsn):
    rows = objects(dsn)
    assert one(rows, "index", "one", "child").facts["constraint"] == "one"
    assert "constraint" not in one(rows, "index", "ix_child", "child").facts


def test_the_facts_of_a_column_are_those_that_can_differ(dsn):
    rows = objects(dsn)
    assert dict(one(rows, "column", "name", "parent").facts) == {
        "type": "text",
        "collation": 'pg_catalog."C"',
        "not_null": True,
    }
    mood = one(rows, "column", "mood", "child")
    assert dict(mood.facts) == {"type": "app.mood", "not_null": False, "default": "'sad'::app.mood"}
    assert mood.comment == "how it feels"
    assert one(rows, "column", "twice", "child").facts["generated"] == "(id * 2) STORED"
    assert one(rows, "column", "id", "parent").facts["identity"] == "ALWAYS"


def test_the_facts_of_types_keep_the_order_of_labels_and_attributes(dsn):
    rows = objects(dsn)
    assert one(rows, "enum", "mood").facts["labels"] == ["sad", "happy"]
    assert one(rows, "composite type", "pair").facts["attributes"] == [["low", "integer"], ["high", "numeric(5,2)"]]
    domain = one(rows, "domain", "email").facts
    assert (domain["type"], domain["not_null"], domain["default"]) == (
        "character varying(320)",
        True,
        "'a@b'::character varying",
    )
    assert one(rows, "range type", "span").facts["range"]["subtype"] == "integer"


def test_an_address_is_what_sql_takes(dsn):
    rows = objects(dsn)
    assert one(rows, "table", "Odd Name").address == 'app."Odd Name"'
    assert one(rows, "column", "Odd Column", "Odd Name").address == '"Odd Column"'
    function = one(rows, "function", "twice(integer)")
    assert function.address == "app.twice(integer)"
    assert function.comment == "doubles"
    assert function.definition.startswith("CREATE OR REPLACE FUNCTION app.twice(integer)")
    assert one(rows, "function", "twice(integer)").key == Key("function", "app", None, "twice(integer)")


def test_a_text_does_not_depend_on_who_asks(dsn):
    """Without the pins, ``app.mood`` is ``mood`` on this search_path, and the constant has another zone."""
    settings = {"search_path": "app", "TimeZone": "Asia/Tokyo", "DateStyle": "German", "quote_all_identifiers": "on"}
    assert objects(dsn, **settings) == objects(dsn)


def test_nothing_is_compiled_for_a_query_of_the_catalog(dsn):
    """A server with LLVM would compile each of these for a second or more: the planner overestimates them."""
    compiles: list[str] = []

    def ask(_connection: object, cursor: Any, statement: str, *_: object) -> None:
        if len(statement) > 1000:
            cursor.execute("SHOW jit")
            compiles.extend(cursor.fetchone())

    async def read_both() -> None:
        engine = create_async_engine(dsn.url, poolclass=NullPool, connect_args={**dsn.connect_args()})
        event.listen(engine.sync_engine, "before_cursor_execute", ask)
        async with engine.connect() as connection:
            assert await connection.scalar(text("SHOW jit")) == "on"
            await connection.rollback()
            await read(connection)
            await connection.run_sync(read_own, "app")
            assert await connection.scalar(text("SHOW jit")) == "on"
        await engine.dispose()

    asyncio.run(read_both())
    assert compiles == ["off"] * 3  # the objects and their dependencies, and the objects once more


def test_columns_in_another_order_have_the_same_facts(dsn, database):
    other = database()
    run_script(other, ["CREATE TABLE t (a integer, b text)"])
    run_script(dsn, ["CREATE TABLE public.t (b text, a integer)"])
    for name in ("a", "b"):
        first, second = (one(objects(each), "column", name, "t") for each in (dsn, other))
        assert (first.key, first.facts) == (second.key, second.facts)
        assert first.place != second.place


def test_what_an_extension_made_names_the_extension(dsn, server):
    admin = Dsn(server.admin.user, dsn.database, server.admin.hosts, server.admin.password)
    available = {row[0] for row in query(admin, "SELECT name FROM pg_available_extensions")}
    assert "hstore" in available, "the tests need a server with the contrib extensions"
    query(admin, "CREATE EXTENSION hstore SCHEMA app")
    rows = objects(dsn)
    extension = one(rows, "extension", "hstore")
    assert extension.facts["schema"] == "app"
    members = {each.kind for each in rows if each.extension == "hstore"}
    assert {"function", "base type"} <= members
    assert one(rows, "function", "twice(integer)").extension is None
    assert "plpgsql" not in {each.name for each in rows}


def test_not_null_is_the_columns_unless_it_is_not_valid(dsn, server):
    """From 18 on it is a constraint too, whose name nobody chose; 14 to 17 know nothing of that."""
    rows = objects(dsn)
    assert not [each for each in rows if each.kind == "constraint" and "NOT NULL" in (each.definition or "")]
    if int(server.version) >= 18:
        run_script(dsn, ["ALTER TABLE app.child ADD CONSTRAINT later NOT NULL parent NOT VALID"])
        rows = objects(dsn)
        assert one(rows, "column", "parent", "child").facts["not_null"] is False
        assert one(rows, "constraint", "later", "child").definition == "NOT NULL parent NOT VALID"


def test_grants_are_told_with_the_owner_unnamed(dsn):
    run_script(dsn, ["GRANT SELECT ON app.child TO PUBLIC", "GRANT UPDATE (mood) ON app.child TO PUBLIC"])
    rows = objects(dsn)
    assert ("PUBLIC", "SELECT", False) in one(rows, "table", "child").grants
    assert (None, "SELECT", False) in one(rows, "table", "child").grants
    assert ("PUBLIC", "UPDATE", False) in one(rows, "column", "mood", "child").grants
    assert one(rows, "column", "id", "child").grants == ()
