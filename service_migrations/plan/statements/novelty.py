"""The scope of a plan: what its statements have created so far, which no other session uses yet."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from service_migrations.plan.statements.called import body_of, created_function
from service_migrations.plan.statements.columns import Columns, is_null, words_of
from service_migrations.plan.statements.nested import Unseen, statements_of_block
from service_migrations.sql.clauses import actions, checked_column, index_table, name_at, names, not_nulls, split_name
from service_migrations.sql.dynamic import UNKNOWN
from service_migrations.sql.lexer import Token

__all__ = ["LOSES", "Scope"]

LOSES = ("table", "type", "domain", "schema", "database", "extension")
"""The kinds of objects whose DROP loses what is in them; an extension may have tables, as pg_cron has its jobs."""

_KINDS = {
    **{kind: kind for kind in (*LOSES, "index", "view", "sequence", "function", "policy", "role")},
    **dict.fromkeys(("procedure", "routine", "aggregate"), "function"),
    **dict.fromkeys(("user", "group"), "role"),
}
"""The words for an object in CREATE, ALTER and DROP, and its kind: functions and procedures share their names."""


_LONG = ("materialized", "foreign")
"""The first words of MATERIALIZED VIEW and FOREIGN TABLE, which count as tables."""


@dataclass(slots=True)
class Scope:
    """What earlier statements have created or validated.

    Attributes:
        created: (kind, name) of tables, types and schemas.
        indexes: the table of each index.
        not_null_checks: the column of each CHECK (column IS NOT NULL), by (table, constraint).
        validated: the (table, constraint) of those that are validated.
        former: (kind, name) of what was dropped or renamed and wasn't created by the plan; a view is a table here.
        columns: the columns that were added or take NULL since.
        later: (kind, name) of what later statements of the same transaction create; a table that they attach to a
            parent is a partition here, and a column of a table that they fill in is a default.
        temporary: those of ``created`` that end with the session, and hide a lasting one of their name.
        bodies: those of the functions that the history before the plan, and the plan, have created.
        domains: those with a constraint, of both too.
        defaults: the DEFAULT partition of each table that has one before the plan.
        is_widening: whether the file of the revision shows that the statement's new type takes what the old one took.
        is_unrewritten: whether it also shows that no row is rewritten.

    """

    created: set[tuple[str, str]] = field(default_factory=set)
    indexes: dict[str, str] = field(default_factory=dict)
    not_null_checks: dict[tuple[str, str], str] = field(default_factory=dict)
    validated: set[tuple[str, str]] = field(default_factory=set)
    former: set[tuple[str, str]] = field(default_factory=set)
    columns: Columns = field(default_factory=Columns)
    later: Counter[tuple[str, str]] = field(default_factory=Counter)
    temporary: set[tuple[str, str]] = field(default_factory=set)
    bodies: dict[str, Sequence[Token]] = field(default_factory=dict)
    domains: set[str] = field(default_factory=set)
    defaults: dict[str, str] = field(default_factory=dict)
    is_widening: bool = False
    is_unrewritten: bool = False

    def is_new(self, statement: Sequence[Token]) -> bool:
        """Whether this plan has created all objects that a statement changes."""
        objects = _objects(statement, self)
        return bool(objects) and self.created.issuperset(objects) and not self._names_hidden(statement, objects)

    def is_unused(self, statement: Sequence[Token]) -> bool:
        """Whether no code uses what a statement changes: it is new, and so is its name."""
        objects = {_shared(kind, name) for kind, name in _objects(statement, self)}
        return self.is_new(statement) and not self.former & objects

    def are_recreated(self, statement: Sequence[Token]) -> bool:
        """Whether later statements of the transaction create what one drops, or a view in place of what it renames."""
        is_renamed = statement[0] == "alter"
        objects = [
            ("view" if is_renamed and kind == "table" else kind, name) for kind, name in _objects(statement, self)
        ]
        return bool(objects) and all(self.later[key] > 0 for key in objects)

    def is_proved(self, statement: Sequence[Token]) -> bool:
        """Whether each column that a statement sets NOT NULL has a validated CHECK (column IS NOT NULL)."""
        table = name_at(statement, 2)[0]
        proved_columns = {self.not_null_checks[check] for check in self.validated if check[0] == table}
        columns = [name_at(action, 1 + (action[1] == "column"))[0] for action in not_nulls(statement)]
        return bool(columns) and proved_columns.issuperset(columns)

    def _names_hidden(self, statement: Sequence[Token], objects: Iterable[tuple[str, str]]) -> bool:
        """Whether a statement names what a temporary object hides, by its schema."""
        hidden = {name for kind, name in objects if (kind, name) in self.temporary}
        qualified = zip(statement, statement[1:], statement[2:], strict=False)
        return any(dot == "." and last.value in hidden and first != "pg_temp" for first, dot, last in qualified)

    def start_revision(self) -> None:
        """Forget the temporary tables of earlier revisions: they may be gone."""
        self.created -= self.temporary
        self.temporary.clear()

    def look_ahead(self, transaction: Iterable[Sequence[Token]]) -> None:
        """Take the statements of the next transaction: what it takes and gives back is never missing for others."""
        self.later = Counter()
        for statement in transaction:
            self.later.update(filter(None, [_created_object(statement), _attached(statement), *_filled(statement)]))

    def record_earlier(self, statement: Sequence[Token]) -> None:
        """Record the function or the domain that a statement before the plan creates or changes."""
        if name := created_function(statement):
            self.bodies[name] = body_of(statement)
        else:
            self._record_domain(statement)

    def _record_domain(self, statement: Sequence[Token]) -> None:
        if len(statement) < 3 or statement[1] != "domain":  # noqa: PLR2004 - CREATE, DOMAIN, name
            return
        name, end = name_at(statement, 2)
        words = words_of(statement[end:])
        if statement[0] == "drop":
            self.domains.discard(name)
        elif words[:1] != ["drop"] and ("check" in words or ("not", "null") in pairwise(words)):
            self.domains.add(name)

    def record(self, statement: Sequence[Token]) -> None:
        """Record what a statement creates, drops, renames or validates."""
        first = statement[0] if statement else None
        self._record_domain(statement)
        if first == "create":
            self._record_create(statement)
        elif first == "drop":
            dropped = set(_objects(statement, self))
            self.former |= {_shared(*key) for key in dropped - self.created}
            self.created -= dropped
            self.temporary -= dropped
        elif first == "alter" and len(statement) > 2:  # noqa: PLR2004 - ALTER, kind, name
            self.later.subtract(filter(None, [_attached(statement), *_filled(statement)]))
            self._record_alter(statement)

    def doubt(self, statement: Sequence[Token]) -> None:
        """Doubt what a DO block, or a procedure that isn't known, may have done."""
        is_block = statement[0] == "do"
        self.doubt_all(statements_of_block(statement) if is_block else [Unseen("the procedure does")])

    def doubt_all(self, inside: Iterable[Sequence[Token] | Unseen]) -> None:
        """Count nothing as created that a DO block, or a function, may have put earlier objects into, or replaced.

        What a block creates isn't counted: it may do so in some databases only.
        """
        for each in inside:
            if isinstance(each, Unseen):
                self.created = {key for key in self.created if key[0] != "schema"}
            elif each[0] == "alter" and len(each) > 2:  # noqa: PLR2004 - ALTER, kind, name
                self._doubt_altered(each)
            elif each[0] == "drop":
                self._doubt_names(_objects(each, self))

    def _doubt_altered(self, statement: Sequence[Token]) -> None:
        """Count neither what an ALTER may have renamed as created, nor the schema or the parent that it names."""
        kind, table, start = _altered(statement)
        for action in actions(statement[start:]):
            words = words_of(action)
            if words[-3:-1] == ["set", "schema"] or words[:2] == ["set", "schema"]:
                self._doubt_names([("schema", action[-1].value), (kind, table)])
            elif words[:2] == ["rename", "to"]:
                self._doubt_names([(kind, table)])
            elif child := _child(table, action):
                self._doubt_names([("table", child[1])])
            elif words[:2] == ["drop", "constraint"]:
                self.validated.discard((table, action[-1].value))

    def _doubt_names(self, objects: Iterable[tuple[str, str]]) -> None:
        """Count these as not created; all of the kind where a name isn't known."""
        for kind, name in objects:
            is_known = UNKNOWN not in name
            self.created = {key for key in self.created if key[0] != kind or (is_known and key[1] != name)}

    def _record_create(self, statement: Sequence[Token]) -> None:
        new = _created_object(statement)
        if new is None:
            return
        self.later[new] -= 1
        kind, name = new
        if kind == "function":
            self.bodies[name] = body_of(statement)
        words = [token.value for token in statement[:10] if token.kind == "word"]
        if words[1] == "or" or {"if", "exists"} <= set(words):
            return  # it may have existed before
        if kind == "index":
            table = index_table(statement)
            if table and name:
                self.indexes[name] = table
        else:
            self.created.add(new)
            if {"temp", "temporary"} & set(words[1:3]):
                self.temporary.add(new)

    def _record_alter(self, statement: Sequence[Token]) -> None:
        kind, table, start = _altered(statement)
        for action in actions(statement[start:]):
            words = words_of(action)
            if kind == "table":
                self.columns.apply(table, action)
                child = _child(table, action)
                if child and ("table", child[0]) not in self.created:  # it is dropped with its new parent
                    self.created.discard(("table", child[1]))
            is_moved = words[-3:-1] == ["set", "schema"] or words[:2] == ["set", "schema"]
            if is_moved and (_KINDS.get(kind, kind), table) not in self.created:
                self.created.discard(("schema", action[-1].value))  # it has what was there before
            if words[:2] in (["rename", "to"], ["set", "schema"]):
                self._record_name(kind, table, action)
            elif words[1:2] == ["constraint"] and len(action) > 2:  # noqa: PLR2004 - a verb, CONSTRAINT, a name
                self._record_constraint(table, words, action)

    def _record_constraint(self, table: str, words: Sequence[str], action: Sequence[Token]) -> None:
        """Record ADD, VALIDATE or DROP CONSTRAINT."""
        if words[0] == "add":
            for column in checked_column(action):
                self.not_null_checks[table, action[2].value] = column
                if words[-2:] != ["not", "valid"]:
                    self.validated.add((table, action[2].value))
        elif words[0] == "validate" and (table, action[-1].value) in self.not_null_checks:
            self.validated.add((table, action[-1].value))
        elif words[0] == "drop":
            self.validated.discard((table, action[-1].value))

    def _record_name(self, kind: str, name: str, action: Sequence[Token]) -> None:
        """Record RENAME TO or SET SCHEMA."""
        if (kind, name) not in self.created:
            self.former.add(_shared(_KINDS.get(kind, kind), name))
            return
        schema, last = split_name(name)
        given = name_at(action, 2)[0]
        parts = [schema, given] if action[0] == "rename" else [given, last]
        self.created.remove((kind, name))
        self.created.add((kind, ".".join(filter(None, parts)).removeprefix("public.")))


