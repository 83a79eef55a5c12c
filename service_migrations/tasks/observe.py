"""db.log, db.wait, db.doctor and db.locks, for databases that are in use."""

from dataclasses import asdict
from datetime import datetime

from invoke.context import Context
from invoke.exceptions import Exit

from service_migrations.errors import MigrationError, worst_exit_code
from service_migrations.tasks.support import console
from service_migrations.tasks.support.each import fail, print_each, report
from service_migrations.tasks.support.options import JSON
from service_migrations.tasks.support.task import (
    SERVICE,
    SERVICES,
    duration,
    exactly_one,
    run,
    selected,
    service_name,
    task,
)

__all__ = ["doctor", "locks", "log", "wait"]


@task(iterable=["service"], help={"service": SERVICES, "json": JSON})
def log(_: Context, service: list[str], json: bool = False) -> None:
    """List what was run on each database, newest first."""
    from service_migrations.ledger import entries as ledger
    from service_migrations.settings.model import Settings, load_many

    async def read(settings: Settings) -> tuple[ledger.Entry, ...]:
        return await ledger.log(settings.service, settings=settings)

    def as_json(entries: tuple[ledger.Entry, ...]) -> list[dict[str, object]]:
        return [{**asdict(entry), "started": entry.started and entry.started.isoformat()} for entry in entries]

    def print_entries(entries_by_service: dict[str, tuple[ledger.Entry, ...]]) -> None:
        rows = [
            [
                *(name, _moment(entry.started), entry.direction),
                *(entry.from_revision or "base", entry.to_revision or "base", f"{entry.seconds:.2f} s"),
                *(f"{entry.os_user}@{entry.host}", (entry.git_commit or "-")[:12], entry.version),
            ]
            for name, entries in entries_by_service.items()
            for entry in entries
        ]
        if rows:
            console.table(["service", "started", "direction", "from", "to", "took", "by", "commit", "version"], rows)
        for name in [name for name, entries in entries_by_service.items() if not entries]:
            console.result(f"{name}: nothing was run yet")

    loaded = load_many(selected(service))
    print_each(loaded, read, service_name, json=json, as_json=as_json, print_text=print_entries)


def _moment(started: datetime | None) -> str:
    return "-" if started is None else started.astimezone().isoformat(" ", "seconds")


@task(
    iterable=["service"],
    help={
        "service": SERVICE,
        "head": "Wait until the database is at this checkout's head, too.",
        "timeout": "How long to wait (5m).",
    },
)
def wait(_: Context, service: list[str], head: bool = False, timeout: str = "5m") -> None:
    """Wait until one service's server answers; 69 or 75 if not."""
    from service_migrations.health import wait as waiting

    target_service = exactly_one(service, "wait")
    answer = run(waiting.wait(target_service, head, duration(timeout, "--timeout", zero=False)))
    state = "answers" if answer.revisions is None else f"is at head, {', '.join(answer.revisions) or 'base'}"
    console.result(f"{answer.service}: {answer.target} {state} ({answer.seconds:.2f} s)")


@task(iterable=["service"], help={"service": SERVICES, "json": JSON})
def doctor(_: Context, service: list[str], json: bool = False) -> None:
    """Find what would stop an upgrade, with the fix of each."""
    from service_migrations.health import doctor as health
    from service_migrations.settings.model import Settings, load_many

    services = selected(service)
    findings_by_service = {
        examined.name: run(health.examine(examined, settings=settings if isinstance(settings, Settings) else None))
        for examined, settings in zip(services, load_many(services), strict=True)
    }
    if json:
        console.result_json(
            [
                {
                    "service": name,
                    "severity": finding.severity,
                    "about": finding.about,
                    "text": finding.text,
                    "exit_code": finding.error.exit_code if finding.error else 0,
                }
                for name, findings in findings_by_service.items()
                for finding in findings
            ]
        )
    else:
        for name, findings in findings_by_service.items():
            for finding in findings:
                prefix = "" if finding.text.startswith(f"{name}: ") else f"{name}: "
                console.result(f"{finding.severity}: {prefix}{finding.text}")
            if not findings:
                console.result(f"{name}: nothing was found")
    errors = [
        error for findings in findings_by_service.values() for finding in findings if (error := finding.as_error())
    ]
    if errors:
        raise Exit("", code=worst_exit_code(errors))


@task(iterable=["service"], help={"service": SERVICES, "json": JSON})
def locks(_: Context, service: list[str], json: bool = False) -> None:
    """Show holder and waiters of each database's migration lock."""
    from service_migrations.connection.connector import connector_of
    from service_migrations.session.locks import Runner, runners
    from service_migrations.settings.database import grouped
    from service_migrations.settings.model import Settings, load_many

    async def read_runners(settings: Settings) -> list[Runner]:
        async with connector_of(settings).connect() as connection:
            return await runners(connection)

    services = selected(service)
    loaded = load_many(services)
    errors = [report(failure) for failure in loaded if isinstance(failure, MigrationError)]
    valid = [settings for settings in loaded if isinstance(settings, Settings)]
    answers = []
    for sharing in grouped(valid, lambda settings: settings.database):
        try:
            lock_runners = run(read_runners(sharing[0]))
        except MigrationError as error:
            errors.append(report(error))
            continue
        service_names = [settings.service.name for settings in sharing]
        names = ", ".join(service_names)
        is_held = any(runner.holds for runner in lock_runners)
        answers.append({"services": service_names, "database": sharing[0].dsn.database,
                        "runners": [asdict(runner) for runner in lock_runners]})  # fmt: skip
        if not json:
            if not is_held:
                console.result(f"{names}: nobody holds the migration lock of {sharing[0].dsn.database}")
            for runner in lock_runners:
                verb = "holds the lock" if runner.holds else "waits" if runner.waits else "is connected"
                console.result(f"{names}: {verb}: {runner}")
    if json:
        console.result_json(answers)
    fail(errors, len(services))
