"""A shard: the part of a fleet that one of several machines upgrades, chosen without their talking to each other.

Which database a service uses decides, so that those that share one are never upgraded by two machines at once. And
only that decides: another service that comes or goes moves none of the others.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service_migrations.errors import MigrationError, UsageError
from service_migrations.monorepo import Service
from service_migrations.settings.model import Settings, load_many
from service_migrations.settings.sources import Sources

__all__ = ["Shard", "parse_shard"]

INDEX = "JOB_COMPLETION_INDEX"
"""What an indexed Job of Kubernetes sets in each of its pods, counted from 0."""

_PARTS = 1000
"""So many parts at most: each service is weighed for each of them."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The part with this number, from 1, of so many."""

    number: int
    count: int

    def part(self, services: Sequence[Service], sources: Sources | None = None) -> tuple[Service, ...]:
        """Return the services that are in this part, in their order.

        Args:
            services: all of them.
            sources: what their settings are read from.

        """
        loaded = zip(services, load_many(services, sources), strict=True)
        return tuple(
            service for service, settings in loaded if _bucket(service, settings, self.count) == self.number - 1
        )


def parse_shard(text: str, environment: Mapping[str, str]) -> Shard:
    """Return the shard that ``3/10`` names; in ``/10`` the number is taken from JOB_COMPLETION_INDEX.

    Raises:
        UsageError: it is no shard, there are too many, or the number isn't among them.

    """
    match = re.fullmatch(r"(\d{0,9})/(\d{1,9})", text, re.ASCII)
    if not match:
        raise UsageError(f"--shard {text!r}: write 3/10 for the third of ten, or /10 where {INDEX} says which.")
    count = int(match[2])
    if count > _PARTS:
        raise UsageError(f"--shard {text}: a fleet has {_PARTS} parts at most.")
    if match[1]:
        number = int(match[1])
    else:
        index = environment.get(INDEX, "")
        if not re.fullmatch(r"\d{1,9}", index, re.ASCII):
            raise UsageError(
                f"--shard {text}: {INDEX} is {index!r}, and no number.", hint="Write 3/10 where it isn't set."
            )
        number = int(index) + 1
    if not 1 <= number <= count:
        raise UsageError(f"--shard {text}: there is no shard {number} of {count}.")
    return Shard(number, count)


def _bucket(service: Service, settings: Settings | MigrationError, count: int) -> int:
    """Return a service's shard, from 0, by the highest random weight: one more machine moves as few as can be."""
    if isinstance(settings, MigrationError):
        key = service.name  # it is going to fail, and on one machine only
    else:
        key = repr((sorted(settings.dsn.server), settings.dsn.database))
    return max(range(count), key=lambda number: hashlib.sha256(f"{number} {key}".encode()).digest())
