"""The project's own PostgreSQL on a developer's machine, and a .env for each service."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path

from service_migrations.configuration import read_configuration
from service_migrations.errors import ConfigurationError, MigrationError, UnreachableError, UsageError
from service_migrations.files import append, create, is_there, replace as replace_file
from service_migrations.monorepo import Service
from service_migrations.postgres.account import reachable_folder
from service_migrations.postgres.binaries import VERSIONS, check_version, provide
from service_migrations.postgres.cluster import SUPERUSER, Cluster
from service_migrations.postgres.filelock import locked
from service_migrations.postgres.ports import free_port, port_is_free
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.example import MARK, assignments, lines, made_here, made_part, with_values
from service_migrations.settings.model import load_unchecked
from service_migrations.settings.setting import given_dsns
from service_migrations.settings.sources import Sources
from service_migrations.settings.template import SERVER, template_of

__all__ = ["admin_for", "alone", "cluster", "ensure_cluster", "home", "lacks_dsn", "made_here", "write_env"]

_PORTS = range(54318, 54399)
_ATTEMPTS = 5
"""Ports that a new cluster tries."""


def home(root: Path, version: str = VERSIONS[-1]) -> Path:
    """Return the folder of the developer's cluster: ``.postgres``, or one that the server's account can access."""
    digest = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    return reachable_folder(root / ".postgres", Path("/var/lib/service-migrations")) / f"{version}-{digest}"


def cluster(root: Path) -> Cluster | None:
    """Return the developer's cluster, running or not, of the newest version that there is; None where there is none."""
    clusters = (Cluster.read(home(root, version)) for version in reversed(VERSIONS))
    return next(filter(None, clusters), None)


def ensure_cluster(
    services: Sequence[Service],
    progress: Callable[[str], None],
    root: Path,
    sources: Sources,
    *,
    port: int | None = None,
    version: str | None = None,
) -> tuple[Cluster, bool]:
    """Return the developer's cluster, which is created and started where needed, and whether that was needed.

    The caller holds ``alone()``: of two processes that create it at once, the second would see half a cluster.

    Args:
        services: whose .env files may name its port.
        progress: called with each step.
        root: the top level.
        sources: the sources of the services' settings; those of a .env that is changed are forgotten.
        port: the port to listen on; the .env files that were made for the cluster get it, too.
        version: the major version of a new cluster; where it is None, the newest that the table names, or of all.

    Raises:
        ConfigurationError: its folder has data, and no ``cluster.json``.
        UnreachableError: its binaries can't be provided, or it doesn't start.
        UsageError: the port is taken, the version is not in the matrix, or there is a cluster of another version.

    """
    if version is not None:
        check_version(version)
    existing = cluster(root)
    if existing and version not in (None, existing.version):
        raise UsageError(
            f"The project's own server is PostgreSQL {existing.version}, in {existing.home}.",
            hint=f"`inv down --purge` removes it with its data; then --postgres {version} makes another.",
        )
    moves = existing is not None and port not in (None, existing.port)
    if existing and existing.is_running() and not moves:
        return existing, False
    if port is not None and not port_is_free(port) and (moves or not existing):
        raise UsageError(f"--port {port} is taken by another program.", hint="Choose another.")
    if not existing:
        binaries = provide(version or _newest(root), progress)
        folder = home(root, binaries.version)
        progress(f"Making a PostgreSQL {binaries.version} cluster in {folder} ({binaries.source})")
        created = Cluster.create(folder, binaries, port or free_port([*_known_ports(services, sources), *_PORTS]))
        _hide_from_git(folder.parent)
        _change_ports(services, r"\d+", created.port, sources)
        return _started(created, services, progress, sources, attempts=1 if port else _ATTEMPTS), True
    if moves and port is not None:
        existing = _moved(existing, port, services, sources)
    return _started(existing, services, progress, sources), True


def _started(
    stopped: Cluster,
    services: Sequence[Service],
    progress: Callable[[str], None],
    sources: Sources,
    *,
    attempts: int = 1,
) -> Cluster:
    """Return a cluster that was started; with several attempts on another port where its own is taken meanwhile."""
    progress(f"Starting PostgreSQL {stopped.version} on 127.0.0.1:{stopped.port}")
    try:
        stopped.start()
    except UnreachableError:
        if attempts == 1 or port_is_free(stopped.port):
            raise
        # another checkout's first run has taken the same one: initdb takes a second
        moved = _moved(stopped, free_port(_PORTS), services, sources)
        return _started(moved, services, progress, sources, attempts=attempts - 1)
    return stopped


def _moved(own_cluster: Cluster, port: int, services: Sequence[Service], sources: Sources) -> Cluster:
    """Return a cluster that is stopped and has another port, which the .env files that were made for it get first."""
    _change_ports(services, str(own_cluster.port), port, sources)
    own_cluster.stop()
    return own_cluster.moved(port)


def _hide_from_git(folder: Path) -> None:
    """Keep the clusters out of the commits of a repository whose .gitignore doesn't know them: they have a password."""
    ignored = folder / ".gitignore"
    if not ignored.exists():
        with suppress(OSError):
            create(ignored, b"*\n")


def _newest(root: Path) -> str:
    """Return the newest version that a team runs."""
    return max(read_configuration(root).postgres or VERSIONS, key=int)


