"""What revisions change in the entities of a database, by their SQL: tables, columns and foreign keys."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from service_migrations.plan.statements.columns import starts_constraint
from service_migrations.sql.clauses import actions, name_at, names, names_in_parentheses, split_name, statement_inside
from service_migrations.sql.lexer import Token, statements

__all__ = ["ColumnChange", "ReferenceChange", "TableChange", "TableChanges"]

_END_OF_TYPE = (
    *("not", "null", "default", "primary", "references", "unique"),
    *("check", "generated", "collate", "constraint", "using"),
)
"""What may follow the type of a column."""
_SHORT_LIVED = ("temporary", "temp")
_DROPPED, _RENAMED = "dropped", "renamed from "


@dataclass(slots=True)
class ColumnChange:
    """A column that was added, dropped or changed; ``type`` is empty where the SQL doesn't say it."""

    type: str
    change: str
    is_key: bool = False


@dataclass(frozen=True, slots=True)
class ReferenceChange:
    """A foreign key that was added: its columns, and the table that they refer to."""

    columns: tuple[str, ...]
    target: str


@dataclass(slots=True)
class TableChange:
    """A table; ``change`` is new, dropped or changed, and ``former`` its name before, where it was renamed."""

    change: str
    columns: dict[str, ColumnChange] = field(default_factory=dict)
    references: list[ReferenceChange] = field(default_factory=list)
    former: str = ""


