"""What the database has of what pending revisions take: privileges, keys, publications, bodies of functions."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.catalog.search_path import SearchPath
from service_migrations.connection.drivers import driver_of
from service_migrations.connection.rows import together
from service_migrations.connection.single_message import Row
from service_migrations.plan.database.names import Names, parts

__all__ = ["Facts", "read_facts"]

_NEEDED = "'SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'EXECUTE'"
"""The privileges that statements of an application need."""

_ASKED = """
    WITH asked AS (
        SELECT a.schema, a.name, a.number FROM unnest(CAST(:schemas AS text[]), CAST(:names AS text[]))
        WITH ORDINALITY AS a (schema, name, number)
    ), me AS (SELECT oid FROM pg_roles WHERE rolname = current_user)
"""
_IN_PATH = """
    CASE a.schema WHEN '' THEN n.nspname = ANY (CAST(:path AS text[])) ELSE n.nspname = a.schema END
"""
_FIRST = "a.number, array_position(CAST(:path AS text[]), n.nspname::text)"


def _privileges(kind: str, acl: str, owner: str, schema: str, more: str = "") -> str:
    """Return the SQL of the privileges of other roles: all of them, and those that a new object wouldn't have."""
    own = f"""
        SELECT e.grantee, e.privilege_type FROM (
            SELECT coalesce((SELECT defaclacl FROM pg_default_acl WHERE defaclrole = me.oid AND defaclnamespace = 0
                             AND defaclobjtype = '{kind}'), acldefault('{kind}', me.oid)) AS acl
            UNION ALL SELECT defaclacl FROM pg_default_acl WHERE defaclrole = me.oid AND defaclnamespace = {schema}
                AND defaclobjtype = '{kind}') d, aclexplode(d.acl) e
    """  # noqa: S608 - ours
    former = f"""
        ARRAY(SELECT json_build_object(
                'role', coalesce(r.rolname, 'PUBLIC'), 'privileges', array_agg(DISTINCT g.privilege_type),
                'roles', ARRAY(SELECT m.rolname FROM pg_roles m WHERE r.oid IS NOT NULL
                               AND pg_has_role(r.oid, m.oid, 'USAGE')))
              FROM (SELECT grantee, privilege_type
                    FROM aclexplode(coalesce({acl}, acldefault('{kind}', {owner}))) {more}) g
              LEFT JOIN pg_roles r ON r.oid = g.grantee
              WHERE g.grantee <> me.oid AND NOT coalesce(r.rolsuper, false) AND g.privilege_type IN ({_NEEDED})
                AND (g.grantee = 0 OR r.oid IS NOT NULL) AND %s
              GROUP BY r.rolname, r.oid, g.grantee ORDER BY r.rolname NULLS FIRST)
    """  # noqa: S608 - ours
    is_lost = f"""
        NOT EXISTS (SELECT FROM ({own}) o WHERE o.grantee IN (g.grantee, 0) AND o.privilege_type = g.privilege_type)
    """
    return f"""{former % "true"} AS former, {former % is_lost} AS lost,
        EXISTS (SELECT FROM ({own}) o WHERE o.grantee = 0)
            AND NOT EXISTS (SELECT FROM aclexplode(coalesce({acl}, acldefault('{kind}', {owner}))) WHERE grantee = 0)
            AS opened
    """  # noqa: S608 - ours


