"""Standard streams that outlast their readers: output that nobody reads changes neither the work nor the exit code.

`| head` closes its pipe when it has read enough, and what collects a job's logs may die in the middle of an upgrade.
All output passes here: results, log lines, what revisions print, live lines, and what Invoke prints at the end.
"""

import io
import os
import sys
from contextlib import suppress
from typing import Any

__all__ = ["make_lasting"]


class _Lasting(io.FileIO):
    """A stream that goes nowhere once nobody reads it. A result that a disk has no room for stays an error."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream.fileno(), "w", closefd=False)
        # a terminal that has hung up has no reader either
        self._must_arrive = stream is sys.__stdout__ and not self.isatty()

    def write(self, data: Any, /) -> int:
        """Write bytes; after a failure this and all that follows, such as what is left in a buffer, goes nowhere."""
        try:
            return super().write(data)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if self._must_arrive and not isinstance(error, BrokenPipeError):
                raise OSError(error.errno, error.strerror, "stdout") from error
            return len(data)


def make_lasting() -> None:
    """Replace the standard streams of this process; one that the shell has closed becomes one that goes nowhere."""
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # opened in this order it takes the number of the closed one, which a socket would get otherwise
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        elif name != "stdin" and stream is getattr(sys, f"__{name}__"):
            with suppress(OSError):
                stream.flush()
            wrapped = io.TextIOWrapper(
                io.BufferedWriter(_Lasting(stream)),
                encoding=stream.encoding,
                errors=stream.errors,
                line_buffering=stream.line_buffering or stream.write_through,
            )
            setattr(sys, name, wrapped)
