"""Enum types: how the labels of a database differ from those of the models, and what leads from one to the other.

PostgreSQL adds and renames a label in place, and can do nothing else: for the rest the type is made anew, and every
column of it is converted.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, MetaData, text

from service_migrations.autogenerate.change import BY_HAND, Change, Note, Phase
from service_migrations.errors import ConfigurationError
from service_migrations.models.types import enum_of
from service_migrations.sql.quoting import literal, quoted

__all__ = ["EnumType", "added", "changes", "enums_of", "listed", "live_enums", "renamed"]

_LIVE = """
SELECT t.oid::bigint AS oid, t.typarray::bigint AS array, n.nspname AS schema, t.typname AS name,
    (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid) AS labels,
    (SELECT jsonb_agg(DISTINCT jsonb_build_array(c.relkind, cn.nspname, c.relname, a.attname))
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
        WHERE a.atttypid IN (t.oid, t.typarray) AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
            AND NOT c.relispartition)::text AS users
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.typtype = 'e' AND n.nspname = ANY(:schemas) AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
"""


@dataclass(frozen=True, slots=True)
class EnumType:
    """An enum type. ``oids`` are its own and that of its array; ``users`` is (kind, schema, relation, column)."""

    schema: str | None
    name: str
    labels: tuple[str, ...]
    oids: frozenset[int] = frozenset()
    users: tuple[tuple[str, ...], ...] = ()

    @property
    def sql(self) -> str:
        """Its name as SQL."""
        return quoted(self.schema, self.name)

    @property
    def creation(self) -> str:
        """The statement that makes it."""
        return f"CREATE TYPE {self.sql} AS ENUM ({', '.join(map(literal, self.labels))})"

    @property
    def former(self) -> str:
        """What it is called while its successor is there."""
        return f"{self.name[:54]}__former"

    @property
    def views(self) -> list[str]:
        """The views that have a column of it."""
        return sorted({user[2] for user in self.users if user[0] in ("v", "m")})


def enums_of(metadata: MetaData, default_schema: str | None) -> dict[tuple[str | None, str], EnumType]:
    """Return the enum types that models have columns of, by schema and name.

    Raises:
        ConfigurationError: two columns name one type and differ in its labels.

    """
    found: dict[tuple[str | None, str], EnumType] = {}
    for table in metadata.tables.values():
        for column in table.columns:
            enum = enum_of(column.type)
            if enum is None:
                continue
            schema = None if enum.schema == default_schema else enum.schema
            one = EnumType(schema, str(enum.name), tuple(enum.enums))
            if found.setdefault((schema, one.name), one) != one:
                raise ConfigurationError(
                    f"{table.name}.{column.name}: another column has the enum type {one.name} with other labels.",
                    hint="Give both the same Enum.",
                )
    return found


def live_enums(
    connection: Connection, schemas: Sequence[str], default_schema: str | None
) -> dict[tuple[str | None, str], EnumType]:
    """Return the enum types of some schemas, without those that an extension owns."""
    rows = connection.execute(text(_LIVE), {"schemas": list(schemas)}).mappings()
    found = {}
    for row in rows:
        schema = None if row["schema"] == default_schema else row["schema"]
        users = tuple(tuple(user) for user in json.loads(row["users"] or "[]"))
        labels, oids = tuple(row["labels"] or ()), frozenset((row["oid"], row["array"]))
        found[schema, row["name"]] = EnumType(schema, row["name"], labels, oids, users)
    return found


def changes(live: EnumType, target: EnumType, *, commits: bool) -> Iterator[Change]:
    """Yield what leads from a type's labels to those of the models, without the columns that have to be converted.

    Args:
        live: as the database has it.
        target: as the models have it.
        commits: whether this revision uses a new label, so that adding it has to be committed first.

    """
    says = f"alter_type {live.sql}: {listed(live.labels)} -> {listed(target.labels)}"
    if pair := renamed(live, target):
        yield _rename(live, *pair, says)
    elif additions := list(_additions(live, target)):
        yield _add(live, additions, says, commits=commits)
        yield from _rewrite(live, target, says="", forward=False)
    else:
        yield from _rewrite(live, target, says, forward=True)


def renamed(live: EnumType, target: EnumType) -> tuple[str, str] | None:
    """Return the one label that was taken for renamed, as before and after."""
    if len(live.labels) != len(target.labels):
        return None
    pairs = [pair for pair in zip(live.labels, target.labels, strict=True) if pair[0] != pair[1]]
    return pairs[0] if len(pairs) == 1 and pairs[0][1] not in live.labels else None


def added(live: EnumType, target: EnumType) -> list[str]:
    """Return the labels that can be added in place; none where something else is to be done."""
    return [label for label, _ in _additions(live, target)]


def _additions(live: EnumType, target: EnumType) -> Iterator[tuple[str, str]]:
    if not _is_within(live.labels, target.labels):
        return
    former = set(live.labels)
    for place, label in enumerate(target.labels):
        if label in former:
            continue
        where = f" AFTER {literal(target.labels[place - 1])}" if place else ""
        if not place and live.labels:
            where = f" BEFORE {literal(live.labels[0])}"
        yield label, where


def _is_within(some: Iterable[str], labels: Iterable[str]) -> bool:
    rest = iter(labels)
    return all(label in rest for label in some)


def _rename(live: EnumType, before: str, after: str, says: str) -> Change:
    def statement(one: str, other: str) -> str:
        return f"ALTER TYPE {live.sql} RENAME VALUE {literal(one)} TO {literal(other)}"

    note = Note(
        f"{before!r} was taken for renamed to {after!r}: rows keep their value under the new name.\n"
        f"If one went and the other came instead, remove {before!r} from the models, write that revision first,\n"
        f"and add {after!r} in the next."
    )
    # after all that names the former label has gone, and so back again before that comes back
    return Change(Phase.TYPES_COME, (note, statement(before, after)), (statement(after, before),), says)


def _add(live: EnumType, additions: list[tuple[str, str]], says: str, *, commits: bool) -> Change:
    again = "IF NOT EXISTS " if commits else ""
    statements = [f"ALTER TYPE {live.sql} ADD VALUE {again}{literal(label)}{where}" for label, where in additions]
    if commits:
        note = Note("What follows uses the new value, so adding it is committed first and stays if the rest fails.")
    else:
        note = Note("A new value can't be used in the transaction that adds it: use it in the next revision.")
    return Change(Phase.LABELS, (note, *statements), (), says, commits=commits)


def _rewrite(live: EnumType, target: EnumType, says: str, *, forward: bool) -> Iterator[Change]:
    """Yield the making of the type and the dropping of the former one; backwards only, where labels were added."""
    away, former = (f"ALTER TYPE {live.sql} RENAME TO {quoted(live.former)}", quoted(live.schema, live.former))
    gone = f"DROP TYPE {former}"
    refusal = ""
    if forward and live.views:
        refusal = f"the type {live.sql} has to be made anew, and the view {', '.join(live.views)} uses it. {BY_HAND}"
    yield Change(
        Phase.TYPES_COME,
        (_warning(live, target), away, target.creation) if forward else (),
        (gone,),
        says,
        refusal=refusal,
    )
    yield Change(
        Phase.TYPES_GO,
        (gone,) if forward else (),
        (_warning(target, live, users=live), away, live.creation),
    )


def _warning(before: EnumType, after: EnumType, users: EnumType | None = None) -> Note:
    """Return what to think of before a type is made anew: the lock, the rows, the views."""
    lost = [label for label in before.labels if label not in after.labels]
    lines = [
        f"WARNING: PostgreSQL can't remove or move a value, so {after.sql} is made anew. Each table that has it is",
        "rewritten under an exclusive lock.",
    ]
    tables = [user for user in (users or before).users if user[0] not in ("v", "m")]
    for label in lost:
        lines.append(f"Rows that hold {label!r} make this fail. Decide what becomes of them, before this line:")
        for _, _, table, column in tables:
            lines.append(f"UPDATE {quoted(table)} SET {quoted(column)} = … WHERE {quoted(column)} = {literal(label)}")  # noqa: S608 - a comment
    if users and users.views:
        lines.append(f"The view {', '.join(users.views)} uses the type: drop it before, and make it again after.")
    return Note("\n".join(lines))


def listed(labels: Iterable[str]) -> str:
    """Return labels as a message shows them."""
    return f"({', '.join(labels)})"
