"""What belongs to a database and not to what is in it: CREATE DATABASE leaves it out of a copy.

A history may set it, as with ``ALTER DATABASE … SET search_path`` or ``REVOKE TEMPORARY ON DATABASE``, and what runs in
a copy is to find it.
"""

from typing import TYPE_CHECKING

from service_migrations.sql.quoting import literal, quoted

if TYPE_CHECKING:
    import asyncpg

__all__ = ["copy_properties"]

_COPY_SETTINGS = """
    INSERT INTO pg_catalog.pg_db_role_setting (setdatabase, setrole, setconfig)
    SELECT made.oid, setrole, setconfig
    FROM pg_catalog.pg_db_role_setting, pg_catalog.pg_database original, pg_catalog.pg_database made
    WHERE setdatabase = original.oid AND original.datname = {original} AND made.datname = {made}
"""
"""As it is: of a value such as that of ``search_path``, SQL that sets it again would have to quote each part."""

_PROPERTIES = """
    SELECT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting WHERE setdatabase = d.oid) AS has_settings,
        coalesce(datacl, acldefault('d', datdba)) <> acldefault('d', datdba) AS has_privileges,
        pg_get_userbyid(datdba) AS owner
    FROM pg_catalog.pg_database d WHERE datname = $1
"""

_PRIVILEGES = """
    SELECT privilege_type, is_grantable, CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee) END AS grantee
    FROM pg_catalog.pg_database d, aclexplode(datacl) WHERE datname = $1
"""


async def copy_properties(connection: "asyncpg.Connection[asyncpg.Record]", original: str, made: str) -> None:
    """Give a copy of a database the settings and the privileges of the original, over a superuser's connection."""
    properties = await connection.fetchrow(_PROPERTIES, original)
    if properties is None:
        return
    if properties["has_settings"]:
        await connection.execute(_COPY_SETTINGS.format(original=literal(original), made=literal(made)))
    if properties["has_privileges"]:
        database = f"ON DATABASE {quoted(made)}"
        statements = [f"REVOKE ALL {database} FROM PUBLIC, {quoted(properties['owner'])}"]
        for row in await connection.fetch(_PRIVILEGES, original):
            grantee = "PUBLIC" if row["grantee"] is None else quoted(row["grantee"])
            option = " WITH GRANT OPTION" if row["is_grantable"] else ""
            statements.append(f"GRANT {row['privilege_type']} {database} TO {grantee}{option}")
        await connection.execute("; ".join(statements))
