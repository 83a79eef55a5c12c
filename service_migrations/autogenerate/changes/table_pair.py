"""A table of the database paired with that of the models, and the columns that have to be converted or recreated."""

from dataclasses import dataclass
from typing import NamedTuple

from service_migrations.catalog.tables import ColumnState, TableState

__all__ = [
    "BOTH",
    "NEITHER",
    "Directions",
    "Pair",
    "RecreatedTypes",
    "converted_columns",
    "either",
    "recreated_columns",
]


class Directions(NamedTuple):
    """The directions in which a step is needed: in the upgrade, in the downgrade."""

    up: bool
    down: bool


NEITHER = Directions(up=False, down=False)
BOTH = Directions(up=True, down=True)


@dataclass(frozen=True, slots=True)
class RecreatedTypes:
    """The oids of the enum types that are recreated in the upgrade, and in the downgrade."""

    up: frozenset[int]
    down: frozenset[int]

    def includes(self, *oids: int) -> Directions:
        """Return the directions in which one of these types is recreated."""
        return Directions(bool(self.up.intersection(oids)), bool(self.down.intersection(oids)))


@dataclass(frozen=True, slots=True)
class Pair:
    """One table in the database and in the models."""

    live: TableState
    target: TableState
    sets_expressions: bool = False
    """Whether the server can change the expression of a stored generated column, as PostgreSQL 17 does."""

    @property
    def common(self) -> list[tuple[ColumnState, ColumnState]]:
        """The columns that both sides have."""
        return [
            (column, self.target.columns[name])
            for name, column in self.live.columns.items()
            if name in self.target.columns
        ]


def either(*alternatives: Directions) -> Directions:
    """Return the directions that at least one of the alternatives has."""
    return Directions(any(each.up for each in alternatives), any(each.down for each in alternatives))


def converted_columns(pair: Pair, recreated_types: RecreatedTypes) -> dict[str, Directions]:
    """Return the columns that get another type, with the directions of that.

    A column that becomes a generated one has no values to convert.
    """
    columns = {}
    for live, target in pair.common:
        directions = BOTH if live.kind != target.kind else recreated_types.includes(live.base)
        directions = Directions(directions.up and not target.generated, directions.down and not live.generated)
        if any(directions):
            columns[live.name] = directions
    return columns


def recreated_columns(pair: Pair, recreated_types: RecreatedTypes) -> dict[str, Directions]:
    """Return the columns that are dropped and added again or as generated ones, with the directions of that."""
    converted, columns = converted_columns(pair, recreated_types), {}
    common = {live.name for live, _ in pair.common}
    for live, target in pair.common:
        if not (live.generated or target.generated):
            continue
        if (live.generated, live.default, live.kind) == (target.generated, target.default, target.kind):
            directions = either(
                recreated_types.includes(live.base, *live.types), *(converted.get(name, NEITHER) for name in live.uses)
            )
        elif pair.sets_expressions and _differ_in_expression(live, target):
            # the expression before the change must not use a column that changes: that is changed or dropped first
            directions = Directions(
                any(
                    name not in common or converted.get(name, NEITHER).up or pair.target.columns[name].generated
                    for name in live.uses
                ),
                any(
                    name not in common or converted.get(name, NEITHER).down or pair.live.columns[name].generated
                    for name in target.uses
                ),
            )
            directions = either(directions, recreated_types.includes(live.base))
        else:
            directions = Directions(_is_replaced(live, target), _is_replaced(target, live))
        if any(directions):
            columns[live.name] = directions
    return columns


def _differ_in_expression(live: ColumnState, target: ColumnState) -> bool:
    """Whether two stored columns differ in nothing but an expression that names no type, which may be recreated."""
    return live.generated == target.generated == "s" and live.kind == target.kind and not (live.types or target.types)


def _is_replaced(before: ColumnState, after: ColumnState) -> bool:
    """Whether a column is dropped and added where it changes; a stored one becomes a plain one in its place."""
    return bool(after.generated) or before.generated == "v"
