"""Invoke in a child that is forked from a process with all imports done: without the second that they take.

The child is a process like any other, so nothing has to be put back after a task. For what start-up, the interpreter's
options or the command line in a list of processes matter to, there is ``Monorepo.process``.
"""

import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import invoke.main

__all__ = ["run_invoke"]

ROOT = Path(__file__).resolve().parents[2]

OTHERS = ("asyncpg", "rich.live", "rich.status", "rich.table", "sqlalchemy.dialects.postgresql.asyncpg")
"""What the library imports late."""

FRESH = ("tasks", "templates", "testing", "nox")
"""Rooms that each child imports for itself, or never: the first does something when it is imported."""

MESSAGE = 200_000
"""Bytes of a message at most: words and environment."""


TEARDOWN = 10.0
"""Seconds for the process that forks to end."""


def run_invoke(words: tuple[str, ...], cwd: Path, env: dict[str, str], seconds: float) -> tuple[int, str, str]:
    """Run Invoke with nobody at the keyboard, and return its exit code and what it wrote to both streams.

    Raises:
        TimeoutError: it didn't end within so many seconds, and was killed.

    """
    channel = _parent()
    with TemporaryFile("w+", encoding="utf-8") as out, TemporaryFile("w+", encoding="utf-8") as err:
        request = json.dumps({"words": words, "cwd": str(cwd), "env": env}).encode()
        socket.send_fds(channel, [request], [out.fileno(), err.fileno()])
        child = int(channel.recv(MESSAGE))
        channel.settimeout(seconds)
        try:
            code = int(channel.recv(MESSAGE))
        except TimeoutError:
            os.kill(child, signal.SIGKILL)
            channel.settimeout(None)
            channel.recv(MESSAGE)
            raise
        finally:
            channel.settimeout(None)
        for stream in (out, err):
            stream.seek(0)
        return code, out.read(), err.read()


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


def fork_for_each_request(channel: socket.socket) -> dict[str, Any]:
    """Return a request, with its streams in place, in the child that is forked for it; end with the channel."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, MESSAGE, 2)
        if not message:
            os._exit(0)
        child = os.fork()
        if not child:
            channel.close()
            for stream, descriptor in enumerate(descriptors, start=1):
                os.dup2(descriptor, stream)
                os.close(descriptor)
            return dict(json.loads(message))
        for descriptor in descriptors:
            os.close(descriptor)
        channel.send(str(child).encode())
        channel.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def main() -> None:
    """Serve requests; in a child, become what ``python -m invoke`` is."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    import_all()
    gc.freeze()
    request = fork_for_each_request(channel)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = [str(invoke.main.__file__).replace("main.py", "__main__.py"), *request["words"]]
    sys.path[0] = request["cwd"]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    invoke.main.program.run()


if __name__ == "__main__":
    main()
