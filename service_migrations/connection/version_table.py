"""The version table, from which the revisions of a database are read."""

from collections.abc import Collection

from sqlalchemy import Column, MetaData, String, Table, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateSchema

from service_migrations.connection.connector import Connector
from service_migrations.connection.other_version_tables import other_tables, refusal
from service_migrations.connection.version_tables import VERSION_TABLES
from service_migrations.errors import ConfigurationError

__all__ = ["applied", "ensure_schema", "id_width"]

_TABLES = text(  # the query that is put in is ours
    f"""
    SELECT false AS is_other, CAST(c.relname AS pg_catalog.text) AS name, CAST(n.nspname AS pg_catalog.text) AS schema,
           pg_catalog.format('%I.%I', n.nspname, c.relname) AS quoted, false AS visible,
           pg_catalog.row_security_active(c.oid) AS filtered, true AS readable,
           CAST(c.relkind AS pg_catalog.text) OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p']) AS is_table,
           coalesce(c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(CAST(:name AS pg_catalog.text)), false) AS used
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.relname OPERATOR(pg_catalog.=) CAST(:table AS pg_catalog.name)
      AND CAST(c.relkind AS pg_catalog.text) OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p', 'v', 'm', 'f'])
      AND NOT pg_catalog.starts_with(CAST(n.nspname AS pg_catalog.text), 'pg_')
    UNION ALL
    SELECT true, version_tables.*, true, false FROM ({VERSION_TABLES}) AS version_tables
    ORDER BY 1, 4
    """  # noqa: S608
)
"""Every relation of that name, and which one is read; and all version tables, as another round trip would take longer.
All names are qualified: until its kind and its policies are known, somebody may have created it so that a function of
theirs runs with our rights."""


async def applied(
    connection: AsyncConnection, connector: Connector, schema: str | None, ids: Collection[str] = ()
) -> tuple[str, ...]:
    """Return the revisions in a service's version table, sorted; none where the table doesn't exist.

    No transaction is open afterwards: Alembic commits nothing in one that was open before.

    Args:
        connection: to the database.
        connector: of the service.
        schema: that of the version table; None for the search_path.
        ids: the revisions of the history: another table that holds one of them is refused where this one is empty.
            Without them, other tables aren't read.

    Raises:
        ConfigurationError: another schema has a table of that name too, so that the database may be at another
            revision, unless a setting names the schema and the other table holds no revision of this history; or
            another version table says that the database was migrated; or it is no table, or has policies that filter
            its rows.
        AccessDeniedError: as in ``other_tables``.

    """
    version_table, is_settled = connector.version_table, connector.service.version_table_schema is not None
    table = Table(version_table, MetaData(), Column("version_num", String), schema=schema)
    name = connection.dialect.identifier_preparer.format_table(table)
    try:
        rows = (await connection.execute(_TABLES, {"name": name, "table": version_table})).all()
        relations = [row for row in rows if not row.is_other]
        used = [relation for relation in relations if relation.used]
        others = [relation.quoted for relation in relations if not relation.used]
        if others and not is_settled:
            used_schema = used[0].schema if used else schema or "another one, by search_path"
            raise ConfigurationError(
                f"the version table {version_table} is also in another schema than the one that is used "
                f"({used_schema}): {', '.join(others)}.",
                hint="Set version_table_schema in pyproject.toml to the schema that counts; or correct "
                "MIGRATIONS_SEARCH_PATH, or the schema of the models' MetaData; or drop the table that nothing uses; "
                "or give the service another version_table.",
            )
        if used and not used[0].is_table:
            raise ConfigurationError(
                f"{used[0].quoted} is no table, and the revisions of the database are read from it.",
                hint="Find out who made it; drop it, and restore the version table.",
            )
        if used and used[0].filtered:
            raise ConfigurationError(
                f"{used[0].quoted} has row level security, so that its rows can't be trusted.",
                hint=f"Its owner can run: ALTER TABLE {used[0].quoted} DISABLE ROW LEVEL SECURITY;",
            )
        revisions = (await connection.scalars(select(table.c.version_num))).all() if used else []
        if ids and (others or not revisions):
            version_tables = [row for row in rows if row.is_other]
            holding = await other_tables(connection, connector, schema, ids, version_tables)
            # one of another name may be left from before, where this one has revisions
            holding = [other for other in holding if not revisions or other.name == version_table]
            if holding:
                raise refusal(connector, schema, used[0].quoted if used else None, holding)
    finally:
        await connection.rollback()
    return tuple(sorted(revisions))


_WIDTH = text(
    """
    SELECT a.atttypmod OPERATOR(pg_catalog.-) 4 FROM pg_catalog.pg_attribute a
    WHERE a.attrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(CAST(:name AS pg_catalog.text))
      AND a.attname OPERATOR(pg_catalog.=) CAST('version_num' AS pg_catalog.name)
      AND pg_catalog.format_type(a.atttypid, NULL) OPERATOR(pg_catalog.=) ANY (ARRAY['character varying', 'character'])
      AND a.atttypmod OPERATOR(pg_catalog.>) 4
    """
)


async def id_width(connection: AsyncConnection, version_table: str, schema: str | None) -> int | None:
    """Return how many characters of an id a version table holds; None where it has no limit, or doesn't exist."""
    table = Table(version_table, MetaData(), schema=schema)
    try:
        width = await connection.scalar(_WIDTH, {"name": connection.dialect.identifier_preparer.format_table(table)})
    finally:
        await connection.rollback()
    return None if width is None else int(width)


async def ensure_schema(connection: AsyncConnection, schema: str) -> None:
    """Create the schema of a service, which its version table needs before the first revision."""
    exists = await connection.scalar(text("SELECT to_regnamespace(quote_ident(:name))").bindparams(name=schema))
    if exists is None:
        await connection.execute(CreateSchema(schema, if_not_exists=True))
    await connection.commit()
