"""Queries that fail where a revision has left what a run relies on: its session, or the version table.

An error is the only result that a statement can report when it is sent together with others.
"""

from collections.abc import Iterable

from service_migrations.connection.single_message import constant
from service_migrations.session.locks import HOLDS_LOCK

__all__ = ["IS_OURS", "NOT_AT", "NOT_PLAIN", "NO_LOCK", "is_at", "is_plain"]

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
                OR NOT EXISTS (
                    SELECT FROM pg_catalog.pg_class c
                    WHERE c.oid OPERATOR(pg_catalog.=) CAST(pg_catalog.to_regclass({{name}}) AS pg_catalog.oid)
                      AND CAST(c.relkind AS pg_catalog.text) OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p'])
                      AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t
                                      WHERE t.tgrelid OPERATOR(pg_catalog.=) c.oid AND NOT t.tgisinternal
                                        AND pg_catalog.int2and(t.tgtype, CAST(2 AS pg_catalog.int2))
                                            OPERATOR(pg_catalog.=) CAST(2 AS pg_catalog.int2))
                      AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite r
                                      WHERE r.ev_class OPERATOR(pg_catalog.=) c.oid)
                )
                THEN CAST(pg_catalog.concat('{NOT_AT}', pg_catalog.pg_backend_pid()) AS pg_catalog.int4) END
"""  # noqa: S608 - quoted


def is_at(table: str, ids: Iterable[str]) -> str:
    """Return a query that fails where a version table hasn't exactly the given revisions, or isn't a plain table.

    By a trigger that fires before, by a rule, and through a view, another revision might be written than the one that
    was run. A trigger that fires after, as for an audit, changes no row that is written.

    Args:
        table: its quoted name.
        ids: the revisions.

    """
    values = f"ARRAY[{', '.join(constant(identifier) for identifier in sorted(ids))}]"
    return _IS_AT.format(table=table, name=constant(table), ids=values)


NOT_PLAIN = "service_migrations, ledger: "
_IS_PLAIN = f"""
    SELECT CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger t
                             WHERE t.tgrelid OPERATOR(pg_catalog.=) c.oid AND NOT t.tgisinternal)
                  OR EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class OPERATOR(pg_catalog.=) c.oid)
                THEN CAST(pg_catalog.concat('{NOT_PLAIN}', pg_catalog.pg_backend_pid()) AS pg_catalog.int4) END
    FROM (SELECT CAST(pg_catalog.to_regclass({{name}}) AS pg_catalog.oid) AS oid) c
"""  # noqa: S608 - quoted


def is_plain(table: str) -> str:
    """Return a query that fails where a table has a trigger or a rule, by which another row might be written, or none.

    Args:
        table: its quoted name.

    """
    return _IS_PLAIN.format(name=constant(table))
