"""The output of the tasks: results on stdout, logs and progress on stderr."""

import io
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import dropwhile, pairwise
from pathlib import Path
from typing import Any, TextIO

from service_migrations.errors import ConfigurationError, MigrationError, UsageError

__all__ = [
    "ask",
    "configure_logging",
    "confirm",
    "is_live",
    "make_lasting",
    "note",
    "print_error",
    "printable",
    "progress",
    "quietly",
    "result",
    "result_json",
    "result_script",
    "results_only",
    "runnable",
    "table",
]


class _Lasting(io.FileIO):
    """A stream that discards its output once the reader has gone; a full disk stays an error."""

    def __init__(self, descriptor: int, *, is_result: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        # a terminal that was closed has no reader either
        self._must_arrive = is_result and not self.isatty()

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
            setattr(sys, name, _lasting(stream, stream.fileno(), is_result=name == "stdout"))


def _lasting(stream: Any, descriptor: int, *, is_result: bool) -> TextIO:
    """Return a stream like another one that writes to a descriptor, and lasts.

    What its encoding lacks is escaped, as Python does on stderr: a name in a database or a docstring ends no task.
    """
    return io.TextIOWrapper(
        io.BufferedWriter(_Lasting(descriptor, is_result=is_result)),
        encoding=stream.encoding,
        errors="backslashreplace" if stream.errors == "strict" else stream.errors,
        line_buffering=stream.line_buffering or getattr(stream, "write_through", False),
    )


_results: list[TextIO] = []
"""The stream of the results, while that of everything else is stderr."""


@contextmanager
def results_only() -> Iterator[None]:
    """Keep stdout for results: what revisions, models, env.py and their children print meanwhile goes to stderr."""
    stdout = sys.stdout
    stdout.flush()
    try:
        # a stream that a test has put in place has none
        number = stdout.fileno() if stdout.fileno() == _STDOUT and sys.stderr.fileno() else None
    except (OSError, ValueError):
        number = None
    kept = None if number is None else os.dup(number)
    stream = stdout if kept is None else _lasting(stdout, kept, is_result=True)
    _results.append(stream)
    try:
        if number is not None:
            os.dup2(sys.stderr.fileno(), number)
        sys.stdout = sys.stderr
        yield
        stream.flush()
    finally:
        sys.stdout = stdout
        _results.pop()
        if kept is not None and number is not None:
            with suppress(OSError):
                stream.flush()
            os.dup2(kept, number)
            os.close(kept)


def _result_stream() -> TextIO:
    return _results[-1] if _results else sys.stdout


_STDOUT = 1
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
            print(printable(runnable(self.format(record)), sys.stderr), file=sys.stderr)
        self._logged.add(message)


def configure_logging(*, debug: bool, alembic: bool = False) -> None:
    """Send the log lines of Alembic and of this project to stderr, with time, logger, level and message.

    Args:
        debug: whether to show all of them.
        alembic: whether to show Alembic's INFO lines. Those of a comparison or a plan look like an upgrade of the
            service's database.

    """
    _printed_errors.clear()
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


_CONTROL = re.compile(r"(?!\r\n)[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""The characters that a terminal obeys, apart from tabs and ends of lines."""


def printable(text: str, stream: TextIO) -> str:
    """Return a text for a stream: a terminal gets no control characters.

    They come from what others wrote, such as a docstring, a name in a database or a message of a server, and could
    change what was printed before, or the terminal itself. A file or a pipe gets a text as it is.
    """
    real_stream = getattr(stream, "rich_proxied_file", stream)  # beside live lines: an older rich's is no terminal
    return _CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", text) if real_stream.isatty() else text


_COMMAND = re.compile(r"\binv (?=(?:db|pg)\.[a-z]|(?:up|down)\b)")
"""How the messages of the library begin a command, as where a tasks.py has nothing else than our tasks."""
_TASK = re.compile(r"(.+\.)?(?:(?:db|pg)\.[a-z]+|up|down)")
"""A task's name on the command line, with what stands before it where a tasks.py has ours under a name."""
_SCRIPT = "service-migrations"


def runnable(text: str) -> str:
    """Return a message whose commands run here: with the name that ours have in tasks.py, or of the console script."""
    program = _SCRIPT if Path(sys.argv[0]).name == _SCRIPT and not _has_tasks() else "inv"
    return _COMMAND.sub(lambda _: f"{program} {_prefix(sys.argv[1:])}", text)


def _prefix(words: Sequence[str]) -> str:
    """Return what stands before the names of our tasks on a command line; the value of an option is no task."""
    named = dropwhile(lambda word: not _TASK.fullmatch(word), words)
    tasks = (_TASK.fullmatch(word) for before, word in pairwise(["", *named]) if not before.startswith("-"))
    return next((match[1] for match in tasks if match and match[1]), "")


def _has_tasks() -> bool:
    """Whether Invoke finds a tasks.py here: in this folder or in one above."""
    with suppress(OSError):  # the folder was removed
        folder = Path.cwd()
        return any((parent / "tasks.py").exists() for parent in (folder, *folder.parents))
    return False


def result(text: str) -> None:
    """Print a result."""
    stream = _result_stream()
    print(printable(text, stream), file=stream)


def result_json(value: Any) -> None:
    """Print a result for another program."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    result(text if _can_be_encoded(text) else json.dumps(value, indent=2))


def result_script(text: str) -> None:
    """Print SQL that is run as it is.

    Raises:
        ConfigurationError: the encoding of stdout lacks one of its characters, and an escape would be another text.

    """
    if not _can_be_encoded(text):
        encoding = _result_stream().encoding
        raise ConfigurationError(
            f"stdout is in {encoding}, which lacks a character of this SQL.", hint="Set PYTHONIOENCODING=utf-8."
        )
    result(text)


def _can_be_encoded(text: str) -> bool:
    try:
        text.encode(_result_stream().encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def note(text: str) -> None:
    """Print a line for a person, which is no part of the result."""
    print(printable(runnable(text), sys.stderr), file=sys.stderr)


_printed_errors: set[str] = set()
"""The lines of errors that this task has printed: one that is about no service is the same for each."""


def print_error(error: MigrationError) -> None:
    """Print an error as a line, once; with --debug after its traceback."""
    if logging.getLogger().level == logging.DEBUG:
        traceback.print_exception(error)
    if str(error) not in _printed_errors:
        _printed_errors.add(str(error))
        note(str(error))


_STYLES = {"at head": "green", "behind": "yellow", "error": "red", "failed": "red", "unknown": "red"}
"""The colours of states in tables, on a terminal without NO_COLOR."""
_NARROWEST = 12
"""The characters of a column below which a person can't read a table: a revision's id has as many."""


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a result as a table, which is never cut outside a terminal; on one that is too narrow, as lines."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    stream = _result_stream()
    console = Console(file=stream, width=None if stream.isatty() else _WIDE)
    cells = [[Text(printable(cell, stream), _STYLES.get(cell, ""), overflow="fold") for cell in row] for row in rows]
    needed = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    if cells and sum(min(width, _NARROWEST) + 1 for width in needed) > console.width:
        longest = max(map(len, columns))
        for number, row in enumerate(cells):
            lines = (Text(f"{name:{longest}}  ").append_text(cell) for name, cell in zip(columns, row, strict=True))
            console.print(*([Text()] if number else []), *lines, sep="\n", soft_wrap=True)
        return
    rich_table = Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for row in cells:
        rich_table.add_row(*row)
    console.print(rich_table)


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
        yield lambda text: live.update(Text(printable(text, sys.stderr)))


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
    print(printable(f"{question} [y/N] ", sys.stderr), end="", file=sys.stderr, flush=True)
    try:
        answer = input()
    except (EOFError, UnicodeDecodeError):  # Ctrl-D, which doesn't end the line; or bytes of another encoding
        answer = ""
        note("")
    return answer.strip().lower() in ("y", "yes")
