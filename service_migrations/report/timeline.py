"""The time line of the ledgers: when something was run, for all services on one axis."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from service_migrations.report.model import ReportedService

__all__ = ["WIDTH", "Mark", "Tick", "Timeline", "Track", "timeline"]

WIDTH = 1000
"""The units of the axis, which is stretched to the width of the page."""
_MOST = 6
"""The ticks that have room beside each other."""
_EDGE = 12
"""The units at both ends that no mark is in, so that none is cut."""

_DAY = timedelta(days=1)
_STEPS = (
    *(timedelta(seconds=count) for count in (1, 2, 5, 10, 15, 30)),
    *(timedelta(minutes=count) for count in (1, 2, 5, 10, 15, 30)),
    *(timedelta(hours=count) for count in (1, 2, 3, 6, 12)),
    *(timedelta(days=count) for count in (1, 2, 4, 7, 14)),
)
_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120)
_YEAR = 12


@dataclass(frozen=True, slots=True)
class Mark:
    """What was run at about one moment: a place on the axis, and the direction."""

    x: int
    direction: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on the axis, and the moment there."""

    x: int
    label: str


@dataclass(frozen=True, slots=True)
class Track:
    """The marks of one service, and how often each direction was run."""

    service: ReportedService
    marks: tuple[Mark, ...]
    counts: dict[str, int]

    @property
    def summary(self) -> str:
        """All of it in words."""
        return ", ".join(f"{count} {direction}{'s' * (count > 1)}" for direction, count in self.counts.items())


@dataclass(frozen=True, slots=True)
class Timeline:
    """All tracks, and the ticks of their axis."""

    tracks: tuple[Track, ...]
    ticks: tuple[Tick, ...]


def timeline(services: Sequence[ReportedService]) -> Timeline | None:
    """Return the time line; None where no ledger has an entry."""
    moments = [run.started for service in services for run in service.runs if run.started]
    if not moments:
        return None
    first, last = min(moments).astimezone(UTC), max(moments).astimezone(UTC)
    span = max(last - first, timedelta(seconds=1))

    def place(moment: datetime) -> int:
        return _EDGE + round((moment - first) / span * (WIDTH - 2 * _EDGE))

    tracks = []
    for service in services:
        marks = {Mark(place(run.started), run.direction): None for run in service.runs if run.started}
        counts: dict[str, int] = {}
        for run in service.runs:
            counts[run.direction] = counts.get(run.direction, 0) + 1
        if marks:
            tracks.append(Track(service, tuple(sorted(marks, key=lambda mark: mark.x)), counts))
    ticks = tuple(Tick(place(moment), label) for moment, label in _ticks(first, first + span))
    return Timeline(tuple(tracks), ticks)


def _ticks(first: datetime, last: datetime) -> list[tuple[datetime, str]]:
    """Return round moments between two, with their labels; as many as have room."""
    span = last - first
    for step in _STEPS:
        if span / step <= _MOST:
            return _even(first, last, step)
    months = (last.year - first.year) * _YEAR + last.month - first.month
    step_of_months = next((step for step in _MONTHS if months / step <= _MOST), _MONTHS[-1])
    ticks = []
    number = first.year * _YEAR + first.month
    number += -number % step_of_months
    while number // _YEAR <= last.year:
        moment = datetime(number // _YEAR, number % _YEAR + 1, 1, tzinfo=UTC)
        if first <= moment <= last:
            label = moment.strftime("%Y") if not step_of_months % _YEAR else moment.strftime("%b %Y")
            ticks.append((moment, label))
        number += step_of_months
    return ticks


def _even(first: datetime, last: datetime, step: timedelta) -> list[tuple[datetime, str]]:
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
    form = "%-d %b" if step >= _DAY else "%H:%M" if step >= timedelta(minutes=1) else "%H:%M:%S"
    moment = midnight + -((midnight - first) // step) * step
    ticks = []
    while moment <= last:
        ticks.append((moment, moment.strftime(form)))
        moment += step
    return ticks