def _altered(statement: Sequence[Token]) -> tuple[str, str, int]:
    """Return the kind and the name of what an ALTER changes, and where its actions start."""
    is_long = statement[1].value in _LONG
    name, start = name_at(statement, 2 + is_long)
    return "table" if is_long else statement[1].value, name, start


def _child(table: str, action: Sequence[Token]) -> tuple[str, str] | None:
    """Return the child and the parent of ATTACH PARTITION or INHERIT; None for another action."""
    words = words_of(action)
    if words[:2] == ["attach", "partition"]:
        return name_at(action, 2)[0], table
    return (table, name_at(action, 1)[0]) if words[:1] == ["inherit"] else None


def _attached(statement: Sequence[Token]) -> tuple[str, str] | None:
    """Return the table that a statement gives a parent."""
    if [token.value for token in statement[:2]] != ["alter", "table"]:
        return None
    table, start = name_at(statement, 2)
    children = (_child(table, action) for action in actions(statement[start:]))
    return next((("partition", child[0]) for child in children if child), None)


def _filled(statement: Sequence[Token]) -> list[tuple[str, str]]:
    """Return the columns that a statement leaves with a default, or as an identity."""
    if [token.value for token in statement[:2]] != ["alter", "table"]:
        return []
    table, start = name_at(statement, 2)
    filled: dict[str, bool] = {}
    for action in actions(statement[start:]):
        words = words_of(action)
        name, end = name_at(action, 1 + (words[1:2] == ["column"]))
        words = words[:1] + words_of(action[end:])[:2]
        if words in (["alter", "set", "default"], ["alter", "add", "generated"]):
            filled[name] = not is_null(action[end + 2 :])
        elif words[:2] == ["alter", "drop"] and words[2:] in (["default"], ["identity"], ["expression"]):
            filled[name] = False
    return [("default", f"{table}.{name}") for name, is_filled in filled.items() if is_filled]


