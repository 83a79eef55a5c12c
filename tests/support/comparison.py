"""The whole catalog of a database at two times, compared as drift compares it."""

import re

from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from service_migrations.catalog import objects
from service_migrations.catalog.objects import Key, Object
from service_migrations.drift.compare import Difference, compare
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, wait

PUBLIC = Key("schema", "public", None, "public")
"""What each database has, and no history creates."""


def catalog(dsn: Dsn) -> tuple[Object, ...]:
    async def read() -> tuple[Object, ...]:
        engine = create_async_engine(dsn.url, poolclass=NullPool, connect_args=dsn.connect_args())
        async with engine.connect() as connection:
            rows = await objects.read(connection)
        await engine.dispose()
        return rows

    return wait(read())


def differences(before: tuple[Object, ...], after: tuple[Object, ...]) -> list[Difference]:
    ours = [
        tuple(each for each in side if not re.match("alembic|migration_log", each.table or each.name))
        for side in (before, after)
    ]
    return list(compare(ours[1], ours[0], lambda _: True, grants=True))


def differences_from(history: tuple[Object, ...], dsn: Dsn) -> tuple[Difference, ...]:
    """Compare a database with what its history creates, as drift does where the database has one service."""

    def is_ours(item: Object) -> bool:
        return not (item.table or item.name).startswith(("alembic_version", "migration_log"))

    return compare(filter(is_ours, catalog(dsn)), filter(is_ours, history), lambda item: item.key != PUBLIC)


def version(dsn: Dsn) -> int:
    return int(query(dsn, "SHOW server_version_num")[0][0]) // 10000
