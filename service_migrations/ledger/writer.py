"""The ledger: a table beside the version table, with a row for each revision that was run.

A row is written in the revision's own transaction, so both are committed or none. A ledger that can't be created or
written causes a warning, and never stops an upgrade.
"""

import getpass
import logging
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from service_migrations import git
from service_migrations.connection.drivers import driver_of, run_script
from service_migrations.connection.rows import Query
from service_migrations.connection.single_message import Row, constant
from service_migrations.failures.driver_errors import describe, sqlstate
from service_migrations.history.files.fingerprint import Hashes, hashes
from service_migrations.history.revisions import History
from service_migrations.ledger.entries import ADDED_COLUMNS, ledger_table
from service_migrations.pyproject import read_project
from service_migrations.session.assertions import NOT_PLAIN, is_plain
from service_migrations.session.recorder import SAVEPOINT, protected
from service_migrations.session.session import Session
from service_migrations.session.tables.relation import schemas
from service_migrations.sql.quoting import quoted

__all__ = ["Ledger", "os_user", "version"]


@cache
def os_user() -> str:
    """Return the account that runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run with an id that no account has
        return f"uid {os.getuid()}"


@cache
def version(root: Path) -> str:
    """Return the version that pyproject.toml gives the project."""
    return str(read_project(root).get("version", "unknown"))


_LOCK_NOT_AVAILABLE = "55P03"
_MOST_MISSED = 3
"""How often a run waits for a locked ledger in vain."""

_logger = logging.getLogger(__name__)

_TABLE = """
    SELECT n.nspname, (SELECT count(*) FROM pg_attribute a
                       WHERE a.attrelid = c.oid AND a.attname = ANY (CAST(:added AS text[]))) AS columns
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = CAST(:name AS name) AND n.nspname = ANY (CAST(:schemas AS text[]))
    ORDER BY array_position(CAST(:schemas AS text[]), n.nspname::text) LIMIT 1
