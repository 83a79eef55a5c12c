"""db.adopt and db.baseline: a monorepo that has histories of its own, and what is accepted in it as it is."""

from typing import TYPE_CHECKING

from invoke.context import Context

from service_migrations.errors import DifferenceError, UsageError
from service_migrations.tasks.init import print_written, root_or_folder
from service_migrations.tasks.support import console
from service_migrations.tasks.support.each import each_at_once, fail, report
from service_migrations.tasks.support.options import JSON
from service_migrations.tasks.support.task import SERVICE, SERVICES, exactly_one, selected, task

if TYPE_CHECKING:
    from service_migrations.adoption.plain_service import PlainService
    from service_migrations.adoption.verify import Verified
    from service_migrations.history.baseline import Baseline
    from service_migrations.service import Service
    from service_migrations.settings.model import Settings

__all__ = ["adopt", "baseline"]


@task(
    iterable=["service"],
    help={
        "service": f"With --verify. {SERVICES}",
        "verify": "Find the revision that a database is really at; 3 where its stamp is wrong or differences remain.",
        "write": "Write the table in pyproject.toml, the shared env.py, tasks.py, noxfile.py and head.txt.",
        "json": JSON,
    },
)
def adopt(_: Context, service: list[str], verify: bool = False, write: bool = False, json: bool = False) -> None:
    """Show the histories of plain Alembic below this folder."""
    if verify and write:
        raise UsageError("--verify only reads, and --write writes.", hint="Run the one after the other.")
    if verify:
        _verify(selected(service), json=json)
        return
    if service:
        raise UsageError("--service is for --verify.", hint="Without it, all that is found is shown.")
    _survey(write=write, json=json)


def _survey(*, write: bool, json: bool) -> None:
    from service_migrations.adoption.plain_service import BLOCKED
    from service_migrations.adoption.survey import survey
    from service_migrations.configuration import TABLE
    from service_migrations.pyproject import read_tools

    root = root_or_folder()
    console.note(f"The monorepo is {root}")
    services = survey(root)
    if json:
        console.result_json([service.as_json() for service in services])
    elif not services and TABLE in read_tools(root):
        console.result(
            f"No history is left to adopt: [tool.{TABLE}] has all of them, and `inv db.services` lists them."
        )
    elif not services:
        console.result("There is no alembic.ini, no [tool.alembic] and no env.py of Alembic's here.")
    else:
        for service in services:
            _print(service)
    if write:
        from service_migrations.adoption.writing import write as write_files

        for file in write_files(root, services):
            print_written(file, show=console.note if json else console.result)
    blocked = [service.name for service in services if service.state == BLOCKED]
    if blocked:
        text = f"{len(blocked)} of {len(services)} can't be adopted as they are: {', '.join(blocked)}."
        raise DifferenceError(text, hint="The lines with `blocked` say why.")


def _print(service: "PlainService") -> None:
    console.result(f"{service.name}: {service.state}: {service.summary()}")
    for note in service.notes:
        console.result(f"{service.name}: {note}")


def _verify(services: "tuple[Service, ...]", *, json: bool) -> None:
    from service_migrations.adoption import verify as verifying
    from service_migrations.postgres.local import admin_for
    from service_migrations.settings.model import load_many

    async def find(settings: "Settings") -> "Verified":
        admin = admin_for(settings.dsn, settings.service.root)
        with console.quietly():
            return await verifying.verify(settings.service, settings=settings, admin=admin)

    results, errors = each_at_once(load_many(services), find, (lambda _: None) if json else _print_verified)
    if json:
        console.result_json([verified.as_json() for verified in results.values()])
    for verified in results.values():
        if not verified.is_found:
            errors.append(report(_not_found(verified)))
        elif not verified.is_right:
            text, hint = f"the version table of {verified.target} is wrong.", f"Run: {verified.command}"
            if verified.unknown:
                # what only changes rows is in no catalog
                at = f"{_named(verified.stamped)} the last revision of the files of before"
                hint = f"Was {at}? {hint} Otherwise upgrade it with these files first."
            errors.append(report(DifferenceError(text, service=verified.service, hint=hint)))
        elif verified.differences:
            count = len(verified.differences)
            text = f"{count} difference{'' if count == 1 else 's'} from its history."
            hint = f"Run the SQL, or accept them: inv db.baseline --service {verified.service} --write"
            errors.append(report(DifferenceError(text, service=verified.service, hint=hint)))
    fail(errors, len(services))


def _not_found(verified: "Verified") -> DifferenceError:
    if verified.problem:
        reason = "the history was replayed only in part"
        hint = "Correct the revision that can't be replayed. Until then, leave the version table as it is."
    else:
        reason = f"no file has {_named(verified.stamped)}, and it has none of the states of this history"
        hint = "Upgrade it with the files of before; or, if it was at their head, run the SQL first."
    text = f"the revision of {verified.target} isn't found: {reason}."
    return DifferenceError(text, service=verified.service, hint=hint)


def _print_verified(verified: "Verified") -> None:
    name = verified.service
    stamp = ", ".join(verified.stamped) or "nothing"
    gone = ", which no file has" if verified.unknown else ""
    place = f"is {'at' if verified.is_found else 'nearest to'} {_named(verified.revisions)}"
    console.result(f"{name}: {verified.target} {place}; its version table says {stamp}{gone}")
    if verified.equal:
        others = " and ".join(map(_named, verified.equal))
        console.result(f"{name}: at {others} the schema is the same: look at the rows that these revisions change")
    for difference in verified.differences:
        console.result(f"{name}: {difference}")
    if verified.problem:
        console.result(f"{name}: replayed only in part: {verified.problem}")


def _named(revisions: tuple[str, ...]) -> str:
    return ", ".join(revisions) or "base"


@task(
    iterable=["service"],
    help={
        "service": SERVICE,
        "write": "Write what a gate would refuse today; with --prune, remove what is no longer needed.",
        "prune": "Show what is no longer needed.",
    },
)
def baseline(_: Context, service: list[str], write: bool = False, prune: bool = False) -> None:
    """Show what is accepted as it is, or accept what is there."""
    from service_migrations.history.baseline import read_baseline
    from service_migrations.history.revisions import read

    target_service = exactly_one(service, "baseline")
    if write or prune:
        _of_today(target_service, write=write, prune=prune)
        return
    accepted = read_baseline(target_service)
    _print_baseline(accepted)
    accepted.refuse_unknown(read(target_service))


def _of_today(service: "Service", *, write: bool, prune: bool) -> None:
    from service_migrations.adoption import baseline as recording
    from service_migrations.postgres.local import admin_for
    from service_migrations.settings.model import load
    from service_migrations.tasks.support.task import run

    settings = load(service)
    admin = admin_for(settings.dsn, service.root)
    with console.quietly():
        if not prune:
            _print_baseline(run(recording.record(service, settings=settings, admin=admin)))
            return
        pruned = run(recording.prune(service, write=write, settings=settings, admin=admin))
    for kind, entry in pruned.unneeded:
        console.result(f"{service}: {kind}: {entry}: {'removed' if write else 'no longer needed'}")
    console.result(f"{service}: {pruned.path} keeps {pruned.kept}")


def _print_baseline(accepted: "Baseline") -> None:
    from service_migrations.history.baseline import KINDS, baseline_path

    service = accepted.service
    for kind in KINDS:
        for entry in sorted(accepted.entries.get(kind, ())):
            console.result(f"{service}: {kind}: {entry}")
    path = service.relative(baseline_path(service))
    console.result(f"{service}: {path} accepts {len(accepted)}" if len(accepted) else f"{service}: nothing is accepted")
