"""db.drift: what was changed in a database past its history."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from invoke.context import Context

from service_migrations.errors import DifferenceError
from service_migrations.tasks import console
from service_migrations.tasks.each import each, fail, report
from service_migrations.tasks.task import SERVICES, selected, service_name, task

if TYPE_CHECKING:
    from service_migrations.drift.drift import Drift

__all__ = ["drift"]


@task(
    iterable=["service"],
    help={
        "service": SERVICES,
        "grants": "Compare owners and privileges, too.",
        "json": "Print JSON, for another program.",
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
            found = await drifting.drift(settings.service, grants=grants, settings=settings, admin=admin)
        if not json:
            _print(found)
        return found

    chosen = selected(service)
    results, errors = each(load_many(chosen), compare, service_name)
    if json:
        console.result_json([{**asdict(found), "revisions": list(found.revisions)} for found in results.values()])
    for found in results.values():
        if found.pending:
            console.note(_behind(found))
        if found.differences:
            errors.append(report(DifferenceError(f"{_count(found)}. {_FIX}", service=found.service)))
    fail(errors, len(chosen))


_FIX = "Run the SQL, or write a revision for what is to stay."


def _print(found: "Drift") -> None:
    for one in found.differences:
        console.result(f"{found.service}: {one}")
    if not found.differences:
        console.result(f"{found.service}: {found.target} is as its history says")


def _behind(found: "Drift") -> str:
    at = ", ".join(found.revisions) or "base"
    return f"{found.service}: {found.target} is behind head by {found.pending}; it was compared at its revision, {at}."


def _count(found: "Drift") -> str:
    return f"{len(found.differences)} difference{'' if len(found.differences) == 1 else 's'}"
