"""The entity diagram of one database as shapes: boxes of tables, and lines from keys to what they refer to."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from service_migrations.report.layout import is_installed, layered
from service_migrations.report.model import Attribute, Entity, Reference, ReportedDatabase

__all__ = ["Box", "Diagram", "Path", "diagram", "short_type"]

_ROW, _HEADER, _PADDING = 21, 42, 10
"""The heights of a column and of a table's header, and the space at the sides."""
_CHARACTER, _SMALL = 7.3, 6.6
"""The widths of a character of a name and of a type."""
_KEY, _TWO_KEYS = 62, 78
"""The space of a row for its keys and at its sides."""
_NARROWEST, _WIDEST = 190, 330
_ACROSS, _DOWN = 76, 30
"""The space between layers, and between tables of one layer."""
_BEND = 14
"""The height that a line takes where it passes a layer."""
_SHOWN = 24
"""The columns of a table that are shown; the table below the picture has all."""
_MARGIN = 16
_ROUNDS = 8
_LOOP = 36
"""The width of the line from a key to its own table."""
_APART = 44
"""The space between groups of tables that no key connects."""
_ROOM = 1290
"""The width that groups side by side may have: that of the page."""

_SHORT = (
    (re.compile(r"^public\."), ""),
    (re.compile(r"^timestamp(\(\d\))? with time zone"), r"timestamptz\1"),
    (re.compile(r"^timestamp(\(\d\))? without time zone"), r"timestamp\1"),
    (re.compile(r"^time(\(\d\))? with(out)? time zone"), r"time\1"),
    (re.compile(r"^character varying"), "varchar"),
    (re.compile(r"^character\b"), "char"),
    (re.compile(r"^double precision"), "float8"),
)


@dataclass(slots=True)
class Box:
    """The box of an entity; ``more`` is the number of columns that aren't shown."""

    entity: Entity
    attributes: tuple[Attribute, ...]
    width: float
    height: float
    x: float = 0.0
    y: float = 0.0

    @property
    def more(self) -> int:
        """The number of columns that aren't shown."""
        return len(self.entity.attributes) - len(self.attributes)

    def row(self, number: int) -> float:
        """Return the middle of a row."""
        return self.y + _HEADER + _ROW * (number + 0.5)

    def middle(self, columns: Sequence[str]) -> float:
        """Return the height at which a line meets the first of these columns, or the header."""
        for number, attribute in enumerate(self.attributes):
            if attribute.name in columns[:1]:
                return self.row(number)
        return self.y + _HEADER / 2


@dataclass(frozen=True, slots=True)
class Path:
    """The line of a foreign key, as the text of an SVG path from the referring table on."""

    reference: Reference
    text: str


@dataclass(frozen=True, slots=True)
class Diagram:
    """All shapes, and the size of the picture."""

    boxes: tuple[Box, ...]
    paths: tuple[Path, ...]
    width: float
    height: float


def short_type(text: str) -> str:
    """Return the short name that PostgreSQL has for a type: timestamptz, varchar."""
    for pattern, short in _SHORT:
        text = pattern.sub(short, text)
    return text


def diagram(database: ReportedDatabase) -> Diagram | None:
    """Return the diagram of a database; None where it has no table, or where no layout can be computed."""
    if not database.entities or not is_installed():
        return None
    boxes = {entity.name: _box(entity) for entity in database.entities}
    known = [each for each in database.references if {each.table, each.target} <= boxes.keys()]
    between = [reference for reference in known if reference.table != reference.target]
    groups = [_group(names, boxes, known) for names in _connected(boxes, between)]
    _pack(groups)
    paths = []
    for group in groups:
        for box in group.boxes:
            box.x, box.y = round(box.x + group.x, 1), round(box.y + group.y, 1)
        for reference, bends in group.lines:
            moved = [(left + group.x, right + group.x, height + group.y) for left, right, height in bends]
            paths.append(Path(reference, _line(boxes[reference.table], boxes[reference.target], reference, moved)))
    loops = [Path(each, _loop(boxes[each.table], each)) for each in known if each.table == each.target]
    width = max(group.x + group.width for group in groups) + _MARGIN
    height = max(group.y + group.height for group in groups) + _MARGIN
    return Diagram(tuple(boxes.values()), (*paths, *loops), round(width), round(height))


