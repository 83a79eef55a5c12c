"""The owners of relations that are trusted."""

__all__ = ["IS_TRUSTED"]

IS_TRUSTED = """(
    c.relowner OPERATOR(pg_catalog.=) n.nspowner
    OR EXISTS (
        SELECT FROM pg_catalog.pg_database d
        WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
          AND d.datdba OPERATOR(pg_catalog.=) c.relowner
    )
    OR EXISTS (SELECT FROM pg_catalog.pg_roles o WHERE o.oid OPERATOR(pg_catalog.=) c.relowner AND o.rolsuper)
    OR EXISTS (
        SELECT FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) current_user
          AND (r.oid OPERATOR(pg_catalog.=) c.relowner
               OR NOT r.rolsuper AND pg_catalog.pg_has_role(r.oid, c.relowner, 'MEMBER'))
    )
    OR NOT EXISTS (
        SELECT FROM pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) a
        WHERE a.grantee OPERATOR(pg_catalog.=) CAST(0 AS pg_catalog.oid)
          AND a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'
    )
)"""
"""SQL: whether a relation *c* in a schema *n* wasn't created by just anybody.

Its owner owns the schema or the database, is a superuser, is our role or one that it is a member of (a superuser is a
member of all, which proves nothing); or not everybody may create in the schema, so that its owner trusts who may.
"""
