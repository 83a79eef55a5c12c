"""The decorator of all tasks, and how a task runs a coroutine and reads its options."""

import asyncio
import atexit
import functools
import gc
import inspect
import logging
import signal
import sys
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task, task as invoke_task

from service_migrations.errors import ConfigurationError, MigrationError, UsageError, cancelled_inside
from service_migrations.files import cannot_be_written, is_full
from service_migrations.interruption import abandon, ended_inside, is_raised_by
from service_migrations.monorepo import Monorepo, NoSuchServiceError, Service, discovering_once, find, select
from service_migrations.revision_call import cancel_revision, reminding
from service_migrations.settings.duration import seconds
from service_migrations.tasks.support import console
from service_migrations.tasks.support.console import make_lasting
from service_migrations.tasks.support.ending import end_process, exit_kept
from service_migrations.tasks.support.flags import TaskWithFlags, TaskWithSettings, chosen_environment, refuse_ignored
from service_migrations.tasks.support.lazy_import import load_when_used
from service_migrations.tasks.support.signals import Stopped, handling, stop_at_once
from service_migrations.top_level import working_directory

if TYPE_CHECKING:
    from service_migrations.settings.model import Settings

__all__ = [
    "SERVICE",
    "SERVICES",
    "duration",
    "exactly_one",
    "number",
    "run",
    "selected",
    "service_name",
    "task",
]

T = TypeVar("T")

SERVICES = "A service's name; may be repeated. Where it is missing, the service of this folder, else all services."
X = "An argument for env.py, as of `alembic -x`: tenant=a; may be repeated."
SERVICE = "The service's name. Where it is missing, the service of this folder."


_OBJECTS = 300_000
"""The garbage collector's threshold of new objects, in this process and in its forked workers."""
_SELDOM_USED = ("mako.exceptions",)
"""What Alembic imports for errors in templates. It imports pygments, for error pages in HTML: a tenth of an upgrade."""
_GRACE = 8.0
"""Seconds in which a stopped command may cancel its statement; a server that is hanging must not hold a pod."""


def task(
    *,
    remainder: bool = False,
    logs: bool = False,
    runs_environment: bool = False,
    settings: bool = True,
    **options: Any,
) -> Callable[[Callable[..., None]], Task[Any]]:
    """Declare a task, whose errors are printed as one line each.

    Args:
        remainder: whether the task takes words after the two dashes.
        logs: whether Alembic's INFO lines are shown without --debug too.
        runs_environment: whether it runs env.py, whose arguments it takes with ``-x``, as Alembic does.
        settings: whether the task reads settings, so that it has --env and --env-file.
        options: further arguments of Invoke's own decorator.

    """

    def declare(body: Callable[..., None]) -> Task[Any]:
        texts = [
            parameter.name
            for parameter in inspect.signature(body).parameters.values()
            if parameter.default is None or isinstance(parameter.default, str)
        ]

        @functools.wraps(body)
        @exit_kept()
        def run_body(context: Context, *, env: str | None = None, env_file: str | None = None, **keywords: Any) -> None:
            make_lasting()
            # the objects of imports live to the end, and collecting among them takes a fifth of a second
            gc.set_threshold(_OBJECTS)
            # a last collection at the end would be useless: the system frees all memory
            atexit.register(gc.freeze)
            load_when_used(*_SELDOM_USED)
            debug = logging.getLogger().level == logging.DEBUG  # Invoke's own --debug has set it
            console.configure_logging(debug=debug, alembic=logs)
            try:
                with handling(stop_at_once), console.results_only():
                    working_directory()  # also where MIGRATIONS_ROOT is set: rich takes it when it is imported
                    refuse_ignored(context, options.get("iterable", ()), texts, remainder=remainder)
                    with chosen_environment(env, env_file), discovering_once():
                        if runs_environment:
                            _with_x_arguments(body, keywords.pop("x"))(context, **keywords)
                        else:
                            body(context, **keywords)
            except Stopped as stopped:
                raise Exit(str(stopped), code=stopped.exit_code) from None
            except Exit:
                raise
            except Exception as error:
                if debug:
                    traceback.print_exception(error)
                described_exit = _described(error)
                if described_exit is None:
                    raise  # a mistake of the library, so its traceback is needed
                raise described_exit from None

        if runs_environment:
            signature = inspect.signature(body)
            x = inspect.Parameter("x", inspect.Parameter.KEYWORD_ONLY)
            parameters = [*signature.parameters.values(), x]
            run_body.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
            options["iterable"] = [*options.get("iterable", ()), "x"]
            options["help"] = {**options.get("help", {}), "x": X}
        # Invoke would give --sql the flag -q, and change such flags when a parameter is added
        kind = TaskWithSettings if settings else TaskWithFlags
        declared: Task[Any] = invoke_task(auto_shortflags=False, positional=[], klass=kind, **options)(run_body)
        return declared

    return declare


def _with_x_arguments(body: Callable[..., None], arguments: list[str]) -> Callable[..., None]:
    """Return the body of a task, with the arguments of ``-x`` for env.py."""
    if not arguments:
        return body
    from service_migrations.history.x_arguments import x_arguments

    return x_arguments(*arguments)(body)


