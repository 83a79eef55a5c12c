"""The output of the tasks: results on stdout, logs and progress on stderr."""

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
    "ask",
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
    """A stream that discards its output once the reader has gone; a full disk stays an error."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream.fileno(), "w", closefd=False)
        # a terminal that was closed has no reader either
        self._must_arrive = stream is sys.__stdout__ and not self.isatty()

    def write(self, data: Any, /) -> int:
        """Write bytes; after a failure these and all later ones, such as the rest of a buffer, are discarded."""
        try:
            return super().write(data)
        except OSError as error:
            null_device = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null_device, self.fileno())
            os.close(null_device)
            if self._must_arrive and not isinstance(error, BrokenPipeError):
                raise OSError(error.errno, error.strerror, "stdout") from error
            return len(data)


def make_lasting() -> None:
    """Replace the standard streams of this process; one that the shell has closed becomes the null device."""
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # in this order it gets the number of the closed stream, which a socket would get otherwise
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
_OFFLINE = "Generating static SQL"
"""What Alembic logs of its offline mode."""
_WIDE = 300
"""Columns of a table outside a terminal: nothing in it may be cut."""


class _Handler(logging.Handler):
    """A log handler that writes to the current ``sys.stderr``, which a progress line on a terminal may replace.

    A revision that is retried logs the same again: without --debug, no INFO line is repeated. Nor is there one about
    offline mode, in which the plan and the ledger of an upgrade render revisions.
    """

    def __init__(self, *, debug: bool) -> None:
        super().__init__()
        self._debug = debug
        self._logged = {_OFFLINE}

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if self._debug or record.levelno > logging.INFO or message not in self._logged:
            print(self.format(record), file=sys.stderr)
        self._logged.add(message)


def configure_logging(*, debug: bool, alembic: bool = False) -> None:
    """Send the log lines of Alembic and of this project to stderr, with time, logger, level and message.

    Args:
        debug: whether to show all of them.
        alembic: whether to show Alembic's INFO lines. Those of a comparison or a plan look like an upgrade of the
            service's database.

    """
    handler = _Handler(debug=debug)
    handler.setFormatter(logging.Formatter(_FORMAT))
    logging.basicConfig(handlers=[handler], level=logging.DEBUG if debug else logging.WARNING, force=True)
    for name, is_shown in (("alembic", alembic), ("service_migrations", True)):
        level = logging.INFO if is_shown else logging.WARNING
        logging.getLogger(name).setLevel(logging.DEBUG if debug else level)
    if not debug:
        logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)


@contextmanager
def quietly() -> Iterator[None]:
    """Suppress the INFO lines of a replay or a plan, which look like an upgrade of the service's database."""
    loggers = [logging.getLogger(name) for name in ("alembic", "service_migrations")]
    levels = [logger.level for logger in loggers]
    if logging.getLogger().level != logging.DEBUG:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def result(text: str) -> None:
    """Print a result."""
    print(text)


def result_json(value: Any) -> None:
    """Print a result for another program."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def note(text: str) -> None:
    """Print a line for a person, which is no part of the result."""
    print(text, file=sys.stderr)


def print_error(error: MigrationError) -> None:
    """Print an error as a line; with --debug after its traceback."""
    if logging.getLogger().level == logging.DEBUG:
        traceback.print_exception(error)
    note(str(error))


_STYLES = {"at head": "green", "behind": "yellow", "error": "red", "failed": "red", "unknown": "red"}
"""The colours of states in tables, on a terminal without NO_COLOR."""


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a result as a table, which is never cut outside a terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rich_table = Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for row in rows:
        rich_table.add_row(*(Text(cell, _STYLES.get(cell, ""), overflow="fold") for cell in row))
    Console(width=None if sys.stdout.isatty() else _WIDE).print(rich_table)


def is_live() -> bool:
    """Whether stderr is a terminal, so that lines may be overwritten."""
    return sys.stderr.isatty()


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Yield a function that shows the progress of a long task: a live line on a terminal, plain lines elsewhere."""
    if not is_live():
        yield note
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text("")) as live:
        yield lambda text: live.update(Text(text))


def confirm(question: str, *, yes: bool) -> None:
    """Ask before data is lost; ``--yes`` is the answer in advance.

    Raises:
        UsageError: the answer was no, or there is no terminal.

    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody can answer here: add --yes. Nothing was changed.")
    if not ask(question):
        raise UsageError("Nothing was changed.")


def ask(question: str) -> bool:
    """Ask on the terminal; the answer is no unless it is yes."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    try:
        answer = input()
    except EOFError:  # Ctrl-D, which doesn't end the line
        answer = ""
        note("")
    return answer.strip().lower() in ("y", "yes")
