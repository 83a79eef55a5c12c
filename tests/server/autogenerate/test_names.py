"""Names that are freed and taken in one revision, and one name in several schemas."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.errors import UsageError
from service_migrations.models.importing import import_models
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import create_all, remodel, written
from tests.support.catalog import catalog
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo

HEAD = """
from sqlalchemy import *
from sqlalchemy.dialects.postgresql import *
from shared_models import NAMING_CONVENTION

__all__ = ["metadata"]
metadata = MetaData(naming_convention=NAMING_CONVENTION)
"""
EXPORT = """
for number, table in enumerate(metadata.tables.values()):
    globals()[f"table_{number}"] = table
    __all__.append(f"table_{number}")
"""


def tables(*lines: str, name: str = "things", extra: str = "") -> str:
    """Return models of one table with these columns, and others."""
    columns = "".join(f", {line}" for line in lines)
    return f'{HEAD}Table("{name}", metadata, Column("id", Integer, primary_key=True){columns})\n{extra}{EXPORT}'


STATUS = 'Table("status", metadata, Column("id", Integer, primary_key=True))\n'
FREED = {
    "type, table": (
        tables("Column('st', Enum('p', 'q', name='status'), server_default='p')"),
        tables("Column('st', Text, server_default='p')", extra=STATUS),
    ),
    "type of a dropped column, table": (
        tables("Column('st', Enum('p', 'q', name='status'))"),
        tables(extra=STATUS),
    ),
    "type of an array, table": (
        tables("Column('st', ARRAY(Enum('p', name='status')))"),
        tables("Column('st', ARRAY(Text))", extra=STATUS),
    ),
    "type of a generated column, table": (
        tables("Column('a', Text)", "Column('b', Enum('p', name='status'))",
               "Column('g', Boolean, Computed(\"b = 'p'\", persisted=True))"),
        tables("Column('a', Text)", "Column('b', Text)", "Column('g', Boolean, Computed(\"b = 'p'\", persisted=True))",
               extra=STATUS),
    ),
    "type and table change places": (
        tables("Column('st', Enum('p', name='status'))", extra=STATUS.replace("status", "kind")),
        tables("Column('st', Enum('p', name='kind'))", extra=STATUS),
    ),
    "type of a dropped table, table": (
        tables(extra='Table("old", metadata, Column("st", Enum("p", name="status")))\n'),
        tables(extra=STATUS),
    ),
    "index, table": (
        tables("Column('a', Integer)", "Index('status', 'a')"),
        tables("Column('a', Integer)", extra=STATUS),
    ),
    "unique constraint, table": (
        tables("Column('a', Integer)", "UniqueConstraint('a', name='status')"),
        tables("Column('a', Integer)", extra=STATUS),
    ),
    "index of an altered table, index of a new one": (
        tables("Column('a', Integer)", "Index('i', 'a')"),
        tables("Column('a', Integer)", extra='Table("new", metadata, Column("a", Integer), Index("i", "a"))\n'),
    ),
    "sequence, table": (
        tables("Column('n', SmallInteger, Identity())"),
        tables("Column('n', SmallInteger, nullable=False)", extra=STATUS.replace("status", "things_n_seq")),
    ),
    "name that the old type gets": (
        tables("Column('st', Enum('p', 'q', name='status'))", "Column('o', Enum('x', name='status__former'))"),
        tables("Column('st', Enum('p', name='status'))", "Column('o', Enum('x', name='status__former'))"),
    ),
    "long name of a type": (
        tables(f"Column('st', Enum('p', 'q', name='{'é' * 31}x'))"),
        tables(f"Column('st', Enum('p', name='{'é' * 31}x'))"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("turned", [False, True], ids=["freed", "taken"])
@pytest.mark.parametrize(("before", "after"), FREED.values(), ids=FREED)
def test_a_name_is_freed_before_it_is_taken_in_both_directions(
    before: str, after: str, turned: bool, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    if turned:
        before, after = after, before
    dsn = database()
    service = monorepo.service("billing", before, dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    former = [line for line in catalog(dsn) if "alembic_version" not in line]
    remodel(monorepo, service, after)
    written(monorepo, service, "after")
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    wait(service_migrations.downgrade(service, "-1"))
    assert [line for line in catalog(dsn) if "alembic_version" not in line] == former
    wait(service_migrations.upgrade(service))


ONE, TWO = "Enum({}, name='st', schema='one')", "Enum({}, name='st', schema='two')"
OWN = "Enum({}, name='st')"


def schemas(first: str, second: str, *, name: str = "things", schema: str | None = "two", default: str = "a") -> str:
    """Return models of one table with two enum types."""
    return (
        f'{HEAD}Table("{name}", metadata, Column("id", Integer, primary_key=True), '
        f'Column("st", {first}, server_default="{default}"), Column("own", ARRAY({second})), '
        f'Column("more", {second}, CheckConstraint("more <> \'p\'", name="no_p")), schema={schema!r})\n{EXPORT}'
    )


IN_SCHEMAS = {
    "two schemas": (TWO, ONE, "things", "two"),
    "default and another": (OWN, ONE, "things", "two"),
    "another and the default": (ONE, OWN, "things", None),
    "table of the name": (OWN, ONE, "st", "two"),
    "table of the name in a third schema": (OWN, TWO, "st", "three"),
}


@pytest.mark.parametrize(("first", "second", "name", "schema"), IN_SCHEMAS.values(), ids=IN_SCHEMAS)
def test_types_of_one_name_in_two_schemas_are_told_apart(
    first: str, second: str, name: str, schema: str | None, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    versions = [
        (first.format("'a', 'b'"), second.format("'p', 'q'")),
        (first.format("'a', 'b'"), second.format("'p', 'q', 'r'")),
        (first.format("'a'"), second.format("'p', 'q', 'r'")),
        (first.format("'a', 'b'"), second.format("'q'").replace("'q'", "'p'")),
    ]
    service = monorepo.service("billing", schemas(*versions[0], name=name, schema=schema), dsn)
    for number, labels in enumerate(versions):
        remodel(monorepo, service, schemas(*labels, name=name, schema=schema))
        written(monorepo, service, str(number))
        wait(service_migrations.upgrade(service))
        assert wait(service_migrations.check(service)).differences == ()
    wait(service_migrations.downgrade(service, "base"))
    assert query(dsn, "SELECT FROM pg_type WHERE typname = 'st' AND typtype = 'e'") == []


DOMAINS = f"""{HEAD}Table("things", metadata, Column("id", Integer, primary_key=True),
    Column("a", DOMAIN("d", Integer, schema="one")), Column("b", DOMAIN("d", Text, schema="two")),
    Column("c", DOMAIN("d", Date)), Column("e", Enum("x", name="d", schema="three")), schema="two")
{EXPORT}"""


def test_domains_of_one_name_are_told_apart_and_not_created_again(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    for schema, base in (("one", "int"), ("two", "text")):
        query(dsn, f"CREATE SCHEMA {schema}")
        query(dsn, f"CREATE DOMAIN {schema}.d AS {base}")
    query(dsn, "CREATE DOMAIN d AS date")
    service = monorepo.service("billing", DOMAINS, dsn)
    code = written(monorepo, service, "create")
    assert "SQLType('one.d')" in code, code
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    wait(service_migrations.downgrade(service, "base"))
    wait(service_migrations.upgrade(service))


PLAIN = tables("Column('a', Integer, index=True)")
TAKEN = {
    "table": (tables("Column('a', Integer, index=True)", extra=STATUS), "the table status"),
    "type": (tables("Column('a', Integer, index=True)", "Column('s', Enum('x', name='status'))"), "the type status"),
    "index": (tables("Column('a', Integer, index=True)", "Index('status', 'id', 'a')"), "status of things"),
    "renamed index": (tables("Column('a', Integer)", "Index('status', 'a')"), "status of things"),
    "index of a new table": (
        tables("Column('a', Integer, index=True)",
               extra='Table("fresh", metadata, Column("a", Integer), Index("status", "a"))\n'),
        "status of fresh",
    ),
    "unique constraint": (
        tables("Column('a', Integer, index=True)", "UniqueConstraint('a', name='status')"),
        "status of things",
    ),
    "exclusion": (
        tables("Column('a', Integer, index=True)", "ExcludeConstraint(('a', '='), name='status', using='btree')"),
        "status of things",
    ),
    "primary key of a new table": (
        tables("Column('a', Integer, index=True)",
               extra='Table("fresh", metadata, Column("a", Integer), PrimaryKeyConstraint("a", name="status"))\n'),
        "status of fresh",
    ),
    "exclusion of a new table": (
        tables("Column('a', Integer, index=True)",
               extra='Table("fresh", metadata, Column("a", Integer), '
                     'ExcludeConstraint(("a", "="), name="status", using="btree"))\n'),
        "status of fresh",
    ),
}  # fmt: skip
"""Models that take the name ``status``, and what a message calls that part."""
HOLDERS = {
    "view": ("CREATE VIEW status AS SELECT 1 AS one", "view public.status"),
    "materialized view": ("CREATE MATERIALIZED VIEW status AS SELECT 1 AS one", "materialized view public.status"),
    "sequence": ("CREATE SEQUENCE status", "sequence public.status"),
    "a sibling's table": ("CREATE TABLE status (id int)", "table public.status"),
    "index of a sibling": ("CREATE TABLE bees (id int); CREATE INDEX status ON bees (id)", "index public.status"),
    "composite type": ("CREATE TYPE status AS (one int)", "composite type public.status"),
    "domain": ("CREATE DOMAIN status AS int", "type public.status"),
    "range": ("CREATE TYPE status AS RANGE (subtype = float8)", "type public.status"),
    "enum of a sibling": ("CREATE TYPE status AS ENUM ('y')", "type public.status"),
}
ONLY_TYPES, NO_TYPES = {"domain", "range", "enum of a sibling"}, {"sequence", "index of a sibling"}
SIBLINGS = {
    "a sibling's table": 'Table("status", metadata, Column("id", Integer))\n',
    "enum of a sibling": 'Table("bees", metadata, Column("s", Enum("y", name="status")))\n',
}
COMBINATIONS = [
    (part, holder)
    for part in TAKEN
    for holder in (HOLDERS if part in ("table", "type", "index", "renamed index") else ("view",))
    if (part, holder) not in {("table", "a sibling's table"), ("type", "enum of a sibling")}  # both claim it
]


@pytest.mark.parametrize(("part", "holder"), COMBINATIONS)
def test_a_name_that_another_object_has_is_refused(
    part: str, holder: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    service = monorepo.service("billing", PLAIN, dsn)
    bees = 'Table("bees", metadata, Column("id", Integer))\n'
    monorepo.service("hive", f"{HEAD}{SIBLINGS.get(holder, bees)}{EXPORT}", dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    (statements, name), (after, text) = HOLDERS[holder], TAKEN[part]
    run_script(dsn, statements.split("; "))
    remodel(monorepo, service, after)
    is_free = (holder in ONLY_TYPES and part not in ("table", "type")) or (holder in NO_TYPES and part == "type")
    if is_free or (part == "table" and "view" in holder):  # the class of a view needs no revision
        revision = wait(service_migrations.revision(service, "after"))
        assert revision is None or wait(service_migrations.upgrade(service))
        return
    with pytest.raises(UsageError, match=rf"^billing: the {name} has the name of {text}, "):
        wait(service_migrations.revision(service, "after"))
    assert wait(service_migrations.check(service)).differences


ID = 'Column("id", Integer, primary_key=True)'
PLAIN_HEAD = f"""
from sqlalchemy import *
metadata = MetaData()
__all__ = ["metadata"]
things = Table("things", metadata, {ID})
"""
NAMESAKES = {
    "indexes of two tables": (
        f'Table("as", metadata, {ID}, Index("ix", "id"))\nTable("bs", metadata, {ID}, Index("ix", "id"))\n',
        "ix of bs has the name of ix of as",
    ),
    "keys of two tables": (
        (
            'Table("as", metadata, Column("id", Integer), PrimaryKeyConstraint("id", name="pk"))\n'
            'Table("bs", metadata, Column("id", Integer), Column("b", Integer), UniqueConstraint("b", name="pk"))\n'
        ),
        "pk of bs has the name of pk of as",
    ),
    "an index and a table": (
        f'Table("as", metadata, {ID}, Index("bs", "id"))\nTable("bs", metadata, {ID})\n',
        "the table bs has the name of bs of as",
    ),
    "a table and an enum type": (
        f'Table("as", metadata, {ID}, Column("s", Enum("y", name="bs")))\nTable("bs", metadata, {ID})\n',
        "the table bs has the name of the type bs",
    ),
    "a table and a sequence": (
        f'Table("as", metadata, {ID}, Column("n", Integer, Sequence("bs")))\nTable("bs", metadata, {ID})\n',
        "the table bs has the name of the sequence bs",
    ),
    "indexes of a table that is there and a new one": (
        f'Index("ix", things.c.id)\nTable("bs", metadata, {ID}, Index("ix", "id"))\n',
        "ix of things has the name of ix of bs",
    ),
}


@pytest.mark.parametrize(("models", "says"), NAMESAKES.values(), ids=NAMESAKES)
def test_a_name_that_two_new_objects_have_is_refused(
    models: str, says: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    service = monorepo.service("billing", PLAIN_HEAD, database())
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    remodel(monorepo, service, f"{PLAIN_HEAD}{models}")
    with pytest.raises(UsageError) as refused:
        wait(service_migrations.revision(service, "after"))
    assert str(refused.value).replace('"', "") == (
        f"billing: {says}, so PostgreSQL can't create both. Give one of them another name."
    )


EQUAL = """
from sqlalchemy import *
from shared_models import NAMING_CONVENTION
metadata = MetaData(naming_convention=NAMING_CONVENTION)
__all__ = ["metadata"]
Table("things", metadata, Column("i", Integer, primary_key=True), Column("n", Text, unique=True), UniqueConstraint("n"))
"""


def test_two_equal_constraints_of_a_new_table_are_created_as_one(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """A convention gives both one name, and PostgreSQL takes them for one; the revision was refused."""
    dsn, full = database(), database()
    service = monorepo.service("billing", EQUAL, dsn)
    create_all(import_models(service).metadata, full)
    written(monorepo, service)
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    names = "SELECT conname FROM pg_constraint WHERE conrelid = 'things'::regclass AND contype <> 'n' ORDER BY 1"
    assert query(dsn, names) == query(full, names) == [("pk_things",), ("uq_things_n",)]


def test_objects_of_two_schemas_may_have_one_name(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    both = [f'Table("t", metadata, {ID}, Index("ix", "id"), schema={schema!r})\n' for schema in (None, "far")]
    service = monorepo.service("billing", PLAIN_HEAD + "".join(both), database())
    written(monorepo, service, "both")
    assert wait(service_migrations.upgrade(service))
    assert not wait(service_migrations.check(service)).differences
