"""A blueprint: the statements that make a model's table as a temporary one, without its foreign keys."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Constraint,
    Dialect,
    Enum,
    ForeignKeyConstraint,
    Index,
    MetaData,
    Table,
    text,
)
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable, PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy.types import ARRAY, TypeDecorator, TypeEngine

from service_migrations._sqlalchemy import has_prefixes, is_conditional, set_creation_order
from service_migrations.autogenerate.enums import EnumType
from service_migrations.catalog import tables
from service_migrations.catalog.tables import TableState
from service_migrations.models.types import enum_of
from service_migrations.sql.lexer import requalified
from service_migrations.sql.quoting import quoted

__all__ = ["Blueprint", "Surroundings", "block", "blueprint", "glance"]

_OF_EACH = 4
"""Relations of a table without indexes: itself, where its long values go, the index of that, a sequence."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a table is made in: the default schema, the search path, and the enum types that aren't as modelled."""

    default_schema: str | None
    search_path: str
    visible: frozenset[str]
    unlike: dict[tuple[str | None, str], EnumType]

    @classmethod
    def of(cls, connection: Connection, unlike: Iterable[EnumType]) -> "Surroundings":
        """Return those of a connection."""
        row = connection.execute(
            text("SELECT current_schema(), current_setting('search_path'), current_schemas(true)")
        ).one()
        return cls(row[0], row[1], frozenset(row[2]), {(one.schema, one.name): one for one in unlike})


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A table's name, the enum types that it needs beside it, and its statements.

    ``relations`` is about how many tables, indexes and sequences they make: the server holds a lock on each.
    ``kept`` is what they needn't make, since the database has it, and ``extra`` a column that the table hasn't.
    """

    schema: str | None
    name: str
    types: tuple[EnumType, ...]
    statements: tuple[str, ...]
    relations: int
    kept: tuple[tables.Constraint | tables.Index, ...] = ()
    extra: str | None = None

    def completed(self, shape: TableState) -> TableState:
        """Return the shape of what was made with what was kept, and without what is too much."""
        return replace(
            shape,
            columns={name: one for name, one in shape.columns.items() if name != self.extra},
            constraints=shape.constraints | {one.name: one for one in self.kept if isinstance(one, tables.Constraint)},
            indexes=shape.indexes | {one.name: one for one in self.kept if isinstance(one, tables.Index)},
        )


def blueprint(table: Table, around: Surroundings, dialect: Dialect) -> Blueprint:
    """Return what makes a table's twin."""
    copy = table.to_metadata(MetaData(naming_convention=table.metadata.naming_convention), schema=None)  # type: ignore[arg-type]
    _keep_names(table.indexes, copy.indexes)
    _keep_names(table.constraints, copy.constraints)
    for number, one in enumerate(sorted(copy.constraints, key=_said)):
        # copies come in any order, and of equal ones the first is made
        set_creation_order(one, number)
    types: list[EnumType] = []
    for original, column in zip(table.columns, copy.columns, strict=True):
        enum = enum_of(original.type)
        if enum is None:
            continue
        schema = None if enum.schema == around.default_schema else enum.schema
        column.type = _placed(original.type, enum.schema)
        if (schema, enum.name) in around.unlike:
            column.type = _placed(original.type, None)
            unlike = around.unlike[schema, str(enum.name)]
            if unlike not in types:
                types.append(unlike)
    statements = [str(CreateTable(copy, include_foreign_key_constraints=[]).compile(dialect=dialect))]
    for index in sorted(copy.indexes, key=lambda one: str(one.name)):
        index.dialect_options["postgresql"]["concurrently"] = False
        statements.append(str(CreateIndex(index).compile(dialect=dialect)))
    for kind in types:
        # a default or a CHECK may name the type by its schema, where it isn't, or is another one
        schema, place = kind.schema or around.default_schema or "", f"pg_temp.{quoted(kind.name)}"
        statements = [requalified(one, schema, kind.name, place) for one in statements]
    relations = _OF_EACH + len(copy.constraints) + len(copy.indexes)
    return Blueprint(table.schema, table.name, tuple(types), tuple(statements), relations)


def block(statements: Iterable[str]) -> str:
    """Return one statement that runs several; unlike a script, it can't end the transaction."""
    body = "".join(f"EXECUTE {_dollared(statement)};\n" for statement in statements)
    return f"DO {_dollared(f'BEGIN {body} END')}"


def _dollared(text: str) -> str:
    """Return a text as a literal, for which it doesn't matter what a backslash means to this server."""
    tag = next(tag for tag in (f"$q{number}$" for number in count()) if tag not in text)
    return f"{tag}\n{text}\n{tag}"


def _placed(kind: TypeEngine[Any], schema: str | None) -> TypeEngine[Any]:
    """Return a type with its enum in a schema; a copy, since a copied column has the array of the original one."""
    if isinstance(kind, TypeDecorator):
        return _placed(kind.impl_instance, schema)
    if isinstance(kind, ARRAY):
        return ARRAY(_placed(kind.item_type, schema), dimensions=kind.dimensions)
    if not isinstance(kind, Enum):
        return kind
    found: Enum = kind.copy()  # type: ignore[no-untyped-call]
    found.schema = schema
    return found


