"""db.compat: whether the code that runs now survives the new revisions."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from invoke.context import Context

from service_migrations.errors import DifferenceError, UsageError
from service_migrations.monorepo import Monorepo
from service_migrations.tasks import console
from service_migrations.tasks.each import each as each_service, fail, report
from service_migrations.tasks.task import SERVICES, selected, service_name, task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service_migrations.compat.compat import Compat
    from service_migrations.errors import MigrationError
    from service_migrations.monorepo import Service

__all__ = ["compat"]


@task(
    iterable=["service"],
    help={
        "service": SERVICES,
        "base": "The commit, branch or tag of the code that runs (where this branch left the team's).",
        "deployed": "Take the commit from the ledger of the service's database.",
        "python": "An interpreter that has the running code's packages.",
        "postgres": "The version of the throw-away server (the oldest that pyproject.toml names).",
        "json": "Print JSON, for another program.",
    },
)
def compat(
    _: Context,
    service: list[str],
    base: str = "",
    deployed: bool = False,
    python: str = "",
    postgres: str = "",
    json: bool = False,
) -> None:
    """Try the running code on the new schema; 3 if it breaks."""
    from service_migrations.compat import compat as trying
    from service_migrations.compat.checkout import checkout, merge_base
    from service_migrations.postgres import VERSIONS
    from service_migrations.postgres.throwaway import throwaway

    if base and deployed:
        raise UsageError("--base and --deployed both name the code that runs.", hint="Leave one out.")
    monorepo, services = Monorepo.locate(), selected(service)
    commits, errors = _deployed(services) if deployed else ({each.name: base for each in services}, [])
    results: dict[str, Compat] = {}
    default = "" if deployed or base else merge_base(monorepo.root)
    version = postgres or min(monorepo.configuration.postgres or VERSIONS, key=int)
    with console.progress() as progress, throwaway(version, progress) as server:
        for name in dict.fromkeys(commits.values()):
            there = [each for each in services if commits.get(each.name) == name]
            with checkout(monorepo.root, name or default) as code, console.quietly():
                found, failed = each_service(there, lambda one: trying.compat(one, code, server, python=python))
            results |= found
            errors += failed
    if json:
        console.result_json([asdict(result) for result in results.values()])
    for result in results.values():
        if not json:
            _print(result)
        if result.breaks:
            count = f"{len(result.breaks)} break{'' if len(result.breaks) == 1 else 's'} the code that runs"
            errors.append(report(DifferenceError(f"{count}. {_FIX}", service=result.service)))
    fail(errors, len(services))


_FIX = "Split the change in two: what the running code needs goes after it is gone."


def _deployed(services: "Sequence[Service]") -> "tuple[dict[str, str], list[MigrationError]]":
    """Return the commit of the last run on each service's database, and the errors of the others."""
    from service_migrations.ledger import entries as ledger
    from service_migrations.settings.model import Settings, load_many

    async def commit(settings: Settings) -> str:
        entries = await ledger.log(settings.service, settings=settings)
        commit = next((entry.git_commit for entry in entries), None)
        if commit is None:
            raise UsageError(
                "its ledger has no commit, so the code that runs isn't known.",
                service=settings.service,
                hint="Name it with --base.",
            )
        return commit

    return each_service(load_many(services), commit, service_name)


def _print(result: "Compat") -> None:
    name, commit = result.service, result.commit[:12]
    if not result.revisions:
        console.result(f"{name}: the code of {commit} knows every revision")
        return
    for table, why in result.untried.items():
        console.note(f"{name}: {table}: not all was tried, as no row could be made: {why}")
    for one in result.breaks:
        console.result(f"{name}: {one}")
    if not result.breaks:
        count = len(result.revisions)
        revisions = f"{count} new revision{'' if count == 1 else 's'}"
        console.result(f"{name}: all {result.tried} statements of {commit} that were tried work after {revisions}")
