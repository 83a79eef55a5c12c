"""The marks of a revision's transactions: a setting of the session that shows how each has ended.

A setting that a transaction has made for its session stays if and only if that transaction is committed (PostgreSQL
documentation, SET). So before a revision it has a value that no transaction has; each transaction of the revision sets
another one; and what the setting is later says whether that one was rolled back. No SELECT sets it: a revision can
still begin with SET TRANSACTION ISOLATION LEVEL.
"""

import re
from itertools import count

from sqlalchemy import Connection

from service_migrations.connection.drivers import driver_of, run, run_script
from service_migrations.connection.server_process import BEFORE, MARK
from service_migrations.sql.lexer import statements, tokenize
from service_migrations.sql.quoting import literal, quoted

__all__ = ["IS_COMMITTED", "NO_MARK", "SET_BEFORE", "Marks", "end_in"]

_numbers = count(1)


def _set(value: str) -> str:
    return f"SET {MARK} = '{value}'"


SET_BEFORE = _set(BEFORE)
_SHOW = f"SHOW {MARK}"
"""Not a SELECT: that would take a snapshot, after which no isolation level can be set."""
IS_COMMITTED = f"SELECT pg_catalog.current_setting('{MARK}', true) OPERATOR(pg_catalog.<>) '{BEFORE}'"

NO_MARK = "service_migrations, no mark: "
_HAS_MARK = f"""
    SELECT CASE WHEN coalesce(pg_catalog.current_setting('{MARK}', true), '') OPERATOR(pg_catalog.<>)
                     ALL (ARRAY['{{mark}}', ''])
                THEN CAST(pg_catalog.concat('{NO_MARK}', pg_catalog.pg_backend_pid()) AS pg_catalog.int4) END
"""
"""A query that fails where the revision's transaction isn't the one that set the mark: a ``ROLLBACK AND CHAIN`` leaves
another one open. An error is the only result that a statement can report when it is sent together with others."""

_PREPARED = (
    "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database OPERATOR(pg_catalog.=) pg_catalog.current_database()"
)
"""The transactions of the database that are prepared, and neither committed nor rolled back."""

_PREPARED_STATEMENTS = "SELECT name FROM pg_catalog.pg_prepared_statements WHERE from_sql"

_WORDS = re.compile(r"\b(COMMIT|END|ROLLBACK|ABORT|PREPARE)\b", re.IGNORECASE)
_PREPARES = re.compile(r"\bPREPARE\b", re.IGNORECASE)
_COMMANDS = ("commit", "end", "rollback", "abort", "prepare")


class Marks:
    """The marks of the transactions of one revision after the other.

    Attributes:
        partly_committed: whether the revision has committed something before its end.
        has_mark: whether the open transaction has a mark.

    """

    def __init__(self, pid: int) -> None:
        """Mark transactions of a server process."""
        self.partly_committed = self.has_mark = False
        self._pid = pid
        self._mark = self._announced = self._prepared = ""
        self._can_be_marked = self._was_partly_committed = self._prepares = False

    def begin(self) -> str:
        """Begin with a revision, and return the statement that sets the mark of its first transaction."""
        self.partly_committed, self._prepared, self._prepares = False, "", False
        return self._next()

    def announce(self) -> str:
        """Return what ``begin`` will return next."""
        self._announced = f"{self._pid}.{next(_numbers)}"
        return _set(self._announced)

    def note(self, connection: Connection, statement: str) -> bool:
        """Note what a statement was to its transaction: the end of one, or the first of the next.

        Returns:
            Whether it has rolled one back.

        """
        driver, end, rolled_back = driver_of(connection), end_in(statement), False
        self._prepares = self._prepares or bool(_PREPARES.search(statement))
        if end == "prepare":
            self._prepared += statement
        if self.has_mark and (end or not driver.is_in_transaction()):
            rolled_back = self.note_end(connection)
        if self._can_be_marked and driver.is_in_transaction():
            self._can_be_marked = False
            if not _is_savepoint(statement):
                run_script(connection, self._next())
        return rolled_back

    def note_end(self, connection: Connection) -> bool:
        """Note the end of the transaction that has the mark, and return whether it was rolled back."""
        self.has_mark = False
        if run(connection, driver_of(connection).fetchval(_SHOW)) not in (self._mark, ""):
            return True
        self.note_commit()
        return False

    def note_commit(self) -> None:
        """Note that the transaction was committed, or is about to be."""
        self._was_partly_committed = self.partly_committed
        self.partly_committed, self.has_mark, self._can_be_marked = True, False, True

    def note_failed_commit(self) -> None:
        """Note that the COMMIT that ``note_commit`` has noted failed, so that the transaction is rolled back."""
        self.partly_committed = self._was_partly_committed

    def check(self) -> list[str]:
        """Return the query that fails where the open transaction isn't the one with the mark; none without one."""
        return [_HAS_MARK.format(mark=self._mark)] if self.has_mark else []

    def left_prepared(self, connection: Connection) -> str | None:
        """Return the name of a transaction that the revision has prepared and left; None where there is none."""
        if not self._prepared:
            return None
        names = [row.gid for row in connection.exec_driver_sql(_PREPARED)]
        return next((name for name in names if literal(name) in self._prepared), None)

    def deallocations(self, connection: Connection) -> list[str]:
        """Return statements that drop what the revision has prepared by name: a next one may use the name too."""
        if not self._prepares:
            return []
        return [f"DEALLOCATE {quoted(row.name)}" for row in connection.exec_driver_sql(_PREPARED_STATEMENTS)]

    def _next(self) -> str:
        self._mark, self._announced = self._announced or f"{self._pid}.{next(_numbers)}", ""
        self.has_mark, self._can_be_marked = True, False
        return _set(self._mark)


def end_in(text: str) -> str:
    """Return the last command of a text that ends a transaction; empty where it has none.

    Only these can end a transaction block: what runs inside of a function or a DO block can't. How it has ended, the
    server knows: a COMMIT of a failed transaction is a rollback.
    """
    command = ""
    # the one statement of a long text, such as SQLAlchemy's reflection has (CASE … END), is known by its first word
    if _WORDS.search(text) and (";" in text or next(tokenize(text), None) in _COMMANDS):
        for statement in statements(text):
            words = [token.value for token in statement.tokens if token.kind == "word"]
            # TO: of a savepoint. PREPARE name, COMMIT PREPARED and ROLLBACK PREPARED are of something else
            if words[:1] and words[0] in _COMMANDS and "to" not in words[:4] and words[1:2] != ["prepared"]:
                command = words[0] if words[0] != "prepare" or words[1:2] == ["transaction"] else command
    return command


def _is_savepoint(text: str) -> bool:
    """Whether a text sets a savepoint: what is set behind it may be rolled back with it alone."""
    return bool(re.match(r"\s*SAVEPOINT\b", text, re.IGNORECASE))
