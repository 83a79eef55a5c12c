"""The options that several tasks have: their help texts, and the limits of a run."""

from dataclasses import replace
from typing import TYPE_CHECKING

from service_migrations.errors import UsageError
from service_migrations.tasks.support.task import duration

if TYPE_CHECKING:
    from service_migrations.settings.model import Settings

__all__ = [
    "ALLOW_DESTRUCTIVE",
    "JSON",
    "LIMITS",
    "SQL",
    "YES",
    "asked_limits",
    "refuse_beside_sql",
    "with_limits",
]

JSON = "Print JSON, for another program."
YES = "Don't ask."
ALLOW_DESTRUCTIVE = "Allow what destroys data where the target isn't local; may be repeated."
SQL = "Print the SQL instead of running it; no database is connected to."
LIMITS = {
    "lock_wait": "How long to wait for the migration lock (60s); 0 fails at once.",
    "lock_timeout": "The longest wait of a statement for a lock on a table (5s); the first tries are shorter.",
    "statement_timeout": "How long one statement may run (0, without limit).",
}


def asked_limits(lock_wait: str, lock_timeout: str, statement_timeout: str) -> dict[str, float]:
    """Return the limits that the command line sets, in seconds."""
    texts = {"lock_wait": lock_wait, "lock_timeout": lock_timeout, "statement_timeout": statement_timeout}
    return {
        name: duration(text, f"--{name.replace('_', '-')}", zero=name != "lock_timeout")
        for name, text in texts.items()
        if text
    }


def refuse_beside_sql(**options: object) -> None:
    """Refuse options that have no effect beside ``--sql``.

    Raises:
        UsageError: one of them is set; the message names it.

    """
    for name, value in options.items():
        if value or isinstance(value, float):  # 0 is a limit too
            raise UsageError(
                f"--{name.replace('_', '-')} doesn't go with --sql, which runs nothing.", hint="Leave one of them out."
            )


def with_limits(settings: "Settings", limits: dict[str, float]) -> "Settings":
    """Return a service's settings with the limits that the command line sets."""
    return replace(settings, limits=replace(settings.limits, **limits))
