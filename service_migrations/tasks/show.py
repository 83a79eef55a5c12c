"""db.current, db.heads, db.history, db.show, db.status, db.env, db.services: what only reads."""

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.context import Context

from service_migrations.configuration import FILE
from service_migrations.errors import DifferenceError, MigrationError, UsageError
from service_migrations.tasks import console
from service_migrations.tasks.each import each, fail
from service_migrations.tasks.task import SERVICE, SERVICES, exactly_one, run, selected, task

if TYPE_CHECKING:
    from service_migrations.history.revision import Revision
    from service_migrations.history.revisions import History
    from service_migrations.monorepo import Service

__all__ = ["current", "env", "heads", "history", "services", "show", "status"]

_JSON = "Print JSON, for another program."


@task(iterable=["service"], help={"service": SERVICES, "json": _JSON})
def current(_: Context, service: list[str], json: bool = False) -> None:
    """Show the revision that each database is at."""
    from service_migrations.rollout import status as fleet

    chosen = selected(service)
    answers = dict(zip((one.name for one in chosen), run(fleet.current_of_all(chosen)), strict=True))
    errors = [answer for answer in answers.values() if isinstance(answer, MigrationError)]
    for error in errors:
        console.note(str(error))
    found = {name: answer for name, answer in answers.items() if not isinstance(answer, MigrationError)}
    if json:
        console.result_json({name: [_plain(revision) for revision in revisions] for name, revisions in found.items()})
    else:
        for name, revisions in found.items():
            console.result(f"{name}: {', '.join(_line(revision) for revision in revisions) or 'base'}")
    fail(errors, len(chosen))


@task(
    iterable=["service"],
    help={
        "service": SERVICES,
        "check": "End with 3 where a service has two heads, or its head.txt names another.",
        "write": "Write each head.txt.",
        "json": _JSON,
    },
)
def heads(_: Context, service: list[str], check: bool = False, write: bool = False, json: bool = False) -> None:
    """Show the newest revision of each service's files."""
    from service_migrations.history import head_file
    from service_migrations.upgrade import commands

    async def look(one: "Service") -> "History":
        history = await commands.history(one)
        if write:
            head_file.write(one, history.single_head())
        problem = head_file.problem(history) if check else None
        if problem:
            raise DifferenceError(problem, service=one)
        return history

    chosen = selected(service)
    found, errors = each(chosen, look)
    if json:
        console.result_json({name: list(history.heads) for name, history in found.items()})
    else:
        for name, history in found.items():
            heads_only = [_line(revision) for revision in history.revisions if revision.is_head]
            console.result(f"{name}: {', '.join(heads_only) or 'no revisions'}")
    fail(errors, len(chosen))


@task(iterable=["service"], help={"service": SERVICES, "json": _JSON})
def history(_: Context, service: list[str], json: bool = False) -> None:
    """List each service's revisions, newest first."""
    from service_migrations.upgrade import commands

    chosen = selected(service)
    found, errors = each(chosen, commands.history)
    if json:
        console.result_json({name: [_plain(revision) for revision in one.revisions] for name, one in found.items()})
    else:
        for name, one in found.items():
            prefix = f"{name}: " if len(chosen) > 1 else ""
            for revision in one.revisions:
                down = ", ".join(revision.down_revision) or "<base>"
                console.result(f"{prefix}{down} -> {_line(revision)}")
    fail(errors, len(chosen))


@task(iterable=["service"], help={"service": SERVICE, "revision": "A revision's id or its beginning, or head."})
def show(_: Context, service: list[str], revision: str = "head") -> None:
    """Show one revision: its place and the text of its file."""
    from service_migrations.upgrade import commands

    chosen = exactly_one(service, "show")
    found = run(commands.history(chosen))
    matches = [
        one for one in found.revisions if one.revision.startswith(revision) or (revision == "head" and one.is_head)
    ]
    if len(matches) != 1:
        problem = "is not in this history" if not matches else "is the beginning of several"
        raise UsageError(
            f"revision {revision!r} {problem}.", service=chosen, hint=f"`inv db.history --service {chosen}` lists them."
        )
    console.note(matches[0].path)
    console.result((chosen.root / Path(matches[0].path)).read_text(encoding="utf-8").rstrip())


