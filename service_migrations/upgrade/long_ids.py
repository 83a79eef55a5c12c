"""The refusal of ids that a version table has no room for: the server would refuse them in the middle of a run."""

from collections.abc import Callable, Iterable

from service_migrations.errors import UsageError
from service_migrations.session.session import Session
from service_migrations.session.tables.version_table import ALEMBICS_WIDTH, id_width

__all__ = ["long_ids_refusal"]


async def long_ids_refusal(session: Session) -> Callable[[Iterable[str]], None]:
    """Return a function that refuses ids which a run would write, before the first.

    Args:
        session: with no transaction open, then and afterwards.

    Returns:
        The function; it raises a UsageError for an id that is too long, with its file.

    """
    history, connector, width = session.history, session.connector, None
    if history.longest_id > ALEMBICS_WIDTH:
        width = await id_width(session.connection, connector.version_table, await session.version_schema())

    def refuse(written: Iterable[str]) -> None:
        ids = set(written) if width is not None else set()
        for revision in history.revisions:
            if revision.revision in ids and width is not None and len(revision.revision) > width:
                name = connector.version_table
                raise UsageError(
                    f"the id {revision.revision!r} has {len(revision.revision)} characters, and {name} in "
                    f"{connector.target} holds {width}. Nothing was run.",
                    service=history.service,
                    path=revision.path,
                    hint=f"Shorten it, or run: ALTER TABLE {name} ALTER COLUMN version_num TYPE varchar(255);",
                )

    return refuse
