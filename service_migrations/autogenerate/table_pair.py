"""A pair: one table as the database has it and as the models do, and which of its columns can't stay as they are."""

from dataclasses import dataclass

from service_migrations.catalog.tables import ColumnState, TableState

__all__ = ["NEITHER", "Directions", "Pair", "Rebuilt", "converted", "either", "remade"]

Directions = tuple[bool, bool]
"""Whether something happens in the upgrade, and in the downgrade."""

NEITHER: Directions = (False, False)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The enum types (their oids) that are made anew in the upgrade, and in the downgrade."""

    forward: frozenset[int]
    backward: frozenset[int]

    def has(self, *oids: int) -> Directions:
        """Whether one of these is among them."""
        return bool(self.forward.intersection(oids)), bool(self.backward.intersection(oids))


@dataclass(frozen=True, slots=True)
class Pair:
    """One table, as the database has it and as the models do."""

    live: TableState
    target: TableState

    @property
    def common(self) -> list[tuple[ColumnState, ColumnState]]:
        """The columns that both have."""
        return [
            (one, self.target.columns[name]) for name, one in self.live.columns.items() if name in self.target.columns
        ]


def either(*found: Directions) -> Directions:
    """Return where at least one of them holds."""
    return any(one[0] for one in found), any(one[1] for one in found)


def converted(pair: Pair, rebuilt: Rebuilt) -> dict[str, Directions]:
    """Return the columns whose values change their type, with when they do."""
    found = {}
    for live, target in pair.common:
        if not (live.generated or target.generated):
            when = (True, True) if live.kind != target.kind else rebuilt.has(live.base)
            if any(when):
                found[live.name] = when
    return found


def remade(pair: Pair, rebuilt: Rebuilt) -> dict[str, Directions]:
    """Return the columns that have to be dropped and added again, as generated ones do, with when."""
    casts, found = converted(pair, rebuilt), {}
    for live, target in pair.common:
        if not (live.generated or target.generated):
            continue
        if live.generated == "s" and not target.generated and live.kind == target.kind:
            when = (False, True)
        elif (live.generated, live.default, live.kind) != (target.generated, target.default, target.kind):
            when = (True, True)
        else:
            when = either(rebuilt.has(live.base, *live.types), *(casts.get(name, NEITHER) for name in live.uses))
        if any(when):
            found[live.name] = when
    return found
