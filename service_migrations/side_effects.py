"""What a revision does beside its SQL: refused where it isn't run for that, and noted where it is.

A plan runs a revision's function only to see its SQL. Code of it that connects to a database by itself, starts a
program or changes a file would act then, before its time and once more in the upgrade. Python reports such calls as
audit events (PEP 578), and SQLAlchemy reports connections, which the C libraries of drivers open without one.

A replay, as of ``inv db.drift``, runs revisions in a database that is dropped afterwards. There a connection of a
revision's own would lead to the application's database, and change what was migrated long ago.

An upgrade lets a revision do all of it, and has to know of it: no rollback of the server's takes it back.
"""

import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

from sqlalchemy import Dialect, event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

__all__ = ["SideEffectError", "connections_refused", "guards_kept", "side_effects_noted", "side_effects_refused"]

_CONNECTS = "opens a connection of its own"
_STARTS = "starts a program"
_FORKS = "forks a process"
_CHANGES = "changes a file"
_OTHERS = {
    **dict.fromkeys(("socket.connect", "socket.sendto", "sqlite3.connect"), _CONNECTS),
    **dict.fromkeys(("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn"), _STARTS),
    **dict.fromkeys(("os.fork", "os.forkpty"), _FORKS),
    **dict.fromkeys(("os.kill", "os.killpg", "signal.pthread_kill"), "signals a process"),
    **dict.fromkeys(("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink"), _CHANGES),
    **dict.fromkeys(("os.truncate", "os.chmod", "os.chown", "os.utime", "os.setxattr", "os.removexattr"), _CHANGES),
}
"""The audit events that are refused, beside that of a file that is opened for writing, and what they mean."""
_NOTED = frozenset((_CONNECTS, _STARTS, _FORKS))
"""What may change a database, so that it is noted."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_DRIVERS = {"psycopg2": ("connect",), "psycopg": ("connect",), "asyncpg": ("connect", "create_pool")}
"""The functions of drivers that open a connection also without SQLAlchemy; libpq does it without an audit event."""


class SideEffectError(RuntimeError):
    """A revision did something else than to emit SQL, while it ran for its SQL alone; it wasn't done."""


@dataclass(eq=False, slots=True)
class _Block:
    """A block, whether it is open still, and what it has refused.

    With ``only_connections``, the library's own may be opened, and all else may be done. With ``note``, nothing is
    refused: that is called instead. ``names`` are those of the revision's file, where it is known.
    """

    why: str = ""
    only_connections: bool = False
    note: Callable[[str], None] | None = None
    names: dict[str, Any] = field(default_factory=dict)
    thread: int = field(default_factory=threading.get_ident)
    is_open: bool = True
    refused: list[SideEffectError] = field(default_factory=list)

    def meet(self, effect: str) -> None:
        """Note or refuse something that is about to be done; connections of engines are met by themselves."""
        is_of_others = (self.note or self.only_connections) and _is_of_others(inspect.currentframe(), self)
        if self.note is None and not is_of_others:
            self.refuse(effect)
        if self.note is not None and effect in _NOTED and not is_of_others:
            self.note(effect)

    def refuse(self, effect: str) -> NoReturn:
        """Refuse something, and remember it: the revision may catch the error."""
        error = SideEffectError(f"it {effect}, beside its SQL, {self.why}")
        self.refused.append(error)
        raise error


_blocks: ContextVar[tuple[_Block, ...]] = ContextVar("blocks", default=())
"""The open blocks of this thread or task, the innermost last; others go on with what they do."""


def _acting() -> Iterator[_Block]:
    """Yield the open blocks from the innermost to the first that refuses."""
    for block in reversed(_blocks.get()):
        if block.is_open:
            yield block
            if block.note is None:
                break


