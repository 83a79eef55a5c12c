# The public names of the library, each with the module that it comes from; __init__.py reads them here.
from service_migrations.authoring.check import Check as Check
from service_migrations.authoring.check import check as check
from service_migrations.authoring.rebase import Rebased as Rebased
from service_migrations.authoring.rebase import rebase as rebase
from service_migrations.authoring.revision import merge as merge
from service_migrations.authoring.revision import revision as revision
from service_migrations.drift.drift import Drift as Drift
from service_migrations.drift.drift import drift as drift
from service_migrations.errors import MigrationError as MigrationError
from service_migrations.health.wait import Answer as Answer
from service_migrations.health.wait import wait as wait
from service_migrations.history.revisions import History as History
from service_migrations.history.revisions import Revision as Revision
from service_migrations.ledger._m_entries import Entry as Entry
from service_migrations.ledger.entries import log as log
from service_migrations.monorepo import (
    Monorepo as Monorepo,
)
from service_migrations.monorepo import (
    Service as Service,
)
from service_migrations.monorepo import (
    discover as discover,
)
from service_migrations.monorepo import (
    find as find,
)
from service_migrations.outcome import Outcome as Outcome
from service_migrations.ownership.owners import Owners as Owners
from service_migrations.ownership.owners import owners as owners
from service_migrations.plan.plan import Plan as Plan
from service_migrations.plan.plan import plan as plan
from service_migrations.rollout.rollout import upgrade_all as upgrade_all
from service_migrations.rollout.schedule import News as News
from service_migrations.rollout.schedule import Result as Result
from service_migrations.rollout.status import Status as Status
from service_migrations.rollout.status import status as status
from service_migrations.upgrade.commands import (
    current as current,
)
from service_migrations.upgrade.commands import (
    downgrade as downgrade,
)
from service_migrations.upgrade.commands import (
    history as history,
)
from service_migrations.upgrade.commands import (
    sql as sql,
)
from service_migrations.upgrade.commands import (
    stamp as stamp,
)
from service_migrations.upgrade.commands import (
    upgrade as upgrade,
)
