"""The shop's own tasks, and those of service-migrations under a name of their own: both have an ``up``."""

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from service_migrations import tasks as migrations


@task
def up(_: Context) -> None:
    """Open the shop."""
    print("the shop is open")


namespace = Collection(up, Collection.from_module(migrations, name="migrations"))