def _described(error: Exception) -> Exit | None:
    """Return the exit that describes an error in one line; None for an error that nobody expects."""
    from service_migrations.installation import installation_problem

    if not isinstance(error, MigrationError) and (problem := installation_problem(error)):
        error = problem
    if isinstance(error, MigrationError):
        return Exit(console.printable(console.runnable(str(error)), sys.stderr), code=error.exit_code)
    if not isinstance(error, OSError) or not isinstance(error.filename, str):
        if not is_full(error):
            return None
        text = f"A file can't be written: {error.strerror}. TMPDIR names the folder of temporary files."
        return Exit(text, code=ConfigurationError.exit_code)
    path = Path(error.filename)
    with suppress(MigrationError):  # a repository that has no table yet
        path = path.relative_to(root) if path.is_relative_to(root := Monorepo.locate().root) else path
    text = f"{path} can't be written: {error.strerror}." if cannot_be_written(error) else f"{path}: {error.strerror}."
    return Exit(console.printable(text, sys.stderr), code=ConfigurationError.exit_code)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, or until SIGINT, SIGTERM or SIGHUP.

    The first signal cancels the statement at the server, whose state is then read; a second signal, or a server that
    doesn't answer, ends the process at once.

    Raises:
        Stopped: a signal ended it.
        MigrationError: it was cancelled by what ran in it.

    """
    received: list[int] = []
    started: list[asyncio.Future[T]] = []
    try:
        return asyncio.run(_until_stopped(coroutine, received, started))
    except (asyncio.CancelledError, MigrationError) as error:
        if received:
            raise Stopped(received[0]) from None
        if isinstance(error, MigrationError):
            raise
        raise cancelled_inside() from error
    except (Exception, SystemExit) as error:
        if any(is_raised_by(main_task, error) for main_task in started):
            raise  # of the coroutine itself, as of Alembic's own command line
        if received:
            raise Stopped(received[0]) from None
        # of something else in the event loop, such as a task that a revision has left: its code may be 0
        raise (cancelled_inside() if isinstance(error, SystemExit) else ended_inside(error)) from error


async def _until_stopped(
    coroutine: Coroutine[Any, Any, T], received: list[int], started: "list[asyncio.Future[T]]"
) -> T:
    """Run a coroutine as a task, which the first signal cancels.

    Args:
        coroutine: the coroutine.
        received: takes the number of that signal.
        started: takes the task.

    """
    main_task = asyncio.ensure_future(coroutine)
    started.append(main_task)
    loop = asyncio.get_running_loop()
    deadlines: list[float] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if received:
            _end_at_once(number)
        received.append(number)
        deadlines.append(time.monotonic() + _GRACE)
        remind()
        cancel_revision(frame, loop, main_task)

    def end_in_time() -> None:
        if time.monotonic() > deadlines[0]:
            _end_at_once(received[0])

    # by a timer of the process, since a revision may hold up the loop
    with reminding(end_in_time) as remind, handling(stop):
        return await main_task


def _end_at_once(number: int) -> NoReturn:
    """End the process without waiting; the server notices the closed connection, and rolls back."""
    text = abandon()
    console.note(f"Ended at once by {signal.Signals(number).name}{': ' if text else ''}{text}.")
    sys.stderr.flush()
    end_process(Stopped(number).exit_code)


def duration(text: str, option: str, *, zero: bool = True) -> float:
    """Return the seconds of a duration on the command line.

    Raises:
        UsageError: it is no duration; in a setting that would be a ConfigurationError.

    """
    try:
        return seconds(text, option, zero=zero)
    except ConfigurationError as error:
        raise UsageError(str(error)) from None


def number(text: str, option: str, least: int = 1) -> int:
    """Return a whole number on the command line.

    Raises:
        UsageError: it is no number, or less than *least*.

    """
    if not text.isdecimal() or int(text) < least:
        raise UsageError(f"{option} {text!r}: a whole number is needed, {least} or more.")
    return int(text)


def selected(names: list[str], *, of_folder: bool = True) -> tuple[Service, ...]:
    """Return the named services; where none is named, the service of the working directory, else all.

    Args:
        names: their names.
        of_folder: whether the working directory counts; not for a list of what there is.

    """
    own_service = _service_of_folder() if of_folder and not names else None
    with naming_option("--service"):
        return (own_service,) if own_service else select(names)


@contextmanager
def naming_option(option: str) -> Iterator[None]:
    """Name the option in the error of a service that doesn't exist."""
    try:
        yield
    except NoSuchServiceError as error:
        raise UsageError(f"{option} {error.message}", hint=error.hint) from None


def service_name(settings: "Settings") -> str:
    """Return the name of the service of settings."""
    return settings.service.name


def exactly_one(names: list[str], command: str) -> Service:
    """Return the one service that a command needs; where none is named, that of the working directory."""
    if len(names) == 1:
        with naming_option("--service"):
            return find(names[0])
    own_service = None if names else _service_of_folder()
    if own_service:
        return own_service
    problem = "needs --service" if not names else "takes one --service only"
    known = ", ".join(service.name for service in select([]))
    raise UsageError(f"db.{command} {problem}.", hint=f"Services: {known}.")


def _service_of_folder() -> Service | None:
    """Return the service of the working directory, and report that it is taken, since nobody has named it."""
    service = Monorepo.locate().service_at(Path.cwd())
    if service:
        console.note(f"{service} is the service of this folder; --service names another.")
    return service
