"""The first revision makes what ``create_all`` makes, for every argument that SQLAlchemy's schema objects have.

The arguments are read from SQLAlchemy's own signatures: a new one has to be tried here, or be named with the reason why
it makes nothing in a database.
"""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.base import PGDialect

import service_migrations
from service_migrations.models.importing import import_models
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import create_all, written
from tests.support.catalog import catalog
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo

MODELS = """
from sqlalchemy import *
from sqlalchemy.dialects.postgresql import *
from shared_models import NAMING_CONVENTION

__all__ = ["metadata", "others"]
metadata = MetaData(naming_convention=NAMING_CONVENTION)
others = Table("others", metadata, Column("real", Integer, primary_key=True, key="id"), Column("b", Integer),
    UniqueConstraint("id", "b"))
"""
A, AB = 'Column("a", Integer)', 'Column("a", Integer), Column("b", Integer)'
CONSTRAINTS = {"deferrable": "deferrable=True", "initially": 'deferrable=True, initially="DEFERRED"'}
FOREIGN: dict[str, str] = CONSTRAINTS | {
    "name": 'name="own"',
    "use_alter": 'use_alter=True, name="own"',
    "onupdate": 'onupdate="CASCADE"',
    "ondelete": 'ondelete="SET NULL"',
    "match": 'match="FULL"',
    "comment": 'comment="it\'s 100% \\\\ "',
    "postgresql_not_valid": "postgresql_not_valid=True",
}


def each(form: str, arguments: dict[str, str], **more: str) -> dict[str, str]:
    """Return a table for each argument."""
    return {name: form.format(argument) for name, argument in arguments.items()} | more


