"""The Invoke tasks by topic: parse the options, call the library, print the result.

They contain no SQL, and nothing that takes long is imported at the top. A repository's tasks.py imports ``namespace``
alone, or adds the tasks to its own under a name::

    from invoke import Collection
    from service_migrations import tasks

    namespace = Collection(up, Collection.from_module(tasks, name="migrations"))
"""

import sys

if not sys.flags.dont_write_bytecode:
    # Invoke disables bytecode: each run of a task would compile SQLAlchemy and Alembic again, for about a second
    sys.dont_write_bytecode = False

from invoke.collection import Collection

from service_migrations.tasks import (
    adopt,
    affected,
    check,
    compat,
    databases,
    downgrade,
    drift,
    evidence,
    init,
    local,
    observe,
    owners,
    plan,
    released,
    report,
    revision,
    servers,
    show,
    upgrade,
)
from service_migrations.tasks.support import completion, console

__all__ = ["namespace"]

_DB = (
    *(upgrade.upgrade, affected.affected, downgrade.downgrade, downgrade.undo, downgrade.stamp, downgrade.alembic),
    *(revision.revision, revision.merge, revision.rebase),
    *(show.current, show.heads, show.history, show.show, show.status, check.check),
    *(show.env, show.services, plan.plan, owners.owners, drift.drift),
    *(evidence.evidence, compat.compat, released.released, report.report),
    *(observe.wait, observe.log, observe.locks, observe.doctor),
    *(databases.create, databases.drop, init.init, adopt.adopt, adopt.baseline),
)
_PG = (servers.start, servers.stop, servers.status, servers.versions, servers.fetch)

namespace = Collection(local.up, local.down, db=Collection("db", *_DB), pg=Collection("pg", *_PG))
"""``up``, ``down``, ``db.*`` and ``pg.*``."""

_candidates = completion.services_for(sys.argv[1:], namespace.task_names)
if _candidates is not None:
    console.result("\n".join(_candidates))
    sys.exit()
