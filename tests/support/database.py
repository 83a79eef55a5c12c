"""Make databases, and ask them; the passwords of their roles."""

import asyncio
import os
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

import asyncpg

from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn

_numbers = count(1)
_made: list[tuple[Dsn, str]] = []
"""The databases to drop, each with its server's superuser."""

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


def _create(server: Server, name: str, owner: str, template: str = "template1") -> str:
    strategy = "STRATEGY file_copy" if int(server.version) >= 15 else ""  # a third of the time without fsync
    return f'CREATE DATABASE "{name}" OWNER "{owner}" TEMPLATE "{template}" {strategy}'


def drop_databases(server: Server) -> None:
    """Drop the databases that were made on a server since the last time, but for those to keep.

    Each takes 8 MB, mostly of memory, and a session makes some thousands.
    """
    names = [name for admin, name in _made if admin == server.admin]
    _made.clear()

    async def run() -> None:
        connection = await asyncpg.connect(**server.admin.connect_args())
        try:
            for name in names:
                with suppress(asyncpg.PostgresError):  # it is a template now, or has a prepared transaction
                    await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        finally:
            await connection.close()

    if names:
        wait(run())


def make_roles(server: Server, *names: str) -> None:
    """Make roles, which outlive the databases: a worker may begin with a module twice."""
    there = {row[0] for row in query(server.admin, "SELECT rolname FROM pg_roles")}
    run_script(server.admin, [f"CREATE ROLE {name}" for name in names if name not in there])


def make_database(
    server: Server,
    *,
    shared: Dsn | None = None,
    copied: Dsn | None = None,
    password: str = PASSWORD,
    creates: bool = False,
    keep: bool = False,
) -> Dsn:
    """Make a database and a role that owns it and is no superuser.

    Args:
        server: where.
        shared: make a role only, which may create tables in this database.
        copied: make a database only: a copy of this one, whose role owns it too.
        password: the role's.
        creates: let the role make databases itself.
        keep: keep the database for other modules too.

    """
    name = f"app{os.environ.get('PYTEST_XDIST_WORKER', '')}_{os.getpid()}_{next(_numbers)}"
    if not (keep or shared):
        _made.append((server.admin, name))
    if copied:
        query(server.admin, _create(server, name, copied.user, copied.database))
        return replace(copied, database=name)
    dsn = Dsn(name, shared.database if shared else name, server.admin.hosts, password)
    literal = "'" + password.replace("'", "''") + "'"
    if "\\" in password:
        literal = " E" + literal.replace("\\", "\\\\")
    role = f'CREATE ROLE "{name}" LOGIN {"CREATEDB" if creates else ""} PASSWORD {literal}'
    run_script(server.admin, [role, *([] if shared else [_create(server, name, name)])])
    if shared or int(server.version) < 15:  # the first where a database's owner has its schema public
        query(replace(server.admin, database=dsn.database), f'GRANT USAGE, CREATE ON SCHEMA public TO "{name}"')
    return dsn
