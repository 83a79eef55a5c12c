"""The upgrade of services that share a database, where a history may need the tables of another service."""

from collections.abc import Iterable

import service_migrations
from service_migrations.errors import MigrationError
from service_migrations.monorepo import Service

__all__ = ["upgrade_in_turns"]


async def upgrade_in_turns(services: Iterable[Service]) -> tuple[list[Service], dict[Service, MigrationError]]:
    """Upgrade services in turns, as far as each can be upgraded, until no revision of any can be run.

    Returns:
        The services at head, in the order of their upgrades, and the last error of each other service.

    Raises:
        MigrationError: an upgrade failed for another reason than its revisions.

    """
    waiting, at_head = list(services), list[Service]()
    errors: dict[Service, MigrationError] = {}
    last_revisions: dict[Service, object] = {}
    has_progress = True
    while waiting and has_progress:
        has_progress = False
        for service in list(waiting):
            try:
                await service_migrations.upgrade(service)
            except MigrationError as error:
                if error.exit_code != MigrationError.exit_code:
                    raise
                errors[service] = error
                revisions = await service_migrations.current(service)
                has_progress = has_progress or last_revisions.get(service, ()) != revisions
                last_revisions[service] = revisions
            else:
                waiting.remove(service)
                at_head.append(service)
                has_progress = True
    return at_head, {service: errors[service] for service in waiting}
