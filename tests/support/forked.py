"""Invoke or Alembic in a child that is forked from a process with all imports done: without the second that they take.

The parent has run some tasks itself, so that a child finds what is compiled or read only once. The child is a process
like any other, so nothing has to be put back after a task. For what start-up, the interpreter's options or the command
line in a list of processes matter to, there are ``Monorepo.process`` and ``Monorepo.spawn``.
"""

import atexit
import gc
import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import alembic.config
import invoke.main

__all__ = ["Child", "start"]

ALEMBIC = Path(sys.executable).with_name("alembic")

ROOT = Path(__file__).resolve().parents[2]

OTHERS = ("asyncpg", "rich.live", "rich.status", "rich.table", "sqlalchemy.dialects.postgresql.asyncpg")
"""What the library imports late."""

NEVER = ("templates", "testing", "nox")
"""Rooms that no task imports."""

PACKAGE = "service_migrations.tasks"
"""What each child imports for itself: it does something when it is imported."""

MESSAGE = 200_000
"""Bytes of a message at most: words and environment."""

TEARDOWN = 10.0
"""Seconds for the process that forks to end."""

WARMING = ("db.upgrade", "db.upgrade --service warm", "db.current", "db.status", "db.plan", "db.check", "db.drift")
"""The tasks that it runs itself."""

_dsn: list[str] = []


class Child:
    """Invoke, or Alembic's own program, running with nobody at the keyboard.

    Args:
        words: its arguments.
        cwd: the working directory.
        env: the whole environment.
        out: the descriptor that becomes its stdout.
        err: the descriptor that becomes its stderr.
        session: start a session of its own, in which it can be interrupted also where the tests can't.
        program: ``invoke`` or ``alembic``.

    """

    def __init__(
        self,
        words: tuple[str, ...],
        cwd: Path,
        env: dict[str, str],
        out: int,
        err: int,
        *,
        session: bool = False,
        program: str = "invoke",
    ) -> None:
        wanted = {"words": words, "cwd": str(cwd), "env": env, "session": session, "program": program}
        request = json.dumps(wanted).encode()
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


def start(dsn: str) -> None:
    """Start the process that forks, which runs some tasks on a database first."""
    _dsn.append(dsn)
    _parent()


@cache
def _parent() -> socket.socket:
    """Start the process that forks, once for each process of pytest, and return the channel to it."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tests.support.forked", str(its.fileno()), *_dsn]
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
        if parts[1] not in NEVER and not {"__init__", "__main__", "unselected"} & set(parts):
            import_module(".".join(parts))
    for name in OTHERS:
        import_module(name)


def warm_up(dsn: str) -> dict[str, object]:
    """Run tasks in this process, and put back what a child would notice of it.

    Returns:
        The exit codes of those that ended with one.

    """
    from tests.support.monorepo import Monorepo  # noqa: PLC0415 - it imports this module, for the tests

    before, environment, arguments, search_path = Path.cwd(), dict(os.environ), list(sys.argv), list(sys.path)
    threshold = gc.get_threshold()
    levels = {name: logging.getLogger(name).level for name in list(logging.root.manager.loggerDict)}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    streams = [(number, os.dup(number)) for number in (1, 2)]
    with TemporaryDirectory() as folder:
        monorepo = Monorepo.make(Path(folder) / "repo")
        monorepo.service("warm", dsn=dsn)
        monorepo.table_revision("warm", "r1", None)
        monorepo.revision("warm", "r2", "r1", 'op.execute("SELECT 1")')
        os.chdir(monorepo.root)
        for number, _ in streams:
            os.dup2(nowhere, number)
        codes: dict[str, object] = {}
        for words in WARMING:
            sys.argv[1:], sys.path[0] = words.split(), str(monorepo.root)
            try:
                invoke.main.program.run()
            except SystemExit as ended:
                codes[words] = ended.code
            sys.stdout.flush()
            sys.stderr.flush()
        for number, copy in streams:
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)
        os.chdir(before)
    gc.set_threshold(*threshold)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:], sys.path[:] = arguments, search_path
    logging.basicConfig(handlers=[], level=logging.WARNING, force=True)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    own = ("services", "shared_models", "tasks", "tests")
    for name in [name for name in sys.modules if name.partition(".")[0] in own]:
        del sys.modules[name]
    return codes


def serve(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return a request and its descriptors, in a child that is forked for it; end with the channel.

    The child tells its number to the first of them, and this process how the child ended.
    """
    with selectors.DefaultSelector() as ready:
        ready.register(channel, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.data:
                    ready.unregister(key.fd)
                    _tell_end(*key.data, ended=key.fd)
                    continue
                message, descriptors, _, _ = socket.recv_fds(channel, MESSAGE, 3)
                if not message:
                    os._exit(0)
                status, *streams = descriptors
                if not (child := os.fork()):
                    for of_others in ready.get_map().values():
                        if of_others.data:
                            os.close(of_others.fd)
                            os.close(of_others.data[1])
                    channel.close()
                    return json.loads(message), descriptors
                for descriptor in streams:
                    os.close(descriptor)
                ready.register(os.pidfd_open(child), selectors.EVENT_READ, (child, status))


def _tell_end(child: int, status: int, *, ended: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with suppress(BrokenPipeError):  # the test may have ended
        os.write(status, str(code).encode())
    os.close(status)
    os.close(ended)


def has_ended(channel: socket.socket) -> bool:
    """Whether the other end of a channel is closed."""
    try:
        return not channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False


def start_session() -> None:
    """Become the leader of a session, which signals end as they do by default."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


PROGRAMS: dict[str, Callable[[str], tuple[Callable[[], object], str, str]]] = {
    "invoke": lambda cwd: (
        invoke.main.program.run,
        str(invoke.main.__file__).replace("main.py", "__main__.py"),
        cwd,
    ),
    "alembic": lambda _: (alembic.config.main, str(ALEMBIC), str(ALEMBIC.parent)),
}
"""What to call, with which ``sys.argv[0]`` and ``sys.path[0]``."""


def main() -> None:
    """Serve requests; in a child, become what ``python -m invoke`` or ``alembic`` is."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    import_all()
    for dsn in sys.argv[2:]:
        codes = warm_up(dsn)
        if any(codes.values()) and not has_ended(channel):  # a short run stops its server meanwhile
            raise RuntimeError(f"{codes}")
    gc.collect()
    gc.freeze()
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, which closes the channel
    request, (status, *streams) = serve(channel)
    signal.signal(signal.SIGINT, interrupt)
    if request["session"]:
        start_session()
    os.write(status, str(os.getpid()).encode())
    os.close(status)
    for number, descriptor in enumerate(streams, start=1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    program, sys.argv[0], sys.path[0] = PROGRAMS[request["program"]](request["cwd"])
    sys.argv[1:] = request["words"]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests" or name == PACKAGE]:
        del sys.modules[name]
    code: object = None
    try:
        program()
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
