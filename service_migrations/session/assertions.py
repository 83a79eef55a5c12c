"""Queries that fail where a revision has left what a run relies on: its session, or the version table.

An error is the only result that a statement can report when it is sent together with others.
"""

from collections.abc import Iterable

from service_migrations.connection.single_message import constant
from service_migrations.session.locks import HOLDS_LOCK

__all__ = ["IS_OURS", "NOT_AT", "NO_LOCK", "is_at"]

NO_LOCK = "service_migrations: "
IS_OURS = f"""
    SELECT CASE WHEN pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.<>) {{pid}} OR NOT {HOLDS_LOCK}
                THEN CAST(pg_catalog.concat('{NO_LOCK}', pg_catalog.pg_backend_pid()) AS pg_catalog.int4) END
"""
"""A query that fails where the session isn't the one that holds the migration lock."""

NOT_AT = "service_migrations, version table: "
_IS_AT = f"""
    SELECT CASE WHEN ARRAY(
                    SELECT CAST(version_num AS pg_catalog.text) FROM {{table}}
                    ORDER BY CAST(version_num AS pg_catalog.text) COLLATE pg_catalog."C"
                ) OPERATOR(pg_catalog.<>) CAST({{ids}} AS pg_catalog.text[])
                THEN CAST(pg_catalog.concat('{NOT_AT}', pg_catalog.pg_backend_pid()) AS pg_catalog.int4) END
"""  # noqa: S608 - quoted


def is_at(table: str, ids: Iterable[str]) -> str:
    """Return a query that fails where a version table, of a quoted name, hasn't exactly the given revisions."""
    return _IS_AT.format(table=table, ids=f"ARRAY[{', '.join(constant(identifier) for identifier in sorted(ids))}]")
