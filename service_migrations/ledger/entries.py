"""What the ledger of a service says was run, read back."""

from sqlalchemy import Text, literal_column, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from service_migrations.connection.connector import access
from service_migrations.connection.session import Session, connect
from service_migrations.errors import AccessDeniedError, MigrationError
from service_migrations.failures import sqlstate
from service_migrations.history.revisions import read
from service_migrations.ledger._m_entries import LATER, Entry, ledger_table
from service_migrations.monorepo import Service, find

__all__ = ["log", "rows"]

_DENIED = "42501"
_IS_TABLE = text("SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass(:name)")


async def log(service: str | Service, *, engine: AsyncEngine | None = None) -> tuple[Entry, ...]:
    """Return what was run on a service's database, newest first; nothing where there is no ledger. Read-only.

    Args:
        service: its name.
        engine: an engine of the caller's to take a connection from; without it, the service's own settings.

    Raises:
        MigrationError: the database can't be connected to, or its ledger not be read.

    """
    found = find(service) if isinstance(service, str) else service
    async with connect(read(found), access(found, engine)) as session:
        return await rows(session)


async def rows(session: Session) -> tuple[Entry, ...]:
    """Return a ledger's rows over a session, newest first, with no transaction open afterwards. Read-only.

    Raises:
        MigrationError: the ledger can't be read.

    """
    service, connection = session.history.service, session.connection
    table = ledger_table(service, session.schema)
    name = connection.dialect.identifier_preparer.format_table(table)
    ledger = table.alias("ledger")
    columns = [column for column in ledger.columns if column.name not in ("id", *LATER)]
    # through JSON, a column that an older ledger doesn't have is null
    later = [literal_column(f"to_jsonb(ledger) ->> '{column}'", Text) for column in LATER]
    try:
        # a view of that name could run somebody's function with our rights
        there = await connection.scalar(_IS_TABLE, {"name": name})
        query = select(*columns, *later).order_by(ledger.c.id.desc())
        found = (await connection.execute(query)).all() if there else []
    except SQLAlchemyError as error:
        where = f"{service}: {session.access.target}"
        if sqlstate(error) == _DENIED:
            grant = f'GRANT SELECT ON {name} TO "{session.access.user}";'
            raise AccessDeniedError(f"{where}: {name} may not be read. Its owner can run: {grant}") from error
        raise MigrationError(f"{where}: {name} can't be read: {type(error).__name__}.") from error
    finally:
        await connection.rollback()
    return tuple(Entry(*row) for row in found)
