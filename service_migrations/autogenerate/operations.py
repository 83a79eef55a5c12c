"""Drafts: Alembic's own operations for a table or a column that only the models have.

What Alembic's renderer gets wrong is put right before: an enum type is made by a statement of its own, once; a type
decorator is a matter of Python, and a revision that imports it would change its meaning with it.
"""

import copy as copies
from collections.abc import Container
from itertools import count
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import AddColumnOp, CreateIndexOp, CreateTableOp, MigrateOperation
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Enum,
    ForeignKeyConstraint,
    Interval,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    TextClause,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import INTERVAL, ExcludeConstraint, asyncpg
from sqlalchemy.schema import Constraint as SchemaConstraint, DefaultClause
from sqlalchemy.sql.elements import conv
from sqlalchemy.types import ARRAY, TypeDecorator, TypeEngine

from service_migrations._sqlalchemy import creation_order, final_name, is_of_a_type
from service_migrations.catalog.tables import Constraint, TableState
from service_migrations.sql.quoting import escaped

__all__ = ["added_column", "copied", "created_table", "render_item"]

_NAME_LENGTH = 63
"""Of a name in PostgreSQL, in bytes."""

_PREPARER = asyncpg.dialect().identifier_preparer  # type: ignore[no-untyped-call]
_KINDS = {"p": PrimaryKeyConstraint, "u": UniqueConstraint, "x": ExcludeConstraint, "f": ForeignKeyConstraint}


def copied(metadata: MetaData, dialect: Dialect) -> dict[str, Table]:
    """Return copies of all tables that are fit to be rendered, by key."""
    # without the schema a foreign key would lead to a table of that name in the default one
    target = MetaData(schema=metadata.schema, naming_convention=metadata.naming_convention)
    for table in metadata.tables.values():
        copy = table.to_metadata(target)
        for original, column in zip(table.columns, copy.columns, strict=True):
            column.type = _plain(original.type, dialect)
            default = column.server_default
            if isinstance(default, DefaultClause):
                sql = dialect.ddl_compiler(dialect, None).get_column_default_string(original)  # type: ignore[arg-type]
                column.server_default = DefaultClause(_twice_escaped(str(sql)))
            elif column.computed is not None:
                column.computed.sqltext = _compiled(column.computed.sqltext, dialect)
        _escape(copy, dialect)
    return dict(target.tables)


def created_table(
    copy: Table, shape: TableState, taken: Container[str], apart: Container[tuple[str, ...]]
) -> list[MigrateOperation]:
    """Return the operations that make a table and its indexes.

    Args:
        copy: one of ``copied``.
        shape: the one that the server makes of it.
        taken: the names of indexes of other tables in its schema.
        apart: the columns of the foreign keys that can't be made with the table, and are left out.

    """
    _name(copy, shape, taken)
    for key in [one for one in copy.constraints if isinstance(one, ForeignKeyConstraint)]:
        if tuple(element.parent.name for element in key.elements) in apart:
            copy.constraints.discard(key)
            for element in key.elements:
                element.parent.foreign_keys.discard(element)
    indexes = sorted(copy.indexes, key=lambda one: str(one.name))
    return [CreateTableOp.from_table(copy), *(CreateIndexOp.from_index(index) for index in indexes)]


def added_column(copy: Column[Any]) -> AddColumnOp:
    """Return the operation that adds a column."""
    return AddColumnOp(copy.table.name, copy, schema=copy.table.schema)


def render_item(kind: str, item: Any, context: AutogenContext) -> str | bool:
    """Render what Alembic would render wrongly (its ``render_item``): False leaves the rest to it."""
    if kind != "type":
        return False
    if isinstance(item, ARRAY) and isinstance(item.item_type, Enum):
        context.imports.add("from sqlalchemy.dialects import postgresql")
        dimensions = f", dimensions={item.dimensions}" if item.dimensions else ""
        return f"postgresql.ARRAY({render_item(kind, item.item_type, context)}{dimensions})"
    if isinstance(item, Enum) and item.native_enum and item.name:
        context.imports.add("from sqlalchemy.dialects import postgresql")
        schema = f", schema={item.schema!r}" if item.schema else ""
        return f"postgresql.ENUM({', '.join(map(repr, item.enums))}, name={item.name!r}{schema}, create_type=False)"
    if not _is_sqlalchemys(item):
        context.imports.add(f"import {type(item).__module__}")
    return False


