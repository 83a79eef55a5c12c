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
    """Return the columns that get another type, with the directions of that."""
    columns = {}
    for live, target in pair.common:
        if not (live.generated or target.generated):
            directions = BOTH if live.kind != target.kind else recreated_types.includes(live.base)
            if any(directions):
                columns[live.name] = directions
    return columns


def recreated_columns(pair: Pair, recreated_types: RecreatedTypes) -> dict[str, Directions]:
    """Return the generated columns that have to be recreated, with the directions of that."""
    converted, columns = converted_columns(pair, recreated_types), {}
    for live, target in pair.common:
        if not (live.generated or target.generated):
            continue
        if live.generated == "s" and not target.generated and live.kind == target.kind:
            directions = Directions(up=False, down=True)
        elif (live.generated, live.default, live.kind) != (target.generated, target.default, target.kind):
            directions = BOTH
        else:
            directions = either(
                recreated_types.includes(live.base, *live.types), *(converted.get(name, NEITHER) for name in live.uses)
            )
        if any(directions):
            columns[live.name] = directions
    return columns
