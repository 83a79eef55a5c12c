"""The supervisor of a throw-away server, which runs for as long as the process that has started it.

It is a program of its own: ``supervisor.py HOME UID GID POSTGRES ARG...``. At the end of its standard input, which the
starting process closes or which ends with that process, even by kill -9, it stops the server and removes HOME. So no
test run leaves a server behind. Only the standard library is used.
"""

import contextlib
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

_STOP_TIMEOUT = 5.0
"""Seconds for an immediate shutdown, which writes no data: it is removed next."""
_INTERVAL = 0.2
"""Seconds between two checks whether the server has ended by itself."""


def main(home: str, uid: int, gid: int, command: list[str]) -> None:
    """Start the server, wait for the end of input, stop the server, remove its files."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    account = {"user": uid, "group": gid, "extra_groups": []} if uid >= 0 else {}
    with (Path(home) / "log").open("wb") as log:
        server = subprocess.Popen(
            command,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # an ignored signal stays ignored across exec, and the server needs these to stop
            preexec_fn=_default_signals,  # noqa: PLW1509 - no threads here
            **account,  # type: ignore[call-overload]
        )
    try:
        while server.poll() is None and not select.select([sys.stdin], [], [], _INTERVAL)[0]:
            pass
        if server.poll() is not None:
            (Path(home) / "ended").touch()  # the waiting process then reads the log and closes our input
        sys.stdin.buffer.read()
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(_STOP_TIMEOUT)
            server.kill()
        shutil.rmtree(home, ignore_errors=True)


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
