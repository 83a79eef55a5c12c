"""The constraints and indexes of a table in the database, matched with those of the models.

A part that only has another name is renamed: to drop and create it would hold a lock while its rows are read.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count

from service_migrations.autogenerate.changes.change import Change, Phase
from service_migrations.autogenerate.changes.table_pair import Directions, Pair
from service_migrations.catalog.tables import NOT_VALID, Constraint, Index, TableState
from service_migrations.sql.quoting import quoted

__all__ = ["Matches", "NewNames", "new_names", "rename"]

_RELATIONS = ("p", "u", "x")
"""The kinds of constraints that have an index of the same name."""

_Space = tuple[str | None, str | None]
"""Where a name is unique: the schema, and the table of a constraint."""

NewNames = Mapping[tuple[_Space, str], int]
"""The names that parts of all tables get, each with a number."""


@dataclass(frozen=True, slots=True)
class Matches:
    """The parts of a table that both sides have.

    Attributes:
        constraints: for each constraint of the database the equal one of the models, which may have another name, or be
            valid where that of the database is NOT VALID.
        renamed: the new names of those that get one, by their present name.
        added: the constraints that only the models have.
        indexes: as ``constraints``; an index is renamed if its names differ.

    """

    constraints: Mapping[str, Constraint]
    renamed: Mapping[str, str]
    added: tuple[Constraint, ...]
    indexes: Mapping[str, Index]

    @classmethod
    def of(cls, pair: Pair, named: frozenset[str]) -> "Matches":
        """Match the parts of a table.

        Args:
            pair: the table.
            named: the names that the models give to constraints. One without a name is found by its text, whatever its
                name is in the database.

        """
        constraints = _equal_constraints(pair, named)
        added = list(_added(pair, constraints))
        renamed: dict[str, str] = {}
        for name, constraint in pair.live.constraints.items():
            equal = [other for other in added if name not in constraints and _equal(constraint, other)]
            if equal:
                constraints[name], renamed[name] = equal[0], equal[0].name
                added.remove(equal[0])
        return cls(constraints, renamed, tuple(added), _equal_indexes(pair))

    @property
    def renames(self) -> dict[str, str]:
        """The new names of the constraints and indexes that get one, by their present name."""
        indexes = {old: index.name for old, index in self.indexes.items() if index.name != old}
        return {**self.renamed, **indexes}

    def new_relations(self, pair: Pair) -> list[str]:
        """Return the names that constraints with an index, and indexes, get and don't have."""
        kept = {match.name for match in self.indexes.values()}
        kinds = {name: constraint.kind for name, constraint in pair.live.constraints.items()}
        return [
            *(each.name for each in self.added if each.kind in _RELATIONS),
            *(new for old, new in self.renames.items() if kinds.get(old) in (None, *_RELATIONS)),
            *(name for name in pair.target.indexes if name not in kept),
        ]


def new_names(pairs: Iterable[tuple[Pair, frozenset[str]]]) -> NewNames:
    """Return the names that parts of tables get, where the names of each pair are those that its model gives."""
    names: dict[tuple[_Space, str], int] = {}
    for pair, named in pairs:
        matches = Matches.of(pair, named)
        parts: list[tuple[Constraint | Index, str]] = [
            (pair.live.constraints[old], new) for old, new in matches.renamed.items()
        ]
        parts += [(pair.live.indexes[old], index.name) for old, index in matches.indexes.items() if index.name != old]
        for part, new in parts:
            for space in _spaces(pair.live, part):
                names.setdefault((space, new), len(names))
    return names


