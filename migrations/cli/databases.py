"""db.create and db.drop: the database itself."""

from invoke.context import Context

from migrations.cli import console
from migrations.cli.task import SERVICE, SERVICES, exactly_one, run, selected, task
from migrations.errors import MigrationError

__all__ = ["create", "drop"]


@task(iterable=["service"], help={"service": SERVICES})
def create(_: Context, service: list[str]) -> None:
    """Create databases, with roles if DATABASE_ADMIN_DSN is set."""
    from migrations import database, local, settings

    for loaded in settings.load_many(selected(service)):
        if isinstance(loaded, MigrationError):
            raise loaded
        done = run(database.create(loaded, loaded.admin or local.admin_for(loaded.dsn)))
        console.result(f"{loaded.service}: {', '.join(done) or f'nothing to do, {loaded.target} is there'}")


@task(iterable=["service"], help={"service": SERVICE, "yes": "Don't ask."})
def drop(_: Context, service: list[str], yes: bool = False) -> None:
    """Drop one service's database; asks first."""
    from migrations import database, local, settings

    loaded = settings.load(exactly_one(service, "drop"))
    sharing = [
        other.service.name
        for other in settings.load_many(selected([]))
        if not isinstance(other, MigrationError) and other.dsn.identity == loaded.dsn.identity
    ]
    console.confirm(f"Drop {loaded.target} with all data of {', '.join(sharing)}?", yes=yes)
    was_there = run(database.drop(loaded, loaded.admin or local.admin_for(loaded.dsn)))
    console.result(f"{loaded.service}: {loaded.target} {'is dropped' if was_there else 'was not there'}")
