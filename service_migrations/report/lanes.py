"""The graph of a history as lanes: which revision is in which lane, and which lines lead to those below it."""

from collections.abc import Sequence
from dataclasses import dataclass

from service_migrations.history.revision import Revision
from service_migrations.report.layout import is_installed, layered

__all__ = ["Lanes", "Line", "lanes"]


@dataclass(frozen=True, slots=True)
class Line:
    """A line from a revision down to one that it follows, or waits for.

    Attributes:
        start: the row of the upper revision.
        end: the row of the lower one.
        waits: whether the upper one only depends on the lower one.
        bends: the lane in each row between.

    """

    start: int
    end: int
    waits: bool
    bends: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Lanes:
    """The lane of each row, and all lines; ``count`` is the number of lanes."""

    rows: tuple[int, ...]
    lines: tuple[Line, ...]
    count: int


def lanes(revisions: Sequence[Revision]) -> Lanes | None:
    """Return the lanes of revisions, the newest in the first row; None where a layout is needed and can't be computed.

    A chain needs no layout: it is one lane.
    """
    row = {revision.revision: number for number, revision in enumerate(revisions)}
    pairs = [
        (row[revision.revision], row[below], waits)
        for revision in revisions
        for waits, ids in ((False, revision.down_revision), (True, revision.depends_on))
        for below in ids
        if below in row
    ]
    if all(end == start + 1 and not waits for start, end, waits in pairs):
        return Lanes((0,) * len(revisions), tuple(Line(start, end, waits, ()) for start, end, waits in pairs), 1)
    if not is_installed():
        return None
    edges = [(start, end) for start, end, _ in pairs]
    layout = layered(len(revisions), edges, range(len(revisions)))
    columns = sorted({*layout.places, *(place for bends in layout.bends for place in bends)})
    lane = {place: number for number, place in enumerate(columns)}
    lines = [
        Line(start, end, waits, tuple(lane[place] for place in bends))
        for (start, end, waits), bends in zip(pairs, layout.bends, strict=True)
    ]
    return Lanes(tuple(lane[place] for place in layout.places), tuple(lines), len(columns))