def _created_object(statement: Sequence[Token]) -> tuple[str, str] | None:
    """Return (kind, name) of what a CREATE creates; a materialized view counts as a table. None for another one."""
    if not statement or statement[0] != "create":
        return None
    positions = [index for index, token in enumerate(statement[:6]) if token.kind == "word" and token.value in _KINDS]
    if not positions:
        return None
    kind = _KINDS[statement[positions[0]].value]
    if kind == "view" and any(word == "materialized" for word in statement[:4]):
        kind = "table"
    tokens = statement[positions[0] + 1 :]
    is_unnamed = kind == "index" and [token for token in tokens[:2] if token != "concurrently"][:1] == ["on"]
    return kind, "" if is_unnamed else name_at(tokens, 0)[0]


def _shared(kind: str, name: str) -> tuple[str, str]:
    """Return the namespace and the name of an object: tables and views share theirs."""
    return ("table" if kind == "view" else kind), name


_WORDS_BEFORE_TABLE = {"update": 1, "delete": 2, "refresh": 3}
"""How many words stand before the name of the table: UPDATE, DELETE FROM, REFRESH MATERIALIZED VIEW."""


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
    if words[0] in _WORDS_BEFORE_TABLE:
        return [("table", name_at(statement, _WORDS_BEFORE_TABLE[words[0]])[0])]
    if words[0] in ("drop", "alter"):
        is_long = words[1] in _LONG
        kind = "table" if is_long else _KINDS.get(words[1], words[1])
        return [(kind, name) for name in names(statement[2 + is_long :])[: None if words[0] == "drop" else 1]]
    return []
