"""A .env file: its assignments, each with its line."""

from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from service_migrations._dotenv import parse_stream
from service_migrations.errors import ConfigurationError
from service_migrations.files import is_there, read_text

__all__ = ["Assignment", "read"]


@dataclass(frozen=True, slots=True)
class Assignment:
    """One assignment of a .env."""

    number: int
    key: str
    value: str | None = field(repr=False)


def read(path: Path, shown_path: str) -> tuple[Assignment, ...]:
    """Read a .env with python-dotenv's own parser, which interpolates nothing and has line numbers.

    Args:
        path: the file; one that doesn't exist has no lines.
        shown_path: its path in messages.

    Raises:
        ConfigurationError: it can't be read, or has a line that is no assignment.

    """
    if not is_there(path):
        return ()
    try:
        bindings = list(parse_stream(StringIO(read_text(path, encoding="utf-8-sig", pipe=True))))
    except UnicodeDecodeError as error:
        text, hint = f"byte {error.start} is not UTF-8.", "Save the file as UTF-8."
        raise ConfigurationError(text, path=shown_path, hint=hint) from None
    except OSError as error:
        text = f"{shown_path} can't be read: {error.strerror}."
        hint = "It must be a file of KEY=value lines."
        if isinstance(error, PermissionError):
            hint = "Run as the account that it belongs to, or let this one read it."
        raise ConfigurationError(text, path=shown_path, hint=hint) from None
    lines = []
    for binding in bindings:
        text = binding.original.string
        # python-dotenv's line number is that of the blank lines before the assignment
        number = binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
        if binding.error:
            text, hint = f"{shown_path}:{number} is no KEY=value line.", "Is a quote left open?"
            raise ConfigurationError(text, path=shown_path, line=number, hint=hint)
        if "\0" in text:  # no path has one, nor any text of PostgreSQL
            text, hint = f"{shown_path}:{number} has a NUL character.", "Was the file cut off, or saved as UTF-16?"
            raise ConfigurationError(text, path=shown_path, line=number, hint=hint)
        if binding.key is not None:
            lines.append(Assignment(number, binding.key, binding.value))
    return tuple(lines)
