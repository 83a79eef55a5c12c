"""The ledger: a table beside the version table, with a row for each revision that was run, when, and by whom.

A row is written in the revision's own transaction, so it is there if and only if the revision is. A ledger that can't
be made or written is told of, and never stops an upgrade.
"""

import getpass
import logging
import os
import socket
import subprocess
import time
import tomllib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Float,
    Identity,
    MetaData,
    Table,
    Text,
    func,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from migrations.access import access
from migrations.discovery import Service, find
from migrations.errors import AccessDeniedError, MigrationError
from migrations.revisions import read
from migrations.session import Session, connect
from migrations.sqlstate import sqlstate

__all__ = ["Entry", "Ledger", "log"]

_logger = logging.getLogger(__name__)

_GIT_TIMEOUT = 2.0
_DENIED = "42501"
_PLACE = text(
    """
    SELECT coalesce(n.nspname, CAST(:schema AS text), current_schema())::text
    FROM (SELECT to_regclass(:name) AS oid) AS found
    LEFT JOIN pg_class c ON c.oid = found.oid LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
    """
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One revision that was run, in one direction: ``upgrade``, ``downgrade`` or ``stamp``.

    ``from_revision`` and ``to_revision`` are where the database was before and after, None for base. ``started`` is by
    the server's clock. ``git_commit`` is None where the code was no checkout.
    """

    revision: str
    from_revision: str | None
    to_revision: str | None
    direction: str
    started: datetime
    seconds: float
    os_user: str
    host: str
    git_commit: str | None
    version: str


@dataclass(slots=True)
class Ledger:
    """What one run writes its rows with. ``schema`` is where the table is, or is going to be."""

    service: Service
    schema: str
    git_commit: str | None
    version: str
    writable: bool = True
    mark: float = field(default_factory=time.monotonic)

    @classmethod
    async def open(cls, session: Session, *, writable: bool = True) -> "Ledger":
        """Prepare a run's rows; nothing is written yet, since perhaps nothing is going to be run.

        Args:
            session: with no transaction open, then and afterwards.
            writable: whether to write at all.

        """
        service = session.history.service
        name = session.connection.dialect.identifier_preparer.format_table(_table(service, session.schema))
        values = {"schema": session.schema, "name": name}
        schema = await session.connection.scalar(_PLACE, values)
        await session.connection.rollback()
        return cls(service, schema or "public", _git_commit(service.root), _version(service.root), writable)

    def write(self, *, ctx: Any, step: Any, **_: Any) -> None:
        """Write the row of a revision that has just run (Alembic's ``on_version_apply``), making the table if need be.

        It happens behind a savepoint: whatever goes wrong with it, the revision's transaction is as good as before.
        """
        started, self.mark = self.mark, time.monotonic()
        if not self.writable:
            return
        connection: Connection = ctx.connection
        seconds = self.mark - started
        source = ", ".join(step.source_revision_ids) or None
        destination = ", ".join(step.destination_revision_ids) or None
        direction = "stamp" if step.is_stamp else "upgrade" if step.is_upgrade else "downgrade"
        table = _table(self.service, self.schema)
        row = table.insert().values(
            revision=step.up_revision_id or destination or source or "",
            from_revision=source,
            to_revision=destination,
            direction=direction,
            started=func.clock_timestamp() - timedelta(seconds=seconds),
            seconds=round(seconds, 3),
            os_user=_os_user(),
            host=socket.gethostname(),
            git_commit=self.git_commit,
            version=self.version,
        )
        try:
            with connection.begin_nested():
                table.create(connection, checkfirst=True)
                connection.execute(row)
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            self.writable = False
            reason = (str(error.orig).partition(">: ")[2] or str(error.orig)).partition("\n")[0]
            _logger.warning("%s: nothing is written to %s (%s); the migration goes on", self.service, table, reason)


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
        table = _table(found, session.schema)
        name = session.connection.dialect.identifier_preparer.format_table(table)
        columns = [column for column in table.columns if column.name != "id"]
        try:
            there = await session.connection.scalar(text("SELECT to_regclass(:name)"), {"name": name})
            query = select(*columns).order_by(table.c.id.desc())
            rows = (await session.connection.execute(query)).all() if there else []
        except SQLAlchemyError as error:
            where = f"{found}: {session.access.target}"
            if sqlstate(error) == _DENIED:
                grant = f'GRANT SELECT ON {name} TO "{session.access.user}";'
                raise AccessDeniedError(f"{where}: {name} may not be read. Its owner can run: {grant}") from error
            raise MigrationError(f"{where}: {name} can't be read: {type(error).__name__}.") from error
        finally:
            await session.connection.rollback()
    return tuple(Entry(*row) for row in rows)


def _table(service: Service, schema: str | None) -> Table:
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
        schema=schema,
    )


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that no account has
        return f"uid {os.getuid()}"


def _git_commit(root: Path) -> str | None:
    try:
        words = ["git", "-C", str(root), "rev-parse", "--verify", "HEAD"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=_GIT_TIMEOUT, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _version(root: Path) -> str:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    return str(project.get("version", "unknown"))
