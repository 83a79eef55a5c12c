"""db.revision, db.merge and db.rebase, which write a revision file."""

import sys
from typing import TYPE_CHECKING

from invoke.context import Context

from service_migrations.errors import UsageError
from service_migrations.tasks.support import console
from service_migrations.tasks.support.task import SERVICE, exactly_one, run, task

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from service_migrations.authoring.place import Place
    from service_migrations.autogenerate.changes.renames import Rename
    from service_migrations.history.revision import Revision
    from service_migrations.monorepo import Service
    from service_migrations.settings.model import Settings

__all__ = ["merge", "rebase", "revision"]


@task(
    runs_environment=True,
    iterable=["service", "rename", "depends_on"],
    help={
        "service": SERVICE,
        "message": "What the revision does; it becomes the file's name.",
        "empty": "Write a blank revision, without comparing; no database is connected to.",
        "rename": "A renamed table, column or enum type, as old:new or things.old:things.new; may be repeated.",
        "head": "What it follows: a branch, as label or label@head, an id, or base for a new branch.",
        "splice": "Let it follow a revision that another one follows already.",
        "branch_label": "A label for the branch that it begins.",
        "depends_on": "An id or branch that has to be applied before it; may be repeated.",
        "version_path": "The folder of the file, where the service has several.",
    },
)
def revision(
    _: Context,
    service: list[str],
    rename: list[str],
    depends_on: list[str],
    message: str = "",
    empty: bool = False,
    head: str = "",
    splice: bool = False,
    branch_label: str = "",
    version_path: str = "",
) -> None:
    """Write a revision: the difference of models and database."""
    from service_migrations.authoring.place import Place

    target_service = exactly_one(service, "revision")
    if not message:
        raise UsageError(f'db.revision needs -m: inv db.revision --service {target_service} -m "add invoices".')
    place = Place(head or None, splice, branch_label or None, tuple(depends_on), version_path or None)
    if empty and not rename:
        from service_migrations.authoring.blank import blank

        written = run(blank(target_service, message, place=place))
    else:
        written = run(_compared(target_service, message, rename, place, empty=empty))
    if written is None:
        console.result(f"{target_service}: nothing changed, so nothing was written")
        return
    console.result(written.path)
    console.note(f"Read it before you commit it, then run: inv db.upgrade --service {target_service}")


def _compared(
    service: "Service", message: str, renames: list[str], place: "Place", *, empty: bool
) -> "Coroutine[Any, Any, Revision | None]":
    """Return the writing of a revision by a comparison, after a question for each possible rename."""
    from service_migrations.authoring import revision as authoring
    from service_migrations.settings.model import load

    settings = None
    if not empty and sys.stdin.isatty():
        settings = load(service)
        renames = [*renames, *_asked_renames(settings, renames, place)]
    return authoring.revision(service, message, empty=empty, renames=renames, place=place, settings=settings)


def _asked_renames(settings: "Settings", known: list[str], place: "Place") -> list[str]:
    """Ask of each possible rename whether it is one, and return those that are.

    The columns of a renamed table are compared again, since some may have been renamed too.
    """
    from service_migrations.authoring import revision as authoring

    asked: set[Rename] = set()
    renames: list[str] = []
    while True:
        comparing = authoring.possible_renames(settings.service, [*known, *renames], place=place, settings=settings)
        possible = run(comparing)
        confirmed: list[Rename] = []
        for candidate in possible:
            if candidate not in asked and all(candidate.is_beside(other) for other in confirmed):
                asked.add(candidate)
                if console.ask(candidate.question):
                    confirmed.append(candidate)
        if not confirmed:
            return renames
        renames += [candidate.option for candidate in confirmed]


@task(iterable=["service"], help={"service": SERVICE, "message": "What is merged; it becomes the file's name."})
def merge(_: Context, service: list[str], message: str = "merge heads") -> None:
    """Write a revision that joins two heads of one service."""
    from service_migrations.authoring import revision as authoring

    console.result(run(authoring.merge(exactly_one(service, "merge"), message)).path)


@task(
    iterable=["service"],
    help={
        "service": SERVICE,
        "base": "The commit whose revisions are theirs (origin/HEAD, origin/main, main or so).",
        "onto": "Their head, where git doesn't know it.",
        "revision": "A revision of yours, where git doesn't know it.",
    },
)
def rebase(_: Context, service: list[str], base: str = "", onto: str = "", revision: str = "") -> None:
    """Put my revisions on top of theirs, where there are two heads."""
    from service_migrations.authoring import rebase as rebasing

    owner = exactly_one(service, "rebase")
    rebased = run(rebasing.rebase(owner, base=base or None, onto=onto or None, revision=revision or None))
    if not rebased.moved:
        console.result(f"{owner}: nothing to do, the files end at {rebased.onto or 'base'}")
        return
    for moved in (rebased, *rebased.others):
        console.result(
            f"{owner}: {', '.join(moved.moved)} on top of {moved.onto}, no longer of {moved.before or 'base'}"
        )
        console.result(moved.path)
    if rebased.unasked:
        console.note(f"{owner}: whether its database has them already wasn't asked: {rebased.unasked}")
    if rebased.remaining:
        heads = f"{len(rebased.remaining)} heads remain: {', '.join(rebased.remaining)}"
        console.note(f"{owner}: {heads}. Run: inv db.rebase --service {owner}")
        return
    folders = " ".join(owner.relative(location) for location in owner.version_locations)
    console.note(f"Read it, then: git add {folders}")
