"""What a failing test of a history shows: the line of the library's error, and the frames of a team's own code.

Behind the line of a revision are hundreds of frames of the library, Alembic, SQLAlchemy and the driver, in each test of
its history.
"""

import re
from pathlib import Path
from traceback import StackSummary, format_exception_only, walk_tb
from types import TracebackType

import pytest

from service_migrations.errors import MigrationError
from service_migrations.failures.driver_errors import error_chain, is_plain, original_of
from service_migrations.service import Service
from service_migrations.testing.databases import PREFIX

__all__ = ["FAILURE", "in_short", "line_of", "own_traceback", "shows_all", "without_database"]

FAILURE = "service_migrations_failure"
"""The property of a report with the line of its error, which the summary prints once for all tests that have it."""

_OF_DATABASE = re.compile(
    rf"(?:\A| )(?:(?:Now )?\S+/{PREFIX}\w+ is at .*?\.|Is (?:the database|its stamp) [^?]*\? .*?\.)(?= |\Z)"
)
_FOLDER = Path(__file__).parent
_TESTS = ("test_every_service.py", "steps.py")


def shows_all(config: pytest.Config) -> bool:
    """Whether the whole traceback is wanted: ``-vv``, ``--tb=long``, ``--tb=native``, ``--full-trace``, ``--debug``."""
    options = config.option
    return bool(
        options.tbstyle in ("long", "native")
        or options.verbose > 1
        or getattr(options, "fulltrace", False)
        or getattr(options, "debug", None)
    )


def in_short(error: BaseException, traceback: TracebackType) -> BaseException | None:
    """Return an error to show instead: one line of an error of the library, or a failed check without other frames.

    None is returned for any other error, which is shown as it is.
    """
    if isinstance(error, MigrationError):
        return pytest.fail.Exception(line_of(error), pytrace=False).with_traceback(traceback)
    if isinstance(error, AssertionError):
        own = _traceback_of_tests(traceback)
        return None if own is None else type(error)(*error.args).with_traceback(own)
    return None


def line_of(error: MigrationError) -> str:
    """Return the line of an error, without what is said of its database: that is new, and dropped afterwards."""
    return str(without_database(error))


def without_database(error: MigrationError) -> MigrationError:
    """Return an error without the sentences about its database, which is new, and dropped afterwards."""
    hint = _OF_DATABASE.sub("", error.hint).strip()
    return error if hint == error.hint else error.with_other_hint(hint)


def _traceback_of_tests(traceback: TracebackType) -> TracebackType | None:
    """Return the frames of the tests' own code at a traceback's end: before them are those of the event loop."""
    is_own = [(link, _is_of_tests(link)) for link in _links(traceback)]
    start: TracebackType | None = None
    for link, own in reversed(is_own):
        if not own:
            break
        start = link
    return start


def own_traceback(error: MigrationError, service: Service | None) -> str:
    """Return the frames of a revision that raised an error of Python, from the revision's on; empty for one of SQL.

    Args:
        error: the error that was raised from it.
        service: the service of the revision; None where it isn't known.

    """
    if service is None:
        return ""
    for cause in error_chain(error)[1:]:
        if isinstance(cause, MigrationError) or not is_plain(original_of(cause)):
            continue
        frames = list(walk_tb(cause.__traceback__))
        numbers = [number for number, frame in enumerate(frames) if service.revision_place([frame])]
        if numbers:
            stack = StackSummary.extract(iter(frames[numbers[0] :]))
            return "".join(["Traceback, from the revision on:\n", *stack.format(), *format_exception_only(cause)])
    return ""


def _links(traceback: TracebackType) -> list[TracebackType]:
    links, current = list[TracebackType](), traceback
    while current is not None:
        links.append(current)
        current = current.tb_next  # type: ignore[assignment]
    return links


def _is_of_tests(link: TracebackType) -> bool:
    path = Path(link.tb_frame.f_code.co_filename)
    return path.parent == _FOLDER and path.name in _TESTS
