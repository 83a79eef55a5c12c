# The public names of the library, each with the module that it comes from; __init__.py reads them here.
from service_migrations.authoring.check import Check as Check, check as check
from service_migrations.authoring.rebase import Rebased as Rebased, rebase as rebase
from service_migrations.authoring.revision import merge as merge, revision as revision
from service_migrations.drift.drift import Drift as Drift, drift as drift
from service_migrations.errors import MigrationError as MigrationError
from service_migrations.health.wait import Answer as Answer, wait as wait
from service_migrations.history.revision import Revision as Revision
from service_migrations.history.revisions import History as History, config as config
from service_migrations.ledger.entries import Entry as Entry, log as log
from service_migrations.monorepo import (
    Monorepo as Monorepo,
    Service as Service,
    discover as discover,
    find as find,
)
from service_migrations.outcome import Outcome as Outcome
from service_migrations.ownership.owners import Owners as Owners, owners as owners
from service_migrations.plan.plan import Plan as Plan, plan as plan
from service_migrations.rollout.rollout import upgrade_all as upgrade_all
from service_migrations.rollout.schedule import News as News, Result as Result
from service_migrations.rollout.status import Status as Status, status as status
from service_migrations.upgrade.commands import (
    current as current,
    downgrade as downgrade,
    history as history,
    sql as sql,
    stamp as stamp,
    upgrade as upgrade,
)
