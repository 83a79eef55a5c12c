"""MigrationError and its few children: what is wrong, where, and what to do about it.

An error has fields; the line for people, the annotation for GitHub and the JSON are made from them. The exit codes
follow sysexits.h where it has a word for the case, so that a pipeline knows what to do next.
"""

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
    "gravest",
]


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
        """Say what is wrong.

        Args:
            message: what is wrong, with a full stop where a hint follows; the docstring of the class where it is None.
            service: the service that it happened to, or its name.
            path: the file that it is about, relative to the top level; it stands before the message, unless that
                names it in its sentence. One that ends with a colon and a number, as
                in ``billing/models.py:7``, has the line with it.
            line: the line of that file, from 1.
            hint: what to do about it: one sentence or two.

        """
        super().__init__(message or (self.__doc__ or "").strip())
        file, _, number = str(path).rpartition(":") if path is not None else ("", "", "")
        has_line = line is None and bool(file) and number.isdecimal()
        self.service = None if service is None else str(service)
        self.path = None if path is None else file if has_line else str(path)
        self.line = int(number) if has_line else line
        self.hint = hint

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
        """Return the same error with something more to say at its end; a new one, so that it can be raised from it."""
        hint = " ".join(part for part in (self.hint, more.strip()) if part)
        return type(self)(self.message, service=self.service, path=self.path, line=self.line, hint=hint)

    def at(self, path: object, service: object = None) -> Self:
        """Return the same error with the file that it is about, as of the constructor; a new one, as of with_hint."""
        return type(self)(self.message, service=service or self.service, path=path, hint=self.hint)

    def as_json(self) -> dict[str, object]:
        """Return the fields for another program: numbers and texts, null where there is none."""
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
    """The command was called in a way that can't be meant."""

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
    """The database didn't get to where it was waited for in time. It is safe to wait again."""

    exit_code = 75


class AccessDeniedError(MigrationError):
    """The server refused the role, or a privilege is missing."""

    exit_code = 77


class ConfigurationError(MigrationError):
    """A setting, a service or a model is wrong."""

    exit_code = 78


_GRAVITY = (
    ResultError.exit_code,
    MigrationError.exit_code,
    UsageError.exit_code,
    ConfigurationError.exit_code,
    AccessDeniedError.exit_code,
    UnreachableError.exit_code,
    LockNotObtainedError.exit_code,
    DifferenceError.exit_code,
)


def gravest(errors: list[MigrationError]) -> int:
    """Return the exit code for several services: the one that most wants a person.

    70 (look first) outranks 1, and what is safe to run again comes last; 0 where there is no error.
    """
    codes = {error.exit_code for error in errors}
    return next((code for code in _GRAVITY if code in codes), 0)