@dataclass(slots=True)
class _Group:
    """Tables that keys connect, placed among themselves, and where the lines between them pass layers."""

    boxes: list[Box]
    lines: list[tuple[Reference, list[tuple[float, float, float]]]]
    width: float
    height: float
    x: float = 0.0
    y: float = 0.0


def _connected(boxes: dict[str, Box], references: Sequence[Reference]) -> list[list[str]]:
    """Return the names of the tables in groups that keys connect, the largest first."""
    group = {name: [name] for name in boxes}
    for reference in references:
        first, second = group[reference.table], group[reference.target]
        if first is not second:
            first += second
            group |= dict.fromkeys(second, first)
    groups = {id(names): sorted(names) for names in group.values()}
    return sorted(groups.values(), key=lambda names: (-len(names), names))


def _group(names: Sequence[str], boxes: dict[str, Box], references: Sequence[Reference]) -> _Group:
    chosen = [boxes[name] for name in names]
    own = [each for each in references if each.table in names and each.table != each.target]
    bends = _place(chosen, own) if own else []
    bottom = max([*(box.y + box.height for box in chosen), *(y + _BEND / 2 for points in bends for _, _, y in points)])
    looped = {reference.table for reference in references if reference.table == reference.target}
    right = max(box.x + box.width + _LOOP * (box.entity.name in looped) for box in chosen)
    return _Group(chosen, list(zip(own, bends, strict=True)), right, bottom)


@dataclass(slots=True)
class _Column:
    """Groups one below the other: where it begins, how wide it is, and from where on it is free."""

    x: float
    width: float
    free: float


def _pack(groups: Sequence[_Group]) -> None:
    """Place groups side by side as far as there is room, and the others below those that are wide enough."""
    columns: list[_Column] = []
    x, top = float(_MARGIN), float(_MARGIN)
    for group in groups:
        bottom = max((column.free for column in columns), default=top)
        wide = [column for column in columns if column.width >= group.width]
        below = min(wide, key=lambda column: column.free, default=None)
        fits_beside = not columns or x + group.width <= _ROOM
        if below is None or (fits_beside and below.free + group.height + _DOWN > bottom):
            if not fits_beside:  # a row of its own, below all
                columns, x, top = [], float(_MARGIN), bottom
            below = _Column(x, group.width, top)
            columns.append(below)
            x += group.width + _APART
        group.x, group.y = below.x, below.free
        below.free += group.height + _DOWN


def _box(entity: Entity) -> Box:
    attributes = tuple(replace(each, type=short_type(each.type)) for each in entity.attributes[:_SHOWN])
    widths = [
        _CHARACTER * len(each.name) + _SMALL * len(each.type) + (78 if len(each.keys) > 1 else 62)
        for each in attributes
    ]
    width = max([_CHARACTER * 1.15 * len(entity.name) + 2 * _PADDING, *widths])
    more = len(entity.attributes) > len(attributes)
    height = _HEADER + _ROW * (len(attributes) + more) + 6
    return Box(entity, attributes, round(min(max(width, _NARROWEST), _WIDEST)), height)


def _place(boxes: Sequence[Box], references: Sequence[Reference]) -> list[list[tuple[float, float, float]]]:
    """Place tables in layers, and return where the lines pass layers: left, right and height."""
    number = {box.entity.name: index for index, box in enumerate(boxes)}
    edges = [(number[reference.target], number[reference.table]) for reference in references]
    layout = layered(len(boxes), edges)
    # what is in a layer, in its order: tables, and lines that pass it
    slots: list[_Slot] = [
        _Slot(layer, place, box.height, box)
        for box, layer, place in zip(boxes, layout.layers, layout.places, strict=True)
    ]
    chains: list[list[_Slot]] = []
    for (start, end), places in zip(edges, layout.bends, strict=True):
        step = 1 if layout.layers[end] > layout.layers[start] else -1
        passing = [_Slot(layout.layers[start] + step * (index + 1), place, _BEND) for index, place in enumerate(places)]
        chains.append([slots[start], *passing, slots[end]])
        slots = [*slots, *passing] if passing else slots
    columns: dict[int, list[_Slot]] = {}
    for slot in sorted(slots, key=lambda slot: slot.place):
        columns.setdefault(slot.layer, []).append(slot)
    _settle(columns, chains)
    left: dict[int, tuple[float, float]] = {}
    x = 0.0
    for layer in sorted(columns):
        width = max((slot.box.width for slot in columns[layer] if slot.box), default=_NARROWEST)
        left[layer] = x, x + width
        for slot in columns[layer]:
            if slot.box:
                slot.box.x, slot.box.y = x, round(slot.y, 1)
        x += width + _ACROSS
    return [
        [(*left[slot.layer], round(slot.y + _BEND / 2, 1)) for slot in chain if slot.box is None] for chain in chains
    ]


