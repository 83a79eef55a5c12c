"""The postmaster of a data folder: whether it is ready, and the last line of its log."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from service_migrations.errors import UnreachableError
from service_migrations.postgres.ports import port_is_free

__all__ = ["START_TIMEOUT", "last_line", "postmaster_is_ready", "postmaster_state", "wait_until_ready"]

START_TIMEOUT = 60.0
"""Seconds in which a server must accept connections, also after a crash."""


def postmaster_state(data: Path) -> str:
    """Return the state of the postmaster of a data folder: ``starting``, ``ready``, ``stopping``; empty without one.

    Lines 1, 4 and 8 of postmaster.pid have it. After a crash of the machine the file is there, and another program may
    have the number of the process: nobody listens on the port then.
    """
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        os.kill(int(lines[0]), 0)
    except PermissionError:
        pass  # it runs, under another account
    except (OSError, ValueError, IndexError):
        return ""
    if len(lines) <= 7 or port_is_free(int(lines[3])):  # noqa: PLR2004 - LOCK_FILE_LINE_PM_STATUS, LOCK_FILE_LINE_PORT
        return ""
    return lines[7].strip()


def postmaster_is_ready(data: Path) -> bool:
    """Whether the postmaster of a data folder runs and accepts connections."""
    return postmaster_state(data) == "ready"


def wait_until_ready(data: Path, is_alive: Callable[[], bool], log: Path) -> None:
    """Wait until a server accepts connections.

    Args:
        data: its data folder.
        is_alive: returns whether the server still runs.
        log: the log of the server.

    Raises:
        UnreachableError: the server has ended, or isn't ready after a minute.

    """
    deadline = time.monotonic() + START_TIMEOUT
    while is_alive() and time.monotonic() < deadline:
        if postmaster_is_ready(data):
            return
        time.sleep(0.02)
    raise UnreachableError(f"PostgreSQL did not start: {last_line(log)}")


def last_line(log: Path) -> str:
    """Return the last line of a log, for a message."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    return lines[-1].strip() if lines else "it wrote no log"
