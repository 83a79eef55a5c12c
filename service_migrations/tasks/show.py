"""db.current, db.heads, db.history, db.show, db.status, db.env and db.services, which only read."""

from contextlib import nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.context import Context

from service_migrations.env_files import ENV_FILE, ENVIRONMENT
from service_migrations.errors import DifferenceError, MigrationError, UsageError
from service_migrations.monorepo import Monorepo
from service_migrations.pyproject import FILE
from service_migrations.tasks.support import console
from service_migrations.tasks.support.each import each, fail, print_each
from service_migrations.tasks.support.options import JSON
from service_migrations.tasks.support.task import SERVICE, SERVICES, exactly_one, run, selected, task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service_migrations.history.history import History
    from service_migrations.history.revision import Revision
    from service_migrations.monorepo import Service

__all__ = ["current", "env", "heads", "history", "services", "show", "status"]


@task(logs=True, iterable=["service"], help={"service": SERVICES, "json": JSON})
def current(_: Context, service: list[str], json: bool = False) -> None:
    """Show the revision that each database is at."""
    from service_migrations.rollout import status as fleet

    selected_services = selected(service)
    names = [current_service.name for current_service in selected_services]
    results = dict(zip(names, run(fleet.current_of_all(selected_services)), strict=True))
    errors = [result for result in results.values() if isinstance(result, MigrationError)]
    for error in errors:
        console.print_error(error)
    current_revisions = {name: result for name, result in results.items() if not isinstance(result, MigrationError)}
    if json:
        console.result_json(
            {name: [_plain(revision) for revision in revisions] for name, revisions in current_revisions.items()}
        )
    else:
        for name, revisions in current_revisions.items():
            console.result(f"{name}: {', '.join(_line(revision) for revision in revisions) or 'base'}")
    fail(errors, len(selected_services))


@task(
    iterable=["service"],
    help={
        "service": SERVICES,
        "check": "End with 3 where a service has two heads without branch labels, its head.txt names others, or a "
        "history has no service.",
        "write": "Write each head.txt.",
        "json": JSON,
    },
)
def heads(_: Context, service: list[str], check: bool = False, write: bool = False, json: bool = False) -> None:
    """Show the newest revision of each service's files."""
    from service_migrations.history.files import head_file
    from service_migrations.history.listing import listed
    from service_migrations.history.sole_writer import sole_writer

    async def read_history(checked: "Service") -> "History":
        async with sole_writer(checked) if write else nullcontext():
            return await read_and_write(checked)

    async def read_and_write(checked: "Service") -> "History":
        if check:
            from service_migrations.upgrade import commands

            history = await commands.history(checked)  # a gate also finds a file that can't be imported
        else:
            history = listed(checked)
        if write:
            head_file.write(history)
        problem = head_file.problem(history) if check else None
        if problem:
            raise DifferenceError(problem, service=checked)
        return history

    def print_heads(histories: "dict[str, History]") -> None:
        for name, history in histories.items():
            head_lines = [_line(revision) for revision in history.revisions if revision.is_head]
            console.result(f"{name}: {', '.join(head_lines) or 'no revisions'}")

    selected_services = selected(service)
    print_each(
        [*selected_services, *(_forsaken(selected_services) if check else ())],
        read_history,
        json=json,
        as_json=lambda history: list(history.heads),
        print_text=print_heads,
    )


def _forsaken(selected_services: "Sequence[Service]") -> "list[MigrationError]":
    """Return an error for each history without a service, where all services are looked at."""
    from service_migrations.history.files.locations import forsaken_locations

    monorepo = Monorepo.locate()
    if len(selected_services) < len(monorepo.services()):
        return []
    hint = "Was its service renamed? Give the folder the new name, or name it in `versions` of the service's table."
    return [
        DifferenceError(
            f"it has revisions, and there is no service {folder.name}.",
            path=folder.relative_to(monorepo.root),
            hint=f"{hint} If the service is gone, remove it.",
        )
        for folder in forsaken_locations(monorepo)
    ]


