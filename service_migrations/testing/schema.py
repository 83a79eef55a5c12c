"""The schema of a database as lines of text, one for each object, so that two databases can be compared."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from service_migrations.catalog.objects import Object, read
from service_migrations.errors import MigrationError
from service_migrations.failures.driver_errors import describe
from service_migrations.monorepo import Service, discover
from service_migrations.settings.dsn import Dsn
from service_migrations.sql.lexer import statements
from service_migrations.sql.times import without_times

__all__ = ["connected", "execute", "run_script", "schema", "without_bookkeeping"]


_LOADED = datetime.now(UTC)
"""Before histories run: of two runs, each leaves its own times."""


@asynccontextmanager
async def connected(dsn: Dsn) -> AsyncIterator[AsyncConnection]:
    """Connect with an engine of the test's own."""
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=partial(asyncpg.connect, **dsn.connect_args()), poolclass=NullPool
    )
    async with engine.connect() as connection:
        yield connection


async def schema(connection: AsyncConnection, *ignored: Service) -> list[str]:
    """Return a line for each object of a database, except the version tables of some services and all ledgers.

    The ledger of another service may not have been written yet.
    """
    return sorted(map(_line, without_bookkeeping(await read(connection), ignored)))


def without_bookkeeping(objects: Iterable[Object], services: Iterable[Service]) -> list[Object]:
    """Return the objects without the ledgers of all services, version tables of some, and the parts of both."""
    services = list(services)
    every = discover(services[0].root if services else None)
    tables = {service.version_table for service in services} | {service.ledger_table for service in every}
    return [
        database_object
        for database_object in objects
        if not tables & {database_object.table or database_object.name, (database_object.part_of or ("",) * 3)[2]}
    ]


def _line(database_object: Object) -> str:
    name = ".".join(part for part in (database_object.schema, database_object.table, database_object.name) if part)
    attributes = " ".join(f"{key}={value}" for key, value in sorted(database_object.facts.items()))
    comment = f" -- {database_object.comment}" if database_object.comment else ""
    return without_times(f"{database_object.kind} {name} {attributes}{comment}", _LOADED)


async def execute(connection: AsyncConnection, sql: str) -> None:
    """Run SQL unchanged, in a transaction of its own, as psql does."""
    raw_connection = await connection.get_raw_connection()
    driver: asyncpg.Connection[asyncpg.Record] = raw_connection.driver_connection  # type: ignore[assignment]
    await driver.execute(sql)


async def run_script(connection: AsyncConnection, script: str, service: Service) -> None:
    """Run the SQL of offline mode statement by statement, as psql does; those that share a line at once.

    Raises:
        MigrationError: a statement fails.

    """
    # as the lexer counts them: other characters that end a line may be in a name or a text
    lines, ranges = script.split("\n"), list[tuple[int, int]]()
    for statement in statements(script):
        if ranges and statement.line <= ranges[-1][1]:
            ranges[-1] = ranges[-1][0], statement.end
        else:
            ranges.append((statement.line, statement.end))
    for first, last in ranges:
        try:
            await execute(connection, "\n".join(lines[first - 1 : last]))
        except asyncpg.PostgresError as error:
            text = f"the SQL of offline mode fails in its line {first}: {describe(error)} [{error.sqlstate}]."
            hint = f"`inv db.upgrade --service {service} --sql` prints it."
            raise MigrationError(text, service=service, hint=hint) from error
