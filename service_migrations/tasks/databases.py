"""db.create and db.drop: the database itself."""

from typing import TYPE_CHECKING

from invoke.context import Context

from service_migrations.tasks import console
from service_migrations.tasks.each import each, fail
from service_migrations.tasks.task import SERVICE, SERVICES, exactly_one, run, selected, service_name, task

if TYPE_CHECKING:
    from service_migrations.settings.model import Settings

__all__ = ["create", "drop"]


@task(iterable=["service"], help={"service": SERVICES})
def create(_: Context, service: list[str]) -> None:
    """Create databases, with roles if DATABASE_ADMIN_DSN is set."""
    from service_migrations.connection import admin
    from service_migrations.postgres import local
    from service_migrations.settings.model import Settings, load_many

    async def make(settings: Settings) -> None:
        done = await admin.create(settings, settings.admin or local.admin_for(settings.dsn, settings.service.root))
        console.result(f"{settings.service}: {', '.join(done) or f'nothing to do, {settings.target} is there'}")

    chosen = selected(service)
    fail(each(load_many(chosen), make, service_name)[1], len(chosen))


@task(iterable=["service"], help={"service": SERVICE, "yes": "Don't ask."})
def drop(_: Context, service: list[str], yes: bool = False) -> None:
    """Drop one service's database; asks first."""
    from service_migrations.connection import admin
    from service_migrations.postgres import local
    from service_migrations.settings.model import load

    loaded = load(exactly_one(service, "drop"))
    console.confirm(f"Drop {loaded.target} with all data of {_losers(loaded)}?", yes=yes)
    was_there = run(admin.drop(loaded, loaded.admin or local.admin_for(loaded.dsn, loaded.service.root)))
    console.result(f"{loaded.service}: {loaded.target} {'is dropped' if was_there else 'was not there'}")


def _losers(dropped: "Settings") -> str:
    """Return the services that have the database which is dropped, and those of which that can't be excluded."""
    from service_migrations.settings.siblings import siblings

    found = siblings(dropped.service, dropped.databases, dropped.sources)
    sharing = sorted([dropped.service.name, *(sibling.service.name for sibling in found if sibling.certain)])
    perhaps = [sibling.service.name for sibling in found if not sibling.certain]
    doubt = f" (and perhaps of {', '.join(perhaps)}, whose settings don't say)" if perhaps else ""
    return ", ".join(sharing) + doubt
