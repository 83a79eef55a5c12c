"""A glance: a blueprint without what is certain beforehand, for a table that is likely to be as it should be.

What a table costs are its files: its own, one for each index, two for long values. Of a key or an index over plain
columns PostgreSQL says only what the model says, so where the database has those very words, it needn't be made to be
compared. Columns and CHECKs are left, and for these a partitioned table will do, which has no file at all.
"""

from itertools import count

from sqlalchemy import CheckConstraint, Column, Dialect, ForeignKeyConstraint, Index, Table
from sqlalchemy.schema import Constraint, CreateColumn, PrimaryKeyConstraint, UniqueConstraint

from service_migrations.autogenerate.change import quoted
from service_migrations.autogenerate.enums import enum_of
from service_migrations.autogenerate.temporary_table import Blueprint, Surroundings, blueprint
from service_migrations.catalog import tables
from service_migrations.catalog.tables import Shape

__all__ = ["glance"]

_IDENTITY_SINCE = (17,)
"""The version from which on a partitioned table may have identity columns."""

_RELATIONS = 2
"""Itself, and perhaps a sequence."""


def glance(table: Table, live: Shape, around: Surroundings, dialect: Dialect) -> Blueprint:
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


def _certain(table: Table, live: Shape, dialect: Dialect) -> tuple[tables.Constraint | tables.Index, ...] | None:
    """Return the keys and indexes of a table as the database has them; None where one is not certain to be the same."""
    keys = [
        one for one in table.constraints if isinstance(one, PrimaryKeyConstraint | UniqueConstraint) and one.columns
    ]
    found = [*(_key(one, live, dialect) for one in keys), *(_index(one, live, dialect) for one in table.indexes)]
    certain = tuple(one for one in found if one is not None)
    if len(certain) < len(found) or len({tuple(one.columns) for one in keys}) < len(keys):
        return None  # of two keys that say the same PostgreSQL makes one
    return certain


def _key(one: PrimaryKeyConstraint | UniqueConstraint, live: Shape, dialect: Dialect) -> tables.Constraint | None:
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


def _index(one: Index, live: Shape, dialect: Dialect) -> tables.Index | None:
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
    if table.dialect_kwargs or table._prefixes:  # noqa: SLF001 - such as UNLOGGED
        return False
    if any(one._create_rule or not isinstance(one, _KINDS) for one in table.constraints):  # noqa: SLF001
        return False
    for column in table.columns:
        enum = enum_of(column.type)
        if column.system or (column.identity and (dialect.server_version_info or ()) < _IDENTITY_SINCE):
            return False
        if enum and (None if enum.schema == around.default_schema else enum.schema, enum.name) in around.unlike:
            return False
    return True


_KINDS: tuple[type[Constraint], ...] = (CheckConstraint, ForeignKeyConstraint, PrimaryKeyConstraint, UniqueConstraint)
