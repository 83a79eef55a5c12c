"""The environment of every service: `inv`, `alembic -x service=<name>` and applications run it."""

import asyncio
import logging

from alembic import context
from sqlalchemy import Connection

from service_migrations import environment

OPTIONS: dict[str, object] = {}  # your own of context.configure(), such as include_object; they join the library's


def do_run_migrations(connection: Connection | None) -> None:
    environment.configure(connection, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


async def run_async_migrations() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)-5.5s [%(name)s] %(message)s")
    async with environment.connect() as connection:
        await connection.run_sync(do_run_migrations)


with environment.prepared() as connection:
    if environment.needs_connection():
        asyncio.run(run_async_migrations())
    else:
        do_run_migrations(connection)  # a connection that was passed, or none offline
