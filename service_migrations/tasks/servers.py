"""pg.start, pg.stop, pg.status, pg.versions, pg.fetch: the project's own PostgreSQL, and the versions of the matrix."""

from invoke.context import Context

from service_migrations.errors import UnreachableError
from service_migrations.monorepo import Monorepo
from service_migrations.tasks.support import console
from service_migrations.tasks.support.task import task

__all__ = ["fetch", "start", "status", "stop", "versions"]


@task(settings=False)
def start(_: Context) -> None:
    """Start the project's own PostgreSQL; make it if need be."""
    from service_migrations.postgres import local
    from service_migrations.settings.sources import Sources

    monorepo = Monorepo.locate()
    with console.progress() as progress, local.alone(progress, monorepo.root):
        cluster, changed = local.ensure_cluster(monorepo.services(), progress, monorepo.root, Sources())
    console.result(
        f"PostgreSQL {cluster.version} {'is up' if changed else 'was up already'} on 127.0.0.1:{cluster.port}"
    )


@task(settings=False)
def stop(_: Context) -> None:
    """Stop the project's own PostgreSQL; its data stays."""
    from service_migrations.postgres import local

    root = Monorepo.locate().root
    if local.cluster(root):
        with local.alone(console.note, root):
            cluster = local.cluster(root)  # `inv down --purge` may have removed it meanwhile
            was_running = cluster is not None and cluster.stop()
        if cluster and was_running:
            console.result(f"PostgreSQL {cluster.version} is stopped; its data stays in {cluster.home}")
            return
    console.result("Nothing to do: the project's own PostgreSQL does not run")


@task(settings=False)
def status(_: Context) -> None:
    """Show where the project's own PostgreSQL runs, or exit 69."""
    from service_migrations.postgres import local

    cluster = local.cluster(Monorepo.locate().root)
    if not cluster:
        raise UnreachableError(
            "The project has no PostgreSQL of its own yet.", hint="`inv up` or `inv pg.start` makes one."
        )
    if not cluster.is_running():
        raise UnreachableError(
            f"PostgreSQL {cluster.version} in {cluster.home} does not run.", hint="`inv pg.start` starts it."
        )
    console.result(f"PostgreSQL {cluster.version} runs on 127.0.0.1:{cluster.port}, in {cluster.home}")


@task(settings=False)
def versions(_: Context) -> None:
    """List the versions that this machine can provide, and how."""
    from service_migrations.postgres import VERSIONS
    from service_migrations.postgres.throwaway import describe

    console.table(["version", "state", "from"], [[version, *describe(version)] for version in VERSIONS])


@task(settings=False, help={"postgres": "A major version; all of the matrix where it is missing."})
def fetch(_: Context, postgres: str = "") -> None:
    """Download the binaries of a version, or of all, if missing."""
    from service_migrations.postgres import VERSIONS
    from service_migrations.postgres.binaries import provide
    from service_migrations.postgres.throwaway import describe

    with console.progress() as progress:
        for wanted in [postgres] if postgres else VERSIONS:
            state, source = describe(wanted)
            if state != "ready":
                source = provide(wanted, progress).source
            console.result(f"PostgreSQL {wanted}: {source}")
