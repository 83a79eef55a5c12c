"""The server that all processes of a test run share."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from service_migrations.errors import UnreachableError
from service_migrations.monorepo import Monorepo
from service_migrations.postgres import VERSIONS, Server
from service_migrations.postgres.filelock import locked
from service_migrations.settings.dsn import Dsn
from service_migrations.testing.keeper import ADDRESS, KEEPERS, USERS

__all__ = ["newest_version", "shared_server", "wait_until_gone"]

_PAUSE = 0.02
_PATIENCE = 30.0
"""Seconds for a server to stop after its last user."""


def newest_version() -> str:
    """Return the newest PostgreSQL of the monorepo's table, or else of the packages.

    Raises:
        MigrationError: the working directory is in no monorepo, or its table is invalid.

    """
    return max(Monorepo.locate().configuration.postgres or VERSIONS, key=int)


@contextmanager
def shared_server(version: str, folder: Path) -> Iterator[Server]:
    """Yield the server of a test run, which the first process starts.

    It is only for tests that don't change the server itself: other tests would see changes of roles, settings and
    processes.

    Args:
        version: the major version, such as ``"16"``.
        folder: a folder that only the processes of this run use.

    Raises:
        UnreachableError: the server can't be provided; the message has the fix.

    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / USERS, shared=True):
        with locked(folder / "starting"):
            if not (folder / ADDRESS).exists():
                _start(version, folder)
            server = _read(folder / ADDRESS)
        yield server


def wait_until_gone(data: Path) -> None:
    """Wait until a server is stopped and its data is removed, for half a minute at most."""
    deadline = time.monotonic() + _PATIENCE
    while data.exists() and time.monotonic() < deadline:
        time.sleep(_PAUSE)


def _start(version: str, folder: Path) -> None:
    # not the tests' own streams, which end with the tests
    with (folder / "keeper.log").open("ab") as log:
        subprocess.run(
            [sys.executable, "-P", "-m", "service_migrations.testing.keeper", str(folder), version],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the tests
            check=False,
        )
    while not (folder / ADDRESS).exists():
        if not _is_kept(folder) and not (folder / ADDRESS).exists():
            lines = (folder / "keeper.log").read_text(encoding="utf-8", errors="replace").splitlines()
            raise UnreachableError(f"PostgreSQL {version} was not started: {''.join(lines[-1:]) or 'no reason given'}.")
        time.sleep(_PAUSE)


def _is_kept(folder: Path) -> bool:
    """Whether a keeper runs."""
    with (folder / KEEPERS).open("w") as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _read(path: Path) -> Server:
    values = json.loads(path.read_text(encoding="utf-8"))
    if "error" in values:
        raise UnreachableError(values["error"])
    user, database, hosts, password, parameters = values["admin"]
    return Server(
        version=values["version"],
        admin=Dsn(user, database, tuple((host, port) for host, port in hosts), password, parameters),
        source=values["source"],
        log=Path(values["log"]) if values["log"] else None,
        data=Path(values["data"]) if values["data"] else None,
    )
