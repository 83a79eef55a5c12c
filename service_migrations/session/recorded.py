"""Who ran a revision, as the ledger has it, for a message about a revision that no file has."""

from collections.abc import Iterable

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.connection.drivers import is_lost
from service_migrations.monorepo import Service
from service_migrations.session.relation import first, named, schemas
from service_migrations.sql.quoting import escaped

__all__ = ["recorded"]

_COMMIT_CHARACTERS = 12


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
            newest = text(
                f"SELECT direction, started, os_user, host, git_commit FROM {escaped(ledger.name)} "  # noqa: S608 - quoted
                "WHERE revision = :revision AND direction <> 'downgrade' ORDER BY id DESC LIMIT 1"
            )
            for revision in revisions:
                for direction, started, user, host, commit in await connection.execute(newest, {"revision": revision}):
                    verb = {"stamp": "stamped", "accept": "accepted"}.get(direction, "applied")
                    moment = "at an unknown time" if started is None else started.astimezone().isoformat(" ", "minutes")
                    code = f"commit {commit[:_COMMIT_CHARACTERS]}" if commit else "no checkout"
                    sentences.append(f"{revision} was {verb} by {user}@{host} from {code} ({moment}).")
    except SQLAlchemyError:
        return ()
    finally:
        if not is_lost(connection):
            await connection.rollback()
    return tuple(sentences)