_COLUMN_PRIVILEGES = """
    UNION SELECT e.grantee, e.privilege_type FROM pg_attribute t, aclexplode(t.attacl) e
    WHERE t.attrelid = c.oid AND NOT t.attisdropped
"""
_RELATIONS = f"""{_ASKED}
    SELECT DISTINCT ON (a.number) a.number, n.nspname AS schema, c.relkind AS kind, c.relreplident AS identity,
           CASE WHEN i.indrelid IS NULL THEN '' ELSE tn.nspname || '.' || tc.relname END AS indexed,
           pg_get_userbyid(c.relowner) AS owner, c.relowner = me.oid AS own,
           obj_description(c.oid, 'pg_class') IS NOT NULL AS comment, c.relrowsecurity AS secured,
           ARRAY(SELECT attname FROM pg_attribute
                 WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) AS columns,
           ARRAY(SELECT tgname FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal ORDER BY 1) AS triggers,
           ARRAY(SELECT rulename FROM pg_rewrite WHERE ev_class = c.oid AND rulename <> '_RETURN' ORDER BY 1) AS rules,
           ARRAY(SELECT attname FROM pg_attribute WHERE attrelid = c.oid AND atthasdef AND c.relkind = 'v'
                 ORDER BY attnum) AS defaults,
           ARRAY(SELECT json_build_object(
                     'name', x.relname, 'constraint', k.conname, 'unique', u.indisunique,
                     'condition', pg_get_expr(u.indpred, u.indrelid), 'primary', u.indisprimary,
                     'identity', u.indisreplident, 'named', ARRAY(
                         SELECT pg_get_indexdef(u.indexrelid, part, true) FROM generate_series(1, u.indnkeyatts) part))
                 FROM pg_index u JOIN pg_class x ON x.oid = u.indexrelid
                 LEFT JOIN pg_constraint k ON k.conindid = u.indexrelid AND k.contype IN ('p', 'u', 'x')
                 WHERE u.indrelid = coalesce(i.indrelid, c.oid) AND u.indisvalid AND u.indimmediate
                   AND (u.indisunique OR k.contype = 'x') ORDER BY x.relname) AS keys,
           ARRAY(SELECT conname FROM pg_constraint WHERE conrelid = coalesce(i.indrelid, c.oid)) AS constraints,
           ARRAY(SELECT json_build_object('name', o.conname, 'table', (
                     SELECT y.nspname || '.' || x.relname FROM pg_class x JOIN pg_namespace y ON y.oid = x.relnamespace
                     WHERE x.oid = o.conrelid))
                 FROM pg_constraint k JOIN pg_constraint o ON o.conname = k.conname
                 WHERE k.conrelid = coalesce(i.indrelid, c.oid) AND o.conrelid NOT IN (0, k.conrelid) AND o.conislocal
                   AND o.connamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY (CAST(:path AS text[])))
                ) AS others,
           ARRAY(SELECT p.pubname FROM pg_publication_tables t JOIN pg_publication p ON p.pubname = t.pubname
                 WHERE (p.pubupdate OR p.pubdelete) AND (t.schemaname, t.tablename) = (n.nspname, c.relname)
                 ORDER BY 1) AS publications,
           {_privileges("r", "c.relacl", "c.relowner", "c.relnamespace", _COLUMN_PRIVILEGES)}
    FROM asked a CROSS JOIN me JOIN pg_class c ON c.relname = a.name JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_class tc ON tc.oid = i.indrelid
    LEFT JOIN pg_namespace tn ON tn.oid = tc.relnamespace
    WHERE {_IN_PATH} ORDER BY {_FIRST}
"""  # noqa: S608 - ours
_FUNCTIONS = f"""{_ASKED}
    SELECT a.number, n.nspname AS schema, p.prosecdef AS definer, p.pronargdefaults AS defaults,
           ARRAY(SELECT format_type(u.type, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS u (type, place)
                 ORDER BY u.place) AS arguments, pg_get_userbyid(p.proowner) AS owner,
           p.proowner = me.oid AS own, obj_description(p.oid, 'pg_proc') IS NOT NULL AS comment,
           {_privileges("f", "p.proacl", "p.proowner", "p.pronamespace")}
    FROM asked a CROSS JOIN me JOIN pg_proc p ON p.proname = a.name JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE {_IN_PATH} ORDER BY {_FIRST}
"""  # noqa: S608 - ours
_BODIES = r"""
    SELECT n.nspname AS schema, p.proname AS name, p.prosrc AS body, ARRAY(
               SELECT tn.nspname || '.' || c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
               JOIN pg_namespace tn ON tn.oid = c.relnamespace
               WHERE t.tgfoid = p.oid AND NOT t.tgisinternal AND t.tgparentid = 0 ORDER BY 1) AS fired_by
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
    WHERE l.lanname IN ('plpgsql', 'sql') AND p.prosqlbody IS NULL AND p.prosrc ~* :pattern
      AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND NOT EXISTS (
          SELECT FROM pg_depend d WHERE d.classid = CAST('pg_proc' AS regclass) AND d.objid = p.oid AND d.deptype = 'e')
    ORDER BY 1, 2
"""
_WHOLE = """
    SELECT p.pubname AS name, '' AS schema FROM pg_publication p WHERE p.puballtables AND (p.pubupdate OR p.pubdelete)
"""
_OF_SCHEMAS = """
    UNION ALL SELECT p.pubname, n.nspname FROM pg_publication p JOIN pg_publication_namespace s ON s.pnpubid = p.oid
    JOIN pg_namespace n ON n.oid = s.pnnspid WHERE p.pubupdate OR p.pubdelete
"""
_SCHEMAS_SINCE = 15


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database has.

    Attributes:
        default: the schema of names without one.
        relations: by their plain names.
        functions: those of each plain name.
        bodies: the functions whose bodies may name what is gone.
        publications: those of all tables, and of all of a schema, with that.

    """

    default: str
    relations: dict[str, Row]
    functions: dict[str, list[Row]]
    bodies: list[Row]
    publications: list[tuple[str, str]]

    def plain(self, name: str) -> str:
        """Return a name that has a schema as the revisions have it."""
        return Names(self.default).plain(name.removeprefix("public."))

    def publishing(self, table: str) -> list[str]:
        """Return the publications that have each new table of the schema of a plain name."""
        schema = parts(table)[0] or self.default
        return [name for name, published in self.publications if published in ("", schema)]


async def read_facts(
    connection: AsyncConnection,
    path: SearchPath,
    relations: Collection[str],
    functions: Collection[str],
    named: Iterable[str],
) -> Facts:
    """Read what the database has, in one message.

    Args:
        connection: with our own search path.
        path: that of the service.
        relations: plain names.
        functions: plain names.
        named: the words of which one is in each of the bodies.

    """
    default, searched = path.default or "public", [*path.schemas, "public"]
    words = "|".join(sorted({re.escape(name) for name in named}))
    major = await connection.run_sync(lambda sync: driver_of(sync).major_version())
    whole = _WHOLE + (_OF_SCHEMAS if major >= _SCHEMAS_SINCE else "")
    answers = await together(
        connection,
        (_RELATIONS, _parameters(relations, searched)),
        (_FUNCTIONS, _parameters(functions, searched)),
        (_BODIES, {"pattern": rf"\m({words})\M" if words else "^$"}),
        (f"{whole} ORDER BY 1", {}),
    )
    by_relation, by_function = list(relations), list(functions)
    by_name: dict[str, list[Row]] = {}
    for row in answers[1]:
        by_name.setdefault(by_function[row.number - 1], []).append(row)
    return Facts(
        default,
        {by_relation[row.number - 1]: row for row in answers[0]},
        by_name,
        answers[2],
        [(row.name, row.schema) for row in answers[3]],
    )


def _parameters(names: Iterable[str], path: list[str]) -> dict[str, Any]:
    both = [parts(name) for name in names]
    return {"schemas": [schema for schema, _ in both], "names": [last for _, last in both], "path": path}
