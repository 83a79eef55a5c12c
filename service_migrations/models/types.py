"""The types of columns without their decorators and arrays."""

from copy import copy
from typing import Any

from sqlalchemy import ARRAY, Enum
from sqlalchemy.types import TypeDecorator, TypeEngine

__all__ = ["enum_of", "without_own_index"]


def enum_of(column_type: TypeEngine[Any]) -> Enum | None:
    """Return the native enum type of a column, or of the elements of its array."""
    while isinstance(column_type, TypeDecorator | ARRAY):
        column_type = column_type.item_type if isinstance(column_type, ARRAY) else column_type.impl_instance
    return column_type if isinstance(column_type, Enum) and column_type.native_enum and column_type.name else None


def without_own_index(column_type: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return a type that creates no index with its column, as those of GeoAlchemy2 do.

    The index is one of the table's too, for which a revision has an operation of its own.
    """
    if not getattr(column_type, "spatial_index", False):
        return column_type
    bare: Any = copy(column_type)
    bare.spatial_index = False
    return bare  # type: ignore[no-any-return]
