"""The renames that a person asks for, as ``old:new``, found in the difference of database and models."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from service_migrations.autogenerate.changes.renames import Rename, option
from service_migrations.autogenerate.comparison import Comparison, Key
from service_migrations.errors import UsageError
from service_migrations.sql.quoting import quoted

__all__ = ["Request", "renames_of"]

_NAME = r'"(?:[^"]|"")+"|[^".:\s]+'
_PATH = rf"(?:{_NAME})(?:\.(?:{_NAME})){{0,2}}"
_REQUEST = re.compile(rf"({_PATH}):({_PATH})")


@dataclass(frozen=True, slots=True)
class Request:
    """A rename as a person writes it, with each side as a path of names: schema, table and column, or the end of it."""

    text: str
    old: tuple[str, ...]
    new: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Request":
        """Parse a value of ``--rename``.

        Raises:
            UsageError: it isn't of the form ``old:new``.

        """
        match = _REQUEST.fullmatch(text)
        old, new = (_names(side) for side in match.groups()) if match else ((), ())
        if not match or old == new:
            raise UsageError(
                f"--rename {text!r} must be old:new, two different names.",
                hint="Such as note:remark or things.note:things.remark, with the schema before it where there are two; "
                "a name with a dot, a colon or a space is quoted as in SQL.",
            )
        return cls(text, old, new)

    def is_of(self, schema: str | None, tables: Collection[str | None]) -> bool:
        """Whether both sides may be names in a schema or, where there are tables, in one of these."""
        places = [(schema or "",) if table is None else (schema or "", table) for table in tables]
        return all(any(_ends_with(place, side[:-1]) for place in places) for side in (self.old, self.new))

    def is_among(self, live: Collection[str], target: Collection[str], others: Collection["Request"]) -> bool:
        """Whether it renames a name of the database only to one of the models only.

        In a chain or an exchange, the names may be on both sides if other requests rename them too.
        """
        old, new = self.old[-1], self.new[-1]
        is_gone = old not in target or any(other.new[-1] == old for other in others)
        is_free = new not in live or any(other.old[-1] == new for other in others)
        return old in live and new in target and is_gone and is_free


def _names(path: str) -> tuple[str, ...]:
    return tuple(name[1:-1].replace('""', '"') if name.startswith('"') else name for name in re.findall(_NAME, path))


def _ends_with(place: tuple[str, ...], path: tuple[str, ...]) -> bool:
    return len(path) <= len(place) and place[len(place) - len(path) :] == path


@dataclass(frozen=True, slots=True)
class _Match:
    """A rename that a request may mean, and the names of both sides where its names are unique."""

    rename: Rename
    live: Collection[str]
    target: Collection[str]


def renames_of(requests: Sequence[Request], comparison: Comparison) -> list[Rename]:
    """Return the rename that each request means.

    Raises:
        UsageError: a request means none or several, or two of them exclude each other.

    """
    tables = {request: list(_tables(request, requests, comparison)) for request in requests}
    new_keys: dict[Key, Key] = {}
    for matches in tables.values():
        if len(matches) == 1:
            rename = matches[0].rename
            new_keys[rename.schema, rename.old] = (rename.schema, rename.new)
    chosen = {
        request: _only(
            request,
            [
                *tables[request],
                *_types(request, requests, comparison),
                *_columns(request, requests, comparison, new_keys),
            ],
            comparison,
        )
        for request in requests
    }
    for request, match in chosen.items():
        others = {key: other.rename for key, other in chosen.items() if other.rename.place == match.rename.place}
        for other, rename in others.items():
            if rename != match.rename and not rename.is_beside(match.rename):
                raise UsageError(f"--rename {request.text} and --rename {other.text} exclude each other.")
        if not request.is_among(match.live, match.target, others):
            raise _nothing(request, comparison)
    return list(dict.fromkeys(match.rename for match in chosen.values()))


def _tables(request: Request, requests: Sequence[Request], comparison: Comparison) -> Iterator[_Match]:
    for schema in {schema for schema, _ in comparison.live}:
        live, target = (
            {name for place, name in side if place == schema} for side in (comparison.live, comparison.targets)
        )
        if request.is_of(schema or comparison.default, [None]) and request.is_among(live, target, requests):
            yield _Match(Rename(schema, None, request.old[-1], request.new[-1]), live, target)


def _types(request: Request, requests: Sequence[Request], comparison: Comparison) -> Iterator[_Match]:
    kept = comparison.live_types.keys() - {(dropped.schema, dropped.name) for dropped in comparison.dropped_types}
    for schema in {schema for schema, _ in comparison.live_types}:
        live, target = (
            {name for place, name in side if place == schema} for side in (comparison.live_types, comparison.types)
        )
        live -= {name for place, name in kept if place == schema} - target
        if request.is_of(schema or comparison.default, [None]) and request.is_among(live, target, requests):
            yield _Match(Rename(schema, None, request.old[-1], request.new[-1], is_type=True), live, target)


def _columns(
    request: Request, requests: Sequence[Request], comparison: Comparison, new_keys: Mapping[Key, Key]
) -> Iterator[_Match]:
    for key, live in comparison.live.items():
        schema, table = new_keys.get(key, key)
        target = comparison.targets.get((schema, table))
        if target is None or not request.is_of(schema or comparison.default, [key[1], table]):
            continue
        if request.is_among(live.columns, target.columns, requests):
            old, new = live.columns[request.old[-1]], target.columns[request.new[-1]]
            if new.generated and not old.generated:
                raise UsageError(
                    f"--rename {request.text}: {target.sql}.{new.name} is generated, so it can't keep the values of "
                    f"{old.name}."
                )
            yield _Match(Rename(schema, table, old.name, new.name), live.columns, target.columns)


def _only(request: Request, matches: Sequence[_Match], comparison: Comparison) -> _Match:
    if not matches:
        raise _between_schemas(request, comparison) or _nothing(request, comparison)
    if len(matches) > 1:
        renames = (match.rename for match in matches)
        options = sorted(
            option(rename.schema or comparison.default, rename.table, rename.old, rename.new) for rename in renames
        )
        raise UsageError(f"--rename {request.text} is ambiguous.", hint=f"Write one of: {', '.join(options)}.")
    return matches[0]


def _between_schemas(request: Request, comparison: Comparison) -> UsageError | None:
    """Return the refusal of a rename into another schema; None where it isn't one."""
    default = comparison.default or "public"
    places = [
        [key for key in side.keys() - other_side.keys() if _ends_with((key[0] or default, key[1]), path)]
        for side, other_side, path in (
            (comparison.live, comparison.targets, request.old),
            (comparison.targets, comparison.live, request.new),
        )
    ]
    if any(len(keys) != 1 for keys in places):
        return None
    (old,), (new,) = places
    if old[0] == new[0]:
        return None
    moved = f"ALTER TABLE {quoted(old[0], old[1])} SET SCHEMA {quoted(new[0] or default)};"
    if old[1] != new[1]:
        moved += f" ALTER TABLE {quoted(new[0], old[1])} RENAME TO {quoted(new[1])};"
    return UsageError(
        f"--rename {request.text}: a table isn't moved to another schema.",
        hint=f"Write a revision with --empty, and in it, after CREATE SCHEMA: {moved}",
    )


def _nothing(request: Request, comparison: Comparison) -> UsageError:
    old, new = (".".join(side) for side in (request.old, request.new))
    is_reused = any(
        request.old[-1] in (pair.live.name, *(column.name for column, _ in pair.common))
        for pair in comparison.pairs.values()
    )
    return UsageError(
        f"--rename {request.text} matches nothing: this service has no table, column or enum type that is {old} only "
        f"in the database and {new} only in the models.",
        hint=f"If the models have something new by the name {request.old[-1]}, take it out for now: rename in this "
        "revision, and add it in the next."
        if is_reused
        else "",
    )
