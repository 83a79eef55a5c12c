"""Ask a database, and the passwords of the roles that the tests make."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import asyncpg

from service_migrations.settings.dsn import Dsn

PASSWORD = "p%40@ $w#:/?'\"\\é"
"""Of every role that the tests make: whatever works here works with any password."""


SECRET = "hunter2%41@ hunter3:/#"
"""One whose parts all hold the word "hunter", which nobody may read anywhere."""

PASSWORDS = [
    "plain",
    "100%",
    "%40",
    "a@b",
    "a:b",
    "a/b",
    "a?b=c&d",
    "a#b",
    "$HOME",
    "${X}",
    " leading and trailing ",
    "it's",
    'say "x"',
    "back\\slash",
    "\\n",
    "pé€漢",
    "a+b",
    "[::1]",
    "<x>",
    "a,b",
    "%(here)s",
    "{x}",
    "`id`",
    "a=b;c",
]
"""Of every kind that somebody may have."""


def query(dsn: Dsn, sql: str, *arguments: object) -> list[Any]:
    """Run one statement on a connection of its own, and return its rows."""

    async def run() -> list[Any]:
        connection = await asyncpg.connect(**dsn.connect_args())
        try:
            return list(await connection.fetch(sql, *arguments))
        finally:
            await connection.close()

    return wait(run())


def run_script(dsn: Dsn, statements: list[str]) -> None:
    """Run statements one after the other on one connection, as psql runs a file."""

    async def run() -> None:
        connection = await asyncpg.connect(**dsn.connect_args())
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    wait(run())


def wait(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end."""
    return asyncio.run(coroutine)


def tables(dsn: Dsn) -> set[str]:
    """Return the tables of a database, outside the system's schemas and without the ledgers of migrations."""
    rows = query(
        dsn,
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p') "
        "AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema' AND relname NOT LIKE 'migration\\_log\\_%'",
    )
    return {row[0] for row in rows}
