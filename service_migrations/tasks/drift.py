"""db.drift: what was changed in a database past its history."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit

from service_migrations.errors import DifferenceError, MigrationError, gravest
from service_migrations.tasks import console
from service_migrations.tasks.task import SERVICES, SIGNALS, run, selected, task

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
    from service_migrations.settings import model

    chosen = selected(service)
    model.load_many(chosen)
    found: list[Drift] = []
    errors: list[MigrationError] = []
    for one in chosen:
        try:
            with console.quietly():
                found.append(run(drifting.drift(one, grants=grants)))
        except MigrationError as error:
            if error.exit_code > SIGNALS:
                raise
            console.note(str(error))
            errors.append(error)
            continue
        if not json:
            _tell(found[-1])
    if json:
        console.result_json([{**asdict(one), "revisions": list(one.revisions)} for one in found])
    for told in found:
        if told.pending:
            console.note(_behind(told))
        if told.differences:
            errors.append(DifferenceError(f"{told.service}: {_count(told)}. {_MEND}"))
            console.note(str(errors[-1]))
    if errors:
        raise Exit("" if len(chosen) == 1 else f"{len(errors)} of {len(chosen)} services need a look.",
                   code=gravest(errors))  # fmt: skip


_MEND = "Run the SQL, or write a revision for what is to stay."


def _tell(found: "Drift") -> None:
    for one in found.differences:
        console.result(f"{found.service}: {one}")
    if not found.differences:
        console.result(f"{found.service}: {found.target} is as its history says")


def _behind(found: "Drift") -> str:
    at = ", ".join(found.revisions) or "base"
    return f"{found.service}: {found.target} is behind head by {found.pending}; it was compared at its revision, {at}."


def _count(found: "Drift") -> str:
    return f"{len(found.differences)} difference{'' if len(found.differences) == 1 else 's'}"
