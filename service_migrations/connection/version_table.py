"""The version table: which revisions a database has, read and never written here."""

from sqlalchemy import Column, MetaData, String, Table, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateSchema

__all__ = ["applied", "ensure_schema"]


async def applied(connection: AsyncConnection, version_table: str, schema: str | None) -> tuple[str, ...]:
    """Return the revisions in a version table, sorted; none where there is no such table.

    The transaction that this needs is over when it returns: Alembic commits nothing in one that it finds open.
    """
    table = Table(version_table, MetaData(), Column("version_num", String), schema=schema)
    name = connection.dialect.identifier_preparer.format_table(table)
    try:
        there = await connection.scalar(text("SELECT to_regclass(:name)").bindparams(name=name))
        found = (await connection.scalars(select(table.c.version_num))).all() if there else []
    finally:
        await connection.rollback()
    return tuple(sorted(found))


async def ensure_schema(connection: AsyncConnection, schema: str) -> None:
    """Make the schema of a service, which its version table needs before the first revision can run."""
    exists = await connection.scalar(text("SELECT to_regnamespace(quote_ident(:name))").bindparams(name=schema))
    if exists is None:
        await connection.execute(CreateSchema(schema, if_not_exists=True))
    await connection.commit()
