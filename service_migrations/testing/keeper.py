"""The process that runs a server for all processes of a test run, and stops it after the last of them.

It is started as ``python -m service_migrations.testing.keeper FOLDER VERSION``. Each process that uses the server holds
``users`` in that folder, shared; the system frees that lock however a process ends, so that no run leaves a server
behind. ``keepers`` is held for as long as a keeper lives.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from service_migrations.errors import MigrationError
from service_migrations.postgres import Server, throwaway
from service_migrations.postgres.filelock import locked

__all__ = ["ADDRESS", "KEEPERS", "USERS"]

ADDRESS, USERS, KEEPERS = "server.json", "users", "keepers"
"""The files of the folder: the server's address, and the two locks."""


def main(folder: Path, version: str) -> None:
    """Start a server, write its address to ``server.json``, and stop it when no process uses it any more."""
    with locked(folder / KEEPERS, shared=True):
        if os.fork():
            os._exit(0)  # the starting process waits for this one; the forked one goes on
        try:
            # a worker of autovacuum would disturb comparisons and the cloning of databases
            with throwaway(version, settings={"autovacuum": "off"}) as server:
                _write(folder, _plain(server))
                with locked(folder / USERS):
                    (folder / ADDRESS).unlink(
                        missing_ok=True
                    )  # the next process that needs a server starts another keeper
        except (MigrationError, OSError) as error:
            _write(folder, {"error": str(error)})


def _plain(server: Server) -> dict[str, Any]:
    admin = server.admin
    return {
        "version": server.version,
        "source": server.source,
        "log": str(server.log) if server.log else None,
        "data": str(server.data) if server.data else None,
        "admin": [admin.user, admin.database, admin.hosts, admin.password, dict(admin.parameters)],
    }


def _write(folder: Path, values: dict[str, Any]) -> None:
    temporary = folder / f"{ADDRESS}.unready"
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(values), encoding="utf-8")
    temporary.rename(folder / ADDRESS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
