"""db.evidence: what each revision locks, rewrites and holds up, measured on throw-away servers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from invoke.context import Context

from service_migrations.errors import DifferenceError, MigrationError, UsageError
from service_migrations.monorepo import Monorepo, Service
from service_migrations.tasks.affected import BASE, narrowed
from service_migrations.tasks.support import console
from service_migrations.tasks.support.each import each, fail
from service_migrations.tasks.support.options import JSON
from service_migrations.tasks.support.task import SERVICES, number, selected, task

if TYPE_CHECKING:
    from service_migrations.evidence.measurement import Measurement
    from service_migrations.evidence.rules import Rule

__all__ = ["evidence"]


@task(
    runs_environment=True,
    iterable=["service", "fail_on"],
    help={
        "service": SERVICES,
        "revision": "Only this revision, by its id or its beginning; of one service.",
        "affected": "Only the revisions that differ from --base.",
        "base": BASE,
        "postgres": "Major versions, such as 14,18; without it, the newest of the table.",
        "rows": "How many rows each table gets (10000).",
        "downgrades": "Measure the downgrades too.",
        "fail-on": "Exit with 3 on this: rewrite, writers-blocked>1s, readers-blocked>1s, held>1s; may be repeated.",
        "write": "Write a file for each revision, below the folder evidence beside env.py.",
        "json": JSON,
    },
)
def evidence(
    _: Context,
    service: list[str],
    fail_on: list[str],
    revision: str = "",
    affected: bool = False,
    base: str = "",
    postgres: str = "",
    rows: str = "10000",
    downgrades: bool = False,
    write: bool = False,
    json: bool = False,
) -> None:
    """Measure what each revision locks, on throw-away servers."""
    from service_migrations.evidence.files import write as write_files
    from service_migrations.evidence.rules import parse_rule

    if revision and affected:
        raise UsageError("--revision names one revision, and --affected those that differ. Give one.")
    rules, count = [parse_rule(text) for text in fail_on], number(rows, "--rows")
    services = tuple(selected(service))
    if revision and len(services) > 1:
        raise UsageError(f"--revision {revision} is of one service's history.", hint="Name that one with --service.")
    versions = _versions(postgres)
    chosen = _chosen(services, revision, affected=affected, base=base)
    services = tuple(item for item in services if chosen[item] is None or chosen[item])
    if not services:
        console.result("[]" if json else "nothing to measure: no revision is affected")
        return
    measured: dict[str, list[Measurement]] = {item.name: [] for item in services}
    errors: list[MigrationError] = []
    for version in versions:
        errors += _measure(version, services, measured, chosen, rows=count, down=downgrades)
    if json:
        console.result_json([{"service": name, **item.as_json()} for name, items in measured.items() for item in items])
    else:
        _show(measured)
    if write:
        for item in services:
            for path in write_files(item, measured[item.name]):
                console.note(f"Written: {item.relative(path)}")
    failures = [error for name, items in measured.items() for error in _findings(name, items, rules)]
    for error in failures:
        console.print_error(error)
    fail([*errors, *failures], 1)  # each has been printed


def _measure(
    version: str,
    services: Sequence[Service],
    measured: "dict[str, list[Measurement]]",
    chosen: dict[Service, set[str] | None],
    *,
    rows: int,
    down: bool,
) -> list[MigrationError]:
    """Measure services on one version, and return what went wrong; a version that can't be provided stops no other."""
    from service_migrations.evidence.evidence import SETTINGS, measure
    from service_migrations.postgres import throwaway

    try:
        with console.progress() as progress, console.quietly(), throwaway(version, progress, SETTINGS) as server:
            results, errors = each(
                services,
                lambda item: measure(item, server, rows=rows, revisions=chosen[item], down=down, progress=progress),
            )
    except MigrationError as error:
        console.print_error(error)
        return [error]
    for name, items in results.items():
        measured[name] += items
    return errors


def _versions(text: str) -> list[str]:
    """Return the versions of the option; without one the newest of the table, or else of the packages."""
    from service_migrations.postgres import VERSIONS
    from service_migrations.postgres.binaries import check_version

    known = Monorepo.locate().configuration.postgres or VERSIONS
    versions = [word.strip() for word in text.split(",")] if text else [max(known, key=int)]
    for version in versions:
        check_version(version)
    return list(dict.fromkeys(versions))


def _chosen(services: Sequence[Service], revision: str, *, affected: bool, base: str) -> dict[Service, set[str] | None]:
    """Return the revisions of each service that are measured; None for all."""
    from service_migrations.evidence.evidence import chosen_revision

    if not affected:
        narrowed(services, base=base)  # refuses --base alone
    if revision:
        return {item: {chosen_revision(item, revision)} for item in services}
    if not affected:
        return dict.fromkeys(services)
    from service_migrations.history.revisions import read
    from service_migrations.rollout.affected import default_base
    from service_migrations.rollout.new_revisions import new_revisions

    root = services[0].root
    if not base:
        base = default_base(root)
        console.note(f"Compared with {base}; --base names another.")
    histories = {item: read(item).revisions for item in services}
    paths = new_revisions(root, base, [known.path for revisions in histories.values() for known in revisions])
    return {
        item: {known.revision for known in revisions if known.path in paths} for item, revisions in histories.items()
    }


def _findings(service: str, measured: "Sequence[Measurement]", rules: "Sequence[Rule]") -> list[MigrationError]:
    """Return an error for each revision that failed and for each broken rule."""
    failures: list[MigrationError] = []
    for item in measured:
        where = f"{item.revision}, {item.direction} on PostgreSQL {item.postgres}"
        if item.error:
            failures.append(DifferenceError(f"{where}, failed: {item.error}", service=service))
        failures += [
            DifferenceError(f"{where}: {problem} (--fail-on '{rule.text}').", service=service)
            for rule in rules
            if (problem := rule.broken_by(item))
        ]
    return failures


def _show(measured: "dict[str, list[Measurement]]") -> None:
    columns = [
        "revision",
        "direction",
        "on",
        "strongest lock",
        "held",
        "rewrites",
        "readers",
        "writers",
        "time",
        "10M rows",
    ]
    for service, items in measured.items():
        if not items:
            continue
        console.result(f"{service}: measured with {items[0].rows} rows in each table")
        rows = []
        for item in sorted(items, key=lambda item: _order(items, item)):
            lock = item.strongest
            rows.append([
                *(item.revision, item.direction, item.postgres),
                f"{lock.mode} on {lock.relation}" if lock else "none",
                _seconds(lock.seconds) if lock else "",
                ", ".join(item.rewrites),
                *(_seconds(item.readers_blocked), _seconds(item.writers_blocked)),
                "failed" if item.error else _seconds(item.seconds),
                "" if item.at_ten_million is None or item.error else f"{_seconds(item.at_ten_million)} ({item.growth})",
            ])  # fmt: skip
        console.table(columns, rows)
        for note in dict.fromkeys(note for item in items for note in item.notes):
            console.result(f"{service}: {note}")


def _order(items: "Sequence[Measurement]", item: "Measurement") -> tuple[int, int]:
    """Return the order of the table: by revision as they run, then by version."""
    revisions = list(dict.fromkeys(each_item.revision for each_item in items))
    return revisions.index(item.revision), int(item.postgres)


def _seconds(seconds: float) -> str:
    if not seconds:
        return "0"
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
