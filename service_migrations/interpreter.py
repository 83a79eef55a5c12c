"""What one revision may leave in Python for the next one, which would do something else where it is run by itself."""

import locale
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

__all__ = ["interpreter_kept", "outputs_kept_open"]

_STREAMS = ("stdout", "stderr")


class _KeptOpen:
    """An output that nobody closes who has not opened it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is held back."""
        self._stream.flush()


@contextmanager
def outputs_kept_open() -> Iterator[None]:
    """Let code of a team's not close the outputs of the process: the next line of the log would end the run."""
    streams = {name: getattr(sys, name) for name in _STREAMS}
    kept = {name: _KeptOpen(stream) for name, stream in streams.items() if stream is not None}
    for name, output in kept.items():
        setattr(sys, name, output)
    try:
        yield
    finally:
        for name, output in kept.items():
            if getattr(sys, name, None) is output:
                setattr(sys, name, streams[name])


@contextmanager
def interpreter_kept() -> Iterator[None]:
    """Restore the functions of ``alembic.op``, the precision of decimals, the locale, the limits and the output.

    A limit of sockets is that of each connection that is made without one, and a limit of recursion that of all code.
    Alembic and ``decimal`` aren't imported here: whoever runs a revision has them, and a list of tasks needs neither.
    """
    decimal = sys.modules.get("decimal")
    context = decimal.getcontext().copy() if decimal else None
    languages = locale.setlocale(locale.LC_ALL)
    seconds, depth = socket.getdefaulttimeout(), sys.getrecursionlimit()
    streams = {name: getattr(sys, name) for name in _STREAMS}
    operations_module = sys.modules.get("alembic.op")
    attributes = vars(operations_module) if operations_module else {}
    operations = {name: value for name, value in attributes.items() if not name.startswith("_")}
    try:
        with outputs_kept_open():
            yield
    finally:
        sys.setrecursionlimit(depth)
        for name, operation in operations.items():
            if getattr(operations_module, name, None) is not operation:
                setattr(operations_module, name, operation)
        for name, stream in streams.items():
            if getattr(sys, name, None) is not stream:
                setattr(sys, name, stream)
        socket.setdefaulttimeout(seconds)
        if locale.setlocale(locale.LC_ALL) != languages:
            locale.setlocale(locale.LC_ALL, languages)
        if decimal:
            decimal.setcontext(context)
