"""The entries of a service's ledger: the revisions that were run."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, datetime
from functools import lru_cache
from math import nan
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Float,
    Identity,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from service_migrations.connection.connector import connector
from service_migrations.connection.drivers import is_lost
from service_migrations.connection.rows import rows
from service_migrations.connection.single_message import Row
from service_migrations.errors import AccessDeniedError, ConfigurationError, MigrationError
from service_migrations.failures.driver_errors import sqlstate
from service_migrations.failures.revisions import lost_failure
from service_migrations.history.listing import listed
from service_migrations.monorepo import Service, resolve
from service_migrations.session.session import Session, open_session
from service_migrations.session.tables.relation import Relation, first, named, schemas
from service_migrations.settings.model import Settings

__all__ = ["ADDED_COLUMNS", "Entry", "ledger_table", "log", "newest_first", "read_entries", "readable"]

ADDED_COLUMNS = ("checksum", "fingerprint", "downgrade_sql")
"""The columns that were added later, so that an older ledger doesn't have them; all are text and may be null."""

_READ_COLUMNS = ADDED_COLUMNS[:2]
"""Those of an entry: the SQL may be long, and only db.undo needs it."""

_NEVER_NULL = ("revision", "direction", "os_user", "host", "version")


@dataclass(frozen=True, slots=True)
class Entry:
    """A revision that was run.

    Attributes:
        revision: the revision.
        from_revision: the revisions of the database before; None for base.
        to_revision: those after; None for base.
        direction: ``upgrade``, ``downgrade`` or ``stamp``; or ``accept``, where nothing was run, but somebody accepted
            the edited file of the revision, which is then in both fields above.
        started: when it began, by the server's clock.
        seconds: how long it took.
        os_user: the account that ran it.
        host: the machine that ran it.
        git_commit: the commit of the code; None without a checkout.
        version: that of the project.
        checksum: that of the revision's file when it was run; None where the file didn't exist, or was not recorded.
        fingerprint: as the checksum.

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
    """Return the table of a service's ledger; ``search_path`` decides where the schema is None."""
    return Table(
        service.ledger_table,
        MetaData(),
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("revision", Text, nullable=False),
        # not "from", "to" and "user": written by hand, SELECT user would return the current role
        Column("from_revision", Text),
        Column("to_revision", Text),
        Column("direction", Text, nullable=False),
        Column("started", DateTime(timezone=True), nullable=False),
        Column("seconds", Float, nullable=False),
        Column("os_user", Text, nullable=False),
        Column("host", Text, nullable=False),
        Column("git_commit", Text),
        Column("version", Text, nullable=False),
        *(Column(name, Text) for name in ADDED_COLUMNS),
        schema=schema,
    )


_DENIED = "42501"


async def log(
    service: str | Service, *, engine: AsyncEngine | None = None, settings: Settings | None = None
) -> tuple[Entry, ...]:
    """Return the entries of a service's ledger, newest first; none where the ledger doesn't exist. Read-only.

    Args:
        service: its name.
        engine: an engine of the caller's to take a connection from; without it, the service's own settings.
        settings: the service's, where they are loaded already.

    Raises:
        MigrationError: the database can't be connected to, or its ledger can't be read.

    """
    resolved = resolve(service)
    async with open_session(listed(resolved), connector(resolved, engine, settings)) as session:
        return await read_entries(session)


def newest_first(name: str, columns: Iterable[str], added: Iterable[str]) -> str:
    """Return the query of a ledger, the newest row first.

    Args:
        name: the quoted name of its table.
        columns: columns that every ledger has.
        added: columns that it may lack; then they are null, as in SQL an inner name that isn't there is an outer one.

    """
    listed, absent = ", ".join([*columns, *added]), ", ".join(added)
    ledgers = ", ".join(f"ledger.{column}" for column in (*columns, *added))
    nulls = ", ".join("CAST(NULL AS pg_catalog.text)" for _ in added)
    return (
        f"SELECT {ledgers} FROM (VALUES ({nulls})) AS absent ({absent}) "  # noqa: S608 - names of ours
        f"CROSS JOIN LATERAL (SELECT id, {listed} FROM {name}) AS ledger ORDER BY ledger.id DESC"
    )


async def readable(session: Session) -> Relation | None:
    """Return the ledger of a session, if its rows may be read; None where it doesn't exist.

    No transaction is open afterwards.

    Raises:
        ConfigurationError: it is no table, has policies, or was created by just anybody.
        UnreachableError: the connection was lost.

    """
    service, connection = session.history.service, session.connection
    try:
        ledger = first(await named(connection, service.ledger_table), schemas(connection, session.schema))
    finally:
        if not is_lost(connection):
            await connection.rollback()
    if ledger and ledger.problem:
        problem, hint = ledger.problem
        message = f"{session.connector.target}: the ledger {ledger.name} {problem}."
        raise ConfigurationError(message, service=service, hint=hint)
    return ledger


async def read_entries(session: Session) -> tuple[Entry, ...]:
    """Return the entries of a session's ledger, newest first, with no transaction open afterwards. Read-only.

    Raises:
        MigrationError: the ledger can't be read.

    """
    service, connection = session.history.service, session.connection
    ledger = await readable(session)
    if ledger is None:
        return ()
    table, name = ledger_table(service, session.schema), ledger.name
    columns = [column.name for column in table.columns if column.name not in ("id", *ADDED_COLUMNS)]
    try:
        records = await rows(connection, newest_first(name, columns, _READ_COLUMNS))
    except SQLAlchemyError as error:
        target = session.connector.target
        if sqlstate(error) == _DENIED:
            grant = f'GRANT SELECT ON {table} TO "{session.connector.user}";'
            hint = f"Its owner can run: {grant}"
            raise AccessDeniedError(f"{target}: {table} may not be read.", service=service, hint=hint) from error
        if is_lost(connection):
            raise lost_failure(error, service) from error
        message = f"{target}: {name} can't be read: {type(error).__name__}."
        raise MigrationError(message, service=service) from error
    finally:
        if not is_lost(connection):
            await connection.rollback()
    return tuple(_entry(record) for record in records)


def _entry(record: Row) -> Entry:
    """Return an entry whatever somebody has made of the table's types: no upgrade ends with that."""
    values: dict[str, Any] = {name: _text(value) for name, value in vars(record).items()}
    values |= {name: values[name] or "" for name in _NEVER_NULL}
    # JSON has no NaN, which is a text then
    return Entry(**values | {"started": _moment(values["started"]), "seconds": _seconds(values["seconds"])})


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _seconds(text: str | None) -> float:
    """Return a number; NaN for what is none."""
    try:
        return float(text or 0.0)
    except ValueError:
        return nan


def _moment(text: str | None) -> datetime | None:
    """Return a moment; None where Python has none, such as infinity, or none in each time zone: it ends with 9999."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if moment and MINYEAR < moment.year < MAXYEAR else None
