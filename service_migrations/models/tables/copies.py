"""Copies of a model's tables in another MetaData, with what SQLAlchemy's ``to_metadata`` loses."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeVar

from sqlalchemy import Connection, Constraint, ForeignKeyConstraint, Index, MetaData, Table
from sqlalchemy.dialects.postgresql import ExcludeConstraint, asyncpg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateIndex

from service_migrations._sqlalchemy import (
    copy_condition,
    copy_prefixes,
    creation_order,
    exclusion_parts,
    is_created,
    is_of_a_column,
    set_creation_order,
)
from service_migrations.models.tables.texts import use_plain_texts
from service_migrations.models.tables.types import named_type_of

__all__ = ["copy_table", "remove_conditional"]

_DIALECT = asyncpg.dialect()  # type: ignore[no-untyped-call]

_Part = TypeVar("_Part", Constraint, Index)


def copy_table(table: Table, metadata: MetaData, *, temporary: bool = False) -> Table:
    """Return a copy of a table in another MetaData.

    ``to_metadata`` (SQLAlchemy 2.1.9) loses the words between CREATE and TABLE, the operator classes of an exclusion
    constraint, the conditions of ``ddl_if()``, the order of the constraints, and that a foreign key names a column by
    its name instead of its key. It copies what the type of a column has added to the table, though the type adds it to
    the copy again, and moves types to another schema.

    Args:
        table: the table.
        metadata: where to.
        temporary: whether to leave out what no temporary table can have: a schema, and words such as UNLOGGED.

    """
    if temporary:
        copy = table.to_metadata(metadata, schema=None)  # type: ignore[arg-type]
    else:
        # in another metadata's schema, a name without one would lead to another table
        schema_fn = None if table.metadata.schema == metadata.schema else _schema_of_target
        copy = table.to_metadata(metadata, referred_schema_fn=schema_fn)
        copy_prefixes(table, copy)
    _keep_one_of_each_index(copy)
    _restore_names(table.indexes, copy.indexes)
    _restore_names(table.constraints, copy.constraints)
    _discard_doubles(table.indexes, copy.indexes)
    _discard_doubles(table.constraints, copy.constraints)
    _restore_order(table, copy)
    _restore_schemas_of_types(table, copy)
    _restore_conditions(table.indexes, copy.indexes)
    _restore_conditions(table.constraints, copy.constraints)
    _restore_operator_classes(table, copy)
    _restore_links_by_name(table, copy)
    use_plain_texts(copy)
    return copy


def _schema_of_target(
    table: Table, _schema: str | None, key: ForeignKeyConstraint, referred_schema: str | None
) -> str | None:
    """Return the schema that a foreign key leads to, which is that of its own metadata where it names none."""
    try:
        return key.elements[0].column.table.schema
    except SQLAlchemyError:  # it may be a sibling's table
        return referred_schema or table.metadata.schema


def _restore_names(originals: Iterable[_Part], copies: Iterable[_Part]) -> None:
    """Restore the names of parts from ``unique=True`` and ``index=True``: a convention may include the schema."""
    original_names, copied_names = {part.name for part in originals}, {part.name for part in copies}
    renamed = [part for part in originals if part.name not in copied_names]
    for copy in [part for part in copies if part.name not in original_names]:
        for original in renamed:
            if type(original) is type(copy) and _column_names(original) == _column_names(copy):
                copy.name = original.name


def _discard_doubles(originals: Iterable[_Part], copies: set[_Part]) -> None:
    """Discard the copies of named parts of which there are more than originals."""
    left = Counter(part.name for part in originals)
    for part in list(copies):
        left[part.name] -= 1
        if isinstance(part.name, str) and left[part.name] < 0:
            copies.discard(part)


def _restore_order(table: Table, copy: Table) -> None:
    """Restore the order in which CREATE TABLE has the constraints: of two equal keys PostgreSQL creates the first."""
    copies = sorted(copy.constraints, key=creation_order)
    for number, original in enumerate(sorted(table.constraints, key=creation_order)):
        alike = [part for part in copies if _likeness(part) == _likeness(original)]
        if alike:
            set_creation_order(alike[0], number)
            copies.remove(alike[0])


def _restore_schemas_of_types(table: Table, copy: Table) -> None:
    for original, copied in zip(table.columns, copy.columns, strict=True):
        named, moved = named_type_of(original.type), named_type_of(copied.type)
        if named is not None and moved is not None:
            moved.schema = named.schema


def _restore_conditions(originals: Iterable[_Part], copies: Iterable[_Part]) -> None:
    parts = list(copies)
    for original in originals:
        alike = [part for part in parts if _likeness(part) == _likeness(original)]
        if alike:
            copy_condition(original, alike[0])
            parts.remove(alike[0])


def _likeness(part: _Part) -> tuple[Any, ...]:
    return type(part), part.name if isinstance(part.name, str) else None, _column_names(part)


def _column_names(part: _Part) -> list[str]:
    return [column.name for column in getattr(part, "columns", None) or ()]


def _keep_one_of_each_index(copy: Table) -> None:
    """Keep one of several indexes with one name, of which a database can have only one.

    The model's own counts, not that of ``index=True``; of two own ones that are equal, either.
    """
    by_name: dict[str, list[Index]] = {}
    for index in copy.indexes:
        if isinstance(index.name, str):
            by_name.setdefault(index.name, []).append(index)
    for indexes in (several for several in by_name.values() if len(several) > 1):
        own = [index for index in indexes if not is_of_a_column(index)] or indexes
        kept = {_index_sql(index): index for index in own}.values()
        copy.indexes.difference_update(index for index in indexes if not any(index is each for each in kept))


def _index_sql(index: Index) -> str:
    """Return the statement that creates an index, or what is known of one that SQLAlchemy can't write."""
    try:
        return str(CreateIndex(index).compile(dialect=_DIALECT))
    except Exception:  # noqa: BLE001 - a type's own code may raise anything, and is refused later, with its place
        return repr(index)


def _restore_operator_classes(table: Table, copy: Table) -> None:
    copies = [constraint for constraint in copy.constraints if isinstance(constraint, ExcludeConstraint)]
    for original in table.constraints:
        if isinstance(original, ExcludeConstraint) and original.ops:
            for constraint in copies:
                if constraint.name == original.name and exclusion_parts(constraint) == exclusion_parts(original):
                    constraint.ops = dict(original.ops)


def _restore_links_by_name(table: Table, copy: Table) -> None:
    by_columns: dict[tuple[Any, ...], list[ForeignKeyConstraint]] = {}
    for constraint in copy.foreign_key_constraints:
        by_columns.setdefault(tuple(constraint.column_keys), []).append(constraint)
    for original in table.foreign_key_constraints:
        if any(element.link_to_name for element in original.elements):
            targets = [element.target_fullname for element in original.elements]
            for constraint in by_columns.get(tuple(original.column_keys), ()):
                copied_targets = [element.target_fullname for element in constraint.elements]
                if all(copied.endswith(target) for copied, target in zip(copied_targets, targets, strict=True)):
                    for element in constraint.elements:
                        element.link_to_name = True


def remove_conditional(tables: Iterable[Table], connection: Connection) -> None:
    """Remove the constraints and indexes that ``create_all`` doesn't create here, by their ``ddl_if()``."""
    for table in tables:
        table.indexes.difference_update([index for index in table.indexes if not is_created(index, connection)])
        for constraint in [each for each in table.constraints if not is_created(each, connection)]:
            table.constraints.discard(constraint)
            for element in getattr(constraint, "elements", ()):
                table.foreign_keys.discard(element)
                element.parent.foreign_keys.discard(element)
