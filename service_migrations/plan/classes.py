"""The classes of a plan."""

from enum import StrEnum

__all__ = ["Class", "Reason"]


class Class(StrEnum):
    """What a revision does, in the order of its danger."""

    ADDITIVE = "additive"
    DATA = "data"
    CONCURRENT = "concurrent"
    LOCKS = "locks long or rewrites"
    BREAKING = "breaking"
    DESTRUCTIVE = "destructive"
    IRREVERSIBLE = "irreversible"


Reason = tuple[Class, str]
"""A class, and why a statement has it."""
