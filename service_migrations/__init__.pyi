# The public names of the library, each with the module that it comes from; __init__.py reads them here.
from service_migrations.authoring.check import Check as Check, check as check
from service_migrations.authoring.place import Place as Place
from service_migrations.authoring.rebase import Rebased as Rebased, rebase as rebase
from service_migrations.authoring.revision import merge as merge, revision as revision
from service_migrations.configuration import Configuration as Configuration, ServiceTable as ServiceTable
from service_migrations.drift.compare import Difference as Difference
from service_migrations.drift.drift import Drift as Drift, drift as drift
from service_migrations.errors import (
    AccessDeniedError as AccessDeniedError,
    ConfigurationError as ConfigurationError,
    ContentionError as ContentionError,
    DifferenceError as DifferenceError,
    LockNotObtainedError as LockNotObtainedError,
    MigrationError as MigrationError,
    NotReadyError as NotReadyError,
    ResultError as ResultError,
    UnreachableError as UnreachableError,
    UsageError as UsageError,
)
from service_migrations.health.wait import Answer as Answer, wait as wait
from service_migrations.history.revision import Revision as Revision
from service_migrations.history.revisions import History as History, config as config
from service_migrations.history.x_arguments import x_arguments as x_arguments
from service_migrations.ledger.entries import Entry as Entry, log as log
from service_migrations.monorepo import Monorepo as Monorepo, discover as discover, find as find
from service_migrations.outcome import Outcome as Outcome, Step as Step
from service_migrations.ownership.attribution import Owned as Owned
from service_migrations.ownership.owners import Owners as Owners, owners as owners
from service_migrations.plan.plan import Plan as Plan, plan as plan
from service_migrations.plan.review import PlanFinding as PlanFinding, PlannedRevision as PlannedRevision
from service_migrations.rollout.rollout import upgrade_all as upgrade_all
from service_migrations.rollout.schedule import Event as Event, Result as Result
from service_migrations.rollout.status import Status as Status, status as status
from service_migrations.service import Service as Service
from service_migrations.settings.database import Database as Database
from service_migrations.settings.dsn import Dsn as Dsn
from service_migrations.settings.model import Limits as Limits, Settings as Settings
from service_migrations.settings.setting import Origin as Origin, Setting as Setting
from service_migrations.settings.sources import Sources as Sources
from service_migrations.upgrade.commands import (
    current as current,
    downgrade as downgrade,
    history as history,
    sql as sql,
    stamp as stamp,
    upgrade as upgrade,
)
from service_migrations.upgrade.undo import Undo as Undo, plan_undo as plan_undo, undo as undo
