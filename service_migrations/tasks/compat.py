"""db.compat: whether the code that runs now survives the new revisions."""

import os
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from invoke.context import Context

from service_migrations.errors import DifferenceError, UsageError
from service_migrations.monorepo import Monorepo
from service_migrations.tasks.support import console
from service_migrations.tasks.support.each import each as each_service, fail, report
from service_migrations.tasks.support.options import JSON
from service_migrations.tasks.support.task import SERVICES, selected, service_name, task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from service_migrations.compat.breaks import Compat
    from service_migrations.compat.checkout import Checkout
    from service_migrations.errors import MigrationError
    from service_migrations.monorepo import Service

__all__ = ["compat"]


@task(
    iterable=["service"],
    help={
        "service": SERVICES,
        "base": "The commit, branch or tag of the code that runs (where this branch left the team's).",
        "deployed": "Take the commit from the ledger of the service's database.",
        "new-code": "Try the code of this checkout on the old schema instead, for code that is deployed before it.",
        "command": "The team's own tries of one service, such as 'pytest tests/billing', run in the code's checkout.",
        "python": "An interpreter that has the packages of the code that is tried.",
        "postgres": "The version of the throw-away server (the oldest that pyproject.toml names).",
        "write": "Write what breaks beside the measurements, for the plan and for the upgrade to refuse it.",
        "json": JSON,
    },
)
def compat(
    _: Context,
    service: list[str],
    base: str = "",
    deployed: bool = False,
    new_code: bool = False,
    command: str = "",
    python: str = "",
    postgres: str = "",
    write: bool = False,
    json: bool = False,
) -> None:
    """Try the running code on the new schema; 3 if it breaks."""
    from service_migrations.compat import compat as trying
    from service_migrations.compat.checkout import checkout
    from service_migrations.compat.command import Command
    from service_migrations.postgres import VERSIONS
    from service_migrations.postgres.throwaway import throwaway

    monorepo, services = Monorepo.locate(), selected(service)
    _refuse_both({"--base": base, "--deployed": deployed}, "both name the code that runs")
    _refuse_both({"--write": write, "--new-code": new_code}, "don't go together: the new code doesn't run yet")
    if command and len(services) > 1:
        raise UsageError("--command is of one service.", hint="Name that one with --service.")
    own = Command(command) if command else None
    # the code that is tried has a folder of its own, where a path of this one leads nowhere
    python = os.path.abspath(python) if os.sep in python else python  # noqa: PTH100 - a link is the interpreter of an environment
    try_code = trying.compat_of_new_code if new_code else trying.compat
    commits, errors = _deployed(services) if deployed else (_given(monorepo.root, services, base), [])
    results: dict[str, Compat] = {}
    version = postgres or min(monorepo.configuration.postgres or VERSIONS, key=int)
    with console.progress() as progress, throwaway(version, progress) as server:
        for running in dict.fromkeys(commits.values()):
            there = [each for each in services if commits.get(each.name) == running]
            with checkout(monorepo.root, running) as code, console.quietly():
                interpreter = _interpreter(monorepo.root, code, python, new_code=new_code)
                results_of_code, failed = each_service(
                    there, partial(try_code, code=code, server=server, python=interpreter, command=own)
                )
            results |= results_of_code
            errors += failed
    if json:
        console.result_json([asdict(result) for result in results.values()])
    for result in results.values():
        if not json:
            _print(result)
        if write:
            _write(monorepo, result)
        if result.breaks:
            count = f"{len(result.breaks)} break{'' if len(result.breaks) == 1 else 's'} the code that runs. {_FIX}"
            if new_code:
                count = f"the new code doesn't work before {result.revisions[-1]}. {_FIX_OF_NEW_CODE}"
            errors.append(report(DifferenceError(count, service=result.service)))
    fail(errors, len(services))


_FIX = "Split the change in two: what the running code needs goes after it is gone."
_FIX_OF_NEW_CODE = "Upgrade the database before this code is deployed."


def _refuse_both(options: "Mapping[str, object]", why: str) -> None:
    """Refuse two options together.

    Raises:
        UsageError: both are given.

    """
    if all(options.values()):
        raise UsageError(f"{' and '.join(options)} {why}.", hint="Leave one out.")


def _write(monorepo: Monorepo, result: "Compat") -> None:
    """Write the file of each new revision that breaks something, and remove those of the others."""
    from service_migrations.history.revisions import read
    from service_migrations.plan.committed_breaks import write_breaks

    service = monorepo.find(result.service)
    history = read(service)
    for revision in result.revisions:
        path = service.relative(history.path(revision) or service.root)
        breaks = [broken.text for broken in result.breaks if broken.revision == revision]
        if file := write_breaks(service, revision, path, result.commit, breaks):
            console.note(f"{'wrote' if breaks else 'removed'} {service.relative(file)}")


def _interpreter(root: "Path", code: "Checkout", python: str, *, new_code: bool) -> "Callable[[Service], str]":
    """Return what returns the interpreter of a service: the given one, or one with the packages of the code."""
    from service_migrations.compat.environments import Environments

    return (lambda _: python) if python or new_code else Environments(root, code, console.note).python


def _given(root: "Path", services: "Sequence[Service]", base: str) -> dict[str, str]:
    """Return the commit of *base* for each service; by default, where this branch left the team's."""
    from service_migrations.compat.checkout import parting_commit
    from service_migrations.git import commit_id

    commit = commit_id(root, base, "--base") if base else parting_commit(root)
    return dict.fromkeys((each.name for each in services), commit)


def _deployed(services: "Sequence[Service]") -> "tuple[dict[str, str], list[MigrationError]]":
    """Return the commit of the last run on each service's database, and the errors of the others."""
    from service_migrations.git import commit_id
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
        try:
            return commit_id(settings.service.root, commit, "the commit of its ledger,")
        except UsageError as error:
            raise error.of(settings.service).with_hint("Or name one with --base.") from None

    return each_service(load_many(services), commit, service_name)


def _print(result: "Compat") -> None:
    name, commit = result.service, result.commit[:12]
    if result.is_new_service:
        console.result(f"{name}: {commit} has no such service, so nothing of it can break")
        return
    if not result.revisions:
        console.result(f"{name}: the code of {commit} knows every revision")
        return
    for table, why in result.untried.items():
        console.note(f"{name}: {table}: not all was tried, as no row could be made: {why}")
    for broken in result.breaks:
        console.result(f"{name}: {broken}")
    if not result.breaks:
        count = len(result.revisions)
        revisions = f"{count} new revision{'' if count == 1 else 's'}"
        code = f"the new code that were tried work before {revisions} too" if result.is_new_code else ""
        code = code or f"{commit} that were tried work after {revisions}"
        console.result(f"{name}: all {result.tried} statements of {code}")
