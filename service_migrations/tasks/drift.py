"""db.drift: the changes in a database that its history doesn't have."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from invoke.context import Context

from service_migrations.errors import DifferenceError
from service_migrations.tasks.support import console
from service_migrations.tasks.support.accepted import print_accepted
from service_migrations.tasks.support.each import each_at_once, fail, report
from service_migrations.tasks.support.options import JSON
from service_migrations.tasks.support.task import SERVICES, selected, task

if TYPE_CHECKING:
    from service_migrations.drift.drift import Drift

__all__ = ["drift"]


@task(
    runs_environment=True,
    iterable=["service"],
    help={
        "service": SERVICES,
        "grants": "Compare owners and privileges, too.",
        "json": JSON,
    },
)
def drift(_: Context, service: list[str], grants: bool = False, json: bool = False) -> None:
    """Compare databases with replayed histories; 3 if they differ."""
    from service_migrations.drift import drift as drifting
    from service_migrations.postgres.local import admin_for
    from service_migrations.settings.model import Settings, load_many

    async def compare(settings: Settings) -> "Drift":
        admin = admin_for(settings.dsn, settings.service.root)
        with console.quietly():
            return await drifting.drift(settings.service, grants=grants, settings=settings, admin=admin)

    services = selected(service)
    results, errors = each_at_once(load_many(services), compare, (lambda _: None) if json else _print)
    if json:
        console.result_json([{**asdict(result), "revisions": list(result.revisions)} for result in results.values()])
    for result in results.values():
        if result.pending:
            console.note(_behind(result))
        if result.differences:
            errors.append(report(DifferenceError(f"{_count(result)}. {_FIX}", service=result.service)))
    fail(errors, len(services))


_FIX = "Run the SQL, or write a revision for what is to stay."


def _print(result: "Drift") -> None:
    for difference in result.differences:
        console.result(f"{result.service}: {difference}")
    if not result.differences:
        console.result(f"{result.service}: {result.target} is as its history says")
    print_accepted(result.service, result.accepted)


def _behind(result: "Drift") -> str:
    current = ", ".join(result.revisions) or "base"
    return (
        f"{result.service}: {result.target} is behind head by {result.pending}; "
        f"it was compared at its revision, {current}."
    )


def _count(result: "Drift") -> str:
    return f"{len(result.differences)} difference{'' if len(result.differences) == 1 else 's'}"
