"""The refusal of what a revision does beside its SQL, where it isn't run for that.

A plan runs a revision's function only to see its SQL. Code of it that connects to a database by itself, starts a
program or changes a file would act then, before its time and once more in the upgrade. Python reports such calls as
audit events (PEP 578), and SQLAlchemy reports connections, which the C libraries of drivers open without one.

A replay, as of ``inv db.drift``, runs revisions in a database that is dropped afterwards. There a connection of a
revision's own would lead to the application's database, and change what was migrated long ago.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from importlib import import_module
from typing import Any, NoReturn

from sqlalchemy import Connection, Dialect, event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

__all__ = ["SideEffectError", "connections_refused", "side_effects_refused"]

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


@dataclass(eq=False, slots=True)
class _Block:
    """An open block: what it has refused, and the functions that are replaced until its end, with their owners.

    With ``only_connections``, the library's own may be opened, and all else may be done.
    """

    why: str
    only_connections: bool = False
    refused: list[SideEffectError] = field(default_factory=list)
    former: list[tuple[Any, str, Any]] = field(default_factory=list)

    def guard(self, owner: Any, name: str, function: Callable[..., Any]) -> None:
        """Put a function in the place of an owner's until the block ends."""
        self.former.append((owner, name, getattr(owner, name)))
        setattr(owner, name, function)

    def guard_call(self, owner: Any, name: str, what: str) -> None:
        """Let a function of an owner refuse in the thread or task of the block until that ends."""
        function = getattr(owner, name)

        @wraps(function)
        def call(*arguments: Any, **keywords: Any) -> Any:
            if self in _blocks.get():
                self.refuse(what)
            return function(*arguments, **keywords)

        self.guard(owner, name, call)

    def refuse(self, what: str) -> NoReturn:
        """Refuse something, and remember it: the revision may catch the error."""
        error = SideEffectError(f"it {what}, beside its SQL, {self.why}")
        self.refused.append(error)
        raise error

    def end(self) -> None:
        """Put the functions back."""
        for owner, name, function in reversed(self.former):
            setattr(owner, name, function)


_blocks: ContextVar[tuple[_Block, ...]] = ContextVar("blocks", default=())
"""The open blocks of this thread or task, the innermost last; others go on with what they do."""
_hooked: list[bool] = []
"""Whether the audit hook is there, which can't be removed; without a block it does nothing."""


@contextmanager
def side_effects_refused() -> Iterator[None]:
    """Refuse, in this thread or task, to connect, to start a program or a thread, and to change a file.

    Raises:
        SideEffectError: the block tried to; also where it has caught that error.

    """
    block = _Block("which is all that it is run for here")
    block.guard_call(threading.Thread, "start", "starts a thread")
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # of what the block imports
    try:
        with _opened(block):
            yield
    finally:
        sys.dont_write_bytecode = writes_bytecode


@contextmanager
def connections_refused() -> Iterator[None]:
    """Refuse, in this thread or task and those that it starts, to connect to a database except as this library does.

    Raises:
        SideEffectError: the block tried to; also where it has caught that error.

    """
    block = _Block("and this is a replay, in a database that is dropped afterwards", only_connections=True)
    start = threading.Thread.start

    def start_with_block(thread: threading.Thread) -> None:
        run = thread.run
        if block in _blocks.get():
            thread.run = lambda: (_blocks.set((block,)), run())[1]  # type: ignore[method-assign]
        start(thread)

    block.guard(threading.Thread, "start", start_with_block)
    with _opened(block):
        yield


@contextmanager
def _opened(block: _Block) -> Iterator[None]:
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked.append(True)
    event.listen(Engine, "do_connect", _connect)
    event.listen(Engine, "engine_connect", _use)
    event.listen(Engine, "before_cursor_execute", _use)
    event.listen(Pool, "checkout", _check_out)
    for name in _DRIVERS:
        if name in sys.modules:
            block.guard_call(sys.modules[name], "connect", _CONNECTS)
    token = _blocks.set((*_blocks.get(), block))
    try:
        yield
    finally:
        _blocks.reset(token)
        block.end()
        event.remove(Pool, "checkout", _check_out)
        event.remove(Engine, "before_cursor_execute", _use)
        event.remove(Engine, "engine_connect", _use)
        event.remove(Engine, "do_connect", _connect)
    if block.refused:
        raise block.refused[0]


def _audit(name: str, arguments: tuple[Any, ...]) -> None:
    for block in _blocks.get()[-1:]:
        if name == "import" and arguments[0] in _DRIVERS and arguments[0] not in _importing:
            _import_guarded(arguments[0], block)
        what = _OTHERS.get(name)
        if name == "open":
            path, _, flags = arguments
            what = f"writes {path}" if isinstance(flags, int) and flags & _WRITES and path != os.devnull else None
        if what and not block.only_connections:
            block.refuse(what)


def _import_guarded(driver: str, block: _Block) -> None:
    """Import a driver before the block does, and guard it; where it isn't installed, the block meets that itself."""
    _importing.add(driver)
    try:
        with suppress(ImportError):
            block.guard_call(import_module(driver), "connect", _CONNECTS)
    finally:
        _importing.discard(driver)


def _connect(dialect: Dialect, *_: Any) -> None:
    """Refuse a new connection, before it is made."""
    for block in _blocks.get()[-1:]:
        if not (block.only_connections and _is_own(dialect)):
            block.refuse(_CONNECTS)


def _use(connection: Connection, *_: Any) -> None:
    """Refuse a connection that an engine has already, or has made in its own way, also one that was open before."""
    _connect(connection.dialect)


def _is_own(dialect: Dialect) -> bool:
    """Whether a dialect is of the engines that this library makes, for the session and for what watches it."""
    return type(dialect).__module__.startswith(f"{__package__}.")


def _check_out(*_: Any) -> None:
    """Refuse the raw connection of a pool, where no engine may connect."""
    for block in _blocks.get()[-1:]:
        if not block.only_connections:
            block.refuse(_CONNECTS)
