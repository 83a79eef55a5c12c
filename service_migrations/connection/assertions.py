"""A query that fails where a revision has left the session in which a run began."""

from service_migrations.connection.locks import HOLDS_LOCK

__all__ = ["IS_OURS", "NO_LOCK"]

NO_LOCK = "service_migrations: "
IS_OURS = f"""
    SELECT CASE WHEN pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.<>) {{pid}} OR NOT {HOLDS_LOCK}
                THEN CAST(pg_catalog.concat('{NO_LOCK}', pg_catalog.pg_backend_pid()) AS pg_catalog.int4) END
"""
"""A query that fails where the session isn't the one that holds the migration lock. An error is the only result that a
statement can report when it is sent together with others."""
