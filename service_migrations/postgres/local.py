"""The project's own PostgreSQL on a developer's machine, and a .env for each service."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path

from service_migrations.errors import ConfigurationError
from service_migrations.monorepo import Service
from service_migrations.postgres.account import reachable_folder
from service_migrations.postgres.binaries import VERSIONS, provide
from service_migrations.postgres.cluster import SUPERUSER, Cluster
from service_migrations.postgres.filelock import locked
from service_migrations.postgres.ports import free_port
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.example import KEY, example, lines
from service_migrations.settings.model import load_unchecked
from service_migrations.settings.sources import Sources, given_dsns

__all__ = ["admin_for", "alone", "cluster", "ensure_cluster", "home", "lacks_dsn", "made_here", "write_env"]

_PORTS = range(54318, 54399)
_MARK = "# Made by `inv up` for the project's own PostgreSQL."


def home(root: Path) -> Path:
    """Return the folder of the developer's cluster: ``.postgres``, or one that the server's account can access."""
    digest = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    return reachable_folder(root / ".postgres", Path("/var/lib/service-migrations")) / f"{VERSIONS[-1]}-{digest}"


def cluster(root: Path) -> Cluster | None:
    """Return the developer's cluster, running or not; None where there is none."""
    return Cluster.read(home(root))


def ensure_cluster(
    services: Sequence[Service], progress: Callable[[str], None], root: Path, sources: Sources
) -> tuple[Cluster, bool]:
    """Return the developer's cluster, which is created and started where needed, and whether that was needed.

    The caller holds ``alone()``: of two processes that create it at once, the second would see half a cluster.

    Raises:
        ConfigurationError: its folder has data, and no ``cluster.json``.
        UnreachableError: its binaries can't be provided, or it doesn't start.

    """
    existing = cluster(root)
    if existing and existing.is_running():
        return existing, False
    if not existing:
        binaries = provide(VERSIONS[-1], progress)
        progress(f"Making a PostgreSQL {binaries.version} cluster in {home(root)} ({binaries.source})")
        existing = Cluster.create(home(root), binaries, free_port([*_known_ports(services, sources), *_PORTS]))
    progress(f"Starting PostgreSQL {existing.version} on 127.0.0.1:{existing.port}")
    existing.start()
    return existing, True


def _known_ports(services: Sequence[Service], sources: Sources) -> Iterator[int]:
    for service in services:
        # an invalid .env is reported by the upgrade of its service
        with suppress(ConfigurationError):
            if made_here(service):
                yield load_unchecked(service, sources).dsn.hosts[0][1]


def alone(progress: Callable[[str], None], root: Path) -> AbstractContextManager[None]:
    """Let one process at a time create the cluster, .env files and databases."""
    folder = home(root)
    return locked(folder.with_name(f"{folder.name}.lock"), lambda: progress("Waiting for another `inv up` to end"))


def lacks_dsn(service: Service, sources: Sources) -> bool:
    """Whether a service has no .env and no DSN from another source."""
    return not service.env_file.exists() and not given_dsns(sources.collect(service))


def made_here(service: Service) -> bool:
    """Whether a service's .env was written for the developer's cluster."""
    path = service.env_file
    return path.is_file() and path.read_text(encoding="utf-8", errors="replace").startswith(_MARK)


def write_env(service: Service, server: Cluster) -> None:
    """Write a service's .env from .env.example, with a random password, readable by its owner only.

    Raises:
        ConfigurationError: the example has no DATABASE_DSN, or the .env can't be written.

    """
    dsn = example(service)
    dsn_line = f"{KEY}postgresql://{dsn.user}:{dsn.password}@127.0.0.1:{server.port}/{dsn.database}"
    env_lines = [dsn_line if line.startswith(KEY) else line for line in lines(service)]
    try:
        descriptor = os.open(service.env_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join([_MARK, *env_lines]) + "\n")
    except OSError as error:
        path = service.relative(service.env_file)
        raise ConfigurationError(f"{path} can't be written: {error.strerror}.") from None


def admin_for(dsn: Dsn, root: Path) -> Dsn | None:
    """Return the superuser's DSN where a DSN leads to the developer's cluster; else None."""
    own_cluster = cluster(root)
    if not own_cluster:
        return None
    admin = Dsn(SUPERUSER, "postgres", (("127.0.0.1", own_cluster.port),), own_cluster.password)
    return admin if replace(admin, database=dsn.database).identity == dsn.identity else None
