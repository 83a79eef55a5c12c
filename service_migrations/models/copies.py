"""Copies of a model's tables in another MetaData, with what SQLAlchemy's ``to_metadata`` loses."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeVar

from sqlalchemy import Constraint, ForeignKeyConstraint, Index, MetaData, Table
from sqlalchemy.dialects.postgresql import ExcludeConstraint

from service_migrations._sqlalchemy import copy_prefixes, exclusion_parts
from service_migrations.models.texts import use_plain_texts
from service_migrations.models.types import named_type_of

__all__ = ["copy_table"]

_Part = TypeVar("_Part", Constraint, Index)


def copy_table(table: Table, metadata: MetaData, *, temporary: bool = False) -> Table:
    """Return a copy of a table in another MetaData.

    ``to_metadata`` (SQLAlchemy 2.1.9) loses the words between CREATE and TABLE, the operator classes of an exclusion
    constraint, and that a foreign key names a column by its name instead of its key. It copies what the type of a
    column has added to the table, though the type adds it to the copy again, and
    moves types to another schema.

    Args:
        table: the table.
        metadata: where to.
        temporary: whether to leave out what no temporary table can have: a schema, and words such as UNLOGGED.

    """
    if temporary:
        copy = table.to_metadata(metadata, schema=None)  # type: ignore[arg-type]
    else:
        copy = table.to_metadata(metadata)
        copy_prefixes(table, copy)
    _discard_doubles(table.indexes, copy.indexes)
    _discard_doubles(table.constraints, copy.constraints)
    _restore_schemas_of_types(table, copy)
    _restore_operator_classes(table, copy)
    _restore_links_by_name(table, copy)
    use_plain_texts(copy)
    return copy


def _discard_doubles(originals: Iterable[_Part], copies: set[_Part]) -> None:
    """Discard the copies of named parts of which there are more than originals."""
    left = Counter(part.name for part in originals)
    for part in list(copies):
        left[part.name] -= 1
        if isinstance(part.name, str) and left[part.name] < 0:
            copies.discard(part)


def _restore_schemas_of_types(table: Table, copy: Table) -> None:
    for original, copied in zip(table.columns, copy.columns, strict=True):
        named, moved = named_type_of(original.type), named_type_of(copied.type)
        if named is not None and moved is not None:
            moved.schema = named.schema


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
                if [element.target_fullname for element in constraint.elements] == targets:
                    for element in constraint.elements:
                        element.link_to_name = True