def rename(
    table: TableState, part: Constraint | Index, name: str, recreated: Directions, names: NewNames
) -> Iterator[Change]:
    """Yield the changes that rename a constraint or index.

    Args:
        table: its table.
        part: the constraint or index of the database.
        name: its new name.
        recreated: the directions in which it is recreated under that name anyway.
        names: those that other parts get; one of them may be this one's present name.

    """
    if isinstance(part, Index):
        kind, alter = "index", "ALTER INDEX {} RENAME TO {}"
    else:
        kind, alter = "constraint", f"ALTER TABLE {table.sql} RENAME CONSTRAINT {{}} TO {{}}"

    def change(phase: Phase, before: str, after: str, description: str) -> Change:
        def statement(old: str, new: str) -> str:
            address = quoted(table.schema, old) if isinstance(part, Index) else quoted(old)
            return alter.format(address, quoted(new))

        forward = () if recreated.up else (statement(before, after),)
        return Change(phase, forward, () if recreated.down else (statement(after, before),), description)

    former = part.name
    numbers = [names[space, former] for space in _spaces(table, part) if (space, former) in names]
    if numbers:
        former = f"migrations_name_{numbers[0]}"
        yield change(Phase.RENAME_ASIDE, part.name, former, "")
    yield change(Phase.RENAME_PARTS, former, name, f"rename_{kind} {part.name} on {table.sql}: -> {name}")


def _spaces(table: TableState, part: Constraint | Index) -> list[_Space]:
    relation, constraint = (table.schema, None), (table.schema, table.name)
    if isinstance(part, Index):
        return [relation]
    return [relation, constraint] if part.kind in _RELATIONS else [constraint]


def _equal_constraints(pair: Pair, named: frozenset[str]) -> dict[str, Constraint]:
    """Return the constraints of the models that need no change, by the name in the database."""
    live, target = pair.live.constraints, pair.target.constraints
    matches = {
        name: target[name] for name, constraint in live.items() if name in target and _equal(constraint, target[name])
    }
    unmatched = [constraint for name, constraint in target.items() if name not in matches and name not in named]
    for name, constraint in live.items():
        if name not in matches and name not in named:
            equal = [other for other in unmatched if _equal(constraint, other)]
            if equal:
                matches[name] = equal[0]
                unmatched.remove(equal[0])
    return matches


def _added(pair: Pair, matches: Mapping[str, Constraint]) -> Iterator[Constraint]:
    """Yield the constraints that only the models have, under a free name where theirs is in use."""
    matched_names = [match.name for match in matches.values()]
    used = set(matches)
    for name, constraint in pair.target.constraints.items():
        if name in matched_names:
            continue
        names = (f"{name}{number or ''}" for number in count())
        free = next(candidate for candidate in names if candidate not in used)
        used.add(free)
        yield replace(constraint, name=free)


def _equal(live: Constraint, target: Constraint) -> bool:
    """Whether two constraints are equal, but that one may be NOT VALID.

    One of the models is valid after CREATE TABLE, and one of the database can be validated.
    """
    if not live.valid and target.valid and not live.definition.endswith(NOT_VALID):
        return False  # it is NOT ENFORCED
    if live.kind == target.kind == "f":
        return _reference(live) == _reference(target)
    return (live.kind, live.definition.removesuffix(NOT_VALID)) == (
        target.kind,
        target.definition.removesuffix(NOT_VALID),
    )


def _reference(key: Constraint) -> tuple[object, ...]:
    return key.local_columns, key.foreign_schema, key.foreign_table, key.foreign_columns, key.rules


def _equal_indexes(pair: Pair) -> dict[str, Index]:
    live, target = pair.live.indexes, pair.target.indexes
    matches = {
        name: target[name]
        for name, index in live.items()
        if name in target and index.valid and index.definition == target[name].definition
    }
    unmatched = [index for name, index in target.items() if name not in matches]
    for name, index in live.items():
        equal = [other for other in unmatched if _body(pair, other) == _body(pair, index)]
        if name not in matches and index.valid and equal:
            matches[name] = equal[0]
            unmatched.remove(equal[0])
    return matches


def _body(pair: Pair, index: Index) -> tuple[bool, str]:
    """Return the definition of an index without its name: whether it is unique, and what follows its table."""
    start, _, body = index.definition.partition(f" ON {pair.live.sql} USING ")
    return start.startswith("CREATE UNIQUE "), body
