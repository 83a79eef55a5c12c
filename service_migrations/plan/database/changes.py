"""The changes of pending revisions: what their statements drop, rename, make and grant, one after the other.

What a DO block does may hang on a condition; all of it counts, as for its classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from service_migrations.plan.database.grants import Grant, given
from service_migrations.plan.database.key_changes import Key, KeyChanges, named_in
from service_migrations.plan.database.names import Names, Object, StatementPlace, means
from service_migrations.plan.database.restored import restored, taken
from service_migrations.plan.database.signatures import Signature, is_unwritten, signature_of
from service_migrations.plan.statements.columns import added_column, outside, starts_constraint, words_of
from service_migrations.sql.clauses import actions, name_at, names, split_name, statement_inside
from service_migrations.sql.dynamic import UNKNOWN, fits
from service_migrations.sql.lexer import Token

__all__ = ["Changes"]

_RELATIONS = ("table", "view")
_FUNCTIONS = ("function", "procedure", "aggregate", "routine")
_BEFORE_KIND = ("or", "replace", "unlogged", "recursive", "foreign", "materialized", "global", "local", "unique")
_MODIFIERS = ("concurrently", "if", "exists", "not")


@dataclass(slots=True)
class Changes:
    """What the statements do.

    Attributes:
        relations, functions: who has each name.
        grants: what is granted.
        revoked: the objects of which something is revoked, and from whom.
        unseen: the revisions of which not all is known, each with the line that hides it.
        settled: (what, object or name, name of its own) of triggers, rules, comments, owners and defaults that are set.
        keys: what becomes of unique keys and the names of constraints.
        dropped_columns: the columns that are dropped or renamed, with their table, and whether they are renamed.
        added_columns: those that are added, or get a name.
        identities: the tables whose replica identity is set; to DEFAULT or NOTHING where ``True``.
        published: the tables that a publication gets; ``""`` stands for all of its schema, or of all schemas.
        bare: the new tables without a primary key.
        views: the new views, and whether PostgreSQL surely can't write through them.
        temporary: the temporary relations, which hide a lasting one of their name.
        signatures: the arguments of functions that are made, by their names.

    """

    relations: Names
    functions: Names
    grants: list[Grant] = field(default_factory=list)
    revoked: set[tuple[Object | None, str]] = field(default_factory=set)
    unseen: dict[str, StatementPlace] = field(default_factory=dict)
    settled: set[tuple[str, Object | None, str]] = field(default_factory=set)
    keys: KeyChanges = field(default_factory=KeyChanges)
    dropped_columns: list[tuple[str, str, StatementPlace, bool]] = field(default_factory=list)
    added_columns: set[tuple[Object | None, str]] = field(default_factory=set)
    identities: dict[Object | None, tuple[bool, StatementPlace]] = field(default_factory=dict)
    published: list[tuple[str, Object | None, StatementPlace]] = field(default_factory=list)
    bare: dict[int, tuple[str, StatementPlace]] = field(default_factory=dict)
    views: dict[int, bool] = field(default_factory=dict)
    temporary: set[str] = field(default_factory=set)
    signatures: list[tuple[str, Signature, StatementPlace]] = field(default_factory=list)

    def record(self, statement: Sequence[Token], place: StatementPlace) -> None:
        """Record a statement."""
        words = words_of(statement)
        if words[:1] == ["create"]:
            self._create(statement, words, place)
        elif words[:1] == ["alter"] and len(words) > 2:  # noqa: PLR2004 - ALTER, kind, name
            self._alter(statement, words, place)
        elif words[:1] == ["grant"] and "on" in words:
            self._grant(statement, words)
        elif words[:1] == ["revoke"] and "on" in words and not any(UNKNOWN in token.value for token in statement):
            start = len(words) - 1 - words[::-1].index("from") if "from" in words else len(words)
            roles = {token.value for token in statement[start + 1 :] if token.kind in ("word", "name")}
            self.revoked.update((holder, role) for holder in self._granted(statement, words) for role in roles)
        elif words[:2] == ["comment", "on"] and len(words) > 3:  # noqa: PLR2004 - COMMENT ON kind name
            start = 2 + (words[2] == "materialized")
            self._settle("comment", self._holders(words[start]), name_at(statement, start + 1)[0])
        elif words[:1] == ["drop"] and len(words) > 2:  # noqa: PLR2004 - DROP, kind, name
            self._drop(statement, words, place)

    def record_text(self, statement: Sequence[Token], place: StatementPlace) -> None:
        """Record a statement of which nobody knows whether it runs, and when: what it sets again, not what it takes."""
        for kind, name in taken(statement):
            holders = self._holders(kind)
            holders.doubted.add(holders.plain(name))
        for each in restored(statement):
            self.record(each, place)

    def has_column(self, table: str, column: str) -> bool:
        """Whether a table gets a column, or may get it."""
        return any(means(own, table) and fits(column, added) for own, added in self.added_columns)

    def _holders(self, kind: str) -> Names:
        return self.functions if kind in _FUNCTIONS else self.relations

    def _settle(self, kind: str, holders: Names, name: str, own: str = "") -> None:
        self.settled.update((kind, holder, own) for holder in holders.possible(name))

    def _create(self, statement: Sequence[Token], words: list[str], place: StatementPlace) -> None:
        start = next((at for at, word in enumerate(words[1:], 1) if word not in _BEFORE_KIND), len(words))
        kind = words[start] if start < len(words) else ""
        name, end = name_at(statement, start + 1)
        if kind in ("temp", "temporary"):
            after = start + 1 + (words[start + 1 : start + 2] == ["recursive"])
            self.temporary.add(name_at(statement, after + 1)[0])
        elif kind in _RELATIONS:
            self._make(self.relations, name, words, place)
            self._new_relation(statement, name, end, place)
        elif kind in _FUNCTIONS:
            self._make(self.functions, name, words, place)
            if words[1:3] == ["or", "replace"]:
                self.settled.add(("body", self.functions.at(name), ""))
            self.signatures.append((self.functions.plain(name), signature_of(statement[end:]), place))
        elif kind == "index" and "unique" in words[:start]:
            on = words.index("on") if "on" in words else len(words) - 1
            table, after = name_at(statement, on + 1)
            index = name if on > start + 1 else ""
            self._add_key(table, statement[after:], index, suffix="idx", is_doubtful="exists" in words[:on])
        elif kind in ("trigger", "rule"):
            word = "on" if kind == "trigger" else "to"
            before = words.index(word) if word in words else len(words) - 1
            self._settle(kind, self.relations, name_at(statement, before + 1)[0], name)
        elif kind == "publication":
            self._publish(statement, words, place)

    @staticmethod
    def _make(holders: Names, name: str, words: list[str], place: StatementPlace) -> None:
        is_kept = words[1:3] == ["or", "replace"] or "exists" in words[:7]
        holders.make(name, place, unless_there=is_kept)

    def _new_relation(self, statement: Sequence[Token], name: str, end: int, place: StatementPlace) -> None:
        words, holder = words_of(statement), self.relations.at(name)
        if not isinstance(holder, int) or holder in self.views:
            return
        if "view" in words[:5]:
            self.views[holder] = is_unwritten(statement)
            return
        is_derived = words[end : end + 2] == ["partition", "of"] or {"like", "inherits"} & set(words[end:])
        if "primary" not in words and not {"unlogged", "foreign"} & set(words[:3]) and not is_derived:
            self.bare[holder] = name, place

    def _drop(self, statement: Sequence[Token], words: list[str], place: StatementPlace) -> None:
        start = 2 + (words[1] in ("materialized", "foreign"))
        end = next((at for at, word in enumerate(statement) if word in ("cascade", "restrict")), len(statement))
        kind, dropped = words[start - 1], filter(None, names(statement[start:end]))
        if kind in (*_RELATIONS, *_FUNCTIONS):
            for name in dropped:
                if name in self.temporary:
                    self.temporary.remove(name)
                else:
                    self._holders(kind).drop(name, place)
        elif kind == "index":
            for name in dropped:
                self.keys.drop_index(self.relations.plain(name), place)

    def _alter(self, statement: Sequence[Token], words: list[str], place: StatementPlace) -> None:
        start = 2 + (words[1] in ("materialized", "foreign"))
        kind = words[start - 1]
        if kind == "publication":
            self._publish(statement, words, place)
        elif kind == "default" and "on" in words[words.index("grant") if "grant" in words else len(words) :]:
            self._grant_by_default(statement, words)
        elif kind == "index":
            index, end = name_at(statement, start)
            if words[end : end + 2] == ["rename", "to"]:
                self.keys.rename_index(self.relations.plain(index), name_at(statement, end + 2)[0], place)
        elif kind in (*_RELATIONS, *_FUNCTIONS) and name_at(statement, start)[0] not in self.temporary:
            name, end = name_at(statement, start)
            rest = outside(statement[end:]) if kind in _FUNCTIONS else statement[end:]
            for action in actions(rest):
                self._action(kind, name, action, place)

    def _action(self, kind: str, name: str, action: Sequence[Token], place: StatementPlace) -> None:
        """Record an action of an ALTER."""
        holders, own = self._holders(kind), words_of(action)
        if own[:2] == ["owner", "to"]:
            self._settle("owner", holders, name)
        elif own[:2] == ["rename", "to"]:
            holders.move(name, place, to=name_at(action, 2)[0])
        elif own[:2] == ["set", "schema"]:
            holders.move(name, place, schema=name_at(action, 2)[0])
        elif kind in _FUNCTIONS:
            return
        elif own[0] == "add":
            self._add(name, action, own)
        else:
            for holder in self.relations.possible(name):
                self._change(holder, action, own, place)

    def _add(self, table: str, action: Sequence[Token], own: list[str]) -> None:
        """Record ADD of a constraint or a column."""
        if not starts_constraint(action):
            self.added_columns.add((self.relations.at(table), added_column(action)[0]))
            if "primary" in own:
                self._add_key(table, [], is_primary=True, suffix="pkey")
            return
        start = 3 if own[1] == "constraint" else 1
        name = name_at(action, 2)[0] if start > 1 else _index_of(action, own)
        holder = self.relations.at(table)
        if index := _index_of(action, own):
            self.keys.use_index(holder, index, name)
        self.keys.given[holder, name] += 1
        is_primary = own[start : start + 1] == ["primary"]
        is_deferrable = "deferrable" in own and own[own.index("deferrable") - 1] != "not"
        if is_primary or (own[start : start + 1] == ["unique"] and not is_deferrable):
            suffix = "pkey" if is_primary else "key"  # of USING INDEX, the index is known
            self._add_key(table, action[start + 1 :], name, suffix=suffix, is_primary=is_primary)

    def _change(self, holder: Object | None, action: Sequence[Token], own: list[str], place: StatementPlace) -> None:
        """Record another action on a table."""
        column, end = name_at(action, 1 + (own[1:2] == ["column"]))
        if own[1:2] == ["constraint"]:
            self._change_key(holder, action, own[0], place)
        elif own[0] in ("drop", "rename"):
            if isinstance(holder, str) and not self.has_column(holder, column):
                self.dropped_columns.append((holder, column, place, own[0] == "rename"))
            if own[0] == "rename":
                self.added_columns.add((holder, name_at(action, end + 1)[0]))
        elif own[-3:] == ["row", "level", "security"] and own[0] == "enable":
            self.settled.add(("security", holder, ""))
        elif own[:2] == ["replica", "identity"]:
            self.identities[holder] = own[2:3] in (["default"], ["nothing"]), place
        elif own[0] == "alter" and ("set", "default") in pairwise(own):
            self.settled.add(("default", holder, column))

    def _change_key(self, holder: Object | None, action: Sequence[Token], command: str, place: StatementPlace) -> None:
        """Record DROP and RENAME of a constraint."""
        name, end = name_at(action, 2)
        if command == "drop":
            self.keys.drop(holder, name, place)
        elif command == "rename":
            self.keys.rename(holder, name, name_at(action, end + 1)[0], place)

    def _add_key(
        self,
        table: str,
        tokens: Sequence[Token],
        name: str = "",
        *,
        suffix: str,
        is_primary: bool = False,
        is_doubtful: bool = False,
    ) -> None:
        """Record a unique key whose columns are in the first parentheses; without a name, PostgreSQL chooses one."""
        start = next((at for at, token in enumerate(tokens) if token == "("), len(tokens))
        end = start + 1 + len(statement_inside(tokens[start + 1 :]))
        where = next((at for at, token in enumerate(tokens[end:], end) if token == "where"), None)
        condition = None if where is None else named_in(tokens[where + 1 :])
        columns = [token.value for token in tokens[start:end] if token.kind in ("word", "name")]
        schema, last = split_name(self.relations.plain(table))
        chosen = "_".join([last, *([] if is_primary else columns), suffix])
        index = ".".join(filter(None, [schema, split_name(name)[1] or chosen]))
        key = Key(named_in(tokens[start:end]), condition, is_primary, index, is_doubtful or not name)
        self.keys.made.setdefault(self.relations.at(table), []).append(key)

    def _publish(self, statement: Sequence[Token], words: list[str], place: StatementPlace) -> None:
        """Record the tables that a publication gets, if it publishes their changes."""
        options = [token.value for token in statement if token.kind == "string"]
        if words[0] == "create" and options and not any(word in options[0] for word in ("update", "delete")):
            return
        own = words_of(outside(statement))
        starts = [at for at, word in enumerate(own) if word in ("add", "set", "for") and at > 1]
        if not starts or "all" in own or "schema" in own:
            if starts and own[starts[0] + 1 : starts[0] + 2] != [""]:
                self.published.append((name_at(statement, 2)[0], "", place))
            return
        end = next((at for at, word in enumerate(words) if word == "with"), len(statement))
        for part in actions(statement[starts[0] + 1 : end]):
            name = name_at(part, 1 if part[0] == "table" else 0)[0]
            if name:
                publication = name_at(statement, 2)[0]
                self.published += [(publication, each, place) for each in self.relations.possible(name)]

    def _grant(self, statement: Sequence[Token], words: list[str]) -> None:
        self.grants += [Grant(*given(statement, words), holder) for holder in self._granted(statement, words)]

    def _grant_by_default(self, statement: Sequence[Token], words: list[str]) -> None:
        """Record what ALTER DEFAULT PRIVILEGES grants on what is made afterwards."""
        start = words.index("grant")
        privileges, roles = given(statement[start:], words[start:])
        schemas = names(statement[words.index("schema") + 1 : start]) if "schema" in words[:start] else [UNKNOWN]
        since = len(self.relations.made)
        self.grants += [Grant(privileges, roles, None, schema, since) for schema in schemas]

    def _granted(self, statement: Sequence[Token], words: list[str]) -> list[Object | None]:
        """Return the objects of a GRANT or REVOKE; of all in a schema, the new ones that it has now."""
        on = words.index("on")
        end = next((at for at, word in enumerate(words[on:], on) if word in ("to", "from")), len(words))
        if words[on + 1 : on + 2] == ["all"]:
            start = words.index("schema", on) + 1 if "schema" in words[on:] else end
            of_schemas = [f"{schema}.{UNKNOWN}" for schema in names(statement[start:end])]
            kind = "".join(words[on + 2 : on + 3]).removesuffix("s")
            is_known = kind in ("sequence", *_RELATIONS, *_FUNCTIONS)
            holders = [self._holders(kind)] * (kind != "sequence") if is_known else [self.functions, self.relations]
            return [new for name in of_schemas for each in holders for new in each.possible(name)]
        kind = "".join(words[on + 1 : on + 2])
        kind = kind if kind in (*_RELATIONS, *_FUNCTIONS) else ""
        of_kind = self._holders(kind)
        return [each for name in names(statement[on + 1 + bool(kind) : end]) for each in of_kind.possible(name)]


def _index_of(action: Sequence[Token], own: list[str]) -> str:
    """Return the index of ADD … USING INDEX, whose name the constraint has; empty without it."""
    return name_at(action, own.index("index") + 1)[0] if "index" in own else ""
