"""Commands of ours around a revision, in as few messages as the connection allows.

A connection of our own sends several commands in one message, and holds them until the next statement, where there is
one. psycopg sends several in one message. Another connection of asyncpg's, such as that of a caller's engine, sends
each in its own.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sqlalchemy import Connection

from service_migrations.connection.drivers import driver_connection_of, driver_of, run, run_script
from service_migrations.connection.simple_query import SCRIPT, Connection as SimpleConnection, Held
from service_migrations.sql.quoting import VERBATIM

__all__ = ["begin_with", "follow_commit", "send_with_next"]


def begin_with(connection: Connection, statements: Sequence[str]) -> None:
    """Execute statements through SQLAlchemy, which begins a transaction with them where none is open."""
    simple = _simple_connection(connection)
    if connection.dialect.driver == "psycopg":
        connection.exec_driver_sql("; ".join(statements), execution_options=VERBATIM)
    elif simple is not None and simple.ahead == "; ".join(statements):
        simple.held, simple.ahead = None, ""  # the last COMMIT has brought them
    elif simple is not None:
        simple.holds_next = not simple.is_in_transaction()  # SQLAlchemy begins one with this statement
        try:
            connection.exec_driver_sql(f"{SCRIPT}{'; '.join(statements)}")
        finally:
            simple.holds_next = False
        run(connection, simple.release())  # where nothing was begun, as in autocommit, the script itself was held
    else:
        for statement in statements:
            connection.exec_driver_sql(statement)


def follow_commit(connection: Connection, statements: Sequence[str]) -> None:
    """Execute statements with the next COMMIT, in the transaction that follows, where the connection can.

    They are those for ``begin_with``, which then has nothing left to do.
    """
    simple = _simple_connection(connection)
    if simple is not None:
        simple.follows = "; ".join(statements)


def send_with_next(
    connection: Connection, statements: Sequence[str], recover: Callable[[Exception], Awaitable[bool]]
) -> None:
    """Execute statements without SQLAlchemy, with its next one where the connection can hold them, or at once.

    Args:
        connection: the connection, with a transaction open.
        statements: the statements.
        recover: called with an error of theirs: whether the next statement is to be executed all the same. It may raise
            another error.

    Raises:
        Exception: one of ``Driver.errors``, or that of *recover*.

    """
    script = ";\n".join(statements)
    simple, driver = _simple_connection(connection), driver_of(connection)
    if simple is not None:
        simple.held = Held(script, recover)
        return
    try:
        run_script(connection, script)
    except driver.errors as error:
        if not run(connection, recover(error)):
            raise


def _simple_connection(connection: Connection) -> SimpleConnection | None:
    """Return the driver's connection, where it is ours."""
    driver_connection: Any = driver_connection_of(connection)
    # isinstance() is true of any connection of asyncpg's
    return driver_connection if SimpleConnection in type(driver_connection).__mro__ else None
