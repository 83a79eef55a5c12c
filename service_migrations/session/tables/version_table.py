"""The version table, from which the revisions of a database are read."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateSchema

from service_migrations.connection.connector import Connector
from service_migrations.connection.rows import rows
from service_migrations.errors import ConfigurationError
from service_migrations.session.tables.other_version_tables import PossibleVersionTable, other_tables, refusal
from service_migrations.session.tables.relation import Relation, first, schemas
from service_migrations.session.tables.trust import IS_TRUSTED
from service_migrations.session.tables.version_tables import IS_VERSION_TABLE
from service_migrations.sql.quoting import quoted

__all__ = ["ALEMBICS_WIDTH", "Located", "applied", "ensure_schema", "id_width", "located"]

ALEMBICS_WIDTH = 32
"""Characters of an id that a version table of Alembic's holds."""

_ANOTHER = "Correct MIGRATIONS_VERSION_TABLE, or version_table in pyproject.toml; or drop that table."
_OTHER_KINDS = ("r", "p", "v", "m", "f")
_TABLES = f"""
    SELECT n.nspname AS schema, c.relname AS bare, format('%I.%I', n.nspname, c.relname) AS name,
           c.relkind::text AS kind, row_security_active(c.oid) AS is_filtered, pg_get_userbyid(c.relowner) AS owner,
           c.relname = CAST(:name AS name) AS is_named, a.attnum IS NOT NULL AS has_versions,
           CASE WHEN c.relname = CAST(:name AS name) THEN {IS_TRUSTED} END AS is_trusted,
           {IS_VERSION_TABLE} AS is_candidate, has_column_privilege(c.oid, a.attnum, 'SELECT') AS is_readable
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'version_num' AND NOT a.attisdropped
    WHERE NOT starts_with(n.nspname::text, 'pg_') AND (c.relname = CAST(:name AS name) OR a.attnum IS NOT NULL)
    ORDER BY 1, 2
"""  # noqa: S608 - constants
"""Every relation of a name, and of any name that has a column ``version_num``: another round trip would take longer.
None is looked up by its qualified name: without USAGE on its schema, as where each of two services has one that the
other may not see, ``to_regclass`` is an error."""


@dataclass(frozen=True, slots=True)
class Located:
    """Where a version table is.

    Attributes:
        schema: its schema, or where it doesn't exist the one in which it would be created.
        relation: the table; None where it doesn't exist.
        namesakes: the qualified and quoted names of relations of its name in other schemas.
        candidates: all tables of the form of a version table.

    """

    schema: str | None
    relation: Relation | None
    namesakes: tuple[str, ...]
    candidates: tuple[PossibleVersionTable, ...]


async def located(connection: AsyncConnection, connector: Connector, schema: str | None) -> Located:
    """Locate a service's version table, whose rows may then be read; no transaction is open afterwards.

    Args:
        connection: made by the connector.
        connector: of the service.
        schema: that of the version table; the search path of the service decides where it is None.

    Raises:
        ConfigurationError: another schema has a table of that name too, so that the database may be at another
            revision, unless a setting names the schema; or it is no table, has policies that filter its rows, or was
            created by just anybody.

    """
    version_table, order = connector.version_table, schemas(connection, schema)
    try:
        table_rows = await rows(connection, _TABLES, name=version_table)
    finally:
        await connection.rollback()
    relations = [
        Relation(row.schema, row.name, row.kind, row.is_filtered, row.owner, row.is_trusted)
        for row in table_rows
        if row.is_named
    ]
    candidates = tuple(
        PossibleVersionTable(row.bare, row.schema, row.name, row.is_filtered, row.is_readable)
        for row in table_rows
        if row.is_candidate
    )
    used = first(relations, order)
    namesakes = tuple(relation.name for relation in relations if relation != used and relation.kind in _OTHER_KINDS)
    if namesakes and connector.service.version_table_schema is None:
        used_schema = quoted(used.schema) if used else schema or "another one, by search_path"
        raise ConfigurationError(
            f"the version table {version_table} is also in another schema than the one that is used "
            f"({used_schema}): {', '.join(namesakes)}.",
            hint="Set version_table_schema in pyproject.toml to the schema that counts; or correct "
            "MIGRATIONS_SEARCH_PATH, or the schema of the models' MetaData; or drop the table that nothing uses; "
            "or give the service another version_table.",
        )
    has_versions = {row.name for row in table_rows if row.has_versions}
    if used and (used.problem or used.name not in has_versions):
        problem, hint = used.problem or ("has no column version_num: it is a table of something else", _ANOTHER)
        raise ConfigurationError(f"the version table {used.name} {problem}.", hint=hint)
    return Located(used.schema if used else next(iter(order), None), used, namesakes, candidates)


async def applied(
    connection: AsyncConnection,
    connector: Connector,
    schema: str | None,
    ids: Collection[str] = (),
    table: Located | None = None,
) -> tuple[str, ...]:
    """Return the revisions in a service's version table, sorted; none where the table doesn't exist.

    No transaction is open afterwards: Alembic commits nothing in one that was open before.

    Args:
        connection: to the database.
        connector: of the service.
        schema: that of the version table; None for the search_path.
        ids: the revisions of the history: another table that holds one of them is refused where this one is empty.
            Without them, other tables aren't read.
        table: where it is, if that is known.

    Raises:
        ConfigurationError: as in ``located``; or another version table says that the database was migrated.
        AccessDeniedError: as in ``other_tables``.

    """
    table = table or await located(connection, connector, schema)
    try:
        revisions = await _rows(connection, connector.version_table, table) if table.relation else ()
        if ids and (table.namesakes or not revisions):
            holding = await other_tables(connection, connector, table.schema, ids, table.candidates)
            # one of another name may be left from before, where this one has revisions
            holding = [other for other in holding if not revisions or other.name == connector.version_table]
            if holding:
                raise refusal(connector, schema, table.relation.name if table.relation else None, holding)
    finally:
        await connection.rollback()
    return revisions


async def _rows(connection: AsyncConnection, version_table: str, located_table: Located) -> tuple[str, ...]:
    name = quoted(located_table.schema, version_table)
    # without its key, and so without NOT NULL, it may have a row that names no revision
    query = f"SELECT COALESCE(CAST(version_num AS text), 'NULL') AS revision FROM {name}"  # noqa: S608 - quoted
    return tuple(sorted(row.revision for row in await rows(connection, query)))


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
    try:
        width = await connection.scalar(_WIDTH, {"name": quoted(schema, version_table)})
    finally:
        await connection.rollback()
    return None if width is None else int(width)


async def ensure_schema(connection: AsyncConnection, schema: str) -> None:
    """Create the schema of a service, which its version table needs before the first revision."""
    exists = await connection.scalar(text("SELECT to_regnamespace(quote_ident(:name))").bindparams(name=schema))
    if exists is None:
        await connection.execute(CreateSchema(schema, if_not_exists=True))
    await connection.commit()
