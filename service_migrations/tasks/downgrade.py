"""db.downgrade, db.stamp and db.alembic, which change the database of one service."""

import sys

from invoke.context import Context

from service_migrations.errors import UsageError
from service_migrations.tasks.plan import reverted_lines
from service_migrations.tasks.support import console
from service_migrations.tasks.support.flags import remainder_words
from service_migrations.tasks.support.options import (
    ALLOW_DESTRUCTIVE,
    LIMITS,
    SQL,
    YES,
    asked_limits,
    refuse_beside_sql,
    with_limits,
)
from service_migrations.tasks.support.outcome_line import describe
from service_migrations.tasks.support.task import SERVICE, exactly_one, run, task

__all__ = ["alembic", "downgrade", "stamp", "undo"]


@task(
    runs_environment=True,
    logs=True,
    iterable=["service", "allow"],
    help={
        "service": SERVICE,
        "revision": "Where to: base, a revision's id or its beginning, or -1 for one step.",
        "allow": ALLOW_DESTRUCTIVE,
        "yes": YES,
        "sql": SQL + " --revision is then a range, from:to.",
        **LIMITS,
    },
)
def downgrade(
    _: Context,
    service: list[str],
    allow: list[str],
    revision: str = "",
    yes: bool = False,
    sql: bool = False,
    lock_wait: str = "",
    lock_timeout: str = "",
    statement_timeout: str = "",
) -> None:
    """Downgrade one service's database; asks first."""
    from service_migrations.plan import plan as planning
    from service_migrations.settings.model import load
    from service_migrations.upgrade import commands

    target_service = exactly_one(service, "downgrade")
    limits = asked_limits(lock_wait, lock_timeout, statement_timeout)
    if not revision:
        raise UsageError(
            "db.downgrade needs --revision.", hint=f"`inv db.history --service {target_service}` lists them."
        )
    if allow:
        from service_migrations.plan import guard

        guard.classes(allow, edited=False)
    if sql:
        refuse_beside_sql(**limits, yes=yes, allow=allow)
        console.result_script(run(commands.sql(target_service, revision, down=True)).rstrip())
        return
    settings = with_limits(load(target_service), limits)
    start = None
    if not yes:
        with console.quietly():
            plan = run(planning.plan(target_service, revision, down=True, settings=settings))
        start = plan.current
        if plan.revisions:
            question = f"Downgrade {target_service} -> {settings.target} to {revision}?"
            _ask(question, reverted_lines(plan.revisions))
    downgrading = commands.downgrade(target_service, revision, allow=allow, start=start, settings=settings)
    console.result(describe(run(downgrading)))


@task(
    logs=True,
    iterable=["service", "allow"],
    help={
        "service": SERVICE,
        "allow": ALLOW_DESTRUCTIVE,
        "yes": YES,
        **LIMITS,
    },
)
def undo(
    _: Context,
    service: list[str],
    allow: list[str],
    yes: bool = False,
    lock_wait: str = "",
    lock_timeout: str = "",
    statement_timeout: str = "",
) -> None:
    """Revert revisions whose files are gone; asks first."""
    from service_migrations.plan import guard
    from service_migrations.settings.model import load
    from service_migrations.upgrade import undo as undoing

    target_service = exactly_one(service, "undo")
    limits = asked_limits(lock_wait, lock_timeout, statement_timeout)
    guard.classes(allow, edited=False)
    settings = with_limits(load(target_service), limits)
    with console.quietly():
        plan = run(undoing.plan_undo(target_service, settings=settings))
    if not yes:
        _ask(f"Downgrade {target_service} -> {settings.target} to {plan.target}?", reverted_lines(plan.revisions))
    console.result(describe(run(undoing.undo(target_service, plan=plan, allow=allow, settings=settings))))


def _ask(question: str, lines: list[str]) -> None:
    if sys.stdin.isatty():
        console.note("These revisions are reverted, in this order:")
        for line in lines:
            console.note(line)
    console.confirm(f"{question} What was added since is dropped.", yes=False)


@task(
    runs_environment=True,
    logs=True,
    iterable=["service"],
    help={
        "service": SERVICE,
        "revision": "What to write: head, base, or a revision's id.",
        "purge": "Empty the version table first, where it names a revision that is gone.",
        "yes": YES,
    },
)
def stamp(_: Context, service: list[str], revision: str = "", purge: bool = False, yes: bool = False) -> None:
    """Write a revision into the version table, running nothing."""
    from service_migrations.settings.model import load
    from service_migrations.upgrade import commands

    target_service = exactly_one(service, "stamp")
    if not revision:
        raise UsageError("db.stamp needs --revision.", hint=f"`inv db.history --service {target_service}` lists them.")
    settings = load(target_service)
    commands.stamped(target_service, revision)  # nobody is asked about what is refused then
    console.confirm(f"Stamp {target_service} -> {settings.target} with {revision}? Nothing is run.", yes=yes)
    console.result(describe(run(commands.stamp(target_service, revision, purge=purge, settings=settings))))


@task(remainder=True, logs=True, iterable=["service"], help={"service": SERVICE})
def alembic(_: Context, service: list[str]) -> None:
    """Run any Alembic command: db.alembic --service S -- current."""
    from service_migrations.authoring.alembic import passthrough

    target_service = exactly_one(service, "alembic")
    output = run(passthrough(target_service, remainder_words()))
    if output:
        console.result(output.rstrip())
