"""Cursors with the interface of psycopg2's, over one of psycopg's asynchronous connections."""

import io
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import psycopg
from psycopg import pq

from service_migrations.libpq.literals import take_registered
from service_migrations.libpq.of_psycopg2 import composed

if TYPE_CHECKING:
    from service_migrations.libpq.dbapi import Connection

__all__ = ["Cursor", "ServerCursor"]

_Parameters = Sequence[Any] | Mapping[str, Any] | None

_QUERY = re.compile(rb"\s*(?:SELECT|VALUES|TABLE|WITH|\()", re.IGNORECASE)
"""What a cursor of the server's can be declared for."""


class Cursor:
    """A cursor with the methods of psycopg2's: of several commands in one text, the last one's result is read."""

    def __init__(self, connection: "Connection", make_rows: Any) -> None:
        """Make a cursor with psycopg's function that makes rows."""
        self.connection = connection
        self.arraysize = 1
        self.closed = False
        self._sent: tuple[Any, _Parameters] | None = None
        self._cursor: Any = connection.driver_connection.cursor(row_factory=make_rows)
        self._rows: deque[Any] = deque()
        self._rowcount: int | None = None

    @property
    def description(self) -> Any:
        """The columns of the result; None where it has none."""
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        """The number of rows that were changed or read, of all sets of parameters."""
        return int(self._cursor.rowcount) if self._rowcount is None else self._rowcount

    @property
    def lastrowid(self) -> int:
        """The number that PostgreSQL gave a row before version 12; as with psycopg2, 0."""
        return 0

    @property
    def statusmessage(self) -> str | None:
        """The server's word on the last command, such as ``INSERT 0 1``."""
        return self._cursor.statusmessage  # type: ignore[no-any-return]

    @property
    def query(self) -> bytes | None:
        """The text that was sent last."""
        return self.mogrify(*self._sent) if self._sent else None

    def callproc(self, name: str, parameters: Sequence[Any] = ()) -> Sequence[Any]:
        """Call a function of the server; its result is read as rows."""
        marks = ",".join("%s" for _ in parameters)
        self.execute(f"SELECT * FROM {name}({marks})", tuple(parameters))  # noqa: S608 - the name is the revision's own
        return parameters

    def mogrify(self, query: str | bytes, parameters: _Parameters = None) -> bytes:
        """Return the text that is sent."""
        take_registered(self.connection.adapters)
        text = psycopg.AsyncClientCursor(self.connection.driver_connection).mogrify(composed(query), parameters)
        return text.encode()

    def execute(self, query: str | bytes, parameters: _Parameters = None) -> None:
        """Execute a text of one or several commands, with the parameters written into it."""
        self.connection.begin()
        self._rowcount = None
        self._sent = query, parameters
        take_registered(self.connection.adapters, self._cursor.adapters)
        self.connection.run(self._cursor.execute(composed(query), parameters))
        while self._cursor.nextset():
            pass
        self._rows = deque(self.connection.run(self._cursor.fetchall()) if self.description else ())

    def executemany(self, query: str | bytes, rows: Sequence[_Parameters]) -> None:
        """Execute a text once for each set of parameters."""
        count = 0
        for parameters in rows:
            self.execute(query, parameters)
            count += max(0, self.rowcount)
        self._rowcount = count

    def fetchone(self) -> Any:
        """Return the next row; None after the last."""
        return self._rows.popleft() if self._rows else None

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """Return the next rows."""
        size = self.arraysize if size is None else size
        return [self._rows.popleft() for _ in range(min(size, len(self._rows)))]

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        rows = list(self._rows)
        self._rows.clear()
        return rows

    def copy_expert(self, sql: str, file: Any, size: int = 8192) -> None:
        """Copy a file to a table, or a table to a file, by a COPY … FROM STDIN or TO STDOUT."""
        with self.copy(sql) as copy:
            if self._cursor.pgresult.status == pq.ExecStatus.COPY_IN:
                while data := file.read(size):
                    copy.write(data)
            else:
                while data := copy.read():
                    file.write(data.decode() if isinstance(file, io.TextIOBase) else data)

    def copy_from(
        self,
        file: Any,
        table: str,
        sep: str = "\t",
        null: str = "\\N",
        size: int = 8192,
        columns: Sequence[str] | None = None,
    ) -> None:
        """Copy a file to a table."""
        self.copy_expert(f"COPY {_copied(table, columns)} FROM STDIN {self._format(sep, null)}", file, size)

    def copy_to(
        self, file: Any, table: str, sep: str = "\t", null: str = "\\N", columns: Sequence[str] | None = None
    ) -> None:
        """Copy a table to a file."""
        self.copy_expert(f"COPY {_copied(table, columns)} TO STDOUT {self._format(sep, null)}", file)

    def _format(self, sep: str, null: str) -> str:
        return self.mogrify("WITH DELIMITER AS %s NULL AS %s", (sep, null)).decode()

    @contextmanager
    def copy(self, query: str, parameters: _Parameters = None) -> Iterator["_Copy"]:
        """Copy data piece by piece, as psycopg 3 does it."""
        self.connection.begin()
        manager = self._cursor.copy(composed(query), parameters)
        copy = _Copy(self.connection, self.connection.run(manager.__aenter__()))
        try:
            yield copy
        except BaseException as error:
            self.connection.run(manager.__aexit__(type(error), error, error.__traceback__))
            raise
        self.connection.run(manager.__aexit__(None, None, None))

    def close(self) -> None:
        """Forget the rows."""
        self.closed = True
        self._rows.clear()

    async def _async_soft_close(self) -> None:
        """Do nothing: all rows have been read (SQLAlchemy's hook)."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        while (row := self.fetchone()) is not None:
            yield row


class ServerCursor(Cursor):
    """A cursor of the server's, whose rows are read in portions; only a query has one."""

    def __init__(
        self, connection: "Connection", name: str, make_rows: Any, *, scrollable: bool | None, withhold: bool
    ) -> None:
        super().__init__(connection, make_rows)
        self._declared: Any = connection.driver_connection.cursor(
            name, row_factory=make_rows, scrollable=scrollable, withhold=withhold
        )

    def execute(self, query: str | bytes, parameters: _Parameters = None) -> None:
        """Declare the cursor, or execute what is no query."""
        text = self.mogrify(query, parameters)
        if not _QUERY.match(text):
            super().execute(text)
            return
        self.connection.begin()
        self._cursor = self._declared
        self.connection.run(self._cursor.execute(text))

    def fetchone(self) -> Any:
        """Return the next row; None after the last."""
        return self.connection.run(self._cursor.fetchone()) if self._is_declared else super().fetchone()

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """Return the next rows."""
        if not self._is_declared:
            return super().fetchmany(size)
        size = self.arraysize if size is None else size
        # for psycopg, 0 is its own arraysize
        return list(self.connection.run(self._cursor.fetchmany(size))) if size > 0 else []

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        return list(self.connection.run(self._cursor.fetchall())) if self._is_declared else super().fetchall()

    def close(self) -> None:
        """Close the cursor on the server too."""
        super().close()
        self.connection.run(self._declared.close())

    @property
    def _is_declared(self) -> bool:
        return self._cursor is self._declared


class _Copy:
    """A COPY that runs."""

    def __init__(self, connection: "Connection", copy: Any) -> None:
        self._connection, self._copy = connection, copy

    def write(self, data: str | bytes) -> None:
        """Send a piece of the data."""
        self._connection.run(self._copy.write(data))

    def write_row(self, row: Sequence[Any]) -> None:
        """Send a row."""
        self._connection.run(self._copy.write_row(row))

    def read(self) -> bytes:
        """Return the next piece of the data; empty at the end."""
        return bytes(self._connection.run(self._copy.read()))


def _copied(table: str, columns: Sequence[str] | None) -> str:
    """Return a table and columns for COPY, in quotes as psycopg2 writes them."""

    def quoted(name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    return quoted(table) + (f" ({', '.join(map(quoted, columns))})" if columns else "")
