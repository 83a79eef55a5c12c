"""db.affected, and the options of other tasks that select a part of the services."""

import json as json_module
from collections.abc import Sequence
from typing import TYPE_CHECKING

from invoke.context import Context

from service_migrations.errors import UsageError
from service_migrations.tasks.support import console
from service_migrations.tasks.support.task import SERVICES, selected, task

if TYPE_CHECKING:
    from service_migrations.monorepo import Service

__all__ = ["AFFECTED", "BASE", "affected", "narrowed"]

AFFECTED = "Only the services that differ from --base, as db.affected lists them."
BASE = "What to compare with: a commit, branch or tag (origin/HEAD, origin/main, main or so)."


@task(
    iterable=["service"],
    help={"service": SERVICES, "base": BASE, "json": "Print one line of JSON, for the matrix of a pipeline."},
)
def affected(_: Context, service: list[str], base: str = "", json: bool = False) -> None:
    """List the services that a change since --base affects."""
    names = [affected_service.name for affected_service in narrowed(selected(service), base=base, only_affected=True)]
    if json:
        console.result(json_module.dumps(names))
    else:
        for name in names:
            console.result(name)


def narrowed(
    services: "Sequence[Service]",
    *,
    base: str = "",
    only_affected: bool = False,
) -> "tuple[Service, ...]":
    """Return the services that are affected; there may be none."""
    if base and not only_affected:
        raise UsageError("--base says what --affected compares with.", hint="Add --affected.")
    narrowed_services = tuple(services)
    if only_affected and services:
        from service_migrations.rollout.affected import affected as affected_by, default_base

        if not base:
            base = default_base(services[0].root)
            console.note(f"Compared with {base}; --base names another.")
        narrowed_services = affected_by(narrowed_services, base)
    return narrowed_services
