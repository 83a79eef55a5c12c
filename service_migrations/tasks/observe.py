"""db.log, db.wait, db.doctor, db.locks: what people and pipelines ask while databases are in use."""

from dataclasses import asdict

from invoke.context import Context
from invoke.exceptions import Exit

from service_migrations.errors import MigrationError, gravest
from service_migrations.tasks import console
from service_migrations.tasks.each import each, fail, report
from service_migrations.tasks.task import SERVICE, SERVICES, duration, exactly_one, run, selected, service_name, task

__all__ = ["doctor", "locks", "log", "wait"]

_JSON = "Print JSON, for another program."


@task(iterable=["service"], help={"service": SERVICES, "json": _JSON})
def log(_: Context, service: list[str], json: bool = False) -> None:
    """List what was run on each database, newest first."""
    from service_migrations.ledger import entries as ledger
    from service_migrations.settings.model import Settings, load_many

    async def read(settings: Settings) -> tuple[ledger.Entry, ...]:
        return await ledger.log(settings.service, settings=settings)

    chosen = selected(service)
    found, errors = each(load_many(chosen), read, service_name)
    if json:
        console.result_json(
            {
                name: [{**asdict(entry), "started": entry.started.isoformat()} for entry in entries]
                for name, entries in found.items()
            }
        )
    else:
        rows = [
            [
                *(name, entry.started.astimezone().isoformat(" ", "seconds"), entry.direction),
                *(entry.from_revision or "base", entry.to_revision or "base", f"{entry.seconds:.2f} s"),
                *(f"{entry.os_user}@{entry.host}", (entry.git_commit or "-")[:12], entry.version),
            ]
            for name, entries in found.items()
            for entry in entries
        ]
        if rows:
            console.table(["service", "started", "direction", "from", "to", "took", "by", "commit", "version"], rows)
        for name in [name for name, entries in found.items() if not entries]:
            console.result(f"{name}: nothing was run yet")
    fail(errors, len(chosen))


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

    chosen = exactly_one(service, "wait")
    answer = run(waiting.wait(chosen, head, duration(timeout, "--timeout", zero=False)))
    at = "answers" if answer.revisions is None else f"is at head, {', '.join(answer.revisions) or 'base'}"
    console.result(f"{answer.service}: {answer.target} {at} ({answer.seconds:.2f} s)")


@task(iterable=["service"], help={"service": SERVICES, "json": _JSON})
def doctor(_: Context, service: list[str], json: bool = False) -> None:
    """Look for what would stop an upgrade, and say what mends it."""
    from service_migrations.health import doctor as examination
    from service_migrations.settings.model import Settings, load_many

    chosen = selected(service)
    found = {
        one.name: run(examination.examine(one, settings=loaded if isinstance(loaded, Settings) else None))
        for one, loaded in zip(chosen, load_many(chosen), strict=True)
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
                for name, findings in found.items()
                for finding in findings
            ]
        )
    else:
        for name, findings in found.items():
            for finding in findings:
                prefix = "" if finding.text.startswith(f"{name}: ") else f"{name}: "
                console.result(f"{finding.severity}: {prefix}{finding.text}")
            if not findings:
                console.result(f"{name}: nothing was found")
    errors = [one.as_error(one.error) for findings in found.values() for one in findings if one.error]
    if errors:
        raise Exit("", code=gravest(errors))


@task(iterable=["service"], help={"service": SERVICES, "json": _JSON})
def locks(_: Context, service: list[str], json: bool = False) -> None:
    """Show holder and waiters of each database's migration lock."""
    from service_migrations.connection.connector import connector_of
    from service_migrations.connection.locks import Runner, runners
    from service_migrations.settings.database import grouped
    from service_migrations.settings.model import Settings, load_many

    async def look(settings: Settings) -> list[Runner]:
        async with connector_of(settings).connect() as connection:
            return await runners(connection)

    chosen = selected(service)
    loaded = load_many(chosen)
    errors = [report(one) for one in loaded if isinstance(one, MigrationError)]
    valid = [one for one in loaded if isinstance(one, Settings)]
    answers = []
    for sharing in grouped(valid, lambda settings: settings.database):
        try:
            found = run(look(sharing[0]))
        except MigrationError as error:
            errors.append(report(error))
            continue
        names = ", ".join(one.service.name for one in sharing)
        held = any(runner.holds for runner in found)
        answers.append({"services": [one.service.name for one in sharing], "database": sharing[0].dsn.database,
                        "runners": [asdict(runner) for runner in found]})  # fmt: skip
        if not json:
            if not held:
                console.result(f"{names}: nobody holds the migration lock of {sharing[0].dsn.database}")
            for runner in found:
                verb = "holds the lock" if runner.holds else "waits" if runner.waits else "is connected"
                console.result(f"{names}: {verb}: {runner}")
    if json:
        console.result_json(answers)
    fail(errors, len(chosen))
