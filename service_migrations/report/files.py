"""The writing of a report's file: the whole of it or nothing, so that nobody opens half a page."""

from pathlib import Path

from service_migrations.errors import ConfigurationError, UsageError
from service_migrations.files import cannot_be_written, replace

__all__ = ["write_whole"]


def write_whole(path: Path, text: str) -> None:
    """Write a file in one step. A link is followed.

    Raises:
        UsageError: its name can't be that of a file; the message says why.
        ConfigurationError: the disk is full or read-only.

    """
    try:
        target = path.resolve()
        if target.exists() and not target.is_file():
            problem = "it is a directory" if target.is_dir() else "it is no ordinary file"
            raise UsageError(f"{path} can't be written: {problem}.", hint="Name a file.")
        replace(target, text.encode())
    except (OSError, RuntimeError) as error:  # the latter before Python 3.13, for a circle of links
        reason = getattr(error, "strerror", None) or str(error)
        is_of_disk = isinstance(error, OSError) and cannot_be_written(error)
        raise (ConfigurationError if is_of_disk else UsageError)(
            f"{path} can't be written: {reason}.",
            hint="" if is_of_disk else "Name a file in a folder that can be written.",
        ) from None
