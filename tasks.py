"""The Invoke collection: ``inv --list`` shows it, and each task is at home in the module it comes from."""

from invoke.collection import Collection

from service_migrations.tasks import databases, downgrade, drift, observe, owners, plan, revision, servers, show
from service_migrations.tasks.affected import affected
from service_migrations.tasks.check import check
from service_migrations.tasks.local import down, up
from service_migrations.tasks.upgrade import upgrade

_DB = (
    *(upgrade, affected, downgrade.downgrade, downgrade.stamp, downgrade.alembic),
    *(revision.revision, revision.merge, revision.rebase),
    *(show.current, show.heads, show.history, show.show, show.status, check),
    *(show.env, show.services, plan.plan, owners.owners, drift.drift),
    *(observe.wait, observe.log, observe.locks, observe.doctor),
    *(databases.create, databases.drop),
)
_PG = (servers.start, servers.stop, servers.status, servers.versions, servers.fetch)

namespace = Collection(up, down, db=Collection("db", *_DB), pg=Collection("pg", *_PG))
