"""Drafts: Alembic's own operations for a table or a column that only the models have.

What Alembic's renderer gets wrong is put right before: an enum type is made by a statement of its own, once; a type
decorator is a matter of Python, and a revision that imports it would change its meaning with it.
"""

from collections.abc import Callable, Container
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import AddColumnOp, CreateIndexOp, CreateTableOp, MigrateOperation
from sqlalchemy import (
    CheckConstraint,
    Column,
    Dialect,
    Enum,
    ForeignKeyConstraint,
    Interval,
    MetaData,
    Table,
    TextClause,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import INTERVAL, ExcludeConstraint
from sqlalchemy.schema import DefaultClause
from sqlalchemy.types import ARRAY, TypeDecorator, TypeEngine

from migrations.changes import escaped

__all__ = ["added_column", "copied", "created_table", "render_item"]

_NAME_LENGTH = 63
"""Of a name in PostgreSQL, in bytes."""


def copied(metadata: MetaData, dialect: Dialect) -> dict[str, Table]:
    """Return copies of all tables that are fit to be rendered, by key."""
    target = MetaData(naming_convention=metadata.naming_convention)
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
    copy: Table, kept: Container[str], inline: Callable[[ForeignKeyConstraint], bool]
) -> list[MigrateOperation]:
    """Return the operations that make a table and its indexes.

    Args:
        copy: one of ``copied``.
        kept: the names of the constraints that the server makes of it.
        inline: whether a foreign key can be made with the table; one that can't is left out.

    """
    for one in [one for one in copy.constraints if isinstance(one, UniqueConstraint)]:
        if isinstance(one.name, str) and len(one.name) <= _NAME_LENGTH and one.name not in kept:
            copy.constraints.discard(
                one
            )  # PostgreSQL makes one of two that say the same, and which is up to their order
    for key in [one for one in copy.constraints if isinstance(one, ForeignKeyConstraint)]:
        if not inline(key):
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
    if isinstance(kind, ARRAY) and isinstance(kind.item_type, TypeDecorator):
        return type(kind)(_plain(kind.item_type, dialect), dimensions=kind.dimensions)
    return kind
