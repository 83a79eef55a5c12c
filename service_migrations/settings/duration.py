"""Durations, as they are written in a .env, on the command line and in a revision."""

import re

from service_migrations.errors import ConfigurationError

__all__ = ["milliseconds", "seconds"]

_SHORTEST, _LONGEST = 0.001, 2147483.647
"""In seconds. PostgreSQL stores whole milliseconds in 31 bits (pg_settings); below one it would be 0, no limit."""
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str, prefix: str, *, zero: bool = True) -> float:
    """Return the seconds of ``500ms``, ``5s``, ``2m``, ``1h`` or ``0``.

    Args:
        text: the duration.
        prefix: the start of an error message.
        zero: whether ``0`` is valid, which mostly means no limit.

    Raises:
        ConfigurationError: the text has another form, or is zero where that isn't valid, or is too short or too long.

    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)|0", text.strip())
    if not match:
        units = "500ms, 5s, 2m or 0" if zero else "500ms, 5s or 2m"
        raise ConfigurationError(f"{prefix} is {text!r}, which is no duration.", hint=f"Write {units}.")
    value = float(match[1]) * _UNITS[match[2]] if match[1] else 0.0
    if not value and not zero:
        raise ConfigurationError(f"{prefix} is {text!r}, and must be more than nothing.", hint="Write 500ms, 5s or 2m.")
    if value and not _SHORTEST <= value <= _LONGEST:
        raise ConfigurationError(f"{prefix} is {text!r}, which PostgreSQL can't hold.", hint="Write 1ms to 596h.")
    return value


def milliseconds(value: float) -> int:
    """Return seconds as whole milliseconds, at least 1 unless they are 0: for the server 0 is no limit."""
    return max(1, round(value * 1000)) if value else 0