@task(iterable=["service"], help={"service": SERVICES, "json": JSON})
def history(_: Context, service: list[str], json: bool = False) -> None:
    """List each service's revisions, newest first."""
    from service_migrations.history.listing import listed

    async def read_history(listed_service: "Service") -> "History":
        return listed(listed_service)

    selected_services = selected(service)

    def print_revisions(histories: "dict[str, History]") -> None:
        for name, history in histories.items():
            prefix = f"{name}: " if len(selected_services) > 1 else ""
            for revision in history.revisions:
                parents = ", ".join(revision.down_revision) or "<base>"
                console.result(f"{prefix}{parents} -> {_line(revision)}")

    print_each(
        selected_services,
        read_history,
        json=json,
        as_json=lambda history: [_plain(revision) for revision in history.revisions],
        print_text=print_revisions,
    )


@task(iterable=["service"], help={"service": SERVICE, "revision": "A revision's id or its beginning, or head."})
def show(_: Context, service: list[str], revision: str = "head") -> None:
    """Show one revision: its place and the text of its file."""
    from service_migrations.history.files.parsing import source_text
    from service_migrations.history.graph import own_labels
    from service_migrations.history.listing import listed

    target_service = exactly_one(service, "show")
    history = listed(target_service)
    labels = own_labels(history.revisions)
    matches = [
        candidate
        for candidate in history.revisions
        if candidate.revision.startswith(revision)
        or (candidate.is_head and revision in ("head", *(f"{label}@head" for label in labels[candidate.revision])))
    ]
    # as for Alembic, a whole id is meant also where others begin with it
    matches = [exact for exact in matches if exact.revision == revision] or matches
    if len(matches) != 1:
        problem = "is not in this history" if not matches else "is the beginning of several"
        if matches and all(match.is_head for match in matches) and revision == "head":
            problem = f"isn't one: the history has {len(matches)}, {', '.join(match.revision for match in matches)}"
        raise UsageError(
            f"revision {revision!r} {problem}.",
            service=target_service,
            hint=f"`inv db.history --service {target_service}` lists them.",
        )
    console.note(matches[0].path)
    console.result(source_text((target_service.root / Path(matches[0].path)).read_bytes()).rstrip())


@task(iterable=["service"], help={"service": SERVICES, "json": JSON})
def status(_: Context, service: list[str], json: bool = False) -> None:
    """Show target, current, head and pending of all services."""
    from service_migrations.rollout import status as fleet

    statuses = run(fleet.status(selected(service)))
    if json:
        console.result_json(
            [
                {
                    **asdict(service_status),
                    "error": service_status.error and str(service_status.error),
                    "failure": service_status.error and service_status.error.as_json(),
                }
                for service_status in statuses
            ]
        )
    else:
        rows = [
            [
                service_status.service,
                service_status.target or "-",
                ", ".join(service_status.current) or ("-" if service_status.error else "base"),
                ", ".join(service_status.heads) or "-",
                "-" if service_status.pending is None else str(service_status.pending),
                service_status.state
                + (f", edited: {', '.join(service_status.edited)}" if service_status.edited else ""),
            ]
            for service_status in statuses
        ]
        console.table(["service", "target", "current", "head", "pending", "state"], rows)
    errors = [service_status.error for service_status in statuses if service_status.error]
    for error in errors:
        console.print_error(error)
    fail(errors, len(statuses))


