"""MigrationError and its few children: what is wrong, where, what to do.

The exit codes follow sysexits.h where it has a word for the case, so that a pipeline knows what to do next.
"""

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

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


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
