"""The errors of the library: MigrationError and its subclasses.

An error has fields, from which the line for people, the annotation for GitHub and the JSON are made. The exit codes
follow sysexits.h where it has one for the case, so that a pipeline knows what to do next.
"""

import re
from typing import Self

__all__ = [
    "AccessDeniedError",
    "ConfigurationError",
    "ContentionError",
    "DifferenceError",
    "LockNotObtainedError",
    "MigrationError",
    "NotReadyError",
    "ResultError",
    "UnreachableError",
    "UsageError",
    "cancelled_inside",
    "text_of",
    "worst_exit_code",
]

_LONGEST = 1000
"""Characters of an error's text that are shown: one of other people's code may hold a whole file."""


_PASSWORD = re.compile(
    r"(\b[A-Za-z][\w+.-]*:/{1,3}[^\s:/@'\"]*:)(?!password@|[{$<]|\d{1,5}/)[^\s'\"]+(?=@)|([?&]\w*password=)[^\s&'\"]+"
)
"""That of a URL, also of one that was taken for a path; not that of an example or of a template."""


def _masked(text: str) -> str:
    """Return a text without the password of a URL: people give a DSN where something else is asked for."""
    return _PASSWORD.sub(r"\1\2***", text) if ":/" in text else text


class MigrationError(Exception):
    """A migration failed."""

    exit_code: int = 1

    def __init__(
        self,
        message: str | None = None,
        *,
        service: object = None,
        path: object = None,
        line: int | None = None,
        hint: str = "",
    ) -> None:
        """Describe an error.

        Args:
            message: what is wrong, with a full stop where a hint follows; the docstring of the class where it is None.
            service: the service, or its name.
            path: the file with the error, relative to the top level; it is put before the message, unless the message
                names it. After a colon, it may have the line, as in ``billing/models.py:7``.
            line: the line of that file, from 1.
            hint: what to do: one sentence or two.

        """
        super().__init__(_masked(message or (self.__doc__ or "").strip()))
        file, _, number = str(path).rpartition(":") if path is not None else ("", "", "")
        has_line = line is None and bool(file) and number.isdecimal()
        self.service = None if service is None else str(service)
        self.path = None if path is None else _masked(file if has_line else str(path))
        self.line = int(number) if has_line else line
        self.hint = _masked(hint)

    @property
    def message(self) -> str:
        """What is wrong, without service, place and hint."""
        return str(self.args[0])

    @property
    def place(self) -> str:
        """The file and the line, as ``path:line``; empty where there is no file."""
        return "" if self.path is None else f"{self.path}:{self.line}" if self.line else self.path

    def __str__(self) -> str:
        place = "" if self.path and self.path in self.message else self.place
        where = ": ".join(part for part in (self.service, place, self.message) if part)
        return f"{where} {self.hint}" if self.hint else where

    def with_hint(self, more: str) -> Self:
        """Return a copy of the error with a longer hint, which can be raised from the error."""
        hint = " ".join(part for part in (self.hint, more.strip()) if part)
        return type(self)(self.message, service=self.service, path=self.path, line=self.line, hint=hint)

    def with_other_hint(self, hint: str) -> Self:
        """Return a copy of the error with another hint."""
        return type(self)(self.message, service=self.service, path=self.path, line=self.line, hint=hint)

    def at(self, path: object) -> Self:
        """Return a copy of the error with another file, given as to the constructor."""
        return type(self)(self.message, service=self.service, path=path, hint=self.hint)

    def of(self, service: object) -> Self:
        """Return a copy of the error with the service that it is of."""
        return type(self)(self.message, service=service, path=self.path, line=self.line, hint=self.hint)

    def as_json(self) -> dict[str, object]:
        """Return the fields for another program: numbers and texts, null where a field is empty."""
        return {
            "text": str(self),
            "message": self.message,
            "service": self.service,
            "path": self.path,
            "line": self.line,
            "hint": self.hint or None,
            "exit_code": self.exit_code,
        }


class UsageError(MigrationError):
    """The command was called in a wrong way."""

    exit_code = 2


class DifferenceError(MigrationError):
    """The database, the history and the models don't agree."""

    exit_code = 3


class UnreachableError(MigrationError):
    """The server can't be reached, or was lost. It is safe to run the command again."""

    exit_code = 69


class ResultError(MigrationError):
    """The result is not what was logged. Look at the database before anything else is run."""

    exit_code = 70


class LockNotObtainedError(MigrationError):
    """A lock was not obtained in time. It is safe to run the command again."""

    exit_code = 75


class ContentionError(LockNotObtainedError):
    """A revision met a lock that others hold, and was rolled back. It is safe to run it again."""


class NotReadyError(MigrationError):
    """The database wasn't ready in time. It is safe to wait again."""

    exit_code = 75


class AccessDeniedError(MigrationError):
    """The server refused the role, or a privilege is missing."""

    exit_code = 77


class ConfigurationError(MigrationError):
    """A setting, a service or a model is wrong."""

    exit_code = 78


_WORST_FIRST = (
    ResultError.exit_code,
    MigrationError.exit_code,
    UsageError.exit_code,
    ConfigurationError.exit_code,
    AccessDeniedError.exit_code,
    UnreachableError.exit_code,
    LockNotObtainedError.exit_code,
    DifferenceError.exit_code,
)


def worst_exit_code(errors: list[MigrationError]) -> int:
    """Return the most serious exit code of several errors.

    70 comes first, since a person has to look at the database; then come 1 and the others, and last what is safe to
    run again. It is 0 where there is no error.
    """
    codes = {error.exit_code for error in errors}
    return next((code for code in _WORST_FIRST if code in codes), 0)


def cancelled_inside(service: object = None) -> MigrationError:
    """Return the error of a task that was cancelled though nobody has stopped the run."""
    return MigrationError(
        "it was cancelled from inside, by its revision or by what that imports.",
        service=service,
        hint="Nobody has stopped the run, so it isn't done.",
    )


def text_of(error: BaseException, *, first_line: bool = False) -> str:
    """Return the text of an error of other people's code in one line; empty where it has none.

    Its ``__str__`` may itself raise an error, which would hide the first one behind a traceback.

    Args:
        error: the error.
        first_line: whether only the first line is wanted, and not all of them in one.

    """
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - whatever it raises
        return ""
    text = next(iter(text.splitlines()), "") if first_line else " ".join(text[: 2 * _LONGEST].split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