CASES: dict[Any, dict[str, str]] = {
    sqlalchemy.Table: each(
        f"{AB}, {{}}",
        {
            "schema": 'schema="side"',
            "quote": "quote=True",
            "quote_schema": 'schema="side", quote_schema=True',
            "comment": 'comment="it\'s 100% \\\\ "',
            "prefixes": 'prefixes=["UNLOGGED"]',
            "postgresql_tablespace": 'postgresql_tablespace="pg_default"',
            "postgresql_partition_by": 'postgresql_partition_by="RANGE (a)"',
            "postgresql_with": 'postgresql_with={"fillfactor": 70, "autovacuum_enabled": False}',
            "postgresql_with_oids": "postgresql_with_oids=False",
            "postgresql_using": 'postgresql_using="heap"',
            "postgresql_inherits": 'postgresql_inherits="others"',
        },
    ),
    sqlalchemy.Column: each(
        'Column("a", Integer, {}), Column("b", Text)',
        {
            "autoincrement": "primary_key=True, autoincrement=False",
            "key": 'key="other", index=True',
            "index": "index=True",
            "unique": "unique=True",
            "nullable": "nullable=False",
            "primary_key": "primary_key=True",
            "server_default": 'server_default=text("1 + 1")',
            "comment": 'comment="why"',
            "quote": "quote=True",
        },
        type_='Column(name="a", type_=String(7, collation="C"))',
        name='Column("a b", Integer), Column("Order", Integer)',
        system='Column("a", Integer), Column("xmin", Integer, system=True)',
    ),
    sqlalchemy.PrimaryKeyConstraint: each(
        f'{AB}, PrimaryKeyConstraint("b", {{}})',
        CONSTRAINTS | {"name": 'name="own"', "postgresql_include": 'postgresql_include=["a"]'},
        columns=f'{AB}, PrimaryKeyConstraint("b", "a")',
    ),
    sqlalchemy.UniqueConstraint: each(
        f'{AB}, UniqueConstraint("b", {{}})',
        CONSTRAINTS
        | {
            "name": 'name="own"',
            "postgresql_include": 'postgresql_include=["a"]',
            "postgresql_nulls_not_distinct": "postgresql_nulls_not_distinct=True",
        },
        columns=f'{AB}, UniqueConstraint("b", "a")',
    ),
    sqlalchemy.CheckConstraint: each(
        f'{A}, CheckConstraint("a > 0", {{}})',
        {"name": 'name="own"', "postgresql_not_valid": 'name="own", postgresql_not_valid=True'},
        sqltext=f'{A}, CheckConstraint(text("a::text <> \'x:y\' AND a % 2 = 0"), name="own")',
    ),
    sqlalchemy.ForeignKey: each(
        'Column("a", Integer, ForeignKey("others.id", {}))',
        FOREIGN,
        column='Column("a", Integer, ForeignKey("others.id"))',
        link_to_name='Column("a", Integer, ForeignKey("others.real", link_to_name=True))',
    ),
    sqlalchemy.ForeignKeyConstraint: each(
        f'{AB}, ForeignKeyConstraint(["a", "b"], ["others.id", "others.b"], {{}})',
        FOREIGN,
        columns=f'{AB}, ForeignKeyConstraint(["b", "a"], ["others.b", "others.id"])',
        refcolumns=f'{AB}, ForeignKeyConstraint(["a", "b"], ["others.id", "others.b"])',
        link_to_name=f'{AB}, ForeignKeyConstraint(["a", "b"], ["others.real", "others.b"], link_to_name=True)',
    ),
    sqlalchemy.Index: each(
        f'{AB}, Index("ix", "a", {{}})',
        {
            "unique": "unique=True",
            "quote": "quote=True",
            "postgresql_using": 'postgresql_using="hash"',
            "postgresql_include": 'postgresql_include=["b"]',
            "postgresql_where": 'postgresql_where=text("b > 1")',
            "postgresql_ops": 'postgresql_ops={"a": "int4_ops"}',
            "postgresql_with": 'postgresql_with={"fillfactor": 50}',
            "postgresql_tablespace": 'postgresql_tablespace="pg_default"',
            "postgresql_nulls_not_distinct": "unique=True, postgresql_nulls_not_distinct=True",
        },
        name=f'{A}, Index("IX of it", "a")',
        expressions=f'{AB}, Index("ix", text("(a + b)"), desc(column("a")), nulls_first(column("b")))',
    ),
    sqlalchemy.Identity: each(
        'Column("a", BigInteger, Identity({}), primary_key=True)',
        {
            "always": "always=True",
            "start": "start=5",
            "increment": "increment=-1",
            "minvalue": "minvalue=-3, start=0",
            "maxvalue": "maxvalue=9",
            "nominvalue": "nominvalue=True",
            "nomaxvalue": "nomaxvalue=True",
            "cycle": "cycle=True",
            "cache": "cache=7",
        },
    ),
    sqlalchemy.Computed: {
        "sqltext": f'{A}, Column("c", Integer, Computed("a * 2", persisted=True))',
        "persisted": f'{A}, Column("c", Integer, Computed("a * 2", persisted=False))',
    },
    sqlalchemy.Enum: each(
        'Column("a", Enum("x", "y", {}))',
        {
            "name": 'name="mood"',
            "schema": 'name="mood", schema="side"',
            "native_enum": 'name="mood", native_enum=False',
            "create_constraint": 'name="mood", native_enum=False, create_constraint=True',
            "length": 'name="mood", native_enum=False, length=40',
            "metadata": 'name="mood", metadata=metadata',
            "quote": 'name="mood", quote=True',
        },
        enums='Column("a", Enum("it\'s", "100%", "a:b", name="mood"))',
    ),
    postgresql.ENUM: {
        "enums": 'Column("a", ENUM("x", "y", name="mood"))',
        "name": 'Column("a", ENUM("x", name="Mood of it"))',
    },
    postgresql.ExcludeConstraint: each(
        f'{AB}, Column("net", INET), ExcludeConstraint(("a", "="), {{}})',
        {
            "name": 'name="apart", using="btree"',
            "using": 'name="apart", using="btree"',
            "where": 'name="apart", using="btree", where=text("b > 1")',
            "deferrable": 'name="apart", using="btree", deferrable=True',
            "initially": 'name="apart", using="btree", deferrable=True, initially="DEFERRED"',
        },
        elements=f'{AB}, ExcludeConstraint(("a", "="), (text("(a + b)"), "="), name="apart", using="btree")',
        ops='Column("net", INET), ExcludeConstraint(("net", "&&"), name="apart", ops={"net": "inet_ops"})',
    ),
}
"""For each class, tables that use one of its arguments."""

OPAQUE = {
    sqlalchemy.Enum: (
        *("create_constraint", "inherit_schema", "length", "metadata", "name", "native_enum", "quote", "schema"),
        *("omit_aliases", "sort_key_function", "validate_strings", "values_callable"),
    ),
    postgresql.ExcludeConstraint: ("name", "deferrable", "initially", "using", "where", "ops"),
}
"""The arguments of those that take ``**kw``, by their documentation."""

