"""The refusal of what a revision does beside its SQL, while it runs without a database: for a plan, or for ``--sql``.

A plan runs a revision's function only to see its SQL. Code of it that connects to a database by itself, starts a
program or changes a file would act then, before its time and once more in the upgrade. Python reports such calls as
audit events (PEP 578), and SQLAlchemy reports connections, which the C libraries of drivers open without one.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import wraps
from importlib import import_module
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
_importing: set[str] = set()
"""Those of them that are being imported, to be guarded."""


class SideEffectError(RuntimeError):
    """A revision did something else than to emit SQL, while it ran for its SQL alone; it wasn't done."""


@dataclass(slots=True)
class _Block:
    """An open block: what it has refused, and the functions that are replaced until its end, with their owners."""

    refused: list[SideEffectError] = field(default_factory=list)
    former: list[tuple[Any, str, Any]] = field(default_factory=list)

    def guard(self, owner: Any, name: str, what: str) -> None:
        """Let a function of an owner refuse until the block ends."""
        self.former.append((owner, name, getattr(owner, name)))
        setattr(owner, name, _guarding(getattr(owner, name), what))

    def end(self) -> None:
        """Put the functions back."""
        for owner, name, function in reversed(self.former):
            setattr(owner, name, function)


class _Blocks(threading.local):
    """The blocks of this thread that are open, the innermost last."""

    def __init__(self) -> None:
        self.opened: list[_Block] = []


_blocks = _Blocks()
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
    block = _Block()
    event.listen(Engine, "do_connect", _connect)
    event.listen(Pool, "checkout", _connect)
    block.guard(threading.Thread, "start", "starts a thread")
    for name in _DRIVERS:
        if name in sys.modules:
            block.guard(sys.modules[name], "connect", _CONNECTS)
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # of what the block imports
    _blocks.opened.append(block)
    try:
        yield
    finally:
        _blocks.opened.remove(block)
        sys.dont_write_bytecode = writes_bytecode
        block.end()
        event.remove(Pool, "checkout", _connect)
        event.remove(Engine, "do_connect", _connect)
    if block.refused:
        raise block.refused[0]


def _audit(name: str, arguments: tuple[Any, ...]) -> None:
    if not _blocks.opened:
        return
    what = _OTHERS.get(name)
    if name == "open":
        path, _, flags = arguments
        what = f"writes {path}" if isinstance(flags, int) and flags & _WRITES and path != os.devnull else None
    elif name == "import" and arguments[0] in _DRIVERS and arguments[0] not in _importing:
        _import_guarded(arguments[0])
    if what:
        _refuse(what)


def _import_guarded(driver: str) -> None:
    """Import a driver before the block does, and guard it; where it isn't installed, the block meets that itself."""
    _importing.add(driver)
    try:
        with suppress(ImportError):
            _blocks.opened[-1].guard(import_module(driver), "connect", _CONNECTS)
    finally:
        _importing.discard(driver)


def _connect(*_: Any) -> None:
    if _blocks.opened:
        _refuse(_CONNECTS)


def _guarding(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    """Return a function that refuses in a thread with a block; other threads go on with what they do."""

    @wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        if _blocks.opened:
            _refuse(what)
        return function(*arguments, **keywords)

    return call


def _refuse(what: str) -> None:
    error = SideEffectError(f"it {what}, beside its SQL, which is all that it is run for here")
    _blocks.opened[-1].refused.append(error)
    raise error
