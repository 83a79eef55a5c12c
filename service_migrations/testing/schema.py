"""A database as lines of text: one for each object, so that two databases can be compared and a difference be read."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from service_migrations.catalog.objects import Object, read
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from service_migrations.sql.lexer import statements

__all__ = ["connected", "execute", "run_script", "schema", "without_bookkeeping"]


@asynccontextmanager
async def connected(dsn: Dsn) -> AsyncIterator[AsyncConnection]:
    """Connect, apart from the connections of what is tested."""
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=partial(asyncpg.connect, **dsn.connect_args()), poolclass=NullPool
    )
    async with engine.connect() as connection:
        yield connection


async def schema(connection: AsyncConnection, *ignored: Service) -> list[str]:
    """Return a line for each object of a database, but for the version tables and ledgers of some services.

    The ledgers of the others don't count either: whether one is there depends on when it was first written.
    """
    return sorted(map(_line, without_bookkeeping(await read(connection), ignored)))


def without_bookkeeping(objects: Iterable[Object], services: Iterable[Service]) -> list[Object]:
    """Return the objects that aren't ledgers, nor version tables of these services, nor parts of one."""
    tables = {service.version_table for service in services}
    return [
        one
        for one in objects
        if not any(name in tables or name.startswith("migration_log_") for name in (one.table or "", one.name))
    ]


def _line(one: Object) -> str:
    name = ".".join(part for part in (one.schema, one.table, one.name) if part)
    facts = " ".join(f"{key}={value}" for key, value in sorted(one.facts.items()))
    comment = f" -- {one.comment}" if one.comment else ""
    return f"{one.kind} {name} {facts}{comment}"


async def execute(connection: AsyncConnection, sql: str) -> None:
    """Run SQL as psql does: as it is, in a transaction of its own."""
    raw = await connection.get_raw_connection()
    driver: asyncpg.Connection[asyncpg.Record] = raw.driver_connection  # type: ignore[assignment]
    await driver.execute(sql)


async def run_script(connection: AsyncConnection, script: str) -> None:
    """Run a script as psql runs a file: statement by statement."""
    lines = script.splitlines()
    for statement in statements(script):
        await execute(connection, "\n".join(lines[statement.line - 1 : statement.end]))
