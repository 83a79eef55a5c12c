"""The owners of relations that are trusted."""

__all__ = ["IS_TRUSTED"]

IS_TRUSTED = """(
    c.relowner = n.nspowner
    OR EXISTS (SELECT FROM pg_database d WHERE d.datname = current_database() AND d.datdba = c.relowner)
    OR EXISTS (SELECT FROM pg_roles o WHERE o.oid = c.relowner AND o.rolsuper)
    OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname = current_user
               AND (r.oid = c.relowner OR NOT r.rolsuper AND pg_has_role(r.oid, c.relowner, 'MEMBER')))
    OR NOT EXISTS (SELECT FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
                   WHERE a.grantee = 0 AND a.privilege_type = 'CREATE')
)"""
"""SQL: whether a relation *c* in a schema *n* wasn't created by just anybody.

Its owner owns the schema or the database, is a superuser, is our role or one that it is a member of (a superuser is a
member of all, which proves nothing); or not everybody may create in the schema, so that its owner trusts who may.
"""
