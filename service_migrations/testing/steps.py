"""The test of a history step by step: each revision up, down and up again, with rows in the tables."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import asyncpg

from service_migrations.connection.connector import connector
from service_migrations.errors import MigrationError
from service_migrations.failures.driver_errors import describe
from service_migrations.history.revisions import read
from service_migrations.history.targets import migrate_to, revert
from service_migrations.monorepo import Service, discovering_once
from service_migrations.session.locks import process_lock
from service_migrations.session.session import open_session
from service_migrations.session.tables.version_table import ensure_schema
from service_migrations.settings.dsn import Dsn
from service_migrations.testing.schema import connected, execute, schema

__all__ = ["go_step_by_step"]


async def go_step_by_step(
    service: Service, dsn: Dsn, rows: Mapping[str, Sequence[str]], irreversible: Collection[str] = ()
) -> None:
    """Upgrade, downgrade and upgrade each revision, oldest first, and compare the schema before and after.

    All steps use one session: with a connection and a reading of all files for each step, a long history would take
    minutes.

    Args:
        service: the service, whose settings lead to the database.
        dsn: the same database.
        rows: the statements that fill its tables, by the revision that they follow.
        irreversible: the revisions whose downgrade isn't tried.

    Raises:
        MigrationError: a revision fails, or a statement that fills its tables.
        AssertionError: a downgrade doesn't restore the schema, or the second upgrade has another result than the first.

    """
    history = read(service)
    with discovering_once():
        async with connected(dsn) as connection, process_lock(), open_session(history, connector(service)) as session:
            if session.schema:
                await ensure_schema(session.connection, session.schema)
            after = await schema(connection, service)
            for revision in reversed(history.revisions):
                before, start = after, await session.applied()
                await session.run(migrate_to(history, revision.revision))
                after = await schema(connection, service)
                assert revision.revision in await session.applied(), f"{revision.path}: up leads elsewhere"
                if revision.revision not in irreversible:
                    await session.run(revert(history, revision.revision))
                    assert await session.applied() == start, f"{revision.path}: down leads elsewhere"
                    left = await schema(connection, service)
                    assert left == before, f"{revision.path}: down is not the way back{_changes(before, left)}"
                    await session.run(migrate_to(history, revision.revision))
                    again = await schema(connection, service)
                    message = f"{revision.path}: up makes something else than before"
                    assert again == after, f"{message}{_changes(after, again)}"
                for statement in rows.get(revision.revision, ()):
                    try:
                        await execute(connection, statement)
                    except asyncpg.PostgresError as error:
                        text = f"{describe(error)} [{error.sqlstate}]: {statement}"
                        raise MigrationError(f"a row after {revision.revision}: {text}", service=service) from error


def _changes(before: Sequence[str], after: Sequence[str]) -> str:
    """Return what is there too much, and what is missing; the two lists would have to be compared by eye."""
    added, removed = Counter(after) - Counter(before), Counter(before) - Counter(after)
    lines = [f"is left: {item.strip()}" for item in added] + [f"is missing: {item.strip()}" for item in removed]
    return "".join(f"\n  {line}" for line in lines)
