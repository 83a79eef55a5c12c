"""Who holds each name behind the pending revisions: what was there before, something new, or nobody.

A name is plain: without the schema that is the first of the search path, and without ``public``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from service_migrations.sql.clauses import split_name
from service_migrations.sql.dynamic import UNKNOWN, fits

__all__ = ["Names", "Object", "StatementPlace", "means", "parts"]

Object = str | int
"""One that was there before, by its name then; or a new one, by its number."""


@dataclass(frozen=True, slots=True)
class StatementPlace:
    """Where a statement stands: the id and the file of its revision, the line of that and of the revision's SQL."""

    revision: str
    path: str
    line: int
    sql_line: int


@dataclass(slots=True)
class Names:
    """The names of relations, or of functions, while the revisions run.

    Attributes:
        default: the schema of a name without one.
        held: who has each name that changed hands; None for nobody.
        left: where those that were there left their names.
        made: where each new one was made; shared, so that a number is that of one relation or function.
        doubted: the names that may have been taken.
        unknown: the names of new ones that are known in part.

    """

    default: str = ""
    held: dict[str, Object | None] = field(default_factory=dict)
    left: dict[str, StatementPlace] = field(default_factory=dict)
    made: dict[int, StatementPlace] = field(default_factory=dict)
    doubted: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)

    def plain(self, name: str) -> str:
        """Return a name without the schema that it has anyway."""
        return name.removeprefix(f"{self.default}.") if self.default else name

    def at(self, name: str) -> Object | None:
        """Return who has a name now; one that nobody has touched is taken for one that was there before."""
        name = self.plain(name)
        return self.held.get(name, name)

    def possible(self, name: str) -> list[Object | None]:
        """Return who may have a name: where a part of it isn't known, each new one whose name fits."""
        if UNKNOWN not in name:
            return [self.at(name)]
        return [new for held, new in self.held.items() if isinstance(new, int) and self._may_be(held, name)]

    def _may_be(self, held: str, name: str) -> bool:
        (schema, last), (other_schema, other) = parts(held), parts(name)
        schemas = (schema,) if schema else (self.default, "public")
        return fits(last, other) and (not other_schema or any(fits(each, other_schema) for each in schemas))

    def make(self, name: str, place: StatementPlace, *, unless_there: bool = False) -> None:
        """Give a name to something new."""
        name = self.plain(name)
        holder = self.at(name)
        if UNKNOWN in name:
            self.unknown.add(name)
        if UNKNOWN in name or (unless_there and holder is not None):
            return
        if isinstance(holder, str) and any(fits(name, each) for each in self.doubted):
            self.left.setdefault(holder, place)  # what was there is gone, or this fails
        number = len(self.made)
        self.made[number] = place
        self.held[name] = number

    def drop(self, name: str, place: StatementPlace) -> None:
        """Take a name from who has it."""
        holder = self.at(name)
        if isinstance(holder, str):
            self.left.setdefault(holder, place)
        self.held[self.plain(name)] = None

    def move(self, name: str, place: StatementPlace, *, to: str = "", schema: str = "") -> None:
        """Give another name, or schema, to who has a name."""
        holder = self.at(name)
        self.drop(name, place)
        own_schema, last = split_name(name)
        given = ".".join(filter(None, [schema or own_schema, to or last])).removeprefix("public.")
        self.held[self.plain(given)] = holder

    def successors(self) -> Iterator[tuple[str, int, StatementPlace]]:
        """Yield each name that something new has in place of what had it, with its number and where it was made."""
        for name in self.left:
            holder = self.held.get(name)
            if isinstance(holder, int):
                yield name, holder, self.made[holder]

    def free(self) -> Iterator[tuple[str, StatementPlace]]:
        """Yield each name that was taken and that nobody has any more, with where it was left."""
        for name, place in self.left.items():
            if self.held.get(name, name) is None and not any(self._may_be(name, each) for each in self.unknown):
                yield name, place


def means(named: Object | None, holder: Object | None) -> bool:
    """Whether an object is another one, or may be, since a part of its name isn't known."""
    if isinstance(named, str) and UNKNOWN in named and isinstance(holder, str):
        return fits(parts(holder)[1], parts(named)[1])
    return named == holder


def parts(name: str) -> tuple[str, str]:
    """Return the schema of a plain name, empty without one, and its last part, both without quotes."""
    schema, last = split_name(name)
    return schema.strip('"'), last.strip('"')
