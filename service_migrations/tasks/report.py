"""db.report: all services and databases, as one page or as Markdown."""

from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context

from service_migrations.errors import UsageError
from service_migrations.tasks.affected import BASE
from service_migrations.tasks.support import console
from service_migrations.tasks.support.each import fail
from service_migrations.tasks.support.task import SERVICES, run, selected, task

if TYPE_CHECKING:
    from service_migrations.report.model import Report
    from service_migrations.report.upcoming import Upcoming

__all__ = ["report"]


@task(
    runs_environment=True,
    iterable=["service"],
    optional=["markdown"],
    help={
        "service": SERVICES,
        "html": "Write a page to this file, which loads nothing.",
        "markdown": "Print what is upcoming as Markdown, or write it to this file.",
        "base": f"{BASE} The Markdown is then of the revisions since, and asks no database.",
        "drift": "Compare each database with its replayed history, too.",
    },
)
def report(
    _: Context, service: list[str], html: str = "", markdown: str = "", base: str | None = None, drift: bool = False
) -> None:
    """Report on services, as a page or as Markdown."""
    _check_options(html, markdown, base, drift=drift)
    from service_migrations.report.gather import gather
    from service_migrations.report.upcoming import pending, since

    services = selected(service)
    known: Report | None = None
    upcoming: list[Upcoming] = []
    with console.quietly():
        if html or not base:
            known = run(gather(services, compare=drift, whole=bool(html)))
        if markdown and base:
            upcoming = run(since(services, base))
        elif markdown and known:
            upcoming = run(pending(known))
    if html and known:
        _write_page(Path(html), known)
    if markdown:
        # with --markdown alone, Invoke passes True
        _write_markdown(None if markdown is True else Path(markdown), upcoming)  # type: ignore[comparison-overlap]
    errors = known.errors if known else []
    errors += [item.problem for item in upcoming if item.problem and item.problem not in errors]
    for error in errors:
        console.print_error(error)
    fail(errors, len(services))


def _check_options(html: str, markdown: str, base: str | None, *, drift: bool) -> None:
    if not html and not markdown:
        raise UsageError("db.report needs --html FILE, or --markdown.")
    # with --markdown alone, Invoke passes True
    if html and isinstance(markdown, str) and markdown and Path(html).resolve() == Path(markdown).resolve():
        raise UsageError(f"--html and --markdown are both {html}.", hint="Name two files.")
    if base == "":
        raise UsageError("--base is empty.", hint="Name a commit or a branch, or leave the option out.")
    if base and not markdown:
        raise UsageError("--base says what --markdown is of.", hint="Add --markdown.")
    if drift and not html:
        raise UsageError("--drift is shown by the page.", hint="Add --html FILE.")


def _write_page(path: Path, known: "Report") -> None:
    from service_migrations.report.files import write_whole
    from service_migrations.report.page import page

    write_whole(path, page(known))
    console.note(f"Written: {path}")


def _write_markdown(path: Path | None, upcoming: "list[Upcoming]") -> None:
    from service_migrations.report.files import write_whole
    from service_migrations.report.markdown import markdown

    if path is None:
        console.result(markdown(upcoming).rstrip("\n"))
        return
    write_whole(path, markdown(upcoming))
    console.note(f"Written: {path}")
