"""The rules of ``--fail-on``: what a measurement must not show."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from service_migrations.errors import ConfigurationError, UsageError
from service_migrations.evidence.measurement import Measurement
from service_migrations.settings.duration import seconds

__all__ = ["Rule", "parse_rule"]

_TIMES: dict[str, Callable[[Measurement], float]] = {
    "readers-blocked": lambda item: item.readers_blocked,
    "writers-blocked": lambda item: item.writers_blocked,
    "held": lambda item: item.strongest.seconds if item.strongest else 0.0,
    "seconds": lambda item: item.seconds,
    "ten-million": lambda item: item.at_ten_million or 0.0,
}
_KNOWN = "rewrite, " + ", ".join(f"{name}>1s" for name in _TIMES)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: its text, and the seconds that are allowed; None for ``rewrite``."""

    text: str
    name: str
    limit: float | None = None

    def broken_by(self, measurement: Measurement) -> str | None:
        """Return how a measurement breaks the rule; None where it doesn't."""
        if self.limit is None:
            tables = ", ".join(measurement.rewrites)
            return f"it rewrites {tables}" if tables else None
        value = _TIMES[self.name](measurement)
        return f"{self.name} {value:g} s" if value > self.limit else None


def parse_rule(text: str) -> Rule:
    """Parse a rule, such as ``writers-blocked>1s`` or ``rewrite``.

    Raises:
        UsageError: there is no such rule.

    """
    if text.strip() == "rewrite":
        return Rule(text, "rewrite")
    match = re.fullmatch(r"\s*([a-z-]+)\s*>\s*(\S+)\s*", text)
    if match is None or match[1] not in _TIMES:
        raise UsageError(f"--fail-on {text!r}: there is no such rule.", hint=f"Known: {_KNOWN}.")
    try:
        return Rule(text, match[1], seconds(match[2], f"--fail-on {text!r}"))
    except ConfigurationError as error:
        raise UsageError(error.message, hint=error.hint) from None
