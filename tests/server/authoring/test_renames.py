"""Renames of tables, columns, constraints and indexes: what is asked for, what is found, and that all rows stay."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable

import asyncpg
import pytest

import service_migrations
from service_migrations.errors import LockNotObtainedError, MigrationError, UsageError
from service_migrations.monorepo import Service
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import first_upgrade, remodel, written
from tests.support.catalog import catalog
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo

MODELS = """
from sqlalchemy import (
    BigInteger, CheckConstraint, Column, Computed, Enum, ForeignKey, ForeignKeyConstraint, Identity, Index, Integer,
    MetaData, PrimaryKeyConstraint, String, Table, Text,
    UniqueConstraint, column, text,
)
from sqlalchemy.dialects.postgresql import ARRAY, ExcludeConstraint

__all__ = ["metadata", *{names}]
metadata = MetaData({metadata})
state = Enum("new", "old", name="state")
{tables}
"""


def models(*tables: str, metadata: str = "") -> str:
    """Return models of some tables, each with the text of its name and what follows it."""
    names = [f"table_{number}" for number in range(len(tables))]
    lines = "\n".join(f"{name} = Table({table})" for name, table in zip(names, tables, strict=True))
    return MODELS.format(metadata=metadata, names=names, tables=lines)


def table(name: str, *parts: str) -> str:
    return f'"{name}", metadata, ' + ", ".join(['Column("id", Integer, primary_key=True)', *parts])


@pytest.fixture
def rename(monorepo: Monorepo, database: Callable[..., Dsn], server: Server) -> Callable[..., tuple[str, str]]:
    """Take a database with rows from one module of models to another by renames, back, and there again."""
    dsn = database()

    def go(
        before: str,
        after: str,
        *renames: str,
        rows: tuple[str, ...] = (),
        result: str = "",
        values: list[str] | None = None,
        replayed: bool = False,
    ) -> tuple[str, str]:
        service = monorepo.service("shop", before, dsn)
        written(monorepo, service, "before")
        wait(service_migrations.upgrade(service))
        run_script(dsn, list(rows))
        at_first = catalog(dsn)
        remodel(monorepo, service, after)
        revision = wait(service_migrations.revision(service, "after", renames=renames))
        assert revision is not None
        assert catalog(dsn) == at_first
        wait(service_migrations.upgrade(service))
        assert wait(service_migrations.check(service)).differences == ()
        at_last, kept = catalog(dsn), query(dsn, result) if result else None
        assert values is None or list(kept[0]) == values
        wait(service_migrations.downgrade(service, "-1"))
        assert [line for line in catalog(dsn) if "alembic_version" not in line] == [
            line for line in at_first if "alembic_version" not in line
        ]
        wait(service_migrations.upgrade(service))
        assert catalog(dsn) == at_last
        assert (query(dsn, result) if result else None) == kept
        if replayed:
            assert wait(service_migrations.drift(service, admin=server.admin)).differences == ()
            assert wait(service_migrations.revision(service, "nothing")) is None
        up, _, down = (monorepo.root / revision.path).read_text(encoding="utf-8").partition("def downgrade")
        return up[up.index("def upgrade") :].replace('"', "'"), down.replace('"', "'")

    return go


def clean(service: Service) -> None:
    """Check that models and database agree."""
    assert wait(service_migrations.check(service)).differences == ()


UNIQUE = 'Column("note", Text, unique=True)'
ROW = ("INSERT INTO things (note) VALUES ('kept')",)
NOTE, REMARK = 'Column("note", Text)', 'Column("remark", Text)'
BEFORE, AFTER = models(table("things", NOTE)), models(table("things", REMARK))


# what a renamed column is part of

PARTS = {
    "nothing": 'Column("{0}", Text)',
    "NOT NULL and a default": 'Column("{0}", Text, nullable=False, server_default="x")',
    "a comment": 'Column("{0}", Text, comment="of {{}}")',
    "an unnamed key": 'Column("{0}", Text, unique=True)',
    "an index with the column's name": 'Column("{0}", Text, index=True)',
    "a named key": 'Column("{0}", Text), UniqueConstraint("{0}", name="uq")',
    "a key with the column's name": 'Column("{0}", Text), UniqueConstraint("{0}", name="uq_{0}")',
    "an index": 'Column("{0}", Text), Index("ix", text("lower({0})"), postgresql_where=text("{0} <> \'\'"))',
    "a CHECK": 'Column("{0}", Text), CheckConstraint("{0} <> \'\'", name="ck")',
    "an exclusion": 'Column("{0}", Text), ExcludeConstraint((column("{0}"), "="), using="btree", name="ex")',
    "a generated column": 'Column("{0}", Text), Column("length", Integer, Computed("length({0})", persisted=True))',
    "an enum type": 'Column("{0}", state, server_default="new"), CheckConstraint("{0} <> \'old\'", name="ck")',
    "an array": 'Column("{0}", ARRAY(state))',
    "a name that must be quoted": 'Column("{0} a.b:c%", Text, unique=True)',
}


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_a_renamed_column_takes_along_what_it_is_part_of(part, rename) -> None:
    suffix = " a.b:c%" if "a.b:c" in part else ""
    before, after = (models(table("things", part.format(name))) for name in ("note", "remark"))
    row = f'INSERT INTO things ("note{suffix}") VALUES ({"DEFAULT" if "new" in part else "NULL"})'  # noqa: S608
    row = row.replace("NULL", "'x'") if "NOT NULL" in part or "nullable" in part else row
    option = f'"note{suffix}":"remark{suffix}"' if suffix else "note:remark"
    up, down = rename(before, after, option, rows=(row,), result=f'SELECT "remark{suffix}" FROM things')  # noqa: S608
    for code in (up, down):
        assert "RENAME COLUMN" in code
        assert not any(word in code for word in ("drop_", "DROP ", "add_", "ADD ", "create_", "CREATE "))


KEYS = {
    "serial": ('Column("id", Integer, primary_key=True)', "INSERT INTO things DEFAULT VALUES"),
    "identity": ('Column("id", Integer, Identity(), primary_key=True)', "INSERT INTO things DEFAULT VALUES"),
}


@pytest.mark.parametrize(("key", "row"), KEYS.values(), ids=KEYS)
def test_a_renamed_key_counts_on_and_foreign_keys_lead_to_it(key, row, rename) -> None:
    def both(name: str) -> str:
        others = f'"others", metadata, Column("thing", Integer, ForeignKey("things.{name}"))'
        return models(f'"things", metadata, {key.replace("id", name)}', others)

    rows = (row, "INSERT INTO others VALUES (1)")
    up, down = rename(both("id"), both("number"), "things.id:number", rows=rows, result="SELECT number FROM things")
    assert up.count("op.") == down.count("op.") == 1


def test_a_renamed_table_takes_along_its_keys_sequences_indexes_and_what_refers_to_it(rename) -> None:
    def both(name: str) -> str:
        parts = ('Column("note", Text, unique=True)', 'Column("kind", state)', 'Column("up", ForeignKey("{0}.id"))')
        others = f'"others", metadata, Column("thing", Integer, ForeignKey("{name}.id", name="fk_{name}"))'
        return models(table(name, *(part.format(name) for part in parts)), others)

    rows = (*ROW, "INSERT INTO others VALUES (1)")
    both_ways = rename(
        both("things"), both("items"), "things:items", rows=rows, result="SELECT note FROM items", replayed=True
    )
    up, down = both_ways
    assert up.index("ALTER TABLE things RENAME TO items") < up.index("RENAME CONSTRAINT fk_things TO fk_items")
    assert down.index("RENAME CONSTRAINT fk_items TO fk_things") < down.index("ALTER TABLE items RENAME TO things")
    assert up.count("op.") == down.count("op.") == 2


# several at once

CHAINS = {
    "a chain": (("a", "b"), ("b", "c"), ("a:b", "b:c")),
    "a chain in the other order": (("a", "b"), ("b", "c"), ("b:c", "a:b")),
    "an exchange": (("a", "b"), ("b", "a"), ("a:b", "b:a")),
    "a circle": (("a", "b", "c"), ("b", "c", "a"), ("a:b", "b:c", "c:a")),
    "two": (("a", "b"), ("c", "d"), ("a:c", "b:d")),
    "two crosswise": (("a", "b"), ("c", "d"), ("a:d", "b:c")),
    "one and a drop": (("a", "b"), ("c",), ("b:c",)),
    "one and an addition": (("a",), ("b", "c"), ("a:b",)),
}


@pytest.mark.parametrize(("before", "after", "options"), CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize("kind", ["columns", "tables"])
def test_several_renames_keep_each_in_its_place(kind, before, after, options, rename) -> None:
    targets = dict(option.split(":") for option in options)
    if kind == "columns":
        here = models(table("things", *(f'Column("{name}", Text)' for name in before)))
        there = models(table("things", *(f'Column("{name}", Text)' for name in after)))
        rows = (f"INSERT INTO things ({', '.join(before)}) VALUES ({', '.join(map(repr, before))})",)  # noqa: S608
        result = f"SELECT {', '.join(targets.values())} FROM things"  # noqa: S608
    else:
        here = models(*(table(name, NOTE) for name in before))
        there = models(*(table(name, NOTE) for name in after))
        rows = tuple(f"INSERT INTO {name} (note) VALUES ('{name}')" for name in before)  # noqa: S608
        result = f"SELECT {', '.join(f'(SELECT note FROM {name})' for name in targets.values())}"  # noqa: S608
    up, _ = rename(here, there, *options, rows=rows, result=result, values=list(targets))
    assert up.count("RENAME") >= len(options)


def test_a_table_and_its_column_are_renamed_together(rename) -> None:
    for_both = ("things:items", "things.note:items.remark")
    up, down = rename(BEFORE, models(table("items", REMARK)), *for_both, rows=ROW, result="SELECT remark FROM items")
    assert up.index("RENAME TO items") < up.index("ALTER TABLE items RENAME COLUMN note TO remark")
    assert down.index("ALTER TABLE items RENAME COLUMN remark TO note") < down.index("RENAME TO things")


def test_a_renamed_column_changes_its_type_too(rename) -> None:
    after = models(table("things", 'Column("remark", String(9), nullable=False, server_default="x", comment="new")'))
    up, down = rename(BEFORE, after, "note:remark", rows=ROW, result="SELECT remark FROM things")
    assert up.index("RENAME COLUMN note TO remark") < up.index("ALTER COLUMN remark TYPE")
    assert down.index("ALTER COLUMN remark TYPE") < down.index("RENAME COLUMN remark TO note")


@pytest.mark.parametrize("labels", [("new", "mid", "old"), ("new", "gone"), ("old", "new")])
def test_a_renamed_column_of_an_enum_type_gets_its_new_labels(labels, rename) -> None:
    before = models(table("things", 'Column("note", state, server_default="new")'))
    after = models(table("things", 'Column("remark", state, server_default="new")'))
    after = after.replace('Enum("new", "old"', f"Enum({', '.join(map(repr, labels))}")
    rows = ("INSERT INTO things (note) VALUES ('new')",)
    rename(before, after, "note:remark", rows=rows, result="SELECT remark FROM things")


STATUS = 'Column("note", Enum({labels}, name="{name}"{more}), server_default="new"{rest})'


def enum_column(name: str, *labels: str, more: str = "", rest: str = "") -> str:
    """Return a column of an enum type."""
    return STATUS.format(labels=", ".join(map(repr, labels or ("new", "old"))), name=name, more=more, rest=rest)


IS_NEW = 'Column("is_new", Integer, Computed("CASE WHEN note = \'new\' THEN 1 END", persisted=True))'
TYPES: dict[str, tuple[tuple[str, ...], str, str]] = {
    "alone": (("state:status",), "", ""),
    "with its schema": (("sales.state:sales.status",), ', schema="sales"', ""),
    "of an array and a generated column": (
        ("state:status",),
        "",
        ', Column("all", ARRAY(Enum("new", "old", name="{0}"))), ' + IS_NEW,
    ),
    "of a CHECK and an index": (
        ("state:status",),
        "",
        ', CheckConstraint("note <> \'old\'", name="ck"), Index("ix", "id", postgresql_where=text("note = \'new\'"))',
    ),
    "in quotes": (('state:"a:b.c%"',), "", ""),
}


@pytest.mark.parametrize(("options", "more", "parts"), TYPES.values(), ids=TYPES)
def test_a_renamed_enum_type_keeps_its_columns_as_they_are(options, more, parts, rename) -> None:
    new = "a:b.c%" if '"' in options[0] else "status"
    before, after = (
        models(table("things", enum_column(name, more=more) + parts.replace("{0}", name))) for name in ("state", new)
    )
    up, down = rename(before, after, *options, rows=ROWS_OF_NEW, result="SELECT note FROM things", values=["new"])
    for code in (up, down):
        assert "ALTER TYPE" in code
        assert "RENAME TO" in code
        assert code.count("op.") == 1


ROWS_OF_NEW = ("INSERT INTO things DEFAULT VALUES",)


def test_enum_types_exchange_their_names(rename) -> None:
    column = 'Column("{}", Enum("{}", name="{}"))'
    before = models(table("things", column.format("x", "a", "one"), column.format("y", "b", "two")))
    after = models(table("things", column.format("x", "a", "two"), column.format("y", "b", "one")))
    row = ("INSERT INTO things (x, y) VALUES ('a', 'b')",)
    up, _ = rename(before, after, "one:two", "two:one", rows=row, result="SELECT x, y FROM things", values=["a", "b"])
    assert "ALTER COLUMN" not in up


@pytest.mark.parametrize("labels", [("new", "mid", "old"), ("new", "gone"), ("old", "new")])
def test_a_renamed_enum_type_gets_its_new_labels_too(labels, rename) -> None:
    before, after = (models(table("things", part)) for part in (enum_column("state"), enum_column("status", *labels)))
    up, _ = rename(before, after, "state:status", rows=ROWS_OF_NEW, result="SELECT note FROM things", values=["new"])
    assert "ALTER TYPE state RENAME TO status" in up


def test_a_renamed_enum_type_has_a_new_label_that_the_same_revision_uses(rename) -> None:
    before = models(table("things", enum_column("state")))
    after = models(table("things", enum_column("status", "new", "old", "mid").replace('="new"', '="mid"')))
    up, _ = rename(before, after, "state:status", rows=ROWS_OF_NEW, result="SELECT note FROM things", values=["new"])
    assert up.index("autocommit_block") < up.index("ALTER TYPE state ADD VALUE") < up.index("RENAME TO status")


def test_an_enum_type_is_renamed_together_with_its_table_and_column(rename) -> None:
    after = models(table("items", enum_column("status").replace('"note"', '"remark"')))
    options = ("things:items", "note:remark", "state:status")
    up, _ = rename(models(table("things", enum_column("state"))), after, *options, rows=ROWS_OF_NEW)
    assert up.count("op.") == up.count("RENAME") == 3


def test_a_function_doesnt_stop_the_rename_of_its_enum_type(changed) -> None:
    before, after = (models(table("things", enum_column(name))) for name in ("state", "status"))
    function = "CREATE FUNCTION first(state) RETURNS state LANGUAGE sql AS 'SELECT $1'"
    service = changed(before, after, function)
    with pytest.raises(MigrationError):
        wait(service_migrations.revision(service, "converted"))
    wait(service_migrations.revision(service, "renamed", renames=["state:status"]))
    wait(service_migrations.upgrade(service))
    clean(service)


def test_an_enum_type_that_another_services_table_has_isnt_renamed(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    service = monorepo.service("shop", models(table("things", enum_column("state"))), dsn)
    other = monorepo.service("other", models(table("parcels", NOTE)), dsn)
    for each in (service, other):
        written(monorepo, each, "before")
        wait(service_migrations.upgrade(each))
    run_script(dsn, ["ALTER TABLE parcels ADD COLUMN state state"])
    remodel(monorepo, service, models(table("things", enum_column("status"))))
    with pytest.raises(UsageError, match="state:status matches nothing"):
        wait(service_migrations.revision(service, "after", renames=["state:status"]))


NAMES = [
    "note:remark",
    "things.note:remark",
    "note:things.remark",
    "things.note:things.remark",
    "sales.things.note:remark",
    "sales.things.note:sales.things.remark",
    '"sales"."things"."note":"remark"',
]


@pytest.mark.parametrize("option", NAMES)
def test_a_name_may_have_its_table_and_schema_before_it(option, rename) -> None:
    before, after = (models(table("things", part), metadata='schema="sales"') for part in (NOTE, REMARK))
    row = ("INSERT INTO sales.things (note) VALUES ('kept')",)
    up, _ = rename(before, after, option, rows=row, result="SELECT remark FROM sales.things")
    assert "ALTER TABLE sales.things RENAME COLUMN note TO remark" in up


@pytest.mark.parametrize("option", ["things:items", "sales.things:items", "sales.things:sales.items"])
def test_a_table_may_have_its_schema_before_it(option, rename) -> None:
    before, after = (models(table(name, NOTE), metadata='schema="sales"') for name in ("things", "items"))
    row = ("INSERT INTO sales.things (note) VALUES ('kept')",)
    rename(before, after, option, rows=row, result="SELECT note FROM sales.items")


@pytest.mark.parametrize("option", ["public.things.note:remark", "public.things.note:public.things.remark"])
def test_the_default_schema_has_a_name_too(option, rename) -> None:
    rename(BEFORE, AFTER, option, rows=ROW, result="SELECT remark FROM things")


# what is refused

TWO = (models(table("things", NOTE), table("others", NOTE)), models(table("things", REMARK), table("others", REMARK)))
PLAIN = (BEFORE, AFTER)
REFUSED = {
    "no such column": (PLAIN, ("nothing:remark",), "nothing:remark matches nothing"),
    "no such new column": (PLAIN, ("note:nothing",), "note:nothing matches nothing"),
    "no such table": (PLAIN, ("others.note:others.remark",), "matches nothing"),
    "another table": (PLAIN, ("things.note:others.remark",), "matches nothing"),
    "another schema": (PLAIN, ("sales.things.note:remark",), "matches nothing"),
    "the wrong way": (PLAIN, ("remark:note",), "matches nothing"),
    "a column that both have": (PLAIN, ("id:remark",), "id:remark matches nothing"),
    "a column whose name is used again": (
        (BEFORE, models(table("things", REMARK, 'Column("note", Integer)'))),
        ("note:remark",),
        "If the models have something new by the name note, take it out for now",
    ),
    "a table whose name is used again": (
        (BEFORE, models(table("items", NOTE), table("things", REMARK))),
        ("things:items",),
        "If the models have something new by the name things, take it out for now",
    ),
    "one that is ambiguous": (
        TWO,
        ("note:remark",),
        "note:remark is ambiguous. Write one of: public.others.note:public.others.remark, public.things.note:",
    ),
    "half a chain": (
        (models(table("t", 'Column("a", Text)', 'Column("b", Text)')), models(table("t", 'Column("b", Text)'))),
        ("a:b",),
        "a:b matches nothing",
    ),
    "a chain over two tables": (
        (
            models(table("t", 'Column("a", Text)', 'Column("b", Text)'), table("u", 'Column("b", Text)')),
            models(table("t", 'Column("b", Text)'), table("u", 'Column("c", Text)')),
        ),
        ("a:b", "u.b:c"),
        "a:b matches nothing",
    ),
    "one to two": (
        (BEFORE, models(table("things", REMARK, 'Column("third", Text)'))),
        ("note:remark", "note:third"),
        "note:remark and --rename note:third exclude each other",
    ),
    "two to one": (
        (models(table("things", NOTE, 'Column("third", Text)')), AFTER),
        ("note:remark", "third:remark"),
        "exclude each other",
    ),
    "to a generated column": (
        (BEFORE, models(table("things", 'Column("remark", Text, Computed("\'x\'", persisted=True))'))),
        ("note:remark",),
        "things.remark is generated, so it can't keep the values of note",
    ),
    "a table in another schema": (
        (BEFORE, models(table("items", NOTE, 'schema="sales"'))),
        ("things:sales.items",),
        "ALTER TABLE things SET SCHEMA sales; ALTER TABLE sales.things RENAME TO items;",
    ),
    "a table of a schema in another one": (
        tuple(models(table("things", NOTE, f'schema="{schema}"'), table("other")) for schema in ("one", "two")),
        ("one.things:two.things",),
        (
            "one.things:two.things: a table isn't moved to another schema. Write a revision with --empty, and in it, "
            "after CREATE SCHEMA: ALTER TABLE one.things SET SCHEMA two;"
        ),
    ),
    "a table of a schema in the default one": (
        tuple(models(table("things", NOTE, f"schema={schema}"), table("other")) for schema in ("'one'", "None")),
        ("one.things:public.things",),
        "ALTER TABLE one.things SET SCHEMA public;",
    ),
    **{
        f"{text!r}": (PLAIN, (text,), "must be old:new, two different names")
        for text in ("", ":", "note", "note:", ":remark", "a:b:c", "note:note", "a.b.c.d:e", "a..b:c", "a b:c", '":c')
    },
}


@pytest.fixture
def changed(monorepo: Monorepo, database: Callable[..., Dsn]) -> Callable[..., Service]:
    """Take a new database to some models, and write others."""
    dsn = database()

    def go(before: str, after: str, *script: str) -> Service:
        service = monorepo.service("shop", before, dsn)
        written(monorepo, service, "before")
        wait(service_migrations.upgrade(service))
        run_script(dsn, list(script))
        remodel(monorepo, service, after)
        return service

    return go


@pytest.mark.parametrize(("both", "options", "message"), REFUSED.values(), ids=REFUSED)
def test_a_rename_that_isnt_one_is_refused_and_writes_no_file(both, options, message, changed) -> None:
    service = changed(*both)
    files = set(service.versions.glob("*.py"))
    with pytest.raises(UsageError) as refused:
        wait(service_migrations.revision(service, "after", renames=options))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert set(service.versions.glob("*.py")) == files


def test_a_name_that_something_else_has_is_refused(changed) -> None:
    service = changed(BEFORE, models(table("items", NOTE)), "CREATE SEQUENCE items")
    with pytest.raises(UsageError, match='PostgreSQL refuses ALTER TABLE things RENAME TO items: relation "items"'):
        wait(service_migrations.revision(service, "after", renames=["things:items"]))


@pytest.mark.parametrize("part", ['Column("s", Enum("a", name="items"))', 'Column("s", Integer), Index("items", "s")'])
def test_a_name_that_this_revision_would_free_is_refused_with_the_next_step(part, changed) -> None:
    before = models(table("things", NOTE), table("others", part))
    service = changed(before, models(table("items", NOTE), table("others")))
    with pytest.raises(UsageError, match=r'"items" already exists\. Drop or rename that in a revision before this one'):
        wait(service_migrations.revision(service, "after", renames=["things:items"]))


def test_a_table_of_another_service_isnt_renamed(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    service = monorepo.service("shop", BEFORE, dsn)
    other = monorepo.service("other", models(table("parcels", NOTE)), dsn)
    for each in (service, other):
        written(monorepo, each, "before")
        wait(service_migrations.upgrade(each))
    remodel(monorepo, service, models(table("things", NOTE), table("items", NOTE)))
    with pytest.raises(UsageError, match="parcels:items matches nothing"):
        wait(service_migrations.revision(service, "after", renames=["parcels:items"]))
    assert "RENAME" not in written(monorepo, service, "after")


def test_no_rename_without_a_comparison(changed) -> None:
    with pytest.raises(UsageError, match="--rename doesn't go with --empty"):
        wait(service_migrations.revision(changed(BEFORE, AFTER), "after", empty=True, renames=["note:remark"]))


def test_a_table_that_is_in_use_is_waited_for(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    service = monorepo.service("shop", BEFORE, dsn, MIGRATIONS_LOCK_TIMEOUT="200ms")
    first_upgrade(monorepo, service)
    remodel(monorepo, service, AFTER)

    async def write() -> None:
        connection = await asyncpg.connect(**dsn.connect_args())
        try:
            await connection.execute("BEGIN; LOCK TABLE things IN ACCESS SHARE MODE")
            await service_migrations.revision(service, "after", renames=["note:remark"])
        finally:
            await connection.close()

    with pytest.raises(LockNotObtainedError):
        wait(write())


USES = (
    "CREATE VIEW notes AS SELECT note FROM things",
    "CREATE SCHEMA apart",
    "CREATE TABLE apart.uses (note text REFERENCES things (note))",
    "INSERT INTO apart.uses VALUES ('kept')",
    "CREATE POLICY kept ON things USING (note <> '')",
)


@pytest.mark.parametrize(
    ("after", "option"),
    [
        (table("things", REMARK.replace("Text", "Text, unique=True")), "note:remark"),
        (table("items", UNIQUE), "things:items"),
    ],
)
def test_what_others_have_built_on_it_is_carried_along(after, option, changed) -> None:
    service = changed(models(table("things", UNIQUE)), models(after), *ROW, *USES)
    with pytest.raises(UsageError, match=f"uses things.*If it was renamed: --rename .*{option.partition(':')[2]}"):
        wait(service_migrations.revision(service, "dropped"))
    wait(service_migrations.revision(service, "renamed", renames=[option]))
    wait(service_migrations.upgrade(service))
    clean(service)
    wait(service_migrations.downgrade(service, "-1"))
    wait(service_migrations.upgrade(service))


# what wasn't asked for

COMMENTED = {
    "a column": (PLAIN, ["things.note:things.remark"]),
    "a column of the schema": (
        tuple(models(table("things", part), metadata='schema="sales"') for part in (NOTE, REMARK)),
        ["sales.things.note:sales.things.remark"],
    ),
    "a table": ((BEFORE, models(table("items", NOTE))), ["things:items"]),
    "a table with its columns in another order": (
        (
            models(table("things", NOTE, 'Column("n", Integer)')),
            models(table("items", 'Column("n", Integer)', NOTE)),
        ),
        ["things:items"],
    ),
    "two columns": (TWO, ["others.note:others.remark", "things.note:things.remark"]),
    "one of several": (
        (BEFORE, models(table("things", REMARK, 'Column("third", Text)', 'Column("n", Integer)'))),
        ["things.note:things.remark", "things.note:things.third"],
    ),
    "an enum type": (
        tuple(models(table("things", enum_column(name))) for name in ("state", "status")),
        ["state:status"],
    ),
    "an enum type of a schema": (
        tuple(models(table("things", enum_column(name, more=', schema="sales"'))) for name in ("state", "status")),
        ["sales.state:sales.status"],
    ),
    "an enum type with other labels": (
        tuple(models(table("things", enum_column(*words))) for words in (("state",), ("status", "new", "old", "x"))),
        [],
    ),
    "names in quotes": (
        (models(table("things", 'Column("a:b", Text)')), AFTER),
        ["'things.\"a:b\":things.remark'"],
    ),
    "another type": ((BEFORE, models(table("things", 'Column("remark", Integer)'))), []),
    "NOT NULL": ((BEFORE, models(table("things", 'Column("remark", Text, nullable=False)'))), []),
    "another table": ((BEFORE, models(table("items", REMARK))), []),
    "only a drop": ((BEFORE, models(table("things"))), []),
    "only an addition": ((models(table("things")), AFTER), []),
}


@pytest.mark.parametrize(("both", "options"), COMMENTED.values(), ids=COMMENTED)
def test_a_file_says_how_to_rename_what_it_drops(both, options, changed, monorepo: Monorepo) -> None:
    service = changed(*both)
    up, _, down = written(monorepo, service, "after").partition("def downgrade")
    command = "    # inv db.revision --service shop -m '…' --rename "
    lines = up.splitlines()
    commands = [line.removeprefix(command) for line in lines if line.startswith(command)]
    assert sorted(commands) == sorted(option.replace('"', "'") for option in options)
    assert command not in down
    wait(service_migrations.upgrade(service))
    clean(service)


def test_a_file_that_drops_is_replaced_as_its_comment_says(monorepo: Monorepo, changed) -> None:
    service = changed(*PLAIN)
    dropping = wait(service_migrations.revision(service, "after"))
    (monorepo.root / dropping.path).unlink()
    done = monorepo.inv("db.revision", "--service", "shop", "-m", "after", "--rename", "things.note:things.remark")
    assert done.code == 0, done.text
    assert "RENAME COLUMN note TO remark" in (monorepo.root / done.out.strip()).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("after", "answers", "questions", "expected"),
    [
        (AFTER, "y\n", ["Table things: Was note renamed to remark? [y/N]"], ["RENAME COLUMN note TO remark"]),
        (AFTER, "\n", ["Table things: Was note renamed to remark? [y/N]"], ["drop_column", "add_column"]),
        (AFTER, "\x04", ["Table things: Was note renamed to remark? [y/N]"], ["drop_column", "add_column"]),
        (
            models(table("things", 'Column("remark", Text)', 'Column("third", Text)')),
            "n\ny\n",
            ["Was note renamed to remark?", "Was note renamed to third?"],
            ["RENAME COLUMN note TO third", "add_column"],
        ),
        (
            models(table("things", 'Column("remark", Text)', 'Column("third", Text)')),
            "y\n",
            ["Was note renamed to remark?"],
            ["RENAME COLUMN note TO remark", "add_column"],
        ),
        (models(table("items", NOTE)), "y\n", ["Was the table things renamed to items?"], ["RENAME TO items"]),
        (models(table("things", NOTE, REMARK)), "", [], ["add_column"]),
    ],
)
def test_on_a_terminal_each_possible_rename_is_asked(after, answers, questions, expected, changed, monorepo) -> None:
    changed(BEFORE, after)
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answers.encode())
        ran = subprocess.run(
            [sys.executable, "-m", "invoke", "db.revision", "--service", "shop", "-m", "after"],
            cwd=monorepo.root,
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("[y/N]") == len(questions)
    assert all(question in ran.stderr for question in questions)
    code = (monorepo.root / ran.stdout.strip()).read_text(encoding="utf-8")
    code = code[code.index("def upgrade") : code.index("def downgrade")]
    assert all(text in code for text in expected)
    assert code.count("op.") == len(expected)


# constraints and indexes, which are renamed without a question

CONVENTION = """naming_convention={
    "ix": "ix_%(table_name)s_%(column_0_N_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s", "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}"""


def test_a_naming_convention_that_comes_later_only_renames(rename) -> None:
    tables = (
        table(
            "things",
            'Column("note", Text, unique=True, index=True)',
            'Column("number", Integer)',
            'CheckConstraint("number > 0", name="positive")',
            'UniqueConstraint("number", "note", deferrable=True, initially="DEFERRED")',
        ),
        table(
            "others",
            'Column("thing", ForeignKey("things.id"), index=True)',
            'Column("note", ForeignKey("things.note"))',
        ),
    )
    rows = (
        "INSERT INTO things (note, number) VALUES ('kept', 1)",
        "INSERT INTO others (thing, note) VALUES (1, 'kept')",
    )
    up, down = rename(
        models(*tables),
        models(*tables, metadata=CONVENTION),
        rows=rows,
        result="SELECT note FROM others",
        replayed=True,
    )
    for code in (up, down):
        assert code.count("op.") == code.count("RENAME CONSTRAINT") == 6


PARTS_ONLY = {
    "a CHECK": 'CheckConstraint("a > 0", name="{}")',
    "a key": 'UniqueConstraint("a", name="{}")',
    "a key with all options": 'UniqueConstraint("a", name="{}", deferrable=True, initially="DEFERRED")',
    "an exclusion": 'ExcludeConstraint((column("a"), "="), using="btree", where=text("a > 0"), name="{}")',
    "a foreign key": 'ForeignKeyConstraint(["a"], ["things.id"], name="{}", ondelete="CASCADE")',
    "a primary key": 'PrimaryKeyConstraint("id", name="{}")',
    "an index": 'Index("{}", "a")',
    "a unique index": 'Index("{}", "a", unique=True)',
    "an index of expressions": 'Index("{}", text("(a + b)"), postgresql_where=text("a > 0"))',
}
INTEGERS = ('Column("a", Integer)', 'Column("b", Integer)')


@pytest.mark.parametrize("schema", ["", 'schema="sales"'], ids=["default schema", "another"])
@pytest.mark.parametrize("part", PARTS_ONLY.values(), ids=PARTS_ONLY)
@pytest.mark.parametrize(("old", "new"), [("one", "other"), ("one", 'Other "%" name')])
def test_a_part_with_another_name_is_renamed(part, old, new, schema, rename) -> None:
    if schema:
        part = part.replace('"things.id"', '"sales.things.id"')
    before, after = (
        models(table("things", *INTEGERS, part.format(name.replace('"', '\\"'))), metadata=schema)
        for name in (old, new)
    )
    up, down = rename(before, after)
    for code in (up, down):
        assert code.count("op.") == code.count(" RENAME ") == 1


SWAPS = {
    "checks": ('CheckConstraint("a > 0", name="{}")', 'CheckConstraint("b > 0", name="{}")'),
    "keys": ('UniqueConstraint("a", name="{}")', 'UniqueConstraint("b", name="{}")'),
    "indexes": ('Index("{}", "a")', 'Index("{}", "b")'),
    "key and index": ('UniqueConstraint("a", name="{}")', 'Index("{}", "b")'),
    "key and CHECK": ('UniqueConstraint("a", name="{}")', 'CheckConstraint("b > 0", name="{}")'),
}


@pytest.mark.parametrize("parts", SWAPS.values(), ids=SWAPS)
@pytest.mark.parametrize(("old", "new"), [(("x", "y"), ("y", "z")), (("y", "x"), ("z", "y")), (("x", "y"), ("y", "x"))])
def test_parts_take_over_the_names_of_each_other(parts, old, new, rename) -> None:
    before, after = (
        models(table("things", *INTEGERS, *(part.format(name) for part, name in zip(parts, names, strict=True))))
        for names in (old, new)
    )
    up, _ = rename(before, after)
    assert "CREATE" not in up
    assert "ADD " not in up


def test_indexes_of_two_tables_take_over_the_names_of_each_other(rename) -> None:
    before, after = (
        models(table("things", *INTEGERS, f'Index("{first}", "a")'), table("others", *INTEGERS, f'Index("{two}", "b")'))
        for first, two in (("x", "y"), ("y", "x"))
    )
    up, _ = rename(before, after)
    assert up.count("op.") == up.count("ALTER INDEX") == 4


MIXED = {
    "a name that a dropped part had": (
        ('CheckConstraint("a > 0", name="x")', 'CheckConstraint("b > 0", name="y")'),
        ('CheckConstraint("a > 0", name="y")',),
    ),
    "a name that a new part gets": (
        ('CheckConstraint("a > 0", name="x")',),
        ('CheckConstraint("a > 0", name="y")', 'CheckConstraint("b > 0", name="x")'),
    ),
    "a name that a new index gets": (('Index("x", "a")',), ('Index("y", "a")', 'Index("x", "b")')),
    "a name that a dropped index had": (('Index("x", "a")', 'Index("y", "b")'), ('Index("y", "a")',)),
    "one of two equal ones": (('Index("x", "a")', 'Index("y", "a")'), ('Index("z", "a")',)),
    "a key and what it becomes": (('UniqueConstraint("a", name="x")',), ('Index("y", "a", unique=True)',)),
    "a part whose column gets another type": (
        ('CheckConstraint("c > 0", name="x")', 'Column("c", Integer)', 'Index("i", text("(c + 1)"))'),
        ('CheckConstraint("c > 0", name="y")', 'Column("c", BigInteger)', 'Index("j", text("(c + 1)"))'),
    ),
    "a key whose column gets another type": (
        ('Column("c", Integer)', 'UniqueConstraint("c", name="x")'),
        ('Column("c", BigInteger)', 'UniqueConstraint("c", name="y")'),
    ),
}


@pytest.mark.parametrize(("before", "after"), MIXED.values(), ids=MIXED)
def test_renamed_parts_are_beside_dropped_and_new_ones(before, after, rename) -> None:
    rename(models(table("things", *INTEGERS, *before)), models(table("things", *INTEGERS, *after)))


@pytest.mark.parametrize("labels", [("new", "mid", "old"), ("old",)], ids=["added", "removed"])
def test_a_renamed_part_is_recreated_where_its_enum_type_is(labels, rename) -> None:
    parts = ('Column("kind", state)', "CheckConstraint(\"kind <> 'old'\", name='{}')", 'Index("{}_i", "kind")')
    before, after = (models(table("things", *(part.format(name) for part in parts))) for name in ("x", "y"))
    rename(before, after.replace('Enum("new", "old"', f"Enum({', '.join(map(repr, labels))}{',' * (len(labels) < 1)}"))


@pytest.mark.parametrize(
    ("before", "after", "move"),
    [
        ("None", "'audit'", "ALTER TABLE note SET SCHEMA audit"),
        ("'audit'", "None", "ALTER TABLE audit.note SET SCHEMA public"),
    ],
)
def test_a_file_says_how_to_move_the_table_that_it_drops(
    before: str, after: str, move: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    def both(schema: str) -> str:
        return models(table("note", 'Column("text", Text)', f"schema={schema}"), table("other"))

    dsn = database()
    service = monorepo.service("shop", both(before), dsn)
    first_upgrade(monorepo, service)
    query(dsn, f"INSERT INTO {move.split()[2]} VALUES (7, 'kept')")  # noqa: S608 - a name of the test
    remodel(monorepo, service, both(after))
    code = written(monorepo, service, "after")
    assert f"after CREATE SCHEMA: {move}" in code.replace("\n    # ", " ")
    (path,) = service.versions.glob("*_after.py")
    down = query(dsn, "SELECT version_num FROM alembic_version_shop")[0][0]
    path.unlink()
    up = ["CREATE SCHEMA IF NOT EXISTS audit", move]
    monorepo.revision("shop", "moved", down, "\n".join(f"op.execute({each!r})" for each in up))
    (service.versions / "head.txt").write_text("moved\n")
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    rows = "SELECT id, text FROM note" if after == "None" else "SELECT id, text FROM audit.note"
    assert query(dsn, rows) == [(7, "kept")]
