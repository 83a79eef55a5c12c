"""Who ran a revision, as the ledger has it, for a message about a revision that no file has."""

from collections.abc import Container, Iterable
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.connection.drivers import is_lost
from service_migrations.connection.rows import rows
from service_migrations.connection.single_message import constant
from service_migrations.monorepo import Service
from service_migrations.session.tables.relation import first, named, schemas

__all__ = ["knows_any", "recorded"]

_COMMIT_CHARACTERS = 12
_TEXTS = ("direction", "os_user", "host", "git_commit")


async def recorded(
    connection: AsyncConnection, service: Service, schema: str | None, revisions: Iterable[str]
) -> tuple[str, ...]:
    """Return a sentence about each revision that the ledger has a row of. Read-only.

    A ledger that can't be read has no rows: the message is about something else.

    Args:
        connection: with no transaction open, then and afterwards.
        service: the service.
        schema: that of the ledger; the search path of the service decides where it is None.
        revisions: the revisions.

    """
    sentences = []
    try:
        ledger = first(await named(connection, service.ledger_table), schemas(connection, schema))
        if ledger and not ledger.problem:
            texts = ", ".join(f"CAST({name} AS pg_catalog.text)" for name in _TEXTS)
            for revision in revisions:
                newest = (
                    f"SELECT {texts}, started FROM {ledger.name} "  # noqa: S608 - quoted
                    f"WHERE revision = {constant(revision)} AND direction <> 'downgrade' ORDER BY id DESC LIMIT 1"
                )
                for row in await rows(connection, newest):
                    verb = {"stamp": "stamped", "accept": "accepted"}.get(row.direction, "applied")
                    code = f"commit {row.git_commit[:_COMMIT_CHARACTERS]}" if row.git_commit else "no checkout"
                    sentences.append(
                        f"{revision} was {verb} by {row.os_user}@{row.host} from {code} ({_moment(row.started)})."
                    )
    except SQLAlchemyError:
        return ()
    finally:
        if not is_lost(connection):
            await connection.rollback()
    return tuple(sentences)


async def knows_any(
    connection: AsyncConnection, service: Service, schema: str | None, revisions: Container[str]
) -> bool:
    """Whether the ledger has a row of one of some revisions. Read-only.

    Args:
        connection: as of ``recorded``.
        service: the service.
        schema: as of ``recorded``.
        revisions: the revisions that files have.

    """
    try:
        ledger = first(await named(connection, service.ledger_table), schemas(connection, schema))
        if ledger is None or ledger.problem:
            return False
        recorded_rows = await rows(
            connection,
            f"SELECT DISTINCT CAST(revision AS pg_catalog.text) AS revision FROM {ledger.name}",  # noqa: S608 - quoted
        )
        return any(row.revision in revisions for row in recorded_rows)
    except SQLAlchemyError:
        return False
    finally:
        if not is_lost(connection):
            await connection.rollback()


def _moment(started: object) -> str:
    """Return a moment of the server's in the time of this machine; Python has none such as infinity."""
    try:
        return datetime.fromisoformat(str(started)).astimezone().isoformat(" ", "minutes")
    except (ValueError, OverflowError):
        return "at an unknown time"
