"""up and down: everything that a developer's machine needs, and its end."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit

from service_migrations.errors import MigrationError, gravest
from service_migrations.monorepo import Monorepo, Service
from service_migrations.tasks import console
from service_migrations.tasks.task import SIGNALS, run, stoppable, task

if TYPE_CHECKING:
    from service_migrations.settings.model import Settings
    from service_migrations.upgrade.commands import Step

__all__ = ["down", "up"]

_ELSEWHERE = "left alone: not on this machine"


@task()
def up(_: Context) -> None:
    """Provide PostgreSQL, databases and .env files; upgrade all."""
    from service_migrations.postgres import local
    from service_migrations.settings import model

    monorepo = Monorepo.locate()
    root, services = monorepo.root, monorepo.select([])
    done: list[str] = []
    errors: list[MigrationError] = []
    unwritten: dict[Service, MigrationError] = {}
    rows: list[list[str]] = []
    ours = any(local.lacks_dsn(service) or local.made_here(service) for service in services)
    with console.progress() as progress, local.alone(progress, root) if ours else nullcontext():
        if ours:
            lacking = [service for service in services if local.lacks_dsn(service)]
            with stoppable():
                cluster, started = local.ensure_cluster(services, progress, root)
            done += [f"PostgreSQL {cluster.version}"] if started else []
            for service in lacking:
                progress(f"Writing {service.relative(service.env_file)}")
                try:
                    local.write_env(service, cluster)
                    done.append(str(service.env_file))
                except MigrationError as error:
                    unwritten[service] = error
        for service, loaded in zip(services, model.load_many(services), strict=True):
            began = time.monotonic()
            try:
                row = _raise_one(unwritten.get(service, loaded), done, progress)
            except MigrationError as error:
                if error.exit_code > SIGNALS:
                    raise
                errors.append(error)
                row = ["-", "-", "failed"]
            rows.append([*row, f"{time.monotonic() - began:.2f}"])
    rows = [[service.name, *row] for service, row in zip(services, rows, strict=True)]
    console.table(["service", "target", "revision", "state", "seconds"], rows)
    for failure in errors:
        console.note(str(failure))
    if errors:
        raise Exit(f"{len(errors)} of {len(services)} services failed.", code=gravest(errors))
    said = "Everything is up." if done else "Nothing to do: everything was up, and every service at head."
    elsewhere = [row[0] for row in rows if _ELSEWHERE in row]
    console.result(f"{said} Left alone, not on this machine: {', '.join(elsewhere)}." if elsewhere else said)


def _raise_one(loaded: "Settings | MigrationError", done: list[str], progress: Callable[[str], None]) -> list[str]:
    """Bring one service up, where its database is on this machine; note in *done* what was changed."""
    from service_migrations.connection import admin as database
    from service_migrations.postgres import local
    from service_migrations.upgrade import commands

    if isinstance(loaded, MigrationError):
        raise loaded
    if not loaded.dsn.is_local:
        return [loaded.target, "-", _ELSEWHERE]
    admin = local.admin_for(loaded.dsn, loaded.service.root)
    if admin:
        done += run(database.create(loaded, admin, set_password=local.made_here(loaded.service)))
    progress(f"Upgrading {loaded.service} -> {loaded.target}")
    outcome = run(commands.upgrade(loaded.service, step=_step(loaded.service.name, progress)))
    done += outcome.applied
    state = f"{len(outcome.applied)} applied" if outcome.applied else "at head"
    return [loaded.target, ", ".join(outcome.after) or "base", state]


def _step(name: str, progress: Callable[[str], None]) -> "Step | None":
    """Return what draws one service's progress; where nothing is drawn, Alembic's log lines tell as much."""
    if not console.is_live():
        return None
    return lambda _, number, count: progress(f"Upgrading {name}: {number} of {count}")


@task(help={"purge": "Remove the server's data too; asks first.", "yes": "Don't ask."})
def down(_: Context, purge: bool = False, yes: bool = False) -> None:
    """Stop the project's own PostgreSQL; --purge removes its data."""
    from service_migrations.postgres import local

    cluster = local.cluster(Monorepo.locate().root)
    if not cluster:
        console.result("Nothing to do: the project has no PostgreSQL of its own")
        return
    if purge:
        console.confirm(f"Remove PostgreSQL {cluster.version} in {cluster.home} with all its data?", yes=yes)
        cluster.remove()
        console.result(f"PostgreSQL {cluster.version} is stopped, and its data removed; the .env files stay")
        return
    was_running = cluster.is_running()
    cluster.stop()
    console.result(
        f"PostgreSQL {cluster.version} is stopped; its data stays in {cluster.home}"
        if was_running
        else "Nothing to do: the project's own PostgreSQL does not run"
    )
