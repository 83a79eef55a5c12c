"""What a revision has of psycopg2's own classes, as psycopg knows it: composed SQL, kinds of cursors, and errors.

None of them needs psycopg2: a revision that uses one has imported it.
"""

import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import rows, sql

__all__ = ["as_caught", "composed", "row_factory"]

_EXTRAS = "psycopg2.extras"


def composed(query: Any) -> Any:
    """Return a query that may be made of psycopg2's ``sql.SQL`` and ``sql.Identifier``."""
    if type(query).__module__ != "psycopg2.sql":
        return query
    match type(query).__name__:
        case "Composed":
            return sql.Composed([composed(part) for part in query.seq])
        case "SQL":
            return sql.SQL(query.string)
        case "Identifier":
            return sql.Identifier(*query.strings)
        case "Placeholder":
            return sql.Placeholder(query.name or "")
        case _:
            return sql.Literal(query.wrapped)


class _Row(list[Any]):
    """A row of psycopg2's ``DictCursor``, whose values have a number and a name."""

    def __init__(self, names: Sequence[str], values: Sequence[Any]) -> None:
        super().__init__(values)
        self._names = names

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self._names.index(key) if isinstance(key, str) else key)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a column, or a default where there is none."""
        return self[name] if name in self._names else default

    def keys(self) -> list[str]:
        """Return the names of the columns."""
        return list(self._names)

    def items(self) -> list[tuple[str, Any]]:
        """Return the names of the columns with the values."""
        return list(zip(self._names, self, strict=True))


def _rows_with_names(cursor: Any) -> Callable[[Sequence[Any]], _Row]:
    names = [column.name for column in cursor.description or ()]
    return lambda values: _Row(names, values)


_FACTORIES: dict[str, Any] = {
    "RealDictCursor": rows.dict_row,
    "NamedTupleCursor": rows.namedtuple_row,
    "DictCursor": _rows_with_names,
    "cursor": rows.tuple_row,
}


def row_factory(cursor_factory: Any) -> Any:
    """Return how psycopg makes the rows of a class of cursors of psycopg2's.

    Raises:
        psycopg.NotSupportedError: the class does more than to make rows.

    """
    if cursor_factory is None:
        return rows.tuple_row
    name = getattr(cursor_factory, "__name__", str(cursor_factory))
    if getattr(cursor_factory, "__module__", "") not in (_EXTRAS, "psycopg2.extensions") or name not in _FACTORIES:
        raise psycopg.NotSupportedError(f"over psycopg, a cursor can't be of the class {name}: leave it out")
    return _FACTORIES[name]


def as_caught(error: psycopg.Error) -> psycopg.Error:
    """Return an error with the attributes that psycopg2's have, which its ``except`` catches too."""
    caught: Any = error
    if "psycopg2" in sys.modules and not isinstance(error, sys.modules["psycopg2"].Error):
        kind: Any = type(error)
        caught = _of_both(kind, error.sqlstate)(*error.args)
        caught.__dict__.update(error.__dict__)
    else:
        caught.pgcode = error.sqlstate
        caught.pgerror = _full(error)
    return caught  # type: ignore[no-any-return]


def _full(error: psycopg.Error) -> str | None:
    """Return the text of the server, with its severity."""
    return f"{error.diag.severity}:  {error}\n" if error.diag.severity else None


@lru_cache
def _of_both(kind: type[psycopg.Error], state: str | None) -> Any:
    """Return a class of errors that is one of psycopg's, and the one that psycopg2 has for the same SQLSTATE."""
    from psycopg2 import errors  # type: ignore[import-untyped]  # noqa: PLC0415 - the revision has imported it

    module = sys.modules["psycopg2"]
    bases = (getattr(module, base.__name__, None) for base in kind.__mro__)
    try:
        of_psycopg2 = errors.lookup(state)
    except KeyError:
        of_psycopg2 = next((base for base in bases if base), module.Error)
    names = {"__module__": kind.__module__, "pgcode": property(lambda self: self.sqlstate), "pgerror": property(_full)}
    return type(kind.__name__, (kind, of_psycopg2), names)
