"""The ledger: a table beside the version table, with a row for each revision that was run, when, and by whom.

A row is written in the revision's own transaction, so it is there if and only if the revision is. A ledger that can't
be made or written is told of, and never stops an upgrade.
"""

import getpass
import logging
import os
import socket
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from asyncpg import InterfaceError, PostgresError
from sqlalchemy import Connection, Table, Text, text
from sqlalchemy.schema import CreateTable

from service_migrations import git
from service_migrations.connection.session import Session
from service_migrations.failures import describe
from service_migrations.history.fingerprint import Hashes, hashes
from service_migrations.history.revisions import History
from service_migrations.ledger.entries import LATER, ledger_table

__all__ = ["Ledger", "os_user", "version"]


@cache
def os_user() -> str:
    """Return the account that runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that no account has
        return f"uid {os.getuid()}"


@cache
def version(root: Path) -> str:
    """Return the version that pyproject.toml gives the project."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    return str(project.get("version", "unknown"))


_logger = logging.getLogger(__name__)

_PLACE = text(
    """
    SELECT coalesce(n.nspname, CAST(:schema AS text), current_schema(), 'public')::text AS schema, (
        SELECT count(*) FROM pg_attribute a
        WHERE a.attrelid = found.oid AND a.attname = ANY(CAST(:later AS text[])::name[])
    ) = cardinality(CAST(:later AS text[])) OR found.oid IS NULL AS whole, found.oid IS NOT NULL AS made
    FROM (SELECT to_regclass(:name) AS oid) AS found
    LEFT JOIN pg_class c ON c.oid = found.oid LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
    """
)


@dataclass(slots=True)
class Ledger:
    """What one run writes its rows with.

    ``schema`` is where the table is, or is going to be. ``whole`` says that it has all columns, or is going to, and
    ``made`` that it is there.
    """

    history: History
    schema: str
    whole: bool
    made: bool
    git_commit: str | None
    version: str
    writable: bool = True
    mark: float = field(default_factory=time.monotonic)
    table: Table = field(init=False)

    def __post_init__(self) -> None:
        self.table = ledger_table(self.history.service, self.schema)

    @classmethod
    async def open(cls, session: Session, *, writable: bool = True) -> "Ledger":
        """Prepare a run's rows; nothing is written yet, since perhaps nothing is going to be run.

        Args:
            session: with no transaction open, then and afterwards.
            writable: whether to write at all.

        """
        service = session.history.service
        name = session.connection.dialect.identifier_preparer.format_table(ledger_table(service, session.schema))
        values = {"schema": session.schema, "name": name, "later": list(LATER)}
        place = (await session.connection.execute(_PLACE, values)).one()
        await session.connection.rollback()
        commit, release = git.commit(service.root), version(service.root)
        return cls(session.history, place.schema, place.whole, place.made, commit, release, writable)

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
        revision = step.up_revision_id or destination or source or ""
        # by way of Alembic's map: a history of thousands isn't searched for each of its revisions
        path = Path(step.up_revision.path) if step.is_upgrade and step.up_revision else None
        self._insert(connection, path, seconds, revision=revision, direction=direction,
                     from_revision=source, to_revision=destination)  # fmt: skip

    def accept(self, connection: Connection, revision: str) -> None:
        """Write down that a revision's file is right as it is now, though it isn't the one that was run.

        The connection is in autocommit.
        """
        if self.writable:
            values = dict.fromkeys(("revision", "from_revision", "to_revision"), revision)
            self._insert(connection, self.history.path(revision), 0.0, direction="accept", **values)

    def _insert(self, connection: Connection, path: Path | None, seconds: float, **values: str | None) -> None:
        found = _prints(path) if path else None
        texts: dict[str, str | None] = {
            **values,
            "os_user": os_user(),
            "host": socket.gethostname(),
            "git_commit": self.git_commit,
            "version": self.version,
            "checksum": found.checksum if found else None,
            "fingerprint": found.fingerprint if found else None,
        }
        pooled: Any = connection.connection
        inside = pooled.driver_connection.is_in_transaction()
        script = self._script(connection, texts, seconds)
        if inside:
            script = ["SAVEPOINT migration_log", *script, "RELEASE SAVEPOINT migration_log"]
        try:
            # past SQLAlchemy, since asyncpg prepares each statement by itself: one message instead of seven
            pooled.run_async(lambda driver: driver.execute(";\n".join(script)))
            self.made = self.whole = True
        except (PostgresError, InterfaceError, OSError) as error:
            # where the connection is lost, this fails, and that is told as of every other statement
            connection.exec_driver_sql("ROLLBACK TO SAVEPOINT migration_log" if inside else "SELECT")
            self.writable = False
            service = self.history.service
            _logger.warning(
                "%s: nothing is written to %s (%s); the migration goes on", service, self.table, describe(error)
            )

    def _script(self, connection: Connection, texts: Mapping[str, str | None], seconds: float) -> list[str]:
        """Return the statements that write a row, making the table if need be."""
        dialect = connection.dialect
        name = dialect.identifier_preparer.format_table(self.table)
        quote = Text().literal_processor(dialect)  # type: ignore[no-untyped-call]
        statements = []
        if not self.made:
            statements.append(str(CreateTable(self.table, if_not_exists=True).compile(dialect=dialect)))
        if not self.whole:
            columns = ", ".join(f"ADD COLUMN IF NOT EXISTS {column} text" for column in LATER)
            statements.append(f"ALTER TABLE {name} {columns}")
        row = {column: quote(value) for column, value in texts.items() if quote and value is not None}
        row |= {"seconds": f"{seconds:.3f}", "started": f"clock_timestamp() - interval '{seconds:.6f} s'"}
        statements.append(f"INSERT INTO {name} ({', '.join(row)}) VALUES ({', '.join(row.values())})")  # noqa: S608
        return statements


def _prints(path: Path) -> Hashes | None:
    try:
        return hashes(path)
    except (OSError, SyntaxError, ValueError):  # it was imported a moment ago, so somebody is writing it
        return None
