"""The refusal of what a revision does beside its SQL, while it runs without a database: for a plan, or for ``--sql``.

A plan runs a revision's function only to see its SQL. Code of it that connects to a database by itself, starts a
program or changes a file would act then, before its time and once more in the upgrade. Python reports such calls as
audit events (PEP 578), and SQLAlchemy reports connections, which the C libraries of drivers open without one.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

__all__ = ["SideEffectError", "side_effects_refused"]

_CONNECTS = "opens a connection of its own"
_STARTS = "starts a program"
_CHANGES = "changes a file"
_OTHERS = {
    **dict.fromkeys(("socket.connect", "socket.sendto", "sqlite3.connect"), _CONNECTS),
    **dict.fromkeys(("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn"), _STARTS),
    **dict.fromkeys(("os.fork", "os.forkpty"), "forks a process"),
    **dict.fromkeys(("os.kill", "os.killpg", "signal.pthread_kill"), "signals a process"),
    **dict.fromkeys(("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink"), _CHANGES),
    **dict.fromkeys(("os.truncate", "os.chmod", "os.chown", "os.utime", "os.setxattr", "os.removexattr"), _CHANGES),
}
"""The audit events that are refused, beside that of a file that is opened for writing, and what they mean."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_DRIVERS = ("psycopg2", "psycopg")
"""What opens a connection also without SQLAlchemy, by a library that Python doesn't audit."""


class SideEffectError(RuntimeError):
    """A revision did something else than to emit SQL, while it ran for its SQL alone; it wasn't done."""


class _Refused(threading.local):
    """What was refused in the blocks of this thread that are open, the innermost last."""

    def __init__(self) -> None:
        self.blocks: list[list[SideEffectError]] = []


_refused = _Refused()
_hooked: list[bool] = []
"""Whether the audit hook is there, which can't be removed; without a block it does nothing."""


@contextmanager
def side_effects_refused() -> Iterator[None]:
    """Refuse, in this thread, to connect, to start a program or a thread, and to change a file.

    Raises:
        SideEffectError: the block tried to; also where it has caught that error.

    """
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked.append(True)
    event.listen(Engine, "do_connect", _connect)
    event.listen(Pool, "checkout", _connect)
    guarded: list[tuple[Any, str, str]] = [(threading.Thread, "start", "starts a thread")]
    guarded += [(sys.modules[name], "connect", _CONNECTS) for name in _DRIVERS if name in sys.modules]
    former = [(owner, name, getattr(owner, name)) for owner, name, _ in guarded]
    for owner, name, what in guarded:
        setattr(owner, name, _guarding(getattr(owner, name), what))
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # of what the block imports
    own: list[SideEffectError] = []
    _refused.blocks.append(own)
    try:
        yield
    finally:
        _refused.blocks.remove(own)
        sys.dont_write_bytecode = writes_bytecode
        for owner, name, function in former:
            setattr(owner, name, function)
        event.remove(Pool, "checkout", _connect)
        event.remove(Engine, "do_connect", _connect)
    if own:
        raise own[0]


def _audit(name: str, arguments: tuple[Any, ...]) -> None:
    if not _refused.blocks:
        return
    what = _OTHERS.get(name)
    if name == "open":
        path, _, flags = arguments
        what = f"writes {path}" if isinstance(flags, int) and flags & _WRITES and path != os.devnull else None
    if what:
        _refuse(what)


def _connect(*_: Any) -> None:
    if _refused.blocks:
        _refuse(_CONNECTS)


def _guarding(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    """Return a function that refuses in a thread with a block; other threads go on with what they do."""

    @wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        if _refused.blocks:
            _refuse(what)
        return function(*arguments, **keywords)

    return call


def _refuse(what: str) -> None:
    error = SideEffectError(f"it {what}, beside its SQL, which is all that it is run for here")
    _refused.blocks[-1].append(error)
    raise error
