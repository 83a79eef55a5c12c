"""up and down: the start and the end of everything that a developer's machine needs."""

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.context import Context
from invoke.exceptions import Exit

from service_migrations.errors import MigrationError, UsageError, worst_exit_code
from service_migrations.monorepo import Monorepo, Service
from service_migrations.tasks.support import console
from service_migrations.tasks.support.options import YES
from service_migrations.tasks.support.signals import Stopped
from service_migrations.tasks.support.task import number, run, task
from service_migrations.tasks.upgrade import roll_out

if TYPE_CHECKING:
    from service_migrations.rollout.schedule import Result
    from service_migrations.settings.model import Settings

__all__ = ["down", "up"]

_NOT_LOCAL = "left alone: not on this machine"
_LAST_PORT = 65535


@task(
    runs_environment=True,
    help={
        "port": "The port of the project's own server, also of one that is there; its .env files get it.",
        "postgres": "The major version of the project's own server, where there is none yet.",
    },
)
def up(_: Context, port: str = "", postgres: str = "") -> None:
    """Provide PostgreSQL, databases and .env files; upgrade all."""
    from service_migrations.postgres import local
    from service_migrations.settings.model import load_many
    from service_migrations.settings.sources import Sources

    monorepo, sources = Monorepo.locate(), Sources()
    root, services = monorepo.root, monorepo.select([])
    changes: list[str] = []
    written: list[Path] = []
    settings: dict[Service, Settings | MigrationError] = {}
    without_dsn = [service for service in services if local.lacks_dsn(service, sources)]
    uses_cluster = without_dsn or any(local.made_here(service) for service in services)
    options = _cluster_options(port, postgres, uses_cluster=bool(uses_cluster))
    with ExitStack() as stack:
        with console.progress() as progress:
            if uses_cluster:
                stack.enter_context(local.alone(progress, root))
                for service in without_dsn:
                    sources.forget(service.env_file)  # another run may have written it in the meantime
                without_dsn = [service for service in without_dsn if local.lacks_dsn(service, sources)]
                cluster, started = local.ensure_cluster(services, progress, root, sources, **options)
                changes += [f"PostgreSQL {cluster.version}"] if started else []
                for service in without_dsn:
                    progress(f"Writing {service.relative(service.env_file)}")
                    try:
                        local.write_env(service, cluster, sources, services)
                        written.append(service.env_file)
                        sources.forget(service.env_file)
                    except MigrationError as error:
                        settings[service] = error
            for service, loaded_settings in zip(services, load_many(services, sources), strict=True):
                settings.setdefault(service, loaded_settings)
                if not isinstance(loaded_settings, MigrationError) and loaded_settings.dsn.is_local:
                    progress(f"Looking for the database of {service}")
                    try:
                        changes += _create(loaded_settings)
                    except MigrationError as error:
                        settings[service] = error
        _warn_of_commits(root, written)
        # after the live line has ended: a thread draws it, and a process with threads can't fork
        remote_services = [service for service in services if _is_remote(settings[service])]
        local_services = [service for service in services if service not in remote_services]
        results, received = (
            roll_out(local_services, [settings[service] for service in local_services]) if local_services else ([], [])
        )
    if received:
        raise Stopped(received[0])
    results_by_name = {result.service: result for result in results}
    rows = [[service.name, *_row(settings[service], results_by_name.get(service.name))] for service in services]
    console.table(["service", "target", "revision", "state", "seconds"], rows)
    errors = [result.error for result in results if result.error]
    if errors:
        raise Exit(f"{len(errors)} of {len(services)} services failed.", code=worst_exit_code(errors))
    changes += [*map(str, written), *(name for result in results if result.outcome for name in result.outcome.applied)]
    summary = "Everything is up." if changes else "Nothing to do: everything was up, and every service at head."
    names = ", ".join(service.name for service in remote_services)
    console.result(f"{summary} Left alone, not on this machine: {names}." if remote_services else summary)


def _warn_of_commits(root: Path, files: Sequence[Path]) -> None:
    """Warn of files with a password that the next commit of everything would have."""
    from service_migrations.git import is_committable

    names = [file.relative_to(root).as_posix() for file in files if file.is_relative_to(root)]
    names = [name for name in names if is_committable(root, Path(name))]
    if names:
        verb = "has a password" if len(names) == 1 else "have passwords"
        lines = " and ".join(dict.fromkeys(".env" if Path(name).name == ".env" else name for name in names))
        console.note(f"{', '.join(names)} {verb}, and git doesn't ignore such files. Add to .gitignore: {lines}")


def _cluster_options(port: str, version: str, *, uses_cluster: bool) -> dict[str, Any]:
    """Return the arguments of ``ensure_cluster`` that the command line sets."""
    if not uses_cluster and (port or version):
        raise UsageError("--port and --postgres are of the project's own server, and no service uses it.")
    options: dict[str, Any] = {"port": number(port, "--port")} if port else {}
    if options and options["port"] > _LAST_PORT:
        raise UsageError(f"--port {port}: the last port is {_LAST_PORT}.")
    return {**options, "version": version} if version else options


def _create(settings: "Settings") -> "Sequence[str]":
    """Create a service's role and database where the server is the project's own; return what was created."""
    from service_migrations.databases import admin as database
    from service_migrations.postgres import local
    from service_migrations.settings.siblings import sharing

    admin = local.admin_for(settings.dsn, settings.service.root)
    if admin is None:
        return ()
    is_made_here = local.made_here(settings.service)
    return run(database.create(settings, admin, set_password=is_made_here, others=sharing(settings)))


def _is_remote(settings: "Settings | MigrationError") -> bool:
    return not isinstance(settings, MigrationError) and not settings.dsn.is_local


def _row(settings: "Settings | MigrationError", result: "Result | None") -> list[str]:
    """Return a service's row of the table, without its name; a service without a result wasn't changed."""
    target = "-" if isinstance(settings, MigrationError) else settings.target
    if result is None:
        return [target, "-", _NOT_LOCAL, "0.00"]
    if result.outcome is None:
        return ["-", "-", result.state, "0.00"]
    outcome = result.outcome
    state = f"{len(outcome.applied)} applied" if outcome.applied else "at head"
    return [target, ", ".join(outcome.after) or "base", state, f"{outcome.seconds:.2f}"]


@task(settings=False, help={"purge": "Remove the server's data too; asks first.", "yes": YES})
def down(_: Context, purge: bool = False, yes: bool = False) -> None:
    """Stop the project's own PostgreSQL; --purge removes its data."""
    from service_migrations.postgres import local

    root = Monorepo.locate().root
    cluster = local.cluster(root)
    if cluster and purge:
        console.confirm(f"Remove PostgreSQL {cluster.version} in {cluster.home} with all its data?", yes=yes)
    # an `inv up` that runs would start it again, or fail half way
    with local.alone(console.note, root) if cluster else nullcontext():
        cluster = local.cluster(root)  # another `inv down --purge` may have removed it meanwhile
        if not cluster:
            console.result("Nothing to do: the project has no PostgreSQL of its own")
            return
        if purge:
            cluster.remove()
            console.result(f"PostgreSQL {cluster.version} is stopped, and its data removed; the .env files stay")
            return
        was_running = cluster.stop()
    console.result(
        f"PostgreSQL {cluster.version} is stopped; its data stays in {cluster.home}"
        if was_running
        else "Nothing to do: the project's own PostgreSQL does not run"
    )
