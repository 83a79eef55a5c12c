"""up and down: everything that a developer's machine needs, and its end."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit

from service_migrations.errors import MigrationError, gravest
from service_migrations.monorepo import Monorepo, Service
from service_migrations.tasks import console
from service_migrations.tasks.signals import Stopped
from service_migrations.tasks.task import run, task
from service_migrations.tasks.upgrade import roll_out

if TYPE_CHECKING:
    from service_migrations.rollout.schedule import Result
    from service_migrations.settings.model import Settings

__all__ = ["down", "up"]

_ELSEWHERE = "left alone: not on this machine"


@task()
def up(_: Context) -> None:
    """Provide PostgreSQL, databases and .env files; upgrade all."""
    from service_migrations.postgres import local
    from service_migrations.settings.model import load_many
    from service_migrations.settings.sources import Sources

    monorepo, sources = Monorepo.locate(), Sources()
    root, services = monorepo.root, monorepo.select([])
    done: list[str] = []
    settings: dict[Service, Settings | MigrationError] = {}
    lacking = [service for service in services if local.lacks_dsn(service, sources)]
    ours = lacking or any(local.made_here(service) for service in services)
    with ExitStack() as held:
        with console.progress() as progress:
            if ours:
                held.enter_context(local.alone(progress, root))
                for service in lacking:
                    sources.forget(service.env_file)  # another run may have written it while this one waited
                lacking = [service for service in lacking if local.lacks_dsn(service, sources)]
                cluster, started = local.ensure_cluster(services, progress, root, sources)
                done += [f"PostgreSQL {cluster.version}"] if started else []
                for service in lacking:
                    progress(f"Writing {service.relative(service.env_file)}")
                    try:
                        local.write_env(service, cluster)
                        done.append(str(service.env_file))
                        sources.forget(service.env_file)
                    except MigrationError as error:
                        settings[service] = error
            for service, loaded in zip(services, load_many(services, sources), strict=True):
                settings.setdefault(service, loaded)
                if not isinstance(loaded, MigrationError) and loaded.dsn.is_local:
                    progress(f"Making the database of {service}")
                    try:
                        done += _create(loaded)
                    except MigrationError as error:
                        settings[service] = error
        # behind the live line, which is drawn by a thread: a process with threads can't fork
        elsewhere = [service for service in services if _is_elsewhere(settings[service])]
        here = [service for service in services if service not in elsewhere]
        results, received = roll_out(here, [settings[service] for service in here]) if here else ([], [])
    if received:
        raise Stopped(received[0])
    by_name = {result.service: result for result in results}
    rows = [[service.name, *_row(settings[service], by_name.get(service.name))] for service in services]
    console.table(["service", "target", "revision", "state", "seconds"], rows)
    errors = [result.error for result in results if result.error]
    if errors:
        raise Exit(f"{len(errors)} of {len(services)} services failed.", code=gravest(errors))
    done += [revision for result in results if result.outcome for revision in result.outcome.applied]
    summary = "Everything is up." if done else "Nothing to do: everything was up, and every service at head."
    names = ", ".join(service.name for service in elsewhere)
    console.result(f"{summary} Left alone, not on this machine: {names}." if elsewhere else summary)


def _create(settings: "Settings") -> "Sequence[str]":
    """Create a service's role and database where the server is the project's own; return what was created."""
    from service_migrations.connection import admin as database
    from service_migrations.postgres import local

    admin = local.admin_for(settings.dsn, settings.service.root)
    if admin is None:
        return ()
    return run(database.create(settings, admin, set_password=local.made_here(settings.service)))


def _is_elsewhere(settings: "Settings | MigrationError") -> bool:
    return not isinstance(settings, MigrationError) and not settings.dsn.is_local


def _row(settings: "Settings | MigrationError", result: "Result | None") -> list[str]:
    """Return what the table says of a service; it was not touched where there is no result."""
    target = "-" if isinstance(settings, MigrationError) else settings.target
    if result is None:
        return [target, "-", _ELSEWHERE, "0.00"]
    if result.outcome is None:
        return ["-", "-", result.state, "0.00"]
    outcome = result.outcome
    state = f"{len(outcome.applied)} applied" if outcome.applied else "at head"
    return [target, ", ".join(outcome.after) or "base", state, f"{outcome.seconds:.2f}"]


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
