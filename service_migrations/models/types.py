"""The types of columns: what a type is underneath its decorators and arrays."""

from typing import Any

from sqlalchemy import ARRAY, Enum
from sqlalchemy.types import TypeDecorator, TypeEngine

__all__ = ["enum_of"]


def enum_of(kind: TypeEngine[Any]) -> Enum | None:
    """Return the native enum type that a column is of, or has an array of."""
    while isinstance(kind, TypeDecorator | ARRAY):
        kind = kind.item_type if isinstance(kind, ARRAY) else kind.impl_instance
    return kind if isinstance(kind, Enum) and kind.native_enum and kind.name else None
