"""db.check: the comparison of models and databases, for a pipeline or a commit."""

from typing import TYPE_CHECKING

from invoke.context import Context

from service_migrations.errors import DifferenceError
from service_migrations.tasks.affected import AFFECTED, BASE, narrowed
from service_migrations.tasks.support import console
from service_migrations.tasks.support.accepted import print_accepted
from service_migrations.tasks.support.annotations import annotate
from service_migrations.tasks.support.each import each_at_once, fail
from service_migrations.tasks.support.options import JSON
from service_migrations.tasks.support.task import SERVICES, selected, task

if TYPE_CHECKING:
    from service_migrations.authoring.check import Check

__all__ = ["check"]


@task(
    runs_environment=True,
    iterable=["service"],
    help={
        "service": SERVICES,
        "affected": AFFECTED,
        "base": BASE,
        "json": JSON,
    },
)
def check(_: Context, service: list[str], affected: bool = False, base: str = "", json: bool = False) -> None:
    """Compare models with databases; exit code 3 if they differ."""
    services = narrowed(selected(service), base=base, only_affected=affected)
    if not services:
        console.result("[]" if json else "nothing to check: no service is affected")
        return
    from service_migrations.authoring import check as checking
    from service_migrations.settings.model import Settings, load_many

    async def compare(settings: Settings) -> checking.Check:
        return await checking.check(settings.service, settings=settings)

    checks, errors = each_at_once(load_many(services), compare)
    if json:
        console.result_json([_plain(checked) for checked in checks.values()])
    else:
        for checked in checks.values():
            for line in (*checked.differences, *checked.findings):
                console.result(f"{checked.service}: {line}")
            if not checked.differences and not checked.findings:
                console.result(f"{checked.service}: no difference between the models and {checked.target}")
            print_accepted(checked.service, checked.accepted)
        annotate(checks.values(), errors)
    different = [
        DifferenceError(
            f"{_count(checked.differences)}.",
            service=name,
            hint=f"`inv db.revision --service {name}` writes them down.",
        )
        for name, checked in checks.items()
        if checked.differences
    ]
    different += [
        DifferenceError(f"{_count(checked.findings, 'finding')} beside the differences.", service=name)
        for name, checked in checks.items()
        if checked.findings
    ]
    uncompared = [error for checked in checks.values() for error in checked.uncompared]
    for error in (*uncompared, *different):
        console.print_error(error)
    fail([*errors, *uncompared, *different], len(services))


def _plain(checked: "Check") -> dict[str, object]:
    return {
        "service": checked.service,
        "target": checked.target,
        "differences": checked.differences,
        "findings": checked.findings,
        "problems": [problem.as_json() for problem in checked.problems],
        "accepted": checked.accepted,
        "uncompared": [error.as_json() for error in checked.uncompared],
    }


def _count(lines: tuple[str, ...], noun: str = "difference") -> str:
    return f"1 {noun}" if len(lines) == 1 else f"{len(lines)} {noun}s"
