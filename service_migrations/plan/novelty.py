"""What the statements of a plan have made so far: nobody uses it yet, so nothing done to it is in anybody's way."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from service_migrations.sql.clauses import actions, checked_column, index_table, name_at, names, not_nulls
from service_migrations.sql.lexer import Token

__all__ = ["LOSES", "Scope"]

LOSES = ("table", "type", "domain", "schema", "database")
"""The kinds of objects whose DROP loses what is in them."""


@dataclass(slots=True)
class Scope:
    """What the statements before have made or proved, so that nobody uses it or has to wait for it yet.

    ``made`` has (kind, name) of tables, types and schemas; ``indexes`` the table of each index; ``claimed`` the
    column of each CHECK (column IS NOT NULL), by (table, constraint), and ``proved`` those that are validated.
    """

    made: set[tuple[str, str]] = field(default_factory=set)
    indexes: dict[str, str] = field(default_factory=dict)
    claimed: dict[tuple[str, str], str] = field(default_factory=dict)
    proved: set[tuple[str, str]] = field(default_factory=set)

    def is_new(self, found: Sequence[Token]) -> bool:
        """Whether all that a statement works on was made in this plan."""
        objects = _objects(found, self)
        return bool(objects) and all(one in self.made for one in objects)

    def is_proved(self, found: Sequence[Token]) -> bool:
        """Whether each column that a statement sets NOT NULL has a validated CHECK that says so."""
        table = name_at(found, 2)[0]
        proved = {self.claimed[one] for one in self.proved if one[0] == table}
        set_here = [name_at(action, 1 + (action[1] == "column"))[0] for action in not_nulls(found)]
        return bool(set_here) and proved.issuperset(set_here)

    def learn(self, found: Sequence[Token]) -> None:
        """Take in what a statement has made, renamed or validated."""
        first = found[0] if found else None
        if first == "create":
            self._learn_create(found)
        elif first == "drop" and len(found) > 1:
            self.made -= set(_objects(found, self))
        elif first == "alter" and len(found) > 2:  # noqa: PLR2004 - ALTER, kind, name
            self._learn_alter(found)

    def _learn_create(self, found: Sequence[Token]) -> None:
        kinds = [index for index, part in enumerate(found[:5]) if part.value in (*LOSES, "index", "view")]
        if not kinds or any(part == "exists" for part in found[: kinds[0] + 4]):
            return
        kind = found[kinds[0]].value
        if kind == "index":
            table = index_table(found)
            names = [part for part in found[kinds[0] + 1 :] if part.value != "concurrently"]
            if table and names and names[0].value != "on":
                self.indexes[name_at(names, 0)[0]] = table
        elif kind != "view" or any(part == "materialized" for part in found[:4]):
            self.made.add(("table" if kind == "view" else kind, name_at(found, kinds[0] + 1)[0]))

    def _learn_alter(self, found: Sequence[Token]) -> None:
        kind = found[1].value
        table, start = name_at(found, 2)
        for action in actions(found[start:]):
            words = [part.value for part in action]
            if words[:2] == ["rename", "to"] and (kind, table) in self.made:
                self.made.remove((kind, table))
                self.made.add((kind, ".".join([*table.split(".")[:-1], name_at(action, 2)[0]])))
            elif words[:2] == ["add", "constraint"]:
                for column in checked_column(action):
                    self.claimed[table, words[2]] = column
                    if words[-2:] != ["not", "valid"]:
                        self.proved.add((table, words[2]))
            elif words[:2] == ["validate", "constraint"] and (table, words[2]) in self.claimed:
                self.proved.add((table, words[2]))
            elif words[:2] == ["drop", "constraint"]:
                self.proved.discard((table, words[-1]))


def _objects(found: Sequence[Token], scope: Scope) -> list[tuple[str, str]]:
    """Return (kind, name) of what a statement works on, so far as that can be told from it."""
    words = [part.value if part.kind == "word" else "" for part in [*found[:4], *[Token("symbol", ";", 0)] * 4]]
    index = words[1] == "index"
    if words[0] == "create" and "index" in words[1:3]:
        return [("table", index_table(found))]
    if words[0] == "drop" and index:
        return [("table", scope.indexes.get(name, "")) for name in names(found[2 + (words[2] == "concurrently") :])]
    if words[0] == "truncate":
        return [("table", name) for name in names(found[1 + (words[1] == "table") :])]
    if words[0] in ("delete", "refresh"):
        return [("table", name_at(found, 2 + (words[0] == "refresh"))[0])]
    if words[0] in ("drop", "alter"):
        view = words[1] == "materialized"
        return [
            ("table" if view else words[1], name)
            for name in names(found[2 + view :])[: None if words[0] == "drop" else 1]
        ]
    return []
