"""db.check: the gate of a pipeline and of a commit."""

from typing import TYPE_CHECKING

from invoke.context import Context

from service_migrations.errors import DifferenceError
from service_migrations.tasks import console
from service_migrations.tasks.affected import BASE, narrowed
from service_migrations.tasks.annotations import annotate
from service_migrations.tasks.each import each, fail
from service_migrations.tasks.task import SERVICES, selected, service_name, task

if TYPE_CHECKING:
    from service_migrations.authoring.check import Check

__all__ = ["check"]


@task(
    iterable=["service"],
    help={
        "service": SERVICES,
        "affected": "Only the services that differ from --base, as db.affected lists them.",
        "base": BASE,
        "json": "Print JSON, for another program.",
    },
)
def check(_: Context, service: list[str], affected: bool = False, base: str = "", json: bool = False) -> None:
    """Compare models with databases; exit code 3 if they differ."""
    chosen = narrowed(selected(service), base=base, only_affected=affected)
    if not chosen:
        console.result("[]" if json else "nothing to check: no service is affected")
        return
    from service_migrations.authoring import check as checking
    from service_migrations.settings.model import Settings, load_many

    async def compare(settings: Settings) -> checking.Check:
        return await checking.check(settings.service, settings=settings)

    found, errors = each(load_many(chosen), compare, service_name)
    if json:
        console.result_json([_plain(one) for one in found.values()])
    else:
        for one in found.values():
            for line in (*one.differences, *one.findings):
                console.result(f"{one.service}: {line}")
            if not one.differences and not one.findings:
                console.result(f"{one.service}: no difference between the models and {one.target}")
        annotate(found.values(), errors)
    different = [
        DifferenceError(
            f"{_count(one.differences)}.", service=name, hint=f"`inv db.revision --service {name}` writes them down."
        )
        for name, one in found.items()
        if one.differences
    ]
    different += [
        DifferenceError(f"{_count(one.findings, 'finding')} beside the differences.", service=name)
        for name, one in found.items()
        if one.findings
    ]
    for error in different:
        console.note(str(error))
    fail([*errors, *different], len(chosen))


def _plain(found: "Check") -> dict[str, object]:
    return {
        "service": found.service,
        "target": found.target,
        "differences": found.differences,
        "findings": found.findings,
        "problems": [problem.as_json() for problem in found.problems],
    }


def _count(lines: tuple[str, ...], noun: str = "difference") -> str:
    return f"1 {noun}" if len(lines) == 1 else f"{len(lines)} {noun}s"
