"""The concurrent builds of indexes in a revision: one that failed leaves an INVALID index, which nothing uses.

A unique one of them guards nothing. The revision may have caught the error; or it is run again after that, and CREATE
INDEX CONCURRENTLY IF NOT EXISTS does nothing, since an index of that name is there.
"""

from contextlib import suppress

from sqlalchemy import Connection, text

from service_migrations.connection.drivers import driver_of, run
from service_migrations.sql.clauses import parts_at
from service_migrations.sql.lexer import Token, statements
from service_migrations.sql.quoting import quoted

__all__ = ["ConcurrentBuilds"]

_KNOWN = """
    SELECT CAST(pg_catalog.array_agg(i.indexrelid) AS pg_catalog.text)
    FROM pg_catalog.pg_index i WHERE NOT i.indisvalid
"""
_INVALID = text(
    """
    SELECT CAST(c.relname AS pg_catalog.text)
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
    WHERE NOT i.indisvalid
      AND i.indrelid OPERATOR(pg_catalog.=)
          CAST(pg_catalog.to_regclass(CAST(:table AS pg_catalog.text)) AS pg_catalog.oid)
      AND CAST(c.relname AS pg_catalog.text) OPERATOR(pg_catalog.=) CAST(:index AS pg_catalog.text)
    """
)
_LEFT = text(
    """
    SELECT CAST(c.relname AS pg_catalog.text)
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
    WHERE NOT i.indisvalid AND CAST(c.relkind AS pg_catalog.text) OPERATOR(pg_catalog.=) 'i'
      AND i.indexrelid OPERATOR(pg_catalog.<>) ALL (CAST(CAST(:known AS pg_catalog.text) AS pg_catalog.oid[]))
      AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
      AND NOT EXISTS (
          SELECT FROM pg_catalog.pg_locks l
          WHERE l.relation OPERATOR(pg_catalog.=) i.indrelid
            AND l.mode OPERATOR(pg_catalog.=) 'ShareUpdateExclusiveLock'
            AND l.database OPERATOR(pg_catalog.=) (
                SELECT d.oid FROM pg_catalog.pg_database d
                WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
            )
            AND l.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
      )
    ORDER BY i.indexrelid LIMIT 1
    """
)
"""An index that another session builds now is INVALID until it is ready; it holds that lock on the table meanwhile.

All names are qualified, since a revision has the search path of its service."""


class ConcurrentBuilds:
    """The concurrent builds of one revision after the other."""

    def __init__(self) -> None:
        """Begin without builds."""
        self._builds: list[tuple[str, str]] = []
        self._known: str | None = None

    def begin(self) -> None:
        """Begin with a revision."""
        self._builds.clear()
        self._known = None

    def note(self, connection: Connection, statement: str) -> None:
        """Note what a statement builds, and before the first one which indexes are INVALID, before it is executed."""
        if "concurrently" not in statement.lower():
            return
        tokens_of_each = (item.tokens for item in statements(statement))
        parsed = [tokens for tokens in tokens_of_each if any(word == "concurrently" for word in tokens)]
        self._builds += [build for tokens in parsed if (build := _build(tokens)) is not None]
        driver = driver_of(connection)
        is_build = any(tokens[0] in ("create", "reindex") for tokens in parsed)
        if is_build and self._known is None and not driver.is_in_transaction():
            with suppress(*driver.errors):  # the statement itself meets the same
                self._known = run(connection, driver.fetchval(_KNOWN)) or "{}"

    def invalid(self, connection: Connection) -> str | None:
        """Return the name of an index that was to be built and is INVALID, by the service's search path."""
        for index, table in dict.fromkeys(self._builds):
            name = connection.scalar(_INVALID, {"index": index, "table": table})
            if name is not None:
                return str(name)
        # one without a name of its own, or that a REINDEX has left
        left = connection.scalar(_LEFT, {"known": self._known}) if self._known is not None else None
        return None if left is None else str(left)


def _build(tokens: tuple[Token, ...]) -> tuple[str, str] | None:
    """Return the index and the table of a CREATE INDEX; None where it gives no name, and for any other statement."""
    words = [token.value if token.kind == "word" else "" for token in tokens]
    if words[:1] != ["create"] or "index" not in words[1:3] or "on" not in words:
        return None
    index, at = parts_at(tokens, words.index("index") + 1)
    table, _ = parts_at(tokens, at + 1)
    is_named = bool(index) and index != ["on"] and words[at : at + 1] == ["on"]
    return (index[0], quoted(*table)) if is_named and table else None