@dataclass(slots=True, eq=False)
class _Slot:
    layer: int
    place: float
    height: float
    box: Box | None = None
    y: float = 0.0

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


def _settle(columns: dict[int, list[_Slot]], chains: Sequence[Sequence[_Slot]]) -> None:
    """Move what is in each layer towards its neighbours in the next ones, so that lines are short; the order stays."""
    neighbours: dict[_Slot, list[_Slot]] = {}
    for chain in chains:
        for first, second in pairwise(chain):
            neighbours.setdefault(first, []).append(second)
            neighbours.setdefault(second, []).append(first)
    for column in columns.values():
        _stack(column, [0.0] * len(column))
    for round_number in range(_ROUNDS):
        layers = sorted(columns, reverse=bool(round_number % 2))
        for layer in layers:
            wanted = []
            for slot in columns[layer]:
                near = neighbours.get(slot, [])
                middle = sum(each.middle for each in near) / len(near) if near else slot.middle
                wanted.append(middle - slot.height / 2)
            _stack(columns[layer], wanted)
    top = min(slot.y for column in columns.values() for slot in column)
    for column in columns.values():
        for slot in column:
            slot.y -= top


def _stack(column: Sequence[_Slot], wanted: Sequence[float]) -> None:
    """Place what is in a layer as near as possible to where it is wanted, one below the other.

    Slots that would overlap form a block, which is as far above as below of what its slots want.
    """
    blocks: list[tuple[list[float], float, int]] = []  # what its slots want of its top, its height, how many
    for slot, y in zip(column, wanted, strict=True):
        tops, height, count = [y], slot.height + _DOWN, 1
        while blocks and _mean(blocks[-1][0]) + blocks[-1][1] > _mean(tops):
            upper, upper_height, upper_count = blocks.pop()
            tops = [*upper, *(each - upper_height for each in tops)]
            height, count = height + upper_height, count + upper_count
        blocks.append((tops, height, count))
    slots = iter(column)
    for tops, _, count in blocks:
        y = _mean(tops)
        for _ in range(count):
            slot = next(slots)
            slot.y = y
            y += slot.height + _DOWN


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _line(table: Box, target: Box, reference: Reference, bends: Sequence[tuple[float, float, float]]) -> str:
    """Return the path from a key to what it refers to; *bends* begin at the target."""
    leftwards = target.x < table.x
    x, y = (table.x if leftwards else table.x + table.width), table.middle(reference.columns)
    points: list[tuple[float, float, float, float]] = []
    for left, right, height in reversed(bends):
        points.append((right, height, left, height) if leftwards else (left, height, right, height))
    end_x = target.x + target.width if leftwards else target.x
    end_y = target.middle(reference.target_columns)
    words = [f"M{x:g} {y:g}"]
    for first_x, first_y, last_x, last_y in [*points, (end_x, end_y, end_x, end_y)]:
        middle = (x + first_x) / 2
        words.append(f"C{middle:g} {y:g} {middle:g} {first_y:g} {first_x:g} {first_y:g}")
        if (first_x, first_y) != (last_x, last_y):
            words.append(f"H{last_x:g}")
        x, y = last_x, last_y
    return "".join(words)


def _loop(box: Box, reference: Reference) -> str:
    """Return the path from a key to its own table."""
    x, start, end = box.x + box.width, box.middle(reference.columns), box.middle(reference.target_columns)
    return f"M{x:g} {start:g}C{x + _LOOP:g} {start:g} {x + _LOOP:g} {end:g} {x:g} {end:g}"
