"""The services that share a database with another one, whose history may need their tables."""

from service_migrations.connection.connector import connector_of
from service_migrations.errors import MigrationError, UnreachableError
from service_migrations.history.revisions import read
from service_migrations.history.targets import migrate_to
from service_migrations.session.session import open_session
from service_migrations.session.tables.version_table import ensure_schema
from service_migrations.settings.model import Settings

__all__ = ["Siblings"]


class Siblings:
    """Those that aren't at head yet: each runs as far as it can, when a revision fails without it."""

    def __init__(self, settings: list[Settings]) -> None:
        """Take their settings."""
        self._waiting = list(settings)

    async def advance(self) -> bool:
        """Upgrade them as far as each can be, and return whether there was any progress.

        Raises:
            UnreachableError: the server is lost.

        """
        has_progress = False
        for settings in list(self._waiting):
            history = read(settings.service)
            async with open_session(history, connector_of(settings), autocommit=True) as session:
                if session.schema:
                    await ensure_schema(session.connection, session.schema)
                applied = history.applied(await session.applied(alone=True))
                for revision in [item for item in reversed(history.revisions) if item not in applied]:
                    try:
                        await session.run(migrate_to(history, revision.revision))
                    except MigrationError as error:
                        if isinstance(error, UnreachableError):
                            raise
                        break
                    has_progress = True
                else:
                    self._waiting.remove(settings)
        return has_progress
