"""Version tables beside a service's own one that hold revisions of its history.

A team that used Alembic before has such a table, and a database that was migrated with it must never look empty. Its
columns are looked at, not its name: Alembic's own default, a name of the team's, in any schema.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.configuration import TABLE
from service_migrations.connection.connector import Connector
from service_migrations.errors import AccessDeniedError, ConfigurationError
from service_migrations.pyproject import FILE
from service_migrations.session.tables.relation import schemas
from service_migrations.session.tables.version_tables import VERSION_TABLES
from service_migrations.settings.siblings import version_tables_of_siblings

__all__ = ["OtherTable", "PossibleVersionTable", "other_tables", "refusal"]


@dataclass(frozen=True, slots=True)
class PossibleVersionTable:
    """A table of the form of a version table.

    Attributes:
        name: its name.
        schema: its schema.
        quoted: both, as SQL has them.
        filtered: whether policies filter its rows for our role.
        readable: whether our role may read it.

    """

    name: str
    schema: str
    quoted: str
    filtered: bool
    readable: bool


@dataclass(frozen=True, slots=True)
class OtherTable:
    """A version table beside the one of a service.

    Attributes:
        name: its name.
        schema: its schema.
        quoted: both, as SQL has them.
        is_visible: whether its schema is on the service's search path.
        revisions: those of the service's history that it holds.

    """

    name: str
    schema: str
    quoted: str
    is_visible: bool
    revisions: tuple[str, ...]


async def other_tables(
    connection: AsyncConnection,
    connector: Connector,
    schema: str | None,
    ids: Collection[str],
    version_tables: Sequence[PossibleVersionTable] | None = None,
) -> list[OtherTable]:
    """Return the tables beside a service's own one that hold revisions of its history; a transaction is open then.

    The version table of a sibling is none of them: histories may have ids such as ``0001`` in common.

    Args:
        connection: to the database.
        connector: of the service.
        schema: that of its version table, or where the table would be created.
        ids: the revisions of its history.
        version_tables: all tables of the form of a version table, where they are known already.

    Raises:
        ConfigurationError: policies filter the rows of such a table.
        AccessDeniedError: the role may not read one, and no setting names the schema of the service's own.

    """
    service, name = connector.service, connector.version_table
    if version_tables is None:
        version_tables = [PossibleVersionTable(*row) for row in await connection.execute(text(VERSION_TABLES))]
    rows = [
        row for row in version_tables if (row.name, row.schema) != (name, schema) and row.name != service.ledger_table
    ]
    visible = schemas(connection, None)
    excluded = version_tables_of_siblings(service, name, connector.databases, connector.sources) if rows else ()
    tables = []
    for row in rows:
        if row.name in excluded:
            continue
        if not row.readable:
            # a person who has named the schema knows that the table of somebody else isn't meant
            if connector.service.version_table_schema is None:
                raise _unreadable(connector, row.quoted)
            continue
        if row.filtered:
            raise ConfigurationError(
                f"{row.quoted} has row level security, so that it can't be known whether it is the version table of "
                "this database.",
                hint=f"Its owner can run: ALTER TABLE {row.quoted} DISABLE ROW LEVEL SECURITY;",
            )
        query = text(
            "SELECT CAST(version_num AS pg_catalog.text) "  # noqa: S608 - the server has quoted the name
            f"FROM ONLY {row.quoted} WHERE CAST(version_num AS pg_catalog.text) OPERATOR(pg_catalog.=) "
            "ANY (CAST(:ids AS pg_catalog.text[]))"
        )
        revisions = (await connection.scalars(query, {"ids": list(ids)})).all()
        if revisions:
            tables.append(OtherTable(row.name, row.schema, row.quoted, row.schema in visible, tuple(sorted(revisions))))
    return tables


def refusal(
    connector: Connector, schema: str | None, own: str | None, others: Sequence[OtherTable]
) -> ConfigurationError:
    """Return the error of a database that another version table says was migrated.

    Args:
        connector: of the service.
        schema: that of the service's own table; None for the search_path.
        own: the quoted name of that table; None where there is none.
        others: the tables that hold revisions of the history.

    """
    other = others[0]
    held = " and ".join(f"{table.quoted} holds {', '.join(table.revisions)}" for table in others)
    name, service = connector.version_table, connector.service
    state = f"{own} isn't the only one" if other.name == name else f"{own} is empty" if own else f"{name} isn't there"
    keys = [f'version_table = "{other.name}"'] if other.name != name else []
    if not (other.is_visible if schema is None else other.schema == schema):
        keys.append(f'version_table_schema = "{other.schema}"')
    revision = other.revisions[0] if len(other.revisions) == 1 else "<revision>"
    ways = [f"Set {' and '.join(keys)} in [tool.{TABLE}.service.{service}] of {FILE}"] if keys else []
    if other.name != name:
        ways.append(f"record it in {name}: `inv db.stamp --service {service} --revision {revision}`")
    return ConfigurationError(
        f"the database was migrated with another version table: {held} of this history, and {state}.",
        hint=f"{'; or '.join([*ways, f'drop {other.quoted} if nothing uses it'])}.",
    )


def _unreadable(connector: Connector, quoted: str) -> AccessDeniedError:
    return AccessDeniedError(
        f"{quoted} looks like a version table and may not be read by {connector.user}, so that it can't be known "
        "whether this database was migrated with it.",
        hint=f'Its owner can run: GRANT SELECT ON {quoted} TO "{connector.user}"; or, where it is another '
        f"application's, set version_table_schema in [tool.{TABLE}.service.{connector.service}] of {FILE}.",
    )
