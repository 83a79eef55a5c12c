"""db.create and db.drop: the database itself."""

import os
from typing import TYPE_CHECKING

from invoke.context import Context

from migrations.cli import console
from migrations.cli.each import each, fail
from migrations.cli.task import SERVICE, SERVICES, exactly_one, run, selected, task
from migrations.discovery import Service
from migrations.errors import MigrationError

if TYPE_CHECKING:
    from migrations.settings import Settings

__all__ = ["create", "drop"]


@task(iterable=["service"], help={"service": SERVICES})
def create(_: Context, service: list[str]) -> None:
    """Create databases, with roles if DATABASE_ADMIN_DSN is set."""
    from migrations import database, local, settings

    async def make(one: Service) -> None:
        loaded = settings.load(one)
        done = await database.create(loaded, loaded.admin or local.admin_for(loaded.dsn))
        console.result(f"{one}: {', '.join(done) or f'nothing to do, {loaded.target} is there'}")

    chosen = selected(service)
    settings.load_many(chosen)
    fail(each(chosen, make)[1], len(chosen))


@task(iterable=["service"], help={"service": SERVICE, "yes": "Don't ask."})
def drop(_: Context, service: list[str], yes: bool = False) -> None:
    """Drop one service's database; asks first."""
    from migrations import database, local, settings

    loaded = settings.load(exactly_one(service, "drop"))
    console.confirm(f"Drop {loaded.target} with all data of {_losers(loaded)}?", yes=yes)
    was_there = run(database.drop(loaded, loaded.admin or local.admin_for(loaded.dsn)))
    console.result(f"{loaded.service}: {loaded.target} {'is dropped' if was_there else 'was not there'}")


def _losers(dropped: "Settings") -> str:
    """Return the services that have the database which is dropped, and those of which that can't be known."""
    from migrations import settings
    from migrations.envfile import KEYS

    # a bare variable is meant for the service that was named
    outside = {name: value for name, value in os.environ.items() if name not in KEYS}
    sharing, perhaps = [], []
    for other in selected([]):
        try:
            loaded = dropped if other == dropped.service else settings.load(other, outside)
        except MigrationError:
            if other.env_file.exists():
                perhaps.append(other.name)
            continue
        if loaded.dsn.identity == dropped.dsn.identity:
            sharing.append(other.name)
    doubt = f" (and perhaps of {', '.join(perhaps)}, whose settings are wrong)" if perhaps else ""
    return ", ".join(sharing) + doubt