@task(iterable=["service"], help={"service": SERVICES, "json": JSON})
def env(_: Context, service: list[str], json: bool = False) -> None:
    """List settings with their origin; passwords are masked."""
    from service_migrations.settings.model import load_many
    from service_migrations.settings.sources import Sources

    sources, selected_services = Sources(), selected(service)
    loaded_settings = load_many(selected_services, sources)
    settings_by_service = {}
    for chosen_service in selected_services:
        with suppress(MigrationError):  # load_many() has returned it
            collected = sources.collect(chosen_service).values()
            settings_by_service[chosen_service.name] = [layers[0] for layers in collected if layers]
    if json:
        console.result_json(
            {
                name: [
                    {"key": setting.key, "value": setting.shown, "origin": str(setting.origin)} for setting in settings
                ]
                for name, settings in settings_by_service.items()
            }
        )
    else:
        rows = [
            [name, setting.key, setting.shown, str(setting.origin)]
            for name, settings in settings_by_service.items()
            for setting in settings
        ]
        if rows:
            console.table(["service", "key", "value", "origin"], rows)
    errors = [failure for failure in loaded_settings if isinstance(failure, MigrationError)]
    for error in errors:
        console.print_error(error)
    fail(errors, len(selected_services))


@task(
    iterable=["service"],
    help={
        "service": "A service's name; may be repeated. Where it is missing, all services.",
        "verbose": "Show each name and folder of a service, and whether convention or pyproject.toml says so.",
        "json": JSON,
    },
)
def services(_: Context, service: list[str], verbose: bool = False, json: bool = False) -> None:
    """List the services on disk; nothing is connected to."""
    from service_migrations.settings.model import load_many
    from service_migrations.upgrade import commands

    selected_services = selected(service, of_folder=False)
    histories, errors = each(selected_services, commands.history)
    rows: list[dict[str, Any]] = []
    for listed, settings in zip(selected_services, load_many(selected_services), strict=True):
        if listed.name not in histories:
            continue
        target = None if isinstance(settings, MigrationError) else settings.target
        version_table = listed.version_table if isinstance(settings, MigrationError) else settings.version_table
        rows.append(
            {
                "service": listed.name,
                "target": target,
                "version_table": version_table,
                "models": listed.models,
                "revisions": len(histories[listed.name].revisions),
                "path": listed.relative(listed.path),
                "source": listed.relative(listed.source),
                "versions": listed.shown_locations,
                **_chosen(listed),
                "from": _origins(listed, version_table),
            }
        )
    if json:
        console.result_json(rows)
    elif verbose:
        cells = [[row["service"], key, _cell(row[key]), row["from"][key]] for row in rows for key in row["from"]]
        console.table(["service", "key", "value", "from"], cells)
    else:
        columns = ["service", "target", "version_table", "models", "revisions"]
        cells = [["no DSN" if row[key] is None else str(row[key]) for key in columns] for row in rows]
        console.table([key.replace("_", " ") for key in columns], cells)
    fail(errors, len(selected_services))


def _origins(service: "Service", version_table: str) -> dict[str, str]:
    """Return the origin of each name and folder of a service: convention, pyproject.toml or a setting."""
    keys = ("path", "source", "models", "versions", "version_table")
    origins = {key: FILE if key in service.configured else "convention" for key in keys}
    if version_table != service.version_table:
        origins["version_table"] = "MIGRATIONS_VERSION_TABLE"
    for key in _chosen(service):
        origins[key] = FILE
    if service.environment or service.is_env_file_given:
        origins["env_file"] = ENVIRONMENT if service.environment else ENV_FILE
    return origins


def _cell(value: str | list[str]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def _chosen(service: "Service") -> dict[str, Any]:
    """Return what the table, or the command, says of a service beyond what every service has."""
    keys = ("version_table_schema", "dsn", "dsn_key", "password")
    texts: dict[str, Any] = {key: text for key in keys if (text := getattr(service, key))}
    if service.ignore:
        texts["ignore"] = list(service.ignore)
    if "driver" in service.configured:
        texts["driver"] = service.driver
    if service.environment or service.is_env_file_given or "env_file" in service.configured:
        texts["env_file"] = service.relative(service.env_file)
    return texts


def _line(revision: "Revision") -> str:
    labels = f" ({', '.join(revision.branch_labels)})" if revision.branch_labels else ""
    message = f", {revision.message}" if revision.message else ""
    return f"{revision.revision}{labels}{' (head)' if revision.is_head else ''}{message}"


def _plain(revision: "Revision") -> dict[str, Any]:
    return asdict(revision)
