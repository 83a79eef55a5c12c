"""db.create and db.drop: the database itself."""

import os
from typing import TYPE_CHECKING

from invoke.context import Context

from service_migrations.errors import MigrationError
from service_migrations.monorepo import Service
from service_migrations.tasks import console
from service_migrations.tasks.each import each, fail
from service_migrations.tasks.task import SERVICE, SERVICES, exactly_one, run, selected, task

if TYPE_CHECKING:
    from service_migrations.settings.model import Settings

__all__ = ["create", "drop"]


@task(iterable=["service"], help={"service": SERVICES})
def create(_: Context, service: list[str]) -> None:
    """Create databases, with roles if DATABASE_ADMIN_DSN is set."""
    from service_migrations.connection import admin
    from service_migrations.postgres import local
    from service_migrations.settings import model

    async def make(one: Service) -> None:
        loaded = model.load(one)
        done = await admin.create(loaded, loaded.admin or local.admin_for(loaded.dsn, loaded.service.root))
        console.result(f"{one}: {', '.join(done) or f'nothing to do, {loaded.target} is there'}")

    chosen = selected(service)
    model.load_many(chosen)
    fail(each(chosen, make)[1], len(chosen))


@task(iterable=["service"], help={"service": SERVICE, "yes": "Don't ask."})
def drop(_: Context, service: list[str], yes: bool = False) -> None:
    """Drop one service's database; asks first."""
    from service_migrations.connection import admin
    from service_migrations.postgres import local
    from service_migrations.settings import model

    loaded = model.load(exactly_one(service, "drop"))
    console.confirm(f"Drop {loaded.target} with all data of {_losers(loaded)}?", yes=yes)
    was_there = run(admin.drop(loaded, loaded.admin or local.admin_for(loaded.dsn, loaded.service.root)))
    console.result(f"{loaded.service}: {loaded.target} {'is dropped' if was_there else 'was not there'}")


def _losers(dropped: "Settings") -> str:
    """Return the services that have the database which is dropped, and those of which that can't be known."""
    from service_migrations.settings import model
    from service_migrations.settings.sources import KEYS

    # a bare variable is meant for the service that was named
    outside = {name: value for name, value in os.environ.items() if name not in KEYS}
    sharing, perhaps = [], []
    for other in selected([]):
        try:
            loaded = dropped if other == dropped.service else model.load(other, outside)
        except MigrationError:
            if other.env_file.exists():
                perhaps.append(other.name)
            continue
        if loaded.dsn.identity == dropped.dsn.identity:
            sharing.append(other.name)
    doubt = f" (and perhaps of {', '.join(perhaps)}, whose settings are wrong)" if perhaps else ""
    return ", ".join(sharing) + doubt
