"""db.upgrade, db.downgrade, db.stamp, db.alembic: what runs a service's history."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit

from migrations.cli import console
from migrations.cli.task import SERVICE, SERVICES, SIGNALS, duration, exactly_one, run, selected, task
from migrations.errors import MigrationError, UsageError, gravest

if TYPE_CHECKING:
    from migrations.commands import Outcome
    from migrations.discovery import Service
    from migrations.settings import Limits

__all__ = ["alembic", "downgrade", "stamp", "upgrade"]

_SQL = "Print the SQL instead of running it; no database is connected to."
_YES = "Don't ask."
_LIMITS = {
    "lock_wait": "How long to wait for the migration lock (60s); 0 fails at once.",
    "lock_timeout": "The longest wait of a statement for a lock on a table (5s); the first tries are shorter.",
    "statement_timeout": "How long one statement may run (0, without limit).",
}


@task(
    iterable=["service", "allow"],
    help={
        "service": SERVICES,
        "allow": "Allow destructive revisions where the target isn't local, or edited files; may be repeated.",
        "revision": "Where to: head, a revision's id or its beginning, or +1 for one step.",
        "sql": _SQL,
        **_LIMITS,
    },
)
def upgrade(
    _: Context,
    service: list[str],
    allow: list[str],
    revision: str = "head",
    sql: bool = False,
    lock_wait: str = "",
    lock_timeout: str = "",
    statement_timeout: str = "",
) -> None:
    """Upgrade the databases of services to head or a revision."""
    from migrations import commands, guard, settings

    services = selected(service)
    guard.classes(allow)
    asked = _asked(lock_wait, lock_timeout, statement_timeout)
    if sql:
        for chosen in services:
            console.result(run(commands.sql(chosen, revision)).rstrip())
        return
    if revision != "head" and len(services) > 1:
        raise UsageError(f"--revision {revision} is of one service's history. Name that one with --service.")
    settings.load_many(services)
    errors: list[MigrationError] = []
    for chosen in services:
        try:
            console.result(_said(run(commands.upgrade(chosen, revision, limits=_limits(chosen, asked), allow=allow))))
        except MigrationError as error:
            if len(services) == 1 or error.exit_code > SIGNALS:
                raise
            console.note(str(error))
            errors.append(error)
    if errors:
        raise Exit(f"{len(errors)} of {len(services)} services failed.", code=gravest(errors))


@task(
    iterable=["service"],
    help={
        "service": SERVICE,
        "revision": "Where to: base, a revision's id or its beginning, or -1 for one step.",
        "yes": _YES,
        "sql": _SQL + " --revision is then a range, from:to.",
        **_LIMITS,
    },
)
def downgrade(
    _: Context,
    service: list[str],
    revision: str = "",
    yes: bool = False,
    sql: bool = False,
    lock_wait: str = "",
    lock_timeout: str = "",
    statement_timeout: str = "",
) -> None:
    """Downgrade one service's database; asks first."""
    from migrations import commands, settings

    chosen = exactly_one(service, "downgrade")
    asked = _asked(lock_wait, lock_timeout, statement_timeout)
    if not revision:
        raise UsageError(f"db.downgrade needs --revision. `inv db.history --service {chosen}` lists them.")
    if sql:
        console.result(run(commands.sql(chosen, revision, down=True)).rstrip())
        return
    target = settings.load(chosen).target
    console.confirm(f"Downgrade {chosen} -> {target} to {revision}? What was added since is dropped.", yes=yes)
    console.result(_said(run(commands.downgrade(chosen, revision, limits=_limits(chosen, asked)))))


@task(
    iterable=["service"],
    help={
        "service": SERVICE,
        "revision": "What to write: head, base, or a revision's id.",
        "purge": "Empty the version table first, where it names a revision that is gone.",
        "yes": _YES,
    },
)
def stamp(_: Context, service: list[str], revision: str = "", purge: bool = False, yes: bool = False) -> None:
    """Write a revision into the version table, running nothing."""
    from migrations import commands, settings

    chosen = exactly_one(service, "stamp")
    if not revision:
        raise UsageError(f"db.stamp needs --revision. `inv db.history --service {chosen}` lists them.")
    target = settings.load(chosen).target
    console.confirm(f"Stamp {chosen} -> {target} with {revision}? Nothing is run.", yes=yes)
    console.result(_said(run(commands.stamp(chosen, revision, purge=purge))))


@task(iterable=["service"], help={"service": SERVICE})
def alembic(context: Context, service: list[str]) -> None:
    """Run any Alembic command: db.alembic --service S -- current."""
    from migrations.passthrough import passthrough

    chosen = exactly_one(service, "alembic")
    # Invoke joins the remainder with spaces, and so loses its quotes
    words = sys.argv[sys.argv.index("--") + 1 :] if context.remainder and "--" in sys.argv else []
    output = run(passthrough(chosen, words))
    if output:
        console.result(output.rstrip())


def _asked(lock_wait: str, lock_timeout: str, statement_timeout: str) -> dict[str, float]:
    """Return the limits that this call asks for, in seconds."""
    asked = {"lock_wait": lock_wait, "lock_timeout": lock_timeout, "statement_timeout": statement_timeout}
    return {
        name: duration(text, f"--{name.replace('_', '-')}", zero=name != "lock_timeout")
        for name, text in asked.items()
        if text
    }


def _limits(service: "Service", asked: dict[str, float]) -> "Limits":
    from migrations import settings

    return replace(settings.limits(service), **asked)


def _said(outcome: "Outcome") -> str:
    before, after = (", ".join(revisions) or "base" for revisions in (outcome.before, outcome.after))
    if outcome.before == outcome.after and not outcome.applied:
        return f"{outcome.service}: nothing to do, {outcome.target} is at {after}"
    count = f"{len(outcome.applied)} {'revision' if len(outcome.applied) == 1 else 'revisions'}"
    return f"{outcome.service}: {outcome.target} went from {before} to {after} ({count}, {outcome.seconds:.2f} s)"