class _Guards:
    """The functions that report to the open blocks what a thread or task does; in place while a block is open."""

    def __init__(self) -> None:
        self._open, self._has_hook, self._lock = 0, False, threading.RLock()
        self._former: list[tuple[Any, str, Any]] = []
        self._drivers: set[str] = set()

    def add(self) -> None:
        """Put the guards in their places, for the first block."""
        with self._lock:
            self._open += 1
            if self._open == 1:
                if not self._has_hook:
                    sys.addaudithook(_audit)  # it can't be removed; without a block it does nothing
                    self._has_hook = True
                for target, name, listener in _LISTENERS:
                    event.listen(target, name, listener)
                self._put(threading.Thread, "start", _starting(threading.Thread.start))
            for name in _loaded():
                self.guard_driver(name)

    def remove(self) -> None:
        """Put all as it was, behind the last block."""
        with self._lock:
            self._open -= 1
            if self._open:
                return
            for owner, name, former in reversed(self._former):
                setattr(owner, name, former)
            self._former.clear()
            self._drivers.clear()
            for target, name, listener in reversed(_LISTENERS):
                event.remove(target, name, listener)

    def guard_driver(self, name: str) -> None:
        """Guard what connects in a driver, which may be imported here; where it isn't installed, nothing is done."""
        with self._lock, suppress(ImportError):
            if name in self._drivers or not self._open:
                return
            self._drivers.add(name)  # also while it is imported
            driver = import_module(name)
            for function in _DRIVERS[name]:
                self._put(driver, function, _connecting(getattr(driver, function)))
            owners = (getattr(driver, each, driver) for each in ("Connection", "AsyncConnection"))
            for owner in (owner for owner in owners if owner is not driver and "connect" in vars(owner)):
                self._put(owner, "connect", classmethod(_connecting_by_class(vars(owner)["connect"])))

    def _put(self, owner: Any, name: str, function: Any) -> None:
        self._former.append((owner, name, vars(owner)[name]))
        setattr(owner, name, function)


_guards = _Guards()


@contextmanager
def side_effects_refused() -> Iterator[None]:
    """Refuse, in this thread or task, to connect, to start a program or a thread, and to change a file.

    Raises:
        SideEffectError: the block tried to; also where it has caught that error.

    """
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # of what the block imports
    try:
        with _opened(_Block("which is all that it is run for here")):
            yield
    finally:
        sys.dont_write_bytecode = writes_bytecode


@contextmanager
def connections_refused(names: dict[str, Any]) -> Iterator[None]:
    """Refuse, in this thread or task and those that it starts, to connect to a database except as this library does.

    Args:
        names: those of the revision's file.

    Raises:
        SideEffectError: the block tried to; also where it has caught that error.

    """
    why = "and this is a replay, in a database that is dropped afterwards"
    with _opened(_Block(why, only_connections=True, names=names)):
        yield


@contextmanager
def side_effects_noted(note: Callable[[str], None], names: dict[str, Any]) -> Iterator[Callable[[], bool]]:
    """Note that this thread or task, or one that it starts, connects to something, or starts or forks a process.

    A connection of an engine of SQLAlchemy's isn't noted, unless its driver's own connection is taken from it.

    Args:
        note: called before it is done, with what it is, as in ``starts a program``.
        names: those of the revision's file, which may have imported the functions of a driver.

    Yields:
        Whether this thread or task is in the block.

    """
    block = _Block(note=note, names=names)
    drivers = [inspect.unwrap(vars(sys.modules[name])[each]) for name in _loaded() for each in _DRIVERS[name]]
    imported = {name: value for name, value in names.items() if any(value is connect for connect in drivers)}
    names.update({name: _connecting(value) for name, value in imported.items()})
    try:
        with _opened(block):
            yield lambda: block.is_open and block in _blocks.get()
    finally:
        names.update(imported)


@contextmanager
def guards_kept() -> Iterator[None]:
    """Keep what the blocks need in its place between many blocks: to put it there takes longer than all else."""
    _guards.add()
    try:
        yield
    finally:
        _guards.remove()


@contextmanager
def _opened(block: _Block) -> Iterator[None]:
    _guards.add()
    token = _blocks.set((*_blocks.get(), block))
    try:
        yield
    finally:
        block.is_open = False  # what it has started may go on
        _blocks.reset(token)
        _guards.remove()
    if block.refused:
        raise block.refused[0]