def _keep_names(originals: Iterable[Constraint | Index], copies: Iterable[Constraint | Index]) -> None:
    """Give what ``unique=True`` and ``index=True`` made its own name again: a convention may put the schema into it."""
    names = {one.name for one in originals}
    lost = [one for one in originals if one.name not in {copy.name for copy in copies}]
    for copy in [one for one in copies if one.name not in names]:
        for one in lost:
            if type(one) is type(copy) and _column_names(one) == _column_names(copy):
                copy.name = one.name


def _said(one: Constraint) -> tuple[str, str, list[str]]:
    return str(one.name), str(getattr(one, "sqltext", "")), _column_names(one)


def _column_names(part: Constraint | Index) -> list[str]:
    return [column.name for column in getattr(part, "columns", ())]


_IDENTITY_SINCE = (17,)
"""The version from which on a partitioned table may have identity columns."""

_RELATIONS = 2
"""Itself, and perhaps a sequence."""


def glance(table: Table, live: TableState, around: Surroundings, dialect: Dialect) -> Blueprint:
    """Return what makes a table's twin but for the parts of ``live`` that surely are as the model says.

    Where anything about the table is out of the ordinary, it is the whole blueprint.
    """
    certain = _certain(table, live, dialect)
    checks = [one for one in table.constraints if isinstance(one, CheckConstraint)]
    if certain is None or not _is_ordinary(table, around, dialect):
        return blueprint(table, around, dialect)
    names = {one.name for one in table.columns}
    extra = next(name for name in (f"_{number}" for number in count()) if name not in names)
    first = next((one for one in table.columns if one.primary_key), None)
    compiler = dialect.ddl_compiler(dialect, None)  # type: ignore[arg-type]
    parts = [compiler.process(CreateColumn(one), first_pk=one is first) for one in table.columns]
    parts += [compiler.process(one) for one in sorted(checks, key=lambda one: (str(one.name), str(one.sqltext)))]
    sql = f"CREATE TABLE {quoted(table.name)} ({', '.join(parts)}, {extra} integer) PARTITION BY LIST ({extra})"
    return Blueprint(table.schema, table.name, (), (sql,), _RELATIONS, certain, extra)


def _certain(table: Table, live: TableState, dialect: Dialect) -> tuple[tables.Constraint | tables.Index, ...] | None:
    """Return the keys and indexes of a table as the database has them; None where one is not certain to be the same."""
    keys = [
        one for one in table.constraints if isinstance(one, PrimaryKeyConstraint | UniqueConstraint) and one.columns
    ]
    found = [*(_key(one, live, dialect) for one in keys), *(_index(one, live, dialect) for one in table.indexes)]
    certain = tuple(one for one in found if one is not None)
    if len(certain) < len(found) or len({tuple(one.columns) for one in keys}) < len(keys):
        return None  # of two keys that say the same PostgreSQL makes one
    return certain


def _key(one: PrimaryKeyConstraint | UniqueConstraint, live: TableState, dialect: Dialect) -> tables.Constraint | None:
    kind, words = ("p", "PRIMARY KEY") if isinstance(one, PrimaryKeyConstraint) else ("u", "UNIQUE")
    said = f"{words} ({', '.join(quoted(column.name) for column in one.columns)})"
    unusual = one.dialect_kwargs or one.deferrable is not None or one.initially is not None
    if unusual or (kind == "p" and any(column.nullable for column in one.columns)):
        return None
    name = dialect.identifier_preparer.format_constraint(one) if isinstance(one.name, str) else None
    if name is None and kind == "u":
        return None
    for other in live.constraints.values():
        if (other.kind, other.definition) == (kind, said) and name in (None, quoted(other.name)):
            return other
    return None


def _index(one: Index, live: TableState, dialect: Dialect) -> tables.Index | None:
    if (
        not isinstance(one.name, str)
        or one.dialect_kwargs
        or not all(isinstance(part, Column) for part in one.expressions)
    ):
        return None
    name = dialect.identifier_preparer.format_index(one)
    kind = "CREATE UNIQUE INDEX" if one.unique else "CREATE INDEX"
    columns = ", ".join(quoted(column.name) for column in one.columns)
    found = next((other for other in live.indexes.values() if quoted(other.name) == name), None)
    if found is None or not found.valid or found.definition != f"{kind} {name} ON {live.sql} USING btree ({columns})":
        return None
    return found


def _is_ordinary(table: Table, around: Surroundings, dialect: Dialect) -> bool:
    """Whether columns and CHECKs are all that is left of a table, and a partitioned one may have them."""
    if table.dialect_kwargs or has_prefixes(table):
        return False
    if any(is_conditional(one) or not isinstance(one, _KINDS) for one in table.constraints):
        return False
    for column in table.columns:
        enum = enum_of(column.type)
        if column.system or (column.identity and (dialect.server_version_info or ()) < _IDENTITY_SINCE):
            return False
        if enum and (None if enum.schema == around.default_schema else enum.schema, enum.name) in around.unlike:
            return False
    return True


_KINDS: tuple[type[Constraint], ...] = (CheckConstraint, ForeignKeyConstraint, PrimaryKeyConstraint, UniqueConstraint)
