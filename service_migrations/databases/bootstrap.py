"""The ``bootstrap.sql`` of a monorepo or a service: what an administrator does in a new database before its history.

It is for what a service's role may not do itself: extensions that aren't trusted, further roles, privileges. Each file
runs once in each database that is created, so it needs no care for what it has made before; only roles are of the
whole server, and may be there already.
"""

from collections.abc import Iterable
from pathlib import Path

import asyncpg

from service_migrations.connection.parameters import without_transaction_timeout
from service_migrations.errors import AccessDeniedError, ConfigurationError
from service_migrations.failures.driver_errors import is_lost_connection, is_of_the_session, sqlstate
from service_migrations.failures.servers import server_failure
from service_migrations.files import SOURCE, is_there, read_text
from service_migrations.monorepo import Service
from service_migrations.sql.quoting import line_of_copy_from_client

__all__ = ["FILE", "bootstrap", "bootstrap_files"]

FILE = "bootstrap.sql"

_SEARCH_PATH = "SET search_path TO public"
"""What a session has by itself: not the path of the library's own queries."""
_AGAIN = "Correct it; the database isn't there, and is made again."


def bootstrap_files(services: Iterable[Service]) -> tuple[Path, ...]:
    """Return the files for a database of some services: that of the top level, and those beside their models."""
    folders = dict.fromkeys(folder for service in services for folder in (service.root, service.path))
    ordered = sorted(folders, key=lambda folder: len(folder.parts))
    return tuple(path for path in (folder / FILE for folder in ordered) if is_there(path))


async def bootstrap(connection: "asyncpg.Connection", services: Iterable[Service]) -> list[str]:
    """Run the files for a database of some services, over an administrator's connection to it.

    Each file is one transaction, unless it has its own.

    Returns:
        What was done, a line each.

    Raises:
        ConfigurationError, AccessDeniedError: a statement fails; the error has its file and line.
        UnreachableError, ContentionError: the server could do no more; the error has the file.

    """
    services, lines = tuple(services), []
    for path in bootstrap_files(services):
        name = services[0].relative(path)
        try:
            text = read_text(path, SOURCE, encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigurationError(f"it can't be read: {reason}.", path=name) from error
        await connection.execute(_SEARCH_PATH)
        await without_transaction_timeout(connection)  # which the reset after the last file has taken back
        try:
            await _run(connection, name, text)
        finally:
            if not connection.is_closed():
                if connection.is_in_transaction():
                    await connection.execute("ROLLBACK")
                await connection.reset()
        lines.append(f"ran {name}")
    return lines


async def _run(connection: "asyncpg.Connection[asyncpg.Record]", name: str, text: str) -> None:
    """Run the text of a file, of which a COMMIT of its own is a part."""
    if line := line_of_copy_from_client(text):
        reason = "COPY FROM STDIN waits for rows, and nobody sends them. Write INSERT … VALUES."
        raise ConfigurationError(reason, path=name, line=line, hint=_AGAIN)
    try:
        await connection.execute(text)
    except asyncpg.PostgresError as error:
        if is_lost_connection(error):
            raise
        if is_of_the_session(error) and (failure := server_failure(error, "a statement of it", None, name)):
            raise failure from error
        raise _failure(name, text, error) from error
    if connection.is_in_transaction():
        reason = "it begins a transaction that it doesn't end, so that nothing would stay. Write COMMIT at its end."
        raise ConfigurationError(reason, path=name, hint=_AGAIN)


def _failure(name: str, text: str, error: asyncpg.PostgresError) -> ConfigurationError | AccessDeniedError:
    kind = AccessDeniedError if sqlstate(error) == "42501" else ConfigurationError
    position = getattr(error, "position", None)
    line = text.count("\n", 0, int(position) - 1) + 1 if position else None
    return kind(f"{' '.join(str(error).split())} [{error.sqlstate}].", path=name, line=line, hint=_AGAIN)
