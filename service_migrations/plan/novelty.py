"""The scope of a plan: what its statements have created so far, which no other session uses yet."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from service_migrations.sql.clauses import actions, checked_column, index_table, name_at, names, not_nulls
from service_migrations.sql.lexer import Token

__all__ = ["LOSES", "Scope"]

LOSES = ("table", "type", "domain", "schema", "database")
"""The kinds of objects whose DROP loses what is in them."""


@dataclass(slots=True)
class Scope:
    """What earlier statements have created or validated.

    Attributes:
        created: (kind, name) of tables, types and schemas.
        indexes: the table of each index.
        not_null_checks: the column of each CHECK (column IS NOT NULL), by (table, constraint).
        validated: the (table, constraint) of those that are validated.

    """

    created: set[tuple[str, str]] = field(default_factory=set)
    indexes: dict[str, str] = field(default_factory=dict)
    not_null_checks: dict[tuple[str, str], str] = field(default_factory=dict)
    validated: set[tuple[str, str]] = field(default_factory=set)

    def is_new(self, statement: Sequence[Token]) -> bool:
        """Whether this plan has created all objects that a statement changes."""
        objects = _objects(statement, self)
        return bool(objects) and self.created.issuperset(objects)

    def is_proved(self, statement: Sequence[Token]) -> bool:
        """Whether each column that a statement sets NOT NULL has a validated CHECK (column IS NOT NULL)."""
        table = name_at(statement, 2)[0]
        proved_columns = {self.not_null_checks[check] for check in self.validated if check[0] == table}
        columns = [name_at(action, 1 + (action[1] == "column"))[0] for action in not_nulls(statement)]
        return bool(columns) and proved_columns.issuperset(columns)

    def record(self, statement: Sequence[Token]) -> None:
        """Record what a statement creates, drops, renames or validates."""
        first = statement[0] if statement else None
        if first == "create":
            self._record_create(statement)
        elif first == "drop" and len(statement) > 1:
            self.created -= set(_objects(statement, self))
        elif first == "alter" and len(statement) > 2:  # noqa: PLR2004 - ALTER, kind, name
            self._record_alter(statement)

    def _record_create(self, statement: Sequence[Token]) -> None:
        positions = [index for index, token in enumerate(statement[:5]) if token.value in (*LOSES, "index", "view")]
        if not positions or any(word == "exists" for word in statement[: positions[0] + 4]):
            return
        kind = statement[positions[0]].value
        if kind == "index":
            table = index_table(statement)
            name_tokens = [token for token in statement[positions[0] + 1 :] if token.value != "concurrently"]
            if table and name_tokens and name_tokens[0].value != "on":
                self.indexes[name_at(name_tokens, 0)[0]] = table
        elif kind != "view" or any(word == "materialized" for word in statement[:4]):
            self.created.add(("table" if kind == "view" else kind, name_at(statement, positions[0] + 1)[0]))

    def _record_alter(self, statement: Sequence[Token]) -> None:
        kind = statement[1].value
        table, start = name_at(statement, 2)
        for action in actions(statement[start:]):
            words = [token.value for token in action]
            if words[:2] == ["rename", "to"] and (kind, table) in self.created:
                self.created.remove((kind, table))
                self.created.add((kind, ".".join([*table.split(".")[:-1], name_at(action, 2)[0]])))
            elif words[:2] == ["add", "constraint"]:
                for column in checked_column(action):
                    self.not_null_checks[table, words[2]] = column
                    if words[-2:] != ["not", "valid"]:
                        self.validated.add((table, words[2]))
            elif words[:2] == ["validate", "constraint"] and (table, words[2]) in self.not_null_checks:
                self.validated.add((table, words[2]))
            elif words[:2] == ["drop", "constraint"]:
                self.validated.discard((table, words[-1]))


def _objects(statement: Sequence[Token], scope: Scope) -> list[tuple[str, str]]:
    """Return (kind, name) of the objects that a statement changes, as far as its text shows them."""
    words = [token.value if token.kind == "word" else "" for token in [*statement[:4], *[Token("symbol", ";", 0)] * 4]]
    is_index = words[1] == "index"
    if words[0] == "create" and "index" in words[1:3]:
        return [("table", index_table(statement))]
    if words[0] == "drop" and is_index:
        return [("table", scope.indexes.get(name, "")) for name in names(statement[2 + (words[2] == "concurrently") :])]
    if words[0] == "truncate":
        return [("table", name) for name in names(statement[1 + (words[1] == "table") :])]
    if words[0] in ("delete", "refresh"):
        return [("table", name_at(statement, 2 + (words[0] == "refresh"))[0])]
    if words[0] in ("drop", "alter"):
        is_view = words[1] == "materialized"
        return [
            ("table" if is_view else words[1], name)
            for name in names(statement[2 + is_view :])[: None if words[0] == "drop" else 1]
        ]
    return []
