"""db.revision, db.merge and db.rebase, which write a revision file."""

from invoke.context import Context

from service_migrations.errors import UsageError
from service_migrations.tasks import console
from service_migrations.tasks.task import SERVICE, exactly_one, run, task

__all__ = ["merge", "rebase", "revision"]


@task(
    iterable=["service"],
    help={
        "service": SERVICE,
        "message": "What the revision does; it becomes the file's name.",
        "empty": "Write a blank revision, without comparing; no database is connected to.",
    },
)
def revision(_: Context, service: list[str], message: str = "", empty: bool = False) -> None:
    """Write a revision: the difference of models and database."""
    from service_migrations.authoring import revision as authoring

    target_service = exactly_one(service, "revision")
    if not message:
        raise UsageError(f'db.revision needs -m: inv db.revision --service {target_service} -m "add invoices".')
    written = run(authoring.revision(target_service, message, empty=empty))
    if written is None:
        console.result(f"{target_service}: nothing changed, so nothing was written")
        return
    console.result(written.path)
    console.note(f"Read it before you commit it, then run: inv db.upgrade --service {target_service}")


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
        "onto": "Their head, where git can't tell.",
        "revision": "A revision of yours, where git can't tell.",
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
    console.result(
        f"{owner}: {', '.join(rebased.moved)} on top of {rebased.onto}, no longer of {rebased.before or 'base'}"
    )
    console.result(rebased.path)
    if rebased.unasked:
        console.note(f"{owner}: whether its database has them already wasn't asked: {rebased.unasked}")
    console.note(f"Read it, then: git add {owner.relative(owner.versions)}")
