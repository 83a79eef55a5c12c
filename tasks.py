"""The Invoke collection: ``inv --list`` shows it, and each task is at home in the module it comes from."""

from invoke.collection import Collection

from migrations.cli import apply, author, databases, drift, inspect, operate, owners, plan, servers
from migrations.cli.affected import affected
from migrations.cli.check import check
from migrations.cli.stack import down, up
from migrations.cli.upgrade import upgrade

_DB = (
    *(upgrade, affected, apply.downgrade, apply.stamp, apply.alembic),
    *(author.revision, author.merge, author.rebase),
    *(inspect.current, inspect.heads, inspect.history, inspect.show, inspect.status, check),
    *(inspect.env, inspect.services, plan.plan, owners.owners, drift.drift),
    *(operate.wait, operate.log, operate.locks, operate.doctor),
    *(databases.create, databases.drop),
)
_PG = (servers.start, servers.stop, servers.status, servers.versions, servers.fetch)

namespace = Collection(up, down, db=Collection("db", *_DB), pg=Collection("pg", *_PG))
