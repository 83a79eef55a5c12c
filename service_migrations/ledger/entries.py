"""What the ledger of a service says was run, read back."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Float,
    Identity,
    MetaData,
    Table,
    Text,
    literal_column,
    select,
    text,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from service_migrations.connection.connector import connector
from service_migrations.connection.session import Session, open_session
from service_migrations.connection.transactions import is_lost
from service_migrations.errors import AccessDeniedError, MigrationError
from service_migrations.failures import lost_failure, sqlstate
from service_migrations.history.revisions import read
from service_migrations.monorepo import Service, resolve
from service_migrations.settings.model import Settings

__all__ = ["LATER", "Entry", "ledger_table", "log", "rows"]

LATER = ("checksum", "fingerprint")
"""The columns that a ledger made before they were thought of doesn't have; all of them are text and may be null."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One revision that was run, in one direction: ``upgrade``, ``downgrade`` or ``stamp``.

    ``from_revision`` and ``to_revision`` are where the database was before and after, None for base. A fourth
    direction, ``accept``, ran nothing: somebody allowed the edited file of the revision, which both of them name.
    ``started`` is by the server's clock. ``git_commit`` is None where the code was no checkout. ``checksum`` and
    ``fingerprint`` are those of the revision's file as it was then, None where the revision isn't there any more.
    """

    revision: str
    from_revision: str | None
    to_revision: str | None
    direction: str
    started: datetime | None
    seconds: float
    os_user: str
    host: str
    git_commit: str | None
    version: str
    checksum: str | None = None
    fingerprint: str | None = None


@lru_cache(maxsize=8)
def ledger_table(service: Service, schema: str | None) -> Table:
    """Return the table of a service's ledger, in a schema or wherever ``search_path`` leads."""
    return Table(
        service.ledger_table,
        MetaData(),
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("revision", Text, nullable=False),
        # not "from", "to" and "user": by hand, SELECT user would give the role that asks
        Column("from_revision", Text),
        Column("to_revision", Text),
        Column("direction", Text, nullable=False),
        Column("started", DateTime(timezone=True), nullable=False),
        Column("seconds", Float, nullable=False),
        Column("os_user", Text, nullable=False),
        Column("host", Text, nullable=False),
        Column("git_commit", Text),
        Column("version", Text, nullable=False),
        *(Column(name, Text) for name in LATER),
        schema=schema,
    )


_DENIED = "42501"
_IS_TABLE = text(
    """
    SELECT CAST(c.relkind AS pg_catalog.text) OPERATOR(pg_catalog.=) 'r' AND NOT pg_catalog.row_security_active(c.oid)
    FROM pg_catalog.pg_class c
    WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(CAST(:name AS pg_catalog.text))
    """
)


async def log(
    service: str | Service, *, engine: AsyncEngine | None = None, settings: Settings | None = None
) -> tuple[Entry, ...]:
    """Return what was run on a service's database, newest first; nothing where there is no ledger. Read-only.

    Args:
        service: its name.
        engine: an engine of the caller's to take a connection from; without it, the service's own settings.
        settings: the service's, where they are loaded already.

    Raises:
        MigrationError: the database can't be connected to, or its ledger not be read.

    """
    found = resolve(service)
    async with open_session(read(found), connector(found, engine, settings)) as session:
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
        # a view of that name, or a table with policies, could run somebody's function with our rights
        there = await connection.scalar(_IS_TABLE, {"name": name})
        query = select(*columns, *later).order_by(ledger.c.id.desc())
        found = (await connection.execute(query)).all() if there else []
    except SQLAlchemyError as error:
        target = session.connector.target
        if sqlstate(error) == _DENIED:
            grant = f'GRANT SELECT ON {name} TO "{session.connector.user}";'
            hint = f"Its owner can run: {grant}"
            raise AccessDeniedError(f"{target}: {name} may not be read.", service=service, hint=hint) from error
        text = f"{target}: {name} can't be read: {type(error).__name__}."
        if is_lost(connection):
            raise lost_failure(error, service) from error
        raise MigrationError(text, service=service) from error
    finally:
        if not is_lost(connection):
            await connection.rollback()
    return tuple(Entry(*row) for row in found)