@dataclass(slots=True)
class TableChanges:
    """The changed tables by name, after the statements so far."""

    tables: dict[str, TableChange] = field(default_factory=dict)

    def apply(self, texts: Iterable[str]) -> "TableChanges":
        """Apply the statements of texts, in their order, and return itself."""
        for text in texts:
            for statement in statements(text):
                self._apply(statement.tokens)
        return self

    def _apply(self, tokens: Sequence[Token]) -> None:
        words = [token.value if token.kind == "word" else "" for token in tokens]
        if words[:1] == ["create"] and "table" in words[1:4] and not set(words[:4]).intersection(_SHORT_LIVED):
            self._create(tokens, words.index("table") + 1)
        elif words[:2] == ["drop", "table"]:
            for name in names(_without(tokens[2:], ("cascade", "restrict"))):
                self._drop(name)
        elif words[:2] == ["alter", "table"]:
            name, end = name_at(tokens, 2)
            self._alter(name, list(actions(tokens[end:])))

    def _create(self, tokens: Sequence[Token], index: int) -> None:
        name, end = name_at(tokens, index)
        known = self.tables.get(name)
        if not name or (known and known.change != _DROPPED):  # as with IF NOT EXISTS
            return
        table = TableChange(_after(known, "new"))
        self.tables[name] = table
        if (
            end < len(tokens) and tokens[end] == "("
        ):  # else AS a query, or PARTITION OF: its columns are those of others
            for action in actions(statement_inside(tokens[end + 1 :])):
                self._add(table, action, "")

    def _drop(self, name: str) -> None:
        known = self.tables.pop(name, None)
        if known is None or known.change != "new":
            self.tables[known.former if known and known.former else name] = TableChange(_DROPPED)

    def _table(self, name: str) -> TableChange:
        return self.tables.setdefault(name, TableChange("changed"))

    def _alter(self, name: str, table_actions: Sequence[list[Token]]) -> None:
        for action in table_actions:
            words = [token.value if token.kind == "word" else "" for token in action]
            schema, own_name = split_name(name)
            if words[:2] == ["rename", "to"] and action[2:]:
                name = self._move(name, schema, name_at(action, 2)[0])
            elif words[:2] == ["set", "schema"] and action[2:]:
                name = self._move(name, name_at(action, 2)[0], own_name)
            elif words[:1] == ["rename"] and words[1:2] != ["constraint"]:
                old, end = name_at(action, 1 + (words[1:2] == ["column"]))
                self._rename(self._table(name), old, name_at(action, end + 1)[0])
            elif words[:1] == ["add"]:
                start = 1 + (words[1:2] == ["column"])
                skipped = 3 if words[start : start + 3] == ["if", "not", "exists"] else 0
                self._add(self._table(name), action[start + skipped :], "added")
            elif words[:1] == ["drop"] and words[1:2] != ["constraint"]:
                self._drop_column(self._table(name), name_at(action, 1 + (words[1:2] == ["column"]))[0])
            elif words[:1] == ["alter"] and words[1:2] != ["constraint"]:
                column, end = name_at(action, 1 + (words[1:2] == ["column"]))
                self._change(self._table(name), column, action[end:])

    def _move(self, name: str, schema: str, own_name: str) -> str:
        """Give a table another schema or another name of its own, and return its new name."""
        table = self.tables.pop(name, TableChange("changed"))
        former = table.former or name
        new_name = ".".join(part for part in (schema, own_name) if part).removeprefix("public.")
        if table.change != "new":
            table.former = former if former != new_name else ""
        table.change = _after(self.tables.get(new_name), table.change)
        self.tables[new_name] = table
        return new_name

    def _add(self, table: TableChange, action: Sequence[Token], change: str) -> None:
        words = [token.value if token.kind == "word" else "" for token in action]
        if starts_constraint((*action[:1], *action)):  # which expects the word ADD before it
            listed = names_in_parentheses(action)
            if "primary" in words:
                for column in listed:
                    if column in table.columns:
                        table.columns[column].is_key = True
        elif action and action[0].kind in ("word", "name") and words[:1] != ["like"]:
            listed = (action[0].value,)
            type_ = _type(action[1:])
            change = _after(table.columns.get(action[0].value), change)
            table.columns[action[0].value] = ColumnChange(type_, change, "primary" in words)
        else:
            return
        if "references" in words:
            target = name_at(action, words.index("references") + 1)[0]
            table.references.append(ReferenceChange(listed, target))

    def _drop_column(self, table: TableChange, column: str) -> None:
        known = table.columns.pop(column, None)
        table.references = [each for each in table.references if column not in each.columns]
        if known is None or (known.change and known.change != "added"):
            _, _, former = (known.change if known else "").partition(_RENAMED)
            table.columns[former or column] = ColumnChange("", _DROPPED)

    def _rename(self, table: TableChange, old: str, new: str) -> None:
        known = table.columns.pop(old, None)
        change = known.change if known and known.change in ("", "added") else f"{_RENAMED}{old}"
        change = _after(table.columns.get(new), change)
        table.columns[new] = ColumnChange(known.type if known else "", change, bool(known and known.is_key))
        table.references = [
            ReferenceChange(tuple(new if column == old else column for column in each.columns), each.target)
            for each in table.references
        ]

    def _change(self, table: TableChange, column: str, action: Sequence[Token]) -> None:
        words = [token.value if token.kind == "word" else "" for token in action]
        known = table.columns.setdefault(column, ColumnChange("", ""))
        is_known = bool(known.type) and known.change in ("", "added")
        if "type" in words[:3]:
            known.type = _type(action[words.index("type") + 1 :])
            text = "another type"
        elif words[1:3] == ["not", "null"]:
            text = "no longer NOT NULL" if words[0] == "drop" else "NOT NULL"
        elif words[1:2] == ["default"]:
            text = "no default" if words[0] == "drop" else "another default"
        else:
            text = "changed"
        if not is_known and text not in known.change:
            known.change = f"{known.change}, {text}" if known.change else text


def _after(known: TableChange | ColumnChange | None, change: str) -> str:
    """Return the change of what has the name of something that was dropped: what was in that is lost all the same."""
    return f"{_DROPPED}, and {change}" if known and known.change == _DROPPED else change


def _type(tokens: Sequence[Token]) -> str:
    """Return the type at the beginning of tokens."""
    text = ""
    depth = 0
    for token in tokens:
        if not depth and token.kind == "word" and token.value in _END_OF_TYPE:
            break
        depth += (token == "(") - (token == ")")
        glued = not text or token.kind == "symbol" or text[-1] in "(.["
        text += token.value if glued else f" {token.value}"
    return text


def _without(tokens: Sequence[Token], words: Sequence[str]) -> list[Token]:
    return [token for token in tokens if not (token.kind == "word" and token.value in words)]
