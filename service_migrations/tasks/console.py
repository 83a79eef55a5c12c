"""Output: results on stdout, where they can be piped; logs and progress on stderr."""

import io
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from service_migrations.errors import MigrationError, UsageError

__all__ = [
    "configure_logging",
    "confirm",
    "is_live",
    "make_lasting",
    "note",
    "print_error",
    "progress",
    "quietly",
    "result",
    "result_json",
    "table",
]


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


_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
_WIDE = 300
"""Columns for a table that no terminal shows: nothing in it may be cut."""


class _Handler(logging.Handler):
    """Write to whatever ``sys.stderr`` is now: a progress line on a terminal replaces it for a while.

    A revision that is tried again says the same again: without --debug, what was said is not repeated.
    """

    def __init__(self, *, debug: bool) -> None:
        super().__init__()
        self._debug = debug
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if self._debug or record.levelno > logging.INFO or message not in self._said:
            print(self.format(record), file=sys.stderr)
        self._said.add(message)


def configure_logging(*, debug: bool) -> None:
    """Send the log lines of Alembic and of this project to stderr, with time, logger, level and message."""
    handler = _Handler(debug=debug)
    handler.setFormatter(logging.Formatter(_FORMAT))
    logging.basicConfig(handlers=[handler], level=logging.DEBUG if debug else logging.WARNING, force=True)
    for name in ("alembic", "service_migrations"):
        logging.getLogger(name).setLevel(logging.DEBUG if debug else logging.INFO)
    if not debug:
        logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)


@contextmanager
def quietly() -> Iterator[None]:
    """Leave out what Alembic and this project tell of a replay: it looks like an upgrade of the service's database."""
    loggers = [logging.getLogger(name) for name in ("alembic", "service_migrations")]
    levels = [one.level for one in loggers]
    if logging.getLogger().level != logging.DEBUG:
        for one in loggers:
            one.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


def result(text: str) -> None:
    """Print a result."""
    print(text)


def result_json(value: Any) -> None:
    """Print a result for another program."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def note(text: str) -> None:
    """Tell a person something beside the result."""
    print(text, file=sys.stderr)


def print_error(error: MigrationError) -> None:
    """Print an error in its line; with --debug the traceback before it."""
    if logging.getLogger().level == logging.DEBUG:
        traceback.print_exception(error)
    note(str(error))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a result as a table, whole also where no terminal shows it."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for row in rows:
        shown.add_row(*(Text(cell, overflow="fold") for cell in row))
    Console(width=None if sys.stdout.isatty() else _WIDE).print(shown)


def is_live() -> bool:
    """Whether a person watches: then progress may be drawn, and a line may be overwritten."""
    return sys.stderr.isatty()


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Yield a function that tells what long work is at: a live line on a terminal, plain lines elsewhere."""
    if not is_live():
        yield note
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text("")) as live:
        yield lambda text: live.update(Text(text))


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is lost; ``--yes`` has answered already.

    Raises:
        UsageError: the answer was no, or nobody can answer here.

    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody can answer here: add --yes. Nothing was changed.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    try:
        answer = input()
    except EOFError:  # Ctrl-D, which doesn't end the line
        answer = ""
        note("")
    if answer.strip().lower() not in ("y", "yes"):
        raise UsageError("Nothing was changed.")