def _name(copy: Table, shape: TableState, taken: Container[str]) -> None:
    """Give each part the name that PostgreSQL gives it, as a final one.

    By a naming convention of a later day it would get another, and the revisions of that day drop it by its name.
    """
    parts = sorted(copy.constraints, key=creation_order)
    final = {one: _final(one) for one in parts}
    named = {(_kind(one), name) for one, name in final.items() if name}
    rest = [one for name, one in shape.constraints.items() if (one.kind, name) not in named]
    made = {(one.kind, name) for name, one in shape.constraints.items()}
    for one in parts:
        name = final[one] or _taken_from(rest, one, taken)
        if name is None or (_kind(one) in ("u", "x") and (_kind(one), final[one]) in named - made):
            # of two that say the same PostgreSQL makes one; and CHECKs without a name follow, in its own words
            copy.constraints.discard(one)
        else:
            one.name = conv(name)
    for left in (one for one in rest if one.kind == "c"):
        sql = left.definition.removeprefix("CHECK (").removesuffix(")")
        copy.append_constraint(CheckConstraint(_twice_escaped(sql), name=conv(left.name)))
    for index in copy.indexes:
        index.name = conv(str(index.name))


def _kind(one: SchemaConstraint) -> str:
    return next((letter for letter, kind in _KINDS.items() if isinstance(one, kind)), "c")


def _final(one: SchemaConstraint) -> str | None:
    """Return the name that a model gives to a constraint, shortened as SQLAlchemy does; None also for a type's own."""
    if not isinstance(one.name, str) or is_of_a_type(one):  # Alembic leaves these to the type
        return None
    return final_name(_PREPARER, one.name)


def _taken_from(rest: list[Constraint], one: SchemaConstraint, taken: Container[str]) -> str | None:
    """Take the one that the server made of a constraint without a name from the rest, and return its name.

    Which of two over the same columns doesn't matter; a CHECK is only known by its text.
    """
    kind = _kind(one)
    if kind == "c":
        return None
    columns = tuple(column.name for column in getattr(one, "columns", ()))
    found = [other for other in rest if other.kind == kind and (kind != "u" or other.local_columns == columns)]
    found.sort(key=lambda other: other.local_columns != columns)
    if not found:
        return None
    rest.remove(found[0])
    name, numbers = found[0].name, count(1)
    while kind != "f" and name in taken:
        name = f"{found[0].name[: _NAME_LENGTH - 2]}{next(numbers)}"
    return name


def _escape(copy: Table, dialect: Dialect) -> None:
    """Escape the colons of a table's conditions, which a revision gives to ``sqlalchemy.text``."""
    for constraint in copy.constraints:
        if isinstance(constraint, CheckConstraint):
            constraint.sqltext = _compiled(constraint.sqltext, dialect)
        elif isinstance(constraint, ExcludeConstraint) and constraint.where is not None:
            constraint.where = _compiled(constraint.where, dialect)
    for options in (index.dialect_options["postgresql"] for index in copy.indexes):
        if options["where"] is not None:
            options["where"] = _compiled(options["where"], dialect)
    for index in [one for one in copy.indexes if one.dialect_options["postgresql"]["concurrently"]]:
        index.dialect_options["postgresql"]["concurrently"] = False


def _compiled(expression: Any, dialect: Dialect) -> TextClause:
    if isinstance(expression, str):
        return _twice_escaped(expression)
    options = {"literal_binds": True, "include_table": False}
    return _twice_escaped(str(expression.compile(dialect=dialect, compile_kwargs=options)))


def _twice_escaped(sql: str) -> TextClause:
    """Return SQL that is still escaped when Alembic has rendered it: it takes one of the escapes away."""
    return text(escaped(escaped(sql)))


def _is_sqlalchemys(kind: TypeEngine[Any]) -> bool:
    return type(kind).__module__.startswith("sqlalchemy.")


def _plain(kind: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    """Return a type without the decorators around it."""
    while isinstance(kind, TypeDecorator) and not _is_sqlalchemys(kind):
        kind = kind.load_dialect_impl(dialect)
    if isinstance(kind, Interval) and kind.native:
        return INTERVAL(precision=kind.second_precision)  # Alembic renders sa.Interval() without it
    if isinstance(kind, Boolean | Enum) and kind.create_constraint:
        bare = copies.copy(kind)  # its CHECK is made as every other, by name
        bare.create_constraint = False
        return bare
    if isinstance(kind, ARRAY) and isinstance(kind.item_type, TypeDecorator):
        return type(kind)(_plain(kind.item_type, dialect), dimensions=kind.dimensions)
    return kind
