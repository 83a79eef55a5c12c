"""The error of a server that could do no more, such as one whose disk is full: what was asked of it isn't at fault."""

from service_migrations.errors import ContentionError, MigrationError, UnreachableError
from service_migrations.failures.driver_errors import describe, sqlstate, sqlstate_of_any

__all__ = ["is_exhausted", "resource_hint", "server_failure"]

_AGAIN = "run the command again"
_HINTS = {
    "53100": f"Make room on the server's disk, and {_AGAIN}.",
    "53200": f"The server has no memory left: {_AGAIN} when less runs there, or lower its work_mem.",
    "53400": "A limit of the server or of the role is reached, such as temp_file_limit: raise it.",
}
_OF_RESOURCES = "The server lacks something that it needs: its log has more."
_CANCELLED = "57014"
_NO_FILE = "58P01"
"""Of a file that a statement names, such as that of an extension: no fault of the server."""
_CLASSES = ("53", "58")
"""The classes of SQLSTATEs for resources and for errors of the system below the server."""
_CONTENTION = ("55P03", "40P01", "40001")


def _is_of_resources(state: str | None) -> bool:
    return state is not None and state[:2] in _CLASSES and state != _NO_FILE


def is_exhausted(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, is of a server without disk space, memory or the like."""
    return _is_of_resources(sqlstate_of_any(error))


def resource_hint(state: str | None) -> str:
    """Return what to do where a server has no disk space, memory or the like; empty for any other error."""
    return _HINTS.get(state or "", _OF_RESOURCES) if _is_of_resources(state) else ""


def server_failure(error: Exception, target: str, service: object, path: str | None = None) -> MigrationError | None:
    """Return the error to raise where the server could do no more; None where the statement is at fault.

    Args:
        error: the error of the driver, over a connection that works still.
        target: the server and its database, without the password.
        service: the service; None where several are meant.
        path: the file of the statement.

    """
    state = sqlstate(error)
    message = f"{target}: {describe(error)} [{state}]."
    if hint := resource_hint(state):
        return UnreachableError(message, service=service, path=path, hint=hint)
    if state == _CANCELLED:
        hint = f"Is a timeout too short, or did somebody cancel it? Then {_AGAIN}."
        return UnreachableError(message, service=service, path=path, hint=hint)
    if state in _CONTENTION:
        return ContentionError(message, service=service, path=path, hint=f"{_AGAIN.capitalize()}.")
    return None
