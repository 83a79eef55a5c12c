"""Queries that fail where a session or a transaction isn't what it was before a revision."""

import re

from service_migrations.connection.locks import HOLDS_LOCK

__all__ = ["HAS_MARK", "IS_OURS", "MARK", "NO_LOCK", "NO_MARK", "RESETS"]

MARK = "service_migrations.revision"
"""A parameter that a revision's transaction sets for the session: it has the value afterwards if and only if that
transaction was committed (PostgreSQL documentation, SET). No SELECT sets it, so that a revision can still begin with
SET TRANSACTION ISOLATION LEVEL."""

NO_LOCK = "service_migrations: "
IS_OURS = f"""
    SELECT CASE WHEN pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.<>) {{pid}} OR NOT {HOLDS_LOCK}
                THEN CAST(pg_catalog.concat('{NO_LOCK}', pg_catalog.pg_backend_pid()) AS pg_catalog.int4) END
"""
"""A query that fails where the session isn't the one that holds the migration lock. An error is the only result that a
statement can report when it is sent together with others."""
NO_MARK = "service_migrations, no mark: "
HAS_MARK = f"""
    SELECT CASE WHEN coalesce(pg_catalog.current_setting('{MARK}', true), '') OPERATOR(pg_catalog.<>) '{{mark}}'
                THEN CAST(pg_catalog.concat('{NO_MARK}', pg_catalog.pg_backend_pid()) AS pg_catalog.int4) END
"""
"""A query that fails where the revision's transaction isn't the one that set the mark: a ``ROLLBACK AND CHAIN`` leaves
another one open."""
RESETS = re.compile(r"\b(RESET|DISCARD)\s+ALL\b", re.IGNORECASE)
"""Statements that take the mark away from a transaction that goes on."""
