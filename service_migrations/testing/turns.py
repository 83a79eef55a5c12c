"""Upgrading services that share a database, where the history of one may need the tables of another."""

from collections.abc import Iterable

import service_migrations
from service_migrations.errors import MigrationError
from service_migrations.monorepo import Service

__all__ = ["upgrade_in_turns"]


async def upgrade_in_turns(services: Iterable[Service]) -> tuple[list[Service], dict[Service, MigrationError]]:
    """Upgrade services as far as each goes, again and again until none gets any further.

    Returns:
        Those at head, in the order in which they got there, and the last error of each of the others.

    Raises:
        MigrationError: one failed for another reason than its own revisions.

    """
    waiting, done = list(services), list[Service]()
    errors: dict[Service, MigrationError] = {}
    seen: dict[Service, object] = {}
    moved = True
    while waiting and moved:
        moved = False
        for service in list(waiting):
            try:
                await service_migrations.upgrade(service)
            except MigrationError as error:
                if error.exit_code != MigrationError.exit_code:
                    raise
                errors[service] = error
                revisions = await service_migrations.current(service)
                moved = moved or seen.get(service, ()) != revisions
                seen[service] = revisions
            else:
                waiting.remove(service)
                done.append(service)
                moved = True
    return done, {service: errors[service] for service in waiting}
