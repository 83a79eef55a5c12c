"""db.released: what was released against what is there now, for a pipeline."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from invoke.context import Context

from service_migrations.errors import DifferenceError, UsageError
from service_migrations.monorepo import Monorepo, Service, select
from service_migrations.tasks.support import console
from service_migrations.tasks.support.each import fail, report
from service_migrations.tasks.support.options import JSON
from service_migrations.tasks.support.task import SERVICES, run, selected, task

if TYPE_CHECKING:
    from service_migrations.review.released import Released, ReleasedHistory

__all__ = ["released"]

_TAGS = "v*"
_FIX = (
    "Undo it, and write a new revision; or give the reason in a commit, on a line of its own: "
    "`Migration-Edit: <revision> <reason>`."
)


@task(
    settings=False,
    iterable=["service"],
    help={
        "service": SERVICES,
        "since": "What was released: a tag, branch or commit (the newest tag below HEAD that --tags matches).",
        "tags": f"A pattern of tags ({_TAGS}).",
        "upgrade": "Upgrade a database of each tag, and compare it with a fresh one, on a throw-away server.",
        "json": JSON,
    },
)
def released(
    _: Context, service: list[str], since: str = "", tags: str = _TAGS, upgrade: bool = False, json: bool = False
) -> None:
    """Find released revisions that were changed; exit code 3."""
    from service_migrations.git import is_shallow
    from service_migrations.review import released as review

    if since and tags != _TAGS:
        raise UsageError("--since and --tags both say what was released.", hint="Leave one out.")
    services = selected(service)
    root = services[0].root
    if upgrade:
        matching = (since,) if since else review.tags(root, tags)
        if not since and (not matching or is_shallow(root)):
            console.note(f"{len(matching) or 'No'} tags match {tags!r}. {_FETCH}")
        _upgrade(services, matching, json=json)
        return
    since = since or review.newest_tag(root, tags) or ""
    if not since:
        console.note(f"No tag below HEAD matches {tags!r}. {_FETCH}")
        console.result("[]" if json else "nothing to compare: nothing was released")
        return
    are_all = not service and (len(services) > 1 or services == select([]))  # else it is the service of this folder
    result = review.released(services, since, are_all=are_all)
    if json:
        console.result_json([_plain(result, history) for history in result.histories])
    else:
        for history in result.histories:
            _print(result.since, history)
    errors = [
        report(
            DifferenceError(
                f"{_count(len(history.faults), 'change')} of what was released.", service=history.service, hint=_FIX
            )
        )
        for history in result.histories
        if history.faults
    ]
    fail(errors, len(services))


_FETCH = "A clone in CI may need: git fetch --unshallow --tags"


def _upgrade(services: Sequence[Service], tags: Sequence[str], *, json: bool) -> None:
    from service_migrations.postgres import VERSIONS, throwaway
    from service_migrations.review.upgrades import Upgraded, upgrades
    from service_migrations.settings.siblings import declared_groups

    results: list[Upgraded] = []
    if tags:
        version = max(Monorepo.locate().configuration.postgres or VERSIONS, key=int)
        with console.progress() as progress, throwaway(version, progress) as server, console.quietly():
            for group in declared_groups(services):
                results += run(upgrades(group, tags, server))
    if json:
        console.result_json([asdict(result) for result in results])
    elif not results:
        console.result("nothing to upgrade: nothing was released")
    for result in results:
        names = ", ".join(result.services)
        for problem in result.problems if not json else ():
            console.result(f"{names}: {result.tag}: {problem}")
        if not json and not result.problems:
            count = _count(result.revisions, "revision")
            console.result(f"{names}: {result.tag}: {count}, and an upgrade gives the catalog of a fresh database")
    errors = [
        report(DifferenceError(f"{', '.join(result.services)}: a database of {result.tag} doesn't become a fresh one."))
        for result in results
        if result.problems
    ]
    fail(errors, 1)  # each has been printed


def _print(since: str, history: "ReleasedHistory") -> None:
    for change in history.changes:
        console.result(f"{history.service}: {change}")
    if not history.revisions:
        console.result(f"{history.service}: nothing to compare: {since} has no revision of it")
    elif not history.changes:
        console.result(f"{history.service}: {_count(history.revisions, 'revision')} as at {since}")


def _plain(result: "Released", history: "ReleasedHistory") -> dict[str, object]:
    return {
        "service": history.service,
        "since": result.since,
        "commit": result.commit,
        "revisions": history.revisions,
        "changes": [
            {
                "kind": change.kind,
                "revision": change.revision,
                "path": change.path,
                "text": change.text,
                "is_fault": change.is_fault,
                "reason": change.reason or None,
                "reason_commit": change.commit or None,
            }
            for change in history.changes
        ],
    }


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"
