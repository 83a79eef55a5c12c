"""The shared Alembic environment of all services, and the library behind the tasks.

An application upgrades itself with ``await migrations.upgrade("billing")``, inside its own event loop.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from migrations.authoring import merge, revision
    from migrations.checking import Check, check
    from migrations.commands import Outcome, current, downgrade, history, sql, stamp, upgrade
    from migrations.discovery import Service, discover, find
    from migrations.drifting import Drift, drift
    from migrations.entries import Entry
    from migrations.errors import MigrationError
    from migrations.fleet import Status, status
    from migrations.holdings import Owners, owners
    from migrations.logbook import log
    from migrations.planning import Plan, plan
    from migrations.rebasing import Rebased, rebase
    from migrations.revisions import History, Revision
    from migrations.rollout import News, Result, upgrade_all
    from migrations.waiting import Answer, wait

__all__ = [
    "Answer",
    "Check",
    "Drift",
    "Entry",
    "History",
    "MigrationError",
    "News",
    "Outcome",
    "Owners",
    "Plan",
    "Rebased",
    "Result",
    "Revision",
    "Service",
    "Status",
    "check",
    "current",
    "discover",
    "downgrade",
    "drift",
    "find",
    "history",
    "log",
    "merge",
    "owners",
    "plan",
    "rebase",
    "revision",
    "sql",
    "stamp",
    "status",
    "upgrade",
    "upgrade_all",
    "wait",
]

_HOMES = {
    "authoring": ("merge", "revision"),
    "checking": ("Check", "check"),
    "commands": ("Outcome", "current", "downgrade", "history", "sql", "stamp", "upgrade"),
    "drifting": ("Drift", "drift"),
    "discovery": ("Service", "discover", "find"),
    "entries": ("Entry",),
    "errors": ("MigrationError",),
    "fleet": ("Status", "status"),
    "holdings": ("Owners", "owners"),
    "logbook": ("log",),
    "planning": ("Plan", "plan"),
    "rebasing": ("Rebased", "rebase"),
    "revisions": ("History", "Revision"),
    "rollout": ("News", "Result", "upgrade_all"),
    "waiting": ("Answer", "wait"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: ``inv --list`` must not pay for Alembic and SQLAlchemy."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"migrations.{module}"), name)
    raise AttributeError(f"module 'migrations' has no attribute {name!r}")