"""
"""The schema of the ledger, and how many of the added columns it has."""


@dataclass(slots=True)
class Ledger:
    """The ledger of one run, to which rows are written.

    Attributes:
        history: the history that is run.
        schema: the schema that the table is in, or will be created in.
        is_complete: whether the table has all columns, or will be created with them.
        is_created: whether the table exists.
        git_commit: the commit of the code; None without a checkout.
        version: that of the project.
        writable: whether rows are written.
        downgrades: the SQL of the downgrades that is kept, by revision.
        purged: the revisions that a stamp removes from the version table before its first row.
        last_written: when the last row was written, or the ledger opened, by the monotonic clock.
        missed: how often the table was locked by somebody in this run.
        table: the table.

    """

    history: History
    schema: str
    is_complete: bool
    is_created: bool
    git_commit: str | None
    version: str
    writable: bool = True
    downgrades: Mapping[str, str] = field(default_factory=dict)
    purged: tuple[str, ...] = ()
    last_written: float = field(default_factory=time.monotonic)
    missed: int = field(default=0, init=False)
    table: Table = field(init=False)
    _before: tuple[bool, bool] = field(default=(False, False), init=False)

    def __post_init__(self) -> None:
        self.table = ledger_table(self.history.service, self.schema)

    @staticmethod
    def query(session: Session) -> Query:
        """Return the query of the table, for ``of``."""
        order, name = schemas(session.connection, session.schema), session.history.service.ledger_table
        return _TABLE, {"schemas": order, "name": name, "added": ADDED_COLUMNS}

    @classmethod
    def of(cls, session: Session, tables: Sequence[Row], *, writable: bool = True) -> "Ledger":
        """Return the ledger of a run; nothing is written yet, since perhaps no revision will be run.

        Args:
            session: that of the run.
            tables: what ``query`` returned.
            writable: whether to write rows.

        """
        service, row = session.history.service, next(iter(tables), None)
        schema = row.nspname if row else next(iter(schemas(session.connection, session.schema)), "public")
        is_complete = row is None or row.columns == len(ADDED_COLUMNS)
        commit, project_version = git.commit(service.root), version(service.root)
        return cls(session.history, schema, is_complete, row is not None, commit, project_version, writable)

    def write(self, *, ctx: Any, step: Any, **_: Any) -> None:
        """Write the row of a stamp, for which nothing is run (Alembic's ``on_version_apply``).

        A savepoint protects the transaction from any error.
        """
        if step.is_stamp:
            self._insert(ctx.connection, self.statements(step))

    def statements(self, step: Any) -> list[str]:
        """Return the statements that write the row of a revision, or a stamp, which has just run; none to write none.

        They are executed in its transaction, and protected by a savepoint.
        """
        started, self.last_written = self.last_written, time.monotonic()
        if not self.writable:
            return []
        seconds = self.last_written - started
        source = ", ".join(step.source_revision_ids or self.purged) or None
        self.purged = ()
        destination = ", ".join(step.destination_revision_ids) or None
        direction = "stamp" if step.is_stamp else "upgrade" if step.is_upgrade else "downgrade"
        revision = step.up_revision_id or destination or source or ""
        # from Alembic's map: a history of thousands isn't searched for each of its revisions
        path = Path(step.up_revision.path) if step.is_upgrade and step.up_revision else None
        sql = self.downgrades.get(revision) if direction == "upgrade" else None
        return self._script(path, seconds, revision=revision, direction=direction,
                            from_revision=source, to_revision=destination, downgrade_sql=sql)  # fmt: skip

    def accept(self, connection: Connection, revision: str) -> None:
        """Record that a revision's file is accepted, although it isn't the one that was run.

        The connection is in autocommit.
        """
        if self.writable:
            values = dict.fromkeys(("revision", "from_revision", "to_revision"), revision)
            path = self.history.path(revision)
            self._insert(connection, self._script(path, 0.0, direction="accept", **values))

    def write_purge(self, connection: Connection) -> None:
        """Record that a stamp has emptied the version table, where it has written nothing to it afterwards."""
        purged, self.purged = ", ".join(self.purged), ()
        if self.writable:
            row = {"revision": purged, "from_revision": purged}
            self._insert(connection, self._script(None, 0.0, direction="stamp", **row))

    def mark_failed(self, error: BaseException) -> None:
        """Warn that a row can't be written; no more are, unless somebody has locked the table for a while.

        While a revision waits for the ledger, others wait for the tables that it has locked: so not for each of many.
        """
        self.missed += 1
        self.writable = sqlstate(error) == _LOCK_NOT_AVAILABLE and self.missed < _MOST_MISSED
        self.is_created, self.is_complete = self._before
        service = self.history.service
        reason = "it has a trigger or a rule" if NOT_PLAIN in str(error) else describe(error)
        _logger.warning("%s: nothing is written to %s (%s); the migration goes on", service, self.table, reason)

    def _insert(self, connection: Connection, script: list[str]) -> None:
        if not script:
            return
        driver = driver_of(connection)
        errors: tuple[type[Exception], ...] = (*driver.errors, OSError)
        is_in_transaction = driver.is_in_transaction()
        if is_in_transaction:
            script = protected(script)
        try:
            run_script(connection, ";\n".join(script))
        except errors as error:
            # where the connection is lost, this statement fails as any other one would
            connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}" if is_in_transaction else "SELECT")
            self.mark_failed(error)

    def _script(self, path: Path | None, seconds: float, **values: str | None) -> list[str]:
        """Return the statements that write a row, and create or complete the table where they have to."""
        file_hashes = _hashes(path) if path else None
        texts: dict[str, str | None] = {
            **values,
            "os_user": os_user(),
            "host": socket.gethostname(),
            "git_commit": self.git_commit,
            "version": self.version,
            "checksum": file_hashes.checksum if file_hashes else None,
            "fingerprint": file_hashes.fingerprint if file_hashes else None,
        }
        name = quoted(self.schema, self.history.service.ledger_table)
        statements = []
        if not self.is_created:
            # no parameter is sent with it, so that no driver's way of writing a % is meant
            ddl = CreateTable(self.table, if_not_exists=True)
            statements.append(str(ddl.compile(dialect=postgresql.dialect(paramstyle="named"))))  # type: ignore[no-untyped-call]
        if not self.is_complete:
            columns = ", ".join(f"ADD COLUMN IF NOT EXISTS {column} text" for column in ADDED_COLUMNS)
            statements.append(f"ALTER TABLE {name} {columns}")
        # a revision of this run may have created one: the preflight check has looked before
        statements.append(is_plain(name))
        row = {column: constant(value) for column, value in texts.items() if value is not None}
        row |= {"seconds": f"{seconds:.3f}", "started": f"clock_timestamp() - interval '{seconds:.6f} s'"}
        statements.append(f"INSERT INTO {name} ({', '.join(row)}) VALUES ({', '.join(row.values())})")  # noqa: S608
        self._before = self.is_created, self.is_complete
        self.is_created = self.is_complete = True
        return statements


def _hashes(path: Path) -> Hashes | None:
    try:
        return hashes(path)
    except (OSError, SyntaxError, ValueError):  # it was imported a moment ago, so it is being written now
        return None
