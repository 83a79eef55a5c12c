"""The import of a service's revision files by Alembic, with an error or a warning for what is wrong in them."""

import logging
import traceback
import warnings
from collections.abc import Callable
from inspect import currentframe
from pathlib import Path
from typing import Any

import alembic.script
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError

from service_migrations._alembic import answers_to_any_name
from service_migrations.errors import UsageError, text_of
from service_migrations.history.files.faults import fault
from service_migrations.history.files.parsing import FILTERS
from service_migrations.interruption import stops
from service_migrations.models.attachments import tables_kept
from service_migrations.models.service_code import code_of
from service_migrations.monorepo import Service

__all__ = ["load"]

log = logging.getLogger(__name__)

_ALEMBIC = Path(alembic.script.__file__).parent
_HARMLESS = "loaded twice! ignoring"
"""Alembic's warning of a file that it finds in two ways, such as through a link; it counts once."""

_CONFLICT = ("<<<<<<< ", "=======", ">>>>>>> ")
"""How git marks what it can't merge."""

_FOR_AUTHORS = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
"""What Python shows to the authors of code, and to nobody else: of an installed package, who migrates is neither."""

_IMPORT = "<frozen importlib"
_PACKAGES = {"site-packages", "dist-packages"}

_logged: set[tuple[Path, str, str]] = set()


def load(service: Service, config: Config) -> tuple[ScriptDirectory, list[Script]]:
    """Import the revision files of a service; a warning of a file is logged, once in a process.

    Returns:
        Alembic's directory, and the revisions, newest first.

    Raises:
        UsageError: a file can't be imported, or the files are no history; the message names them.

    """
    problems: list[str] = []  # Alembic only warns of an id that is used twice

    locations = [str(path) for location in service.version_locations for path in {location, location.resolve()}]
    try:
        with code_of(service), FILTERS, warnings.catch_warnings(), tables_kept(locations):
            warnings.simplefilter("always")
            warnings.showwarning = _receiver(service, problems)
            directory = ScriptDirectory.from_config(config)
            scripts = list(directory.walk_revisions())
            unclear = next(filter(answers_to_any_name, scripts), None)
    except SyntaxError as error:
        raise _syntax_failure(service, error) from error
    except (CommandError, RevisionError, KeyError) as error:
        raise _no_history(service, problems[0] if problems else str(error)) from error
    except BaseException as error:
        if stops(error):
            raise
        raise _not_importable(service, error) from error
    if problems:
        raise _no_history(service, problems[0])
    if unclear is not None:
        raise UsageError(
            "its __getattr__ answers to any name, and so to those that Alembic looks for. Nothing was run.",
            service=service,
            path=service.relative(Path(unclear.path)),
            hint="Let it raise AttributeError for a name that it doesn't know.",
        )
    return directory, scripts


def _receiver(service: Service, problems: list[str]) -> Callable[..., None]:
    """Return what takes the warnings of an import: Alembic's of a history go to *problems*, others to the log."""

    def receive(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any
    ) -> None:
        if category is UserWarning and Path(filename).parent == _ALEMBIC:
            if _HARMLESS not in str(message):
                problems.append(str(message))
            return
        frames = [(frame, number) for frame, number in traceback.walk_stack(currentframe())]
        if not (issubclass(category, _FOR_AUTHORS) and _is_at_an_import(service, frames)):
            _log(service, f"{category.__name__}: {message}", _place(service, filename, lineno, frames))

    return receive


def _syntax_failure(service: Service, error: SyntaxError) -> UsageError:
    if error.filename is None and (problem := fault(service)):  # Python names no file that has a NUL
        return problem
    path = service.relative(Path(error.filename or service.versions))
    text, hint = error.msg, "Correct the revision; nothing was run."
    if (error.text or "").startswith(_CONFLICT):
        text, hint = "this is a mark of a merge conflict", "Resolve it; nothing was run."
    return UsageError(f"{text}.", service=service, path=path, line=error.lineno, hint=hint)


def _not_importable(service: Service, error: BaseException) -> UsageError:
    place = service.revision_place(reversed(list(traceback.walk_tb(error.__traceback__))))
    if place is None and (problem := fault(service)):
        return problem
    path, number = place or (service.shown_locations, None)
    text = f"it can't be imported: {type(error).__name__}: {text_of(error)}. Nothing was run."
    return UsageError(text, service=service, path=path, line=number)


def _no_history(service: Service, text: str) -> UsageError:
    text = " ".join(text.split()).rstrip(".")
    return fault(service) or UsageError(f"{text}. Nothing was run.", service=service, path=service.shown_locations)


def _place(service: Service, filename: str, line: int, frames: list[Any]) -> str:
    """Return the line of a revision that a warning is about, or the one that the warning itself names."""
    locations = (folder for location in service.version_locations for folder in (location, location.resolve()))
    if not any(Path(filename).is_relative_to(location) for location in locations):
        filename, line = service.revision_place(frames) or (filename, line)
    return f"{service.relative(Path(filename))}:{line}"


def _is_at_an_import(service: Service, frames: list[Any]) -> bool:
    """Whether a warning comes while a package is imported, and not from what a file of the repository calls."""
    for frame, _ in frames[1:]:
        file = frame.f_code.co_filename
        if file.startswith(_IMPORT):
            return True
        if Path(file).is_relative_to(service.root) and not _PACKAGES & {*Path(file).parts}:
            return False
    return False


def _log(service: Service, text: str, place: str) -> None:
    text = " ".join(text.split())
    if (service.root, place, text) not in _logged:
        _logged.add((service.root, place, text))
        log.warning("%s: %s: %s", service, place, text)
