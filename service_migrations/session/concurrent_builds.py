"""The concurrent builds of indexes in a revision: one that failed leaves an INVALID index, which nothing uses.

A unique one of them guards nothing. The revision may have caught the error; or it is run again after that, and CREATE
INDEX CONCURRENTLY IF NOT EXISTS does nothing, since an index of that name is there.
"""

import re

from sqlalchemy import Connection, text

__all__ = ["ConcurrentBuilds"]

_PART = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_NAME = rf"{_PART}(?:\s*\.\s*{_PART})?"
_BUILD = re.compile(
    rf"\bCREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?({_PART})\s+ON\s+(?:ONLY\s+)?({_NAME})",
    re.IGNORECASE,
)
_INVALID = text(
    """
    SELECT CAST(c.relname AS pg_catalog.text)
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
    WHERE NOT i.indisvalid
      AND i.indrelid OPERATOR(pg_catalog.=)
          CAST(pg_catalog.to_regclass(CAST(:table AS pg_catalog.text)) AS pg_catalog.oid)
      AND CAST(c.relname AS pg_catalog.text) OPERATOR(pg_catalog.=)
          (pg_catalog.parse_ident(CAST(:index AS pg_catalog.text)))[1]
    """
)
"""All names are qualified, since a revision has the search path of its service."""


class ConcurrentBuilds:
    """The concurrent builds of one revision after the other."""

    def __init__(self) -> None:
        """Begin without builds."""
        self._builds: list[tuple[str, str]] = []

    def begin(self) -> None:
        """Begin with a revision."""
        self._builds.clear()

    def note(self, statement: str) -> None:
        """Note what a statement builds, before it is executed."""
        self._builds += [(match[1], match[2]) for match in _BUILD.finditer(statement)]

    def invalid(self, connection: Connection) -> str | None:
        """Return the name of an index that was to be built and is INVALID, by the service's search path."""
        for index, table in dict.fromkeys(self._builds):
            name = connection.scalar(_INVALID, {"index": index, "table": table})
            if name is not None:
                return str(name)
        return None