@task(iterable=["service"], help={"service": SERVICES, "json": _JSON})
def status(_: Context, service: list[str], json: bool = False) -> None:
    """Show target, current, head and pending of all services."""
    from service_migrations.rollout import status as fleet

    found = run(fleet.status(selected(service)))
    if json:
        console.result_json(
            [
                {
                    **asdict(one),
                    "error": one.error and str(one.error),
                    "failure": one.error and one.error.as_json(),
                }
                for one in found
            ]
        )
    else:
        rows = [
            [
                one.service,
                one.target or "-",
                ", ".join(one.current) or ("-" if one.error else "base"),
                one.head or "-",
                "-" if one.pending is None else str(one.pending),
                one.state,
            ]
            for one in found
        ]
        console.table(["service", "target", "current", "head", "pending", "state"], rows)
    errors = [one.error for one in found if one.error]
    for error in errors:
        console.note(str(error))
    fail(errors, len(found))


@task(iterable=["service"], help={"service": SERVICES, "json": _JSON})
def env(_: Context, service: list[str], json: bool = False) -> None:
    """List settings with their origin; passwords are masked."""
    from service_migrations.settings.model import load_many
    from service_migrations.settings.sources import Sources

    sources, chosen = Sources(), selected(service)
    loaded = load_many(chosen, sources)
    found = {}
    for one in chosen:
        with suppress(MigrationError):  # it was met above, too
            found[one.name] = [values[0] for values in sources.collect(one).values() if values]
    if json:
        console.result_json(
            {
                name: [{"key": one.key, "value": one.shown, "origin": str(one.origin)} for one in values]
                for name, values in found.items()
            }
        )
    else:
        rows = [[name, one.key, one.shown, str(one.origin)] for name, values in found.items() for one in values]
        if rows:
            console.table(["service", "key", "value", "origin"], rows)
    errors = [one for one in loaded if isinstance(one, MigrationError)]
    for error in errors:
        console.note(str(error))
    fail(errors, len(chosen))


@task(
    iterable=["service"],
    help={
        "service": SERVICES,
        "verbose": "Show each name and folder of a service, and whether convention or pyproject.toml says so.",
        "json": _JSON,
    },
)
def services(_: Context, service: list[str], verbose: bool = False, json: bool = False) -> None:
    """List the services on disk; nothing is connected to."""
    from service_migrations.settings.model import load_many
    from service_migrations.upgrade import commands

    chosen = selected(service)
    histories, errors = each(chosen, commands.history)
    rows: list[dict[str, Any]] = []
    for one, loaded in zip(chosen, load_many(chosen), strict=True):
        if one.name not in histories:
            continue
        target = None if isinstance(loaded, MigrationError) else loaded.target
        table = one.version_table if isinstance(loaded, MigrationError) else loaded.version_table
        rows.append(
            {
                "service": one.name,
                "target": target,
                "version_table": table,
                "models": one.models,
                "revisions": len(histories[one.name].revisions),
                "path": one.relative(one.path),
                "source": one.relative(one.source),
                "versions": one.relative(one.versions),
                "from": _origins(one, table),
            }
        )
    if json:
        console.result_json(rows)
    elif verbose:
        cells = [[row["service"], key, row[key], row["from"][key]] for row in rows for key in row["from"]]
        console.table(["service", "key", "value", "from"], cells)
    else:
        columns = ["service", "target", "version_table", "models", "revisions"]
        cells = [["no DSN" if row[key] is None else str(row[key]) for key in columns] for row in rows]
        console.table([key.replace("_", " ") for key in columns], cells)
    fail(errors, len(chosen))


def _origins(service: "Service", version_table: str) -> dict[str, str]:
    """Return what says each name and folder of a service: convention, pyproject.toml or a setting."""
    keys = ("path", "source", "models", "versions", "version_table")
    found = {key: FILE if key in service.configured else "convention" for key in keys}
    if version_table != service.version_table:
        found["version_table"] = "MIGRATIONS_VERSION_TABLE"
    return found


def _line(revision: "Revision") -> str:
    return f"{revision.revision}{' (head)' if revision.is_head else ''}, {revision.message}"


def _plain(revision: "Revision") -> dict[str, Any]:
    return {**asdict(revision), "down_revision": list(revision.down_revision)}