def _starting(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    """Return what starts a thread, which is in the blocks of the one that starts it."""

    @wraps(start)
    def start_with_blocks(thread: threading.Thread) -> None:
        run, blocks = thread.run, _blocks.get()
        for block in _acting():
            if not block.only_connections:
                block.meet("starts a thread")
        if blocks:
            thread.run = lambda: (_blocks.set(blocks), run())[1]  # type: ignore[method-assign]
        start(thread)

    return start_with_blocks


def _loaded() -> list[str]:
    """Return the drivers that are imported; a module that is loaded lazily has no names before."""
    return [name for name in _DRIVERS if name in sys.modules and "connect" in vars(sys.modules[name])]


def _connecting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that connects, which the blocks meet."""

    @wraps(function)
    def connect(*arguments: Any, **keywords: Any) -> Any:
        for block in _acting():
            block.meet(_CONNECTS)
        return function(*arguments, **keywords)

    return connect


def _connecting_by_class(method: Any) -> Callable[..., Any]:
    """Return the function of a method of a class that connects; the library's own connections are made by it too."""

    def connect(cls: type, /, *arguments: Any, **keywords: Any) -> Any:
        for block in _acting():
            if not block.only_connections:
                block.meet(_CONNECTS)
        return method.__get__(None, cls)(*arguments, **keywords)

    return connect


def _audit(name: str, arguments: tuple[Any, ...]) -> None:
    for block in _acting():
        if name == "import" and arguments[0] in _DRIVERS:
            _guards.guard_driver(arguments[0])
        effect = _OTHERS.get(name)
        if name == "open":
            path, _, flags = arguments
            effect = f"writes {path}" if isinstance(flags, int) and flags & _WRITES and path != os.devnull else None
        if effect and not block.only_connections:
            block.meet(effect)


def _connect(dialect: Dialect, *_: Any) -> None:
    """Refuse a new connection, before it is made."""
    for block in _acting():
        if block.note is None and not (block.only_connections and _is_own(dialect)):
            block.refuse(_CONNECTS)


def _is_own(dialect: Dialect | None) -> bool:
    """Whether a dialect is of the engines that this library makes, for the session and for what watches it."""
    return type(dialect).__module__.startswith(f"{__package__}.")


def _check_out(*_: Any) -> None:
    """Refuse the raw connection of a pool, where it is none of this library's engines, or note it."""
    for block in _acting():
        raw = _raw(inspect.currentframe())
        is_of_others = raw is not None and not _is_own(getattr(raw.f_locals["self"], "dialect", None))
        if block.note is None and (not block.only_connections or is_of_others):
            block.refuse(_CONNECTS)
        if block.note is not None and raw:
            block.note(_CONNECTS)


def _raw(frame: FrameType | None) -> FrameType | None:
    """Return the call of an engine or a pool for a connection that is for others than SQLAlchemy itself."""
    while frame is not None and not (_is_of_sqlalchemy(frame) and not _is_of_sqlalchemy(frame.f_back)):
        frame = frame.f_back
    names = (frame.f_code.co_name, str(frame.f_globals["__name__"])) if frame else ("", "")
    return frame if names[0] == "raw_connection" or ".pool." in names[1] else None


def _is_of_others(frame: FrameType | None, block: _Block) -> bool:
    """Whether SQLAlchemy or the event loop does something for a revision, as opposed to the revision itself."""
    inner = ""
    while frame is not None and frame.f_globals is not block.names:
        module = str(frame.f_globals.get("__name__"))
        if module == f"{__package__}.revision_call":
            return False
        if _is_of_sqlalchemy(frame):
            # what it awaits is of a driver, or the coroutine that op.run_async() was given
            return frame.f_code.co_name != "greenlet_spawn" or inner in _DRIVERS
        frame, inner = frame.f_back, module.partition(".")[0]
    return frame is None and threading.get_ident() == block.thread


def _is_of_sqlalchemy(frame: FrameType | None) -> bool:
    return frame is not None and str(frame.f_globals.get("__name__")).startswith("sqlalchemy.")


_LISTENERS: tuple[tuple[type, str, Callable[..., None]], ...] = (
    (Engine, "do_connect", _connect),
    # a connection that an engine has already, or has made in its own way, also one that was open before
    (Engine, "engine_connect", lambda connection, *_: _connect(connection.dialect)),
    (Engine, "before_cursor_execute", lambda connection, *_: _connect(connection.dialect)),
    (Pool, "checkout", _check_out),
)
