"""Who ran a revision, as the ledger has it, for a message about a revision that no file has."""

from collections.abc import Iterable

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.connection.transactions import is_lost
from service_migrations.monorepo import Service

__all__ = ["IS_TABLE", "recorded"]

_COMMIT_CHARACTERS = 12

IS_TABLE = text(
    """
    SELECT CAST(c.relkind AS pg_catalog.text) OPERATOR(pg_catalog.=) 'r' AND NOT pg_catalog.row_security_active(c.oid)
    FROM pg_catalog.pg_class c
    WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(CAST(:name AS pg_catalog.text))
    """
)
"""Whether a ledger may be read: a view of that name, or a table with policies, could run a function of somebody else's
with our rights."""


async def recorded(
    connection: AsyncConnection, service: Service, schema: str | None, revisions: Iterable[str]
) -> tuple[str, ...]:
    """Return a sentence about each revision that the ledger has a row of. Read-only.

    A ledger that can't be read has no rows: the message is about something else.

    Args:
        connection: with no transaction open, then and afterwards.
        service: the service.
        schema: that of the ledger; ``search_path`` decides where it is None.
        revisions: the revisions.

    """
    quote = connection.dialect.identifier_preparer.quote
    name = ".".join(quote(part) for part in (schema, service.ledger_table) if part)
    newest = text(
        f"SELECT direction, started, os_user, host, git_commit FROM {name} "  # noqa: S608 - a quoted name
        "WHERE revision OPERATOR(pg_catalog.=) CAST(:revision AS pg_catalog.text) "
        "AND direction OPERATOR(pg_catalog.<>) 'downgrade' ORDER BY id DESC LIMIT 1"
    )
    sentences = []
    try:
        if await connection.scalar(IS_TABLE, {"name": name}):
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
