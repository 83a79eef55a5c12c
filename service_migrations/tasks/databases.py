"""db.create and db.drop: the creation and removal of databases."""

from typing import TYPE_CHECKING

from invoke.context import Context

from service_migrations.errors import MigrationError
from service_migrations.files import is_there
from service_migrations.monorepo import discover
from service_migrations.tasks.support import console
from service_migrations.tasks.support.each import each, fail
from service_migrations.tasks.support.options import YES
from service_migrations.tasks.support.task import SERVICE, SERVICES, exactly_one, run, selected, service_name, task

if TYPE_CHECKING:
    from service_migrations.settings.model import Settings

__all__ = ["create", "drop"]


@task(iterable=["service"], help={"service": SERVICES})
def create(_: Context, service: list[str]) -> None:
    """Create databases, with roles if DATABASE_ADMIN_DSN is set."""
    from service_migrations.databases import admin
    from service_migrations.postgres import local
    from service_migrations.settings.model import Settings, load_many
    from service_migrations.settings.siblings import sharing

    async def create_one(settings: Settings) -> None:
        creator = settings.admin or local.admin_for(settings.dsn, settings.service.root)
        changes = await admin.create(settings, creator, others=sharing(settings))
        console.result(f"{settings.service}: {', '.join(changes) or f'nothing to do, {settings.target} is there'}")

    services = selected(service)
    fail(each(load_many(services), create_one, service_name)[1], len(services))


@task(iterable=["service"], help={"service": SERVICE, "yes": YES})
def drop(_: Context, service: list[str], yes: bool = False) -> None:
    """Drop one service's database; asks first."""
    from service_migrations.databases import admin
    from service_migrations.postgres import local
    from service_migrations.settings.model import load

    settings = load(exactly_one(service, "drop"))
    console.confirm(f"Drop {settings.target} with all data of {_services_of(settings)}?", yes=yes)
    existed = run(admin.drop(settings, settings.admin or local.admin_for(settings.dsn, settings.service.root)))
    console.result(f"{settings.service}: {settings.target} {'is dropped' if existed else 'was not there'}")


def _services_of(settings: "Settings") -> str:
    """Return the names of the services that have a database, and of those that may have it."""
    from service_migrations.settings.model import load_unchecked
    from service_migrations.settings.siblings import siblings

    others = siblings(settings.service, settings.databases, settings.sources)
    certain = sorted([settings.service.name, *(sibling.service.name for sibling in others if sibling.certain)])
    uncertain = {sibling.service.name for sibling in others if not sibling.certain}
    for other in discover(settings.service.root):
        if other.name not in certain and is_there(other.env_file):
            try:
                load_unchecked(other, settings.sources.of_siblings())
            except MigrationError:
                uncertain.add(other.name)
    doubt = f" (and perhaps of {', '.join(sorted(uncertain))}, whose settings don't say)" if uncertain else ""
    return ", ".join(certain) + doubt