PYTHON = "of Python alone"
NO_DDL: dict[Any, dict[str, str]] = {
    sqlalchemy.Table: {
        **dict.fromkeys(("name", "metadata", "info", "listeners", "implicit_returning"), PYTHON),
        **dict.fromkeys(
            (
                *("autoload_with", "autoload_replace", "resolve_fks", "include_columns"),
                *("keep_existing", "extend_existing", "postgresql_ignore_search_path"),
            ),
            "how a table is read from a database, or declared twice",
        ),
        "postgresql_on_commit": "of temporary tables, which no history keeps",
    },
    sqlalchemy.Column: dict.fromkeys(
        ("default", "insert_default", "doc", "info", "onupdate", "server_onupdate", "insert_sentinel"), PYTHON
    ),
    sqlalchemy.PrimaryKeyConstraint: {"info": PYTHON},
    sqlalchemy.UniqueConstraint: {"info": PYTHON},
    sqlalchemy.CheckConstraint: {
        "info": PYTHON,
        "table": "another way to put it into a table",
        **dict.fromkeys(("deferrable", "initially"), "PostgreSQL refuses both for a CHECK"),
    },
    sqlalchemy.ForeignKey: {"info": PYTHON},
    sqlalchemy.ForeignKeyConstraint: {
        "info": PYTHON,
        "table": "another way to put it into a table",
    },
    sqlalchemy.Index: {
        "info": PYTHON,
        "postgresql_concurrently": "create_all, in a transaction, can't do it",
        "postgresql_invalid": "only reflected",
    },
    sqlalchemy.Identity: dict.fromkeys(("on_null", "order"), "of Oracle"),
    sqlalchemy.Enum: {
        **dict.fromkeys(
            ("omit_aliases", "sort_key_function", "validate_strings", "values_callable"), "of Python's enums"
        ),
        "inherit_schema": "deprecated in SQLAlchemy 2.1",
    },
    postgresql.ENUM: {"create_type": "a type that somebody else makes"},
}
"""The arguments that make nothing in a database, or nothing that can be compared."""

SINCE = {"postgresql_nulls_not_distinct": 15, "persisted": 18}
"""The version of PostgreSQL that an argument needs."""

EXTRA = {
    "what pg_class has beside": """
        SELECT relname, relpersistence::text, reloptions::text, relispartition, pg_get_partkeydef(oid)
        FROM pg_class WHERE relname ~ 'things|others'""",
    "comments on constraints": """
        SELECT conname, description FROM pg_constraint k JOIN pg_description d ON d.objoid = k.oid
        WHERE d.classoid = 'pg_constraint'::regclass""",
    "parents": "SELECT inhrelid::regclass::text, inhparent::regclass::text FROM pg_inherits",
}
"""What ``catalog`` doesn't compare."""


def arguments(kind: Any) -> set[str]:
    """Return the names of all public arguments of a class, those of its dialect included."""
    parameters = inspect.signature(kind.__init__).parameters.values()
    names = {
        parameter.name
        for parameter in parameters
        if parameter.name != "self" and parameter.kind != parameter.VAR_KEYWORD and parameter.name[0] != "_"
    }
    dialect = dict(PGDialect.construct_arguments)
    names |= {f"postgresql_{name}" for name in dialect.get(kind, {})} | {*OPAQUE.get(kind, ())}
    if kind is sqlalchemy.ForeignKey:
        names |= {f"postgresql_{name}" for name in dialect[sqlalchemy.ForeignKeyConstraint]}
    return names - {"args"}


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_every_argument_is_tried_or_makes_nothing(kind: Any) -> None:
    known = {*CASES[kind], *NO_DDL.get(kind, {})}
    assert arguments(kind) - known == set()
    assert not {*CASES[kind]} & {*NO_DDL.get(kind, {})}


NAMES = ("own", "apart", "ix", "IX of it", "mood", "Mood of it")
"""Of what shares a schema with the parts of all the other tables."""


def table(number: int, text: str) -> str:
    """Return a table of the models, whose names no other one has."""
    for name in NAMES:
        text = text.replace(f'"{name}"', f'"{name} {number}"')
    return f'things_{number} = Table("things_{number}", metadata, {text})\n__all__.append("things_{number}")\n'


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_the_first_revision_makes_what_create_all_makes(
    monorepo: Monorepo, database: Callable[..., Dsn], server: Server, kind: Any
) -> None:
    names = [name for name in CASES[kind] if int(server.version) >= SINCE.get(name, 0) and name in arguments(kind)]
    assert names
    expected, dsn = database(), database()
    for one in (expected, dsn):
        query(one, "CREATE SCHEMA side")
    tables = "".join(table(number, CASES[kind][name]) for number, name in enumerate(names))
    service = monorepo.service("shop", MODELS + tables, dsn, MIGRATIONS_SEARCH_PATH="public")
    written(monorepo, service, "create")
    wait(service_migrations.upgrade(service))
    create_all(import_models(service).metadata, expected)
    assert {line for line in catalog(dsn) if "alembic_version" not in line} == set(catalog(expected))
    for part, sql in EXTRA.items():
        made, wanted = ({row for row in query(one, sql) if "_shop" not in str(row)} for one in (dsn, expected))
        assert made == wanted, part
    assert wait(service_migrations.check(service)).differences == ()
    wait(service_migrations.downgrade(service, "base"))
    assert not [line for line in catalog(dsn) if "alembic_version" not in line]
