"""Texts of models that are members of an enum, whose class no revision may name."""

from enum import Enum
from typing import Any

from sqlalchemy import Table

__all__ = ["plain", "use_plain_texts"]


def plain(value: Any) -> Any:
    """Return a text without the enum that it is a member of, and a list with such texts; other values as they are."""
    if isinstance(value, list | tuple) and any(isinstance(each, Enum) for each in value):
        return type(value)(map(plain, value))
    return str.__str__(value) if isinstance(value, str) and isinstance(value, Enum) else value


def use_plain_texts(table: Table) -> None:
    """Replace the texts of a table and its parts by plain ones: names, comments and options."""
    for part in (table, *table.columns, *table.constraints, *table.indexes, *table.foreign_keys):
        for values in (vars(part), part.dialect_kwargs):
            for name, value in values.items():
                if isinstance(value, Enum | list | tuple):  # few of tens of thousands are
                    values[name] = plain(value)
