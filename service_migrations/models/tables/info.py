"""The ``info`` of exported metadata, in which other packages keep what they compare beside tables."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import MetaData

__all__ = ["add_info", "differing_info"]

_DIFFERING = "migrations.differing_info"


def add_info(target: MetaData, sources: Iterable[MetaData]) -> None:
    """Add the ``info`` of the exported metadata to a service's own.

    A key with two values is left out: with one of them, a package would drop what the other one declares.
    """
    values: dict[Any, list[Any]] = {}
    for source in sources:
        for key, value in source.info.items():
            known = values.setdefault(key, [])
            if value is not None and not any(_equal(value, each) for each in known):
                known.append(value)
    target.info.update({key: known[0] for key, known in values.items() if len(known) == 1})
    target.info[_DIFFERING] = tuple(str(key) for key, known in values.items() if len(known) > 1)


def differing_info(metadata: MetaData) -> tuple[str, ...]:
    """Return the keys of ``info`` that were left out of a service's metadata."""
    keys: tuple[str, ...] = metadata.info.get(_DIFFERING, ())
    return keys


def _equal(first: Any, second: Any) -> bool:
    if first is second:
        return True
    try:
        return bool(first == second)
    except Exception:  # noqa: BLE001 - of an expression of SQLAlchemy, or of the code of another package
        return False
