"""A shard: the part of the services that one of several machines upgrades, without contact between the machines.

The database of a service decides, so that services that share one are never upgraded by two machines at once. Nothing
else decides: adding or removing a service moves no other service.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from service_migrations.errors import MigrationError, UsageError
from service_migrations.monorepo import Service
from service_migrations.settings.model import Settings

__all__ = ["Loaded", "Shard", "parse_shard"]

Loaded = tuple[Service, Settings | MigrationError]
"""A service, and its settings or their error."""

INDEX = "JOB_COMPLETION_INDEX"
"""The variable with the index of a pod, from 0, that an indexed Job of Kubernetes sets."""

_LARGEST = 1000
"""The largest number of shards: a weight is computed for each service and each shard."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard: its number, from 1, and the count of all shards."""

    number: int
    count: int

    def part(self, loaded: Iterable[Loaded]) -> list[Loaded]:
        """Return the services of this shard, in their order, of those of all shards."""
        return [
            (service, settings)
            for service, settings in loaded
            if _index(service, settings, self.count) == self.number - 1
        ]


def parse_shard(text: str, environment: Mapping[str, str]) -> Shard:
    """Return the shard that ``3/10`` names; in ``/10`` the number is taken from JOB_COMPLETION_INDEX.

    Raises:
        UsageError: the text is no shard, or its count or number is too large.

    """
    match = re.fullmatch(r"(\d{0,9})/(\d{1,9})", text, re.ASCII)
    if not match:
        raise UsageError(f"--shard {text!r}: write 3/10 for the third of ten, or /10 where {INDEX} says which.")
    count = int(match[2])
    if count > _LARGEST:
        raise UsageError(f"--shard {text}: a fleet has {_LARGEST} parts at most.")
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


def _index(service: Service, settings: Settings | MigrationError, count: int) -> int:
    """Return a service's shard, from 0, by the highest random weight: a further machine moves few services."""
    if isinstance(settings, MigrationError):
        key = service.name  # it is going to fail, but on one machine only
    else:
        key = repr((sorted(settings.dsn.server), settings.dsn.database))
    return max(range(count), key=lambda number: hashlib.sha256(f"{number} {key}".encode()).digest())
