"""The locks of a backend over time: samples, and how long each lock was held."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

__all__ = ["Locks", "Mode", "Sample", "Timeline", "parse_locks"]


class Mode(IntEnum):
    """A lock mode of a relation, in the order of its strength (PostgreSQL documentation, 13.3.1)."""

    ACCESS_SHARE = 1
    ROW_SHARE = 2
    ROW_EXCLUSIVE = 3
    SHARE_UPDATE_EXCLUSIVE = 4
    SHARE = 5
    SHARE_ROW_EXCLUSIVE = 6
    EXCLUSIVE = 7
    ACCESS_EXCLUSIVE = 8

    def __str__(self) -> str:
        return self.name.replace("_", " ")


Locks = Mapping[int, Mode]
"""The strongest lock on each relation, by its oid."""

_BY_NAME = {f"{str(mode).title().replace(' ', '')}Lock": mode for mode in Mode}


def parse_locks(text: str) -> Locks:
    """Return the strongest lock of each relation in a text such as ``16384:ShareLock 16390:RowExclusiveLock``.

    A predicate lock of a serializable transaction (``SIReadLock``) is none of these: nobody waits for it.
    """
    locks: dict[int, Mode] = {}
    for word in text.split():
        oid, _, name = word.partition(":")
        if name in _BY_NAME:
            locks[int(oid)] = max(locks.get(int(oid), Mode.ACCESS_SHARE), _BY_NAME[name])
    return locks


@dataclass(frozen=True, slots=True, order=True)
class Sample:
    """All locks of a backend at one time, in seconds of the server's clock."""

    time: float
    locks: Locks = field(compare=False)


@dataclass(slots=True)
class Timeline:
    """The samples of one run; between two of them the locks are those of the earlier one.

    Attributes:
        samples: the samples, in any order.
        pauses: start and end of each time in which the observer itself kept the migration waiting.

    """

    samples: list[Sample] = field(default_factory=list)
    pauses: list[tuple[float, float]] = field(default_factory=list)

    def add(self, time: float, locks: Locks) -> None:
        """Add a sample, which may be older than others."""
        self.samples.append(Sample(time, locks))

    def length(self, start: float, end: float) -> float:
        """Return the seconds of a time without those that the observer took."""
        paused = sum(max(min(end, stop) - max(start, begin), 0.0) for begin, stop in self.pauses)
        return max(end - start - paused, 0.0)

    def taken(self, before: Locks, start: float, end: float) -> Locks:
        """Return the strongest lock on each relation in a time, where it is stronger than before."""
        strongest: dict[int, Mode] = {}
        for sample in self._between(start, end):
            for oid, mode in sample.locks.items():
                if mode > before.get(oid, 0):
                    strongest[oid] = max(mode, strongest.get(oid, mode))
        return strongest

    def held(self, oid: int, mode: Mode, start: float, end: float, limit: float) -> float:
        """Return the seconds under a lock: within a time, and after it until the lock is released.

        Args:
            oid: the relation.
            mode: the lock, or a stronger one.
            start: the start of the statement that took it.
            end: the end of that statement.
            limit: when the locks are surely released.

        """
        seconds, since = 0.0, None
        for sample in (*self._between(start, limit), Sample(limit, {})):
            if since is not None:
                seconds += self.length(since, sample.time)
            is_held = sample.locks.get(oid, 0) >= mode
            if not is_held and sample.time >= end:
                break
            since = sample.time if is_held else None
        return seconds

    def _between(self, start: float, end: float) -> Iterable[Sample]:
        return sorted(sample for sample in self.samples if start < sample.time <= end)
