"""Invoke in a child that is forked from a process with all imports done: without the second that they take.

The child is a process like any other, so nothing has to be put back after a task. For what start-up, the interpreter's
options or the command line in a list of processes matter to, there are ``Monorepo.process`` and ``Monorepo.spawn``.
"""

import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import invoke.main

__all__ = ["Child"]

ROOT = Path(__file__).resolve().parents[2]

OTHERS = ("asyncpg", "rich.live", "rich.status", "rich.table", "sqlalchemy.dialects.postgresql.asyncpg")
"""What the library imports late."""

FRESH = ("tasks", "templates", "testing", "nox")
"""Rooms that each child imports for itself, or never: the first does something when it is imported."""

MESSAGE = 200_000
"""Bytes of a message at most: words and environment."""

TEARDOWN = 10.0
"""Seconds for the process that forks to end."""


class Child:
    """Invoke, running with nobody at the keyboard.

    Args:
        words: its arguments.
        cwd: the working directory.
        env: the whole environment.
        out: the descriptor that becomes its stdout.
        err: the descriptor that becomes its stderr.
        session: start a session of its own, in which it can be interrupted also where the tests can't.

    """

    def __init__(
        self, words: tuple[str, ...], cwd: Path, env: dict[str, str], out: int, err: int, *, session: bool = False
    ) -> None:
        request = json.dumps({"words": words, "cwd": str(cwd), "env": env, "session": session}).encode()
        self._status, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            socket.send_fds(_parent(), [request], [its.fileno(), out, err])
        self.pid = int(self._status.recv(MESSAGE))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return its exit code, minus the number of the signal that ended it, or None while it runs."""
        try:
            return self.wait(0)
        except (TimeoutError, BlockingIOError):
            return None

    def wait(self, seconds: float | None = None) -> int:
        """Wait for its end, and return its exit code as of ``poll``.

        Raises:
            TimeoutError: it runs for longer.

        """
        if self.returncode is None:
            self._status.settimeout(seconds)
            self.returncode = int(self._status.recv(MESSAGE))
            self._status.close()
        return self.returncode

    def kill(self) -> None:
        """Kill it, and wait for its end; nothing happens to one that has ended."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()


@cache
def _parent() -> socket.socket:
    """Start the process that forks, once for each process of pytest, and return the channel to it."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tests.support.forked", str(its.fileno())]
    with its:
        parent = subprocess.Popen(command, cwd=ROOT, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL)
    atexit.register(_end, parent, ours)
    return ours


def _end(parent: "subprocess.Popen[bytes]", channel: socket.socket) -> None:
    """Close the channel, which ends the process; where pytest is killed, the system closes it."""
    channel.close()
    parent.wait(TEARDOWN)


def import_all() -> None:
    """Import what tasks import when they are called."""
    for path in sorted(ROOT.glob("service_migrations/**/*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[1] not in FRESH and not {"__init__", "__main__", "unselected"} & set(parts):
            import_module(".".join(parts))
    for name in OTHERS:
        import_module(name)


def serve(channel: socket.socket) -> tuple[bytes, list[int]]:
    """Return a request and its descriptors, in a process that is forked for it; end with the channel."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, MESSAGE, 3)
        if not message:
            os._exit(0)
        if not os.fork():
            channel.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return message, descriptors
        for descriptor in descriptors:
            os.close(descriptor)


def fork(status: int, *streams: int, session: bool) -> None:
    """Return in a child with these streams, which has told its number to a socket; its parent tells its end there."""
    child = os.fork()
    if child:
        _tell_end(status, child, streams)
    if session:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    with socket.socket(fileno=status) as told:
        told.send(str(os.getpid()).encode())
    for number, descriptor in enumerate(streams, start=1):
        os.dup2(descriptor, number)
        os.close(descriptor)


def _tell_end(status: int, child: int, streams: tuple[int, ...]) -> NoReturn:
    for descriptor in streams:
        os.close(descriptor)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with socket.socket(fileno=status) as told, suppress(BrokenPipeError):  # the test may have ended
        told.send(str(code).encode())
    os._exit(0)


def main() -> None:
    """Serve requests; in a child, become what ``python -m invoke`` is."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    import_all()
    gc.freeze()
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, which closes the channel
    message, descriptors = serve(channel)
    signal.signal(signal.SIGINT, interrupt)
    request = json.loads(message)
    fork(*descriptors, session=request["session"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = [str(invoke.main.__file__).replace("main.py", "__main__.py"), *request["words"]]
    sys.path[0] = request["cwd"]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    code: object = None
    try:
        invoke.main.program.run()
    except SystemExit as ended:
        code = ended.code
    if code is None or isinstance(code, int):
        end_at_once(code or 0)
    raise SystemExit(code)


def end_at_once(code: int) -> None:
    """Do what the interpreter does at the end, without freeing each object: a third of a short task's time.

    The pages of all imports are shared with the parent, and freeing would copy each of them.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
