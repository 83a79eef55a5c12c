"""The process that keeps a server for all processes of a test run, and stops it when the last of them has ended.

Started as ``python -m service_migrations.testing.keeper FOLDER VERSION``. Each process that uses the server holds
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

__all__ = ["KEEPERS", "PLACE", "USERS"]

PLACE, USERS, KEEPERS = "server.json", "users", "keepers"
"""The files of the folder: how to reach the server, and the two locks."""


def main(folder: Path, version: str) -> None:
    """Start a server, say in ``server.json`` how to reach it, and stop it once nobody uses it."""
    with locked(folder / KEEPERS, shared=True):
        if os.fork():
            os._exit(0)  # whoever started us waits for this process; the other one is nobody's child
        try:
            # a comparison is not to meet a worker of autovacuum, nor is the cloning of a database
            with throwaway(version, settings={"autovacuum": "off"}) as server:
                _write(folder, _plain(server))
                with locked(folder / USERS):
                    (folder / PLACE).unlink(missing_ok=True)  # the next one who wants a server starts another keeper
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
    unready = folder / f"{PLACE}.unready"
    unready.touch(mode=0o600)
    unready.write_text(json.dumps(values), encoding="utf-8")
    unready.rename(folder / PLACE)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
