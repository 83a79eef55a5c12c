"""The query for all tables of the form of Alembic's version table, apart from what needs SQLAlchemy."""

__all__ = ["IS_VERSION_TABLE", "VERSION_TABLES"]

IS_VERSION_TABLE = """(
    a.atttypid OPERATOR(pg_catalog.=) ANY (CAST(ARRAY[25, 1042, 1043] AS pg_catalog.oid[]))
    AND CAST(c.relkind AS pg_catalog.text) OPERATOR(pg_catalog.=) 'r'
    AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
    AND (
        NOT EXISTS (
            SELECT FROM pg_catalog.pg_attribute other
            WHERE other.attrelid OPERATOR(pg_catalog.=) c.oid AND other.attnum OPERATOR(pg_catalog.>) 0
              AND other.attnum OPERATOR(pg_catalog.<>) a.attnum AND NOT other.attisdropped
        )
        OR EXISTS (
            SELECT FROM pg_catalog.pg_constraint k
            WHERE k.conrelid OPERATOR(pg_catalog.=) c.oid
              AND CAST(k.contype AS pg_catalog.text) OPERATOR(pg_catalog.=) 'p'
              AND k.conkey OPERATOR(pg_catalog.=) ARRAY[a.attnum]
        )
    )
)"""
"""SQL: whether a relation *c* in a schema *n*, whose column ``version_num`` is *a*, has the form of Alembic's table:
that text column alone, or with others as the primary key. Schemas that the role may not use are left out: no run of
this role can have written there."""

VERSION_TABLES = f"""
    SELECT CAST(c.relname AS pg_catalog.text) AS name, CAST(n.nspname AS pg_catalog.text) AS schema,
           pg_catalog.format('%I.%I', n.nspname, c.relname) AS quoted,
           pg_catalog.row_security_active(c.oid) AS filtered,
           pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT') AS readable
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE a.attname OPERATOR(pg_catalog.=) CAST('version_num' AS pg_catalog.name)
      AND NOT pg_catalog.starts_with(CAST(n.nspname AS pg_catalog.text), 'pg_')
      AND {IS_VERSION_TABLE}
"""  # noqa: S608 - a constant
"""The tables of that form. The text has no parameters, so that asyncpg and SQLAlchemy both take it."""
