"""The types of columns without their decorators and arrays."""

from typing import Any

from sqlalchemy import ARRAY, Enum
from sqlalchemy.types import TypeDecorator, TypeEngine

__all__ = ["enum_of"]


def enum_of(column_type: TypeEngine[Any]) -> Enum | None:
    """Return the native enum type of a column, or of the elements of its array."""
    while isinstance(column_type, TypeDecorator | ARRAY):
        column_type = column_type.item_type if isinstance(column_type, ARRAY) else column_type.impl_instance
    return column_type if isinstance(column_type, Enum) and column_type.native_enum and column_type.name else None
