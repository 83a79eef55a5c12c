"""The errors of drivers, servers and sockets: their SQLSTATEs, what they are about, and their text in one line.

With asyncpg the class of a SQLAlchemy error means little: a lock timeout is a plain ``DBAPIError``. Only the
SQLSTATE is reliable (PostgreSQL documentation, Appendix A). The errors of psycopg have it too, and most other fields
under other names.
"""

import os
import re
from errno import ECONNREFUSED
from socket import gaierror

from service_migrations.errors import text_of

__all__ = [
    "describe",
    "error_chain",
    "field",
    "is_busy",
    "is_lost",
    "is_lost_connection",
    "is_missing_table",
    "is_of_the_session",
    "is_plain",
    "is_temporary",
    "original_of",
    "sqlstate",
    "sqlstate_of_any",
    "unmasked",
]

_ERRNO = re.compile(r"\[Errno (\d+)\]")
_REFUSALS = {
    "password authentication failed": "28P01",
    "no pg_hba.conf entry": "28000",
    "the database system is": "57P03",
    "too many clients": "53300",
    "too many connections": "53300",
    "remaining connection slots": "53300",
    "not currently accepting connections": "55000",
    "cannot connect to invalid database": "55000",
}
_BUSY = ("57P03", "53300", "57P01", "57P02")
"""The server is starting up, has too many connections, was shut down by an administrator, or has crashed."""
_TEMPORARY = (*_BUSY, "57P05")
"""Or the session was idle for too long."""
_CLASSES_OF_THE_SESSION = ("08", "40", "53", "57", "58")
"""The classes of SQLSTATEs for connections, conflicts, resources, an operator's intervention and system errors."""
_LIBRARIES = ("alembic", "asyncpg", "psycopg", "service_migrations", "sqlalchemy")
"""The packages whose messages say enough without the class of the error."""


def sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE of a driver's error, or of SQLAlchemy around one."""
    original = original_of(error)
    state = getattr(original, "sqlstate", None)
    return state if isinstance(state, str) else _state_of_refusal(original)


def sqlstate_of_any(error: BaseException) -> str | None:
    """Return the first SQLSTATE of an error and those that it was raised from or after."""
    return next(filter(None, map(sqlstate, error_chain(error))), None)


def _state_of_refusal(error: BaseException) -> str | None:
    """Return the SQLSTATE of a connection that psycopg couldn't make: libpq has only the text of the answer."""
    if type(error).__name__ != "OperationalError" or not type(error).__module__.startswith("psycopg"):
        return None
    return next((state for part, state in _REFUSALS.items() if part in text_of(error)), None)


def is_busy(error: BaseException) -> bool:
    """Whether the server is busy, so that another attempt may succeed."""
    return sqlstate(error) in _BUSY


def is_temporary(state: str | None) -> bool:
    """Whether a SQLSTATE is of a server that is busy, or that has ended the session."""
    return state in _TEMPORARY


def is_lost_connection(error: BaseException) -> bool:
    """Whether an error is of a connection that was lost, or that the server has ended."""
    state = sqlstate(error)
    return state in _TEMPORARY or is_lost(original_of(error), state)


def is_of_the_session(error: BaseException) -> bool:
    """Whether an error of the server is of the connection, the server or other sessions, and not of the statement."""
    state = sqlstate(error)
    if state == "58P01":  # a file that a statement names, such as that of an extension
        return False
    return state is None or state == "55P03" or state[:2] in _CLASSES_OF_THE_SESSION


def describe(error: BaseException) -> str:
    """Return the message of an error in one line, without the class names that drivers put before it.

    Errors of Python itself and of other packages have the class: their messages may say nothing, such as ``'amount'``.
    """
    original = original_of(error)
    if _is_of_ended(original):
        return "the server has ended the session"
    message = text_of(original, first_line=True)
    text = message or type(original).__name__
    if text.startswith("<class "):
        text = text.partition(">: ")[2] or text
    if isinstance(original, OSError) and ("Multiple exceptions" in text or "Connect call failed" in text):
        text = _refusal(text)
    elif "connection_lost() call" in text:
        text = "the connection was closed before the server answered"
    elif isinstance(original, gaierror):
        text = f"the name of the host can't be resolved: {original.strerror}"
    if isinstance(original, SystemExit):
        text = f"SystemExit: {original.code!r}"
    elif is_missing_table(original):
        text = f'table "{text}" does not exist'
    elif is_plain(original) and message:
        text = f"{type(original).__name__}: {text}"
    details = (field(link, "detail", "message_detail") for link in (original.__cause__, original) if link)
    detail = next(filter(None, details), None)
    return text.rstrip(".") + (f" ({detail.rstrip('.')})" if detail else "")


def _refusal(text: str) -> str:
    """Return why asyncio connects to none of the addresses of a host: it repeats only their numbers."""
    numbers = [int(number) for number in _ERRNO.findall(text)]
    return "connection refused" if ECONNREFUSED in numbers or not numbers else os.strerror(numbers[0]).lower()


def is_missing_table(error: BaseException) -> bool:
    """Whether SQLAlchemy's reflection hasn't found a table: of its message there is nothing but the name."""
    return type(error).__name__ == "NoSuchTableError" and type(error).__module__.startswith("sqlalchemy")


def error_chain(error: BaseException) -> list[BaseException]:
    """Return an error and those that it was raised from or after, the oldest last."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return chain


def unmasked(error: BaseException) -> BaseException:
    """Return the error after which a variable had no value, where that is all that another one says.

    In ``try: rows = …`` / ``finally: restore(rows)`` Python raises the second one while the first is on its way.
    """
    while isinstance(error, UnboundLocalError) and error.__context__ is not None:
        error = error.__context__
    return error


def field(error: BaseException, of_asyncpg: str, of_psycopg: str) -> str | None:
    """Return a field of the server's answer, by its names in the errors of both drivers."""
    value = getattr(error, of_asyncpg, None) or getattr(getattr(error, "diag", None), of_psycopg, None)
    return value if isinstance(value, str) else None


def original_of(error: BaseException) -> BaseException:
    """Return the error of the driver where SQLAlchemy has wrapped it; the scan never imports SQLAlchemy."""
    original = getattr(error, "orig", None)
    return original if isinstance(original, BaseException) else error


def is_lost(error: BaseException, state: str | None) -> bool:
    """Whether an error, with its SQLSTATE, is of a connection that was lost."""
    if state is not None:
        return state.startswith("08")
    if isinstance(error, ConnectionError) or getattr(error, "connection_invalidated", False) or _is_of_ended(error):
        return True
    # psycopg's own, not of the server
    return type(error).__name__ == "OperationalError" and type(error).__module__.startswith("psycopg")


def _is_of_ended(error: BaseException) -> bool:
    """Whether asyncpg refuses a statement since the server has ended the session: it says so in terms of its own."""
    return type(error).__name__ == "InternalClientError" and type(error).__module__.startswith("asyncpg")


def is_plain(error: BaseException) -> bool:
    """Whether an error's class says something: it isn't one of a driver, a file or a socket."""
    module = type(error).__module__.partition(".")[0]
    return module not in _LIBRARIES and not isinstance(error, OSError)