def _known_ports(services: Sequence[Service], sources: Sources) -> Iterator[int]:
    for service in services:
        # an invalid .env is reported by the upgrade of its service
        with suppress(ConfigurationError):
            if made_here(service):
                yield load_unchecked(service, sources).dsn.hosts[0][1]


def _change_ports(services: Sequence[Service], former: str, port: int, sources: Sources) -> None:
    """Let each .env that was made for the cluster name another port than the former, which is a pattern.

    Raises:
        ConfigurationError: a .env can't be written; the others are as before.

    """
    before: dict[Path, bytes] = {}
    for service in services:
        content = service.env_file.read_bytes() if made_part(service) else b""
        changed = _with_port(service, content, former, port)
        if changed == content:
            continue
        path = service.env_file.resolve()
        try:
            replace_file(path, changed)  # it keeps its mode
        except OSError as error:
            for written, former_content in before.items():
                replace_file(written, former_content)
            text = f"{service.relative(service.env_file)} can't be written: {error.strerror}, so the port stays."
            raise ConfigurationError(text) from None
        before[path] = content
        sources.forget(service.env_file)


def _with_port(service: Service, content: bytes, former: str, port: int) -> bytes:
    """Return the bytes of a .env with another port in the part that was made for the cluster."""
    text = content.decode(errors="surrogateescape")  # as bytes: the lines of a team may end in another way
    start = text.find(MARK)
    if start < 0:
        return content
    template = template_of(service)
    ports = [item.key for item in template.variables if item.role == "port"] if template else []
    made = re.sub(rf"^(\w+=\S*@127\.0\.0\.1:){former}/", rf"\g<1>{port}/", text[start:], flags=re.MULTILINE)
    for key in ports:
        made = re.sub(rf"^({key}=){former}(?=\r?$)", rf"\g<1>{port}", made, flags=re.MULTILINE)
    return (text[:start] + made).encode(errors="surrogateescape")


def alone(progress: Callable[[str], None], root: Path) -> AbstractContextManager[None]:
    """Let one process at a time create the cluster, .env files and databases, or stop and remove them."""
    folder = home(root)
    waiting = "Waiting for another `inv up` or `inv down` to end"
    return locked(folder.with_name(f"{folder.name}.lock"), lambda: progress(waiting))


def lacks_dsn(service: Service, sources: Sources) -> bool:
    """Whether a service has no DSN, so that one is written into its .env.

    An existing .env gets one only if the table of pyproject.toml names its variables, and it names no server.
    """
    if service.environment or service.is_env_file_given:
        return False  # they are of another machine
    exists = is_there(service.env_file)
    if exists and not (service.dsn or service.dsn_key):
        return False
    try:
        collected, template = sources.collect(service), template_of(service)
    except MigrationError:
        if exists:
            return False  # loading its settings reports it
        raise
    if given_dsns(collected) or (exists and sources.similar_key(service)):
        return False
    return not any(collected[item.key] for item in template.variables if item.role in SERVER) if template else True


def write_env(
    service: Service, server: Cluster, sources: Sources | None = None, others: Sequence[Service] = ()
) -> None:
    """Write a DSN into a service's .env; a new file is made from .env.example, and readable by its owner only.

    Args:
        service: the service.
        server: the cluster that the DSN leads to.
        sources: the sources of its settings; an existing .env gets only the variables that are set nowhere.
        others: the services that may share its role, whose password they have then.

    Raises:
        ConfigurationError: the example has no valid DSN, or the .env can't be written.

    """
    values = assignments(service, "127.0.0.1", server.port, _passwords(others, server, sources) if sources else {})
    try:
        if sources and is_there(service.env_file):
            collected = sources.collect(service)
            _append(service.env_file, {key: value for key, value in values.items() if not collected.get(key)})
            return
        text = "\n".join([MARK, *with_values(lines(service), values)]) + "\n"
        create(service.env_file, text.encode(), 0o600)
    except OSError as error:
        path = service.relative(service.env_file)
        raise ConfigurationError(f"{path} can't be written: {error.strerror}.") from None


def _passwords(services: Sequence[Service], server: Cluster, sources: Sources) -> dict[str, str]:
    """Return the passwords of the roles that services have on a server: another one would lock them out."""
    passwords: dict[str, str] = {}
    for service in services:
        with suppress(MigrationError):  # it has no .env yet, or the upgrade reports it
            dsn = load_unchecked(service, sources).dsn
            if dsn.is_local and dsn.hosts[0][1] == server.port and dsn.password:
                passwords.setdefault(dsn.user, dsn.password)
    return passwords


def _append(path: Path, values: Mapping[str, str]) -> None:
    """Append variables to a .env, whose other lines stay as they are."""
    text = path.read_bytes()
    separator = "" if not text or text.endswith(b"\n") else "\n"
    append(path, (separator + "\n".join(["", MARK, *with_values([], values)]) + "\n").encode())


def admin_for(dsn: Dsn, root: Path) -> Dsn | None:
    """Return the superuser's DSN where a DSN leads to the developer's cluster; else None."""
    own_cluster = cluster(root)
    if not own_cluster:
        return None
    admin = Dsn(SUPERUSER, "postgres", (("127.0.0.1", own_cluster.port),), own_cluster.password)
    return admin if replace(admin, database=dsn.database).identity == dsn.identity else None
