"""The unique keys that pending revisions make, drop and rename, and the names that constraints and indexes get."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from service_migrations.plan.database.names import Object, StatementPlace, means, parts
from service_migrations.sql.clauses import split_name
from service_migrations.sql.dynamic import UNKNOWN, fits
from service_migrations.sql.lexer import Token

__all__ = ["Key", "KeyChanges", "named_in"]

_Lost = list[tuple[str, str, StatementPlace]]


@dataclass(frozen=True, slots=True)
class Key:
    """A unique key.

    Attributes:
        named: the names in its columns and expressions.
        condition: those in its condition.
        index: the name of its index, which a constraint has too.
        is_doubtful: whether something else may have that name: PostgreSQL chooses it, or IF NOT EXISTS made nothing.
        is_dropped: whether a doubtful one was dropped by that name, or what else had it.

    """

    named: frozenset[str]
    condition: frozenset[str] | None = None
    is_primary: bool = False
    index: str = ""
    is_doubtful: bool = False
    is_dropped: bool = False

    def replaces(self, former: "Key") -> bool:
        """Whether ON CONFLICT with the columns of a former key finds this one; where not all is known, it may."""
        is_known = not any(UNKNOWN in name for name in self.named)
        return not is_known or (self.named == former.named and self.condition in (None, former.condition))


@dataclass(slots=True)
class KeyChanges:
    """What becomes of keys and of the names of constraints.

    Attributes:
        made: the unique keys that are made, by object.
        dropped: the constraints that are dropped, with their table, and the indexes, without one.
        renamed: those that are renamed.
        given: how often a constraint has each name now that it didn't have before, with its table; ``""`` is
            PostgreSQL's choice.
        indexes: the names that indexes get which were there before, with their names then.
        former: the names that constraints had before, by their table and their name now.

    """

    made: dict[Object | None, list[Key]] = field(default_factory=dict)
    dropped: _Lost = field(default_factory=list)
    renamed: _Lost = field(default_factory=list)
    given: Counter[tuple[Object | None, str]] = field(default_factory=Counter)
    indexes: dict[str, str] = field(default_factory=dict)
    former: dict[tuple[Object | None, str], str] = field(default_factory=dict)

    def lost(self) -> Iterator[tuple[str, str, StatementPlace]]:
        """Yield all that is dropped or renamed."""
        yield from self.dropped
        yield from self.renamed

    def of(self, holder: Object | None) -> list[Key]:
        """Return the keys that are made on an object, or may be."""
        return [key for own, keys in self.made.items() if means(own, holder) for key in keys]

    def is_given(self, table: str, name: str) -> bool:
        """Whether a constraint of a table has a name, or may have it; PostgreSQL's choice begins with the table."""
        return any(
            count > 0 and means(own, table) and (fits(name, given) if given else _is_chosen(table, name))
            for (own, given), count in self.given.items()
        )

    def drop(self, holder: Object | None, name: str, place: StatementPlace) -> None:
        """Drop a constraint."""
        is_lost = self._is_lost(holder, name)
        former = self.former.pop((holder, name), "")
        is_made = self._take(holder, name, is_lost=is_lost) and not former
        self._unmake(holder, name, is_certain=is_made or is_lost)
        if is_made:
            self._lose_again(holder, name, place)
        elif isinstance(holder, str):
            self._lose(holder, former or self.indexes.pop(name, name), place)

    def use_index(self, holder: Object | None, index: str, name: str) -> None:
        """Give an index the name of the constraint that it becomes."""
        self._rename_made(holder, index, name)

    def rename(self, holder: Object | None, name: str, to: str, place: StatementPlace) -> None:
        """Give a constraint another name."""
        is_taken = self._take(holder, name, is_lost=self._is_lost(holder, name))
        self.given[holder, to] += 1
        if is_taken:
            if (holder, name) in self.former:
                self.former[holder, to] = self.former.pop((holder, name))
            self._lose_again(holder, name, place)
            self._rename_made(holder, name, to)
        else:
            self.former[holder, to] = self.indexes.pop(name, name)
            if isinstance(holder, str) and self.former[holder, to] == name:
                self.renamed.append((holder, name, place))

    def drop_index(self, index: str, place: StatementPlace) -> None:
        """Drop an index."""
        holders = [holder for holder, keys in self.made.items() if any(key.index == index for key in keys)]
        keys = [key for keys in self.made.values() for key in keys if key.index == index]
        is_made = any(not key.is_doubtful for key in keys) or (bool(keys) and self._is_lost("", index))
        for holder in holders:
            self._unmake(holder, index, is_certain=is_made)
        if is_made:
            self._lose_again("", index, place)
        else:
            self._lose("", self.indexes.pop(index, index), place)

    def rename_index(self, index: str, to: str, place: StatementPlace) -> None:
        """Give an index another name, and its constraint."""
        schema, last = split_name(index)
        new = ".".join(filter(None, [schema, to]))
        holders = {holder for holder, keys in self.made.items() if any(key.index == index for key in keys)}
        holders |= {holder for (holder, name), count in self.given.items() if name == last and count > 0}
        for holder in holders:
            if self.given[holder, last] > 0:
                self.rename(holder, last, to, place)
            else:
                self._rename_made(holder, last, to)
        if not holders:
            if index not in self.indexes:
                self.renamed.append(("", index, place))
            self.indexes[new] = self.indexes.pop(index, index)

    def _is_lost(self, holder: Object | None, name: str) -> bool:
        """Whether what had a name before hasn't it any more."""
        return any((table, own) == (holder, name) for table, own, _ in self.lost())

    def _take(self, holder: Object | None, name: str, *, is_lost: bool) -> bool:
        """Take a name that the revisions have given; return whether they have."""
        for given in (name, "") if is_lost and isinstance(holder, str) and _is_chosen(holder, name) else (name,):
            if self.given[holder, given] > 0:
                self.given[holder, given] -= 1
                return True
        return False

    def _lose(self, table: str, name: str, place: StatementPlace) -> None:
        """Record what was there before as dropped; a second DROP of it has an IF EXISTS, and does nothing."""
        if all((own, last) != (table, name) for own, last, _ in self.dropped):
            self.dropped.append((table, name, place))

    def _lose_again(self, holder: Object | None, name: str, place: StatementPlace) -> None:
        """Record where a name is lost that was lost before, and given again."""
        for lost in (self.dropped, self.renamed):
            lost[:] = [(table, own, place if (table, own) == (holder, name) else before) for table, own, before in lost]

    def _unmake(self, holder: Object | None, name: str, *, is_certain: bool) -> None:
        """Drop the made keys of a name; of doubtful ones, what the database has decides."""
        kept: list[Key] = []
        for key in self.made.get(holder, ()):
            if not _is_named(key, name):
                kept.append(key)
            elif key.is_doubtful and not is_certain:
                kept.append(replace(key, is_dropped=True))
        if holder in self.made:
            self.made[holder] = kept

    def _rename_made(self, holder: Object | None, name: str, to: str) -> None:
        if holder in self.made:
            keys = self.made[holder]
            self.made[holder] = [
                replace(key, index=".".join(filter(None, [split_name(key.index)[0], to])))
                if _is_named(key, name)
                else key
                for key in keys
            ]


def _is_named(key: Key, name: str) -> bool:
    return bool(key.index) and parts(key.index)[1] == parts(name)[1]


def _is_chosen(table: str, name: str) -> bool:
    return name.startswith(f"{parts(table)[1]}_")


def named_in(tokens: Iterable[Token]) -> frozenset[str]:
    """Return the words and names in a key or a condition, by which two of them are compared."""
    ignored = ("asc", "desc", "nulls", "first", "last", "text", "is", "not", "null", "and", "or", "true", "false")
    return frozenset(token.value for token in tokens if token.kind in ("word", "name") and token.value not in ignored)
