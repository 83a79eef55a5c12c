"""One server for all workers of a run, which starts while they import and collect.

Only for tests that leave the server itself alone: of what a test does to roles, settings and processes, its
neighbours see everything. The process that runs the workers owns the server, so it ends with that one, however.
"""

import json
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Thread

from service_migrations.errors import MigrationError
from service_migrations.postgres import Server, throwaway
from service_migrations.postgres.binaries import provide
from service_migrations.postgres.throwaway import describe
from service_migrations.settings.dsn import Dsn

UNREACHABLE = 69
"""How pytest exits where there can't be a server: as the tasks do."""

PATIENCE = 120.0
"""Seconds for a server to start; whatever has to be downloaded is there by then."""


def make_sure(version: str) -> None:
    """Download the binaries of a version where need be.

    Raises:
        MigrationError: it can't be provided here; the message says what would help.

    """
    state, _ = describe(version)
    if state != "ready":
        provide(version, lambda line: sys.stderr.write(f"{line}\n"))


class SharedServer:
    """A server that starts in the background; whoever is told its ``place`` can wait for it."""

    def __init__(self, version: str, place: Path) -> None:
        self._stack, self.place = ExitStack(), place
        self._thread = Thread(target=self._start, args=(version,), name=f"PostgreSQL {version}")
        self._thread.start()

    def _start(self, version: str) -> None:
        try:
            server = self._stack.enter_context(throwaway(version, settings={"autovacuum": "off"}))
            told = {"version": version, "source": server.source, "log": server.log and str(server.log)}
            told |= {"data": server.data and str(server.data), "user": server.admin.user}
            told |= {"database": server.admin.database, "hosts": server.admin.hosts, "password": server.admin.password}
        except (MigrationError, OSError) as error:
            told = {"error": str(error)}
        unready = self.place.with_suffix(".unready")
        unready.touch(mode=0o600)
        unready.write_text(json.dumps(told), encoding="utf-8")
        unready.rename(self.place)

    def close(self) -> None:
        """Stop the server; also one that is still about to start."""
        self._thread.join()
        self._stack.close()


def awaited(place: Path) -> Server:
    """Return the server that was promised at a place, once it accepts connections."""
    deadline = time.monotonic() + PATIENCE
    while not place.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"The server that all workers share has not started within {PATIENCE:.0f} s.")
        time.sleep(0.01)
    told = json.loads(place.read_text(encoding="utf-8"))
    if "error" in told:
        raise RuntimeError(told["error"])
    hosts = tuple((host, port) for host, port in told["hosts"])
    admin = Dsn(told["user"], told["database"], hosts, told["password"])
    server = Server(told["version"], admin, told["source"])
    return replace(server, log=Path(told["log"]), data=Path(told["data"])) if told["log"] else server
