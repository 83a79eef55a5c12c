"""Changes of enum types, from the labels of the database to those of the models and back.

PostgreSQL can only add and rename labels in place. For other changes the type is recreated, and every column of it is
converted.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, text

from service_migrations.autogenerate.change import BY_HAND, Change, Note, Phase
from service_migrations.errors import ConfigurationError
from service_migrations.models.types import enum_of
from service_migrations.sql.quoting import literal, quoted

__all__ = ["EnumType", "added", "changes", "enums_of", "listed", "live_enums", "renamed"]

_LIVE = """
SELECT t.oid::bigint AS oid, t.typarray::bigint AS array, n.nspname AS schema, t.typname AS name,
    (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid) AS labels,
    (SELECT jsonb_agg(DISTINCT jsonb_build_array(c.relkind, cn.nspname, c.relname, a.attname,
            CASE a.atttypid WHEN t.typarray THEN 'array' ELSE '' END))
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
        WHERE a.atttypid IN (t.oid, t.typarray) AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
            AND NOT c.relispartition)::text AS users
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.typtype = 'e' AND n.nspname = ANY(:schemas) AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
"""


@dataclass(frozen=True, slots=True)
class EnumType:
    """An enum type. ``oids`` are its own and its array's; ``users`` is (kind, schema, relation, column, array)."""

    schema: str | None
    name: str
    labels: tuple[str, ...]
    oids: frozenset[int] = frozenset()
    users: tuple[tuple[Any, ...], ...] = ()

    @property
    def sql(self) -> str:
        """Its name as SQL."""
        return quoted(self.schema, self.name)

    @property
    def creation(self) -> str:
        """The statement that creates it."""
        return f"CREATE TYPE {self.sql} AS ENUM ({', '.join(map(literal, self.labels))})"

    @property
    def former_name(self) -> str:
        """The name of the old type while the new one is created."""
        return f"{self.name[:54]}__former"

    @property
    def views(self) -> list[str]:
        """The views that have a column of it."""
        return sorted({user[2] for user in self.users if user[0] in ("v", "m")})


def enums_of(tables: Iterable[Table], default_schema: str | None) -> dict[tuple[str | None, str], EnumType]:
    """Return the enum types of the columns of models, by schema and name.

    Raises:
        ConfigurationError: two columns name one type and differ in its labels.

    """
    types: dict[tuple[str | None, str], EnumType] = {}
    for table in tables:
        for column in table.columns:
            enum = enum_of(column.type)
            if enum is None:
                continue
            schema = None if enum.schema == default_schema else enum.schema
            enum_type = EnumType(schema, str(enum.name), tuple(enum.enums))
            if types.setdefault((schema, enum_type.name), enum_type) != enum_type:
                raise ConfigurationError(
                    f"{table.name}.{column.name}: another column has the enum type {enum_type.name} with other labels.",
                    hint="Give both the same Enum.",
                )
    return types


def live_enums(
    connection: Connection, schemas: Sequence[str], default_schema: str | None
) -> dict[tuple[str | None, str], EnumType]:
    """Return the enum types of some schemas, without members of extensions."""
    rows = connection.execute(text(_LIVE), {"schemas": list(schemas)}).mappings()
    types = {}
    for row in rows:
        schema = None if row["schema"] == default_schema else row["schema"]
        users = tuple(
            (kind, None if user_schema == default_schema else user_schema, *rest)
            for kind, user_schema, *rest in json.loads(row["users"] or "[]")
        )
        labels, oids = tuple(row["labels"] or ()), frozenset((row["oid"], row["array"]))
        types[schema, row["name"]] = EnumType(schema, row["name"], labels, oids, users)
    return types


def changes(live: EnumType, target: EnumType, *, commits: bool) -> Iterator[Change]:
    """Yield the changes of one type, without the columns that have to be converted.

    Args:
        live: the type of the database.
        target: the type of the models.
        commits: whether this revision uses a new label, which has to be committed first.

    """
    description = f"alter_type {live.sql}: {listed(live.labels)} -> {listed(target.labels)}"
    if renaming := renamed(live, target):
        yield _rename(live, *renaming, description)
    elif additions := list(_additions(live, target)):
        yield _add(live, additions, description, commits=commits)
        yield from _recreate(live, target, description="", up=False)
    else:
        yield from _recreate(live, target, description, up=True)


def renamed(live: EnumType, target: EnumType) -> tuple[str, str] | None:
    """Return the one renamed label, as before and after; None unless it is the only difference."""
    if len(live.labels) != len(target.labels):
        return None
    pairs = [pair for pair in zip(live.labels, target.labels, strict=True) if pair[0] != pair[1]]
    return pairs[0] if len(pairs) == 1 and pairs[0][1] not in live.labels else None


def added(live: EnumType, target: EnumType) -> list[str]:
    """Return the labels to add in place; none where the type needs other changes too."""
    return [label for label, _ in _additions(live, target)]


def _additions(live: EnumType, target: EnumType) -> Iterator[tuple[str, str]]:
    if not _is_within(live.labels, target.labels):
        return
    old = set(live.labels)
    for position, label in enumerate(target.labels):
        if label in old:
            continue
        position_clause = f" AFTER {literal(target.labels[position - 1])}" if position else ""
        if not position and live.labels:
            position_clause = f" BEFORE {literal(live.labels[0])}"
        yield label, position_clause


def _is_within(subset: Iterable[str], labels: Iterable[str]) -> bool:
    remaining = iter(labels)
    return all(label in remaining for label in subset)


def _rename(live: EnumType, before: str, after: str, description: str) -> Change:
    def statement(old: str, new: str) -> str:
        return f"ALTER TYPE {live.sql} RENAME VALUE {literal(old)} TO {literal(new)}"

    note = Note(
        f"{before!r} was taken for renamed to {after!r}: rows keep their value under the new name.\n"
        f"If they are different values, remove {before!r} from the models, write that revision first,\n"
        f"and add {after!r} in the next."
    )
    # after everything that uses the old label was dropped, and in a downgrade before that is added again
    return Change(Phase.CREATE_TYPES, (note, statement(before, after)), (statement(after, before),), description)


def _add(live: EnumType, additions: list[tuple[str, str]], description: str, *, commits: bool) -> Change:
    if_not_exists = "IF NOT EXISTS " if commits else ""
    statements = [
        f"ALTER TYPE {live.sql} ADD VALUE {if_not_exists}{literal(label)}{position_clause}"
        for label, position_clause in additions
    ]
    if commits:
        note = Note("What follows uses the new value, so adding it is committed first and stays if the rest fails.")
    else:
        note = Note("A new value can't be used in the transaction that adds it: use it in the next revision.")
    return Change(Phase.ADD_LABELS, (note, *statements), (), description, commits=commits)


def _recreate(live: EnumType, target: EnumType, description: str, *, up: bool) -> Iterator[Change]:
    """Yield the changes that create the new type and drop the old one.

    They are for the downgrade only where labels were added in place.
    """
    rename_old, old_name = (
        f"ALTER TYPE {live.sql} RENAME TO {quoted(live.former_name)}",
        quoted(live.schema, live.former_name),
    )
    drop_old = f"DROP TYPE {old_name}"
    refusal = ""
    if up and live.views:
        refusal = f"the type {live.sql} has to be recreated, and the view {', '.join(live.views)} uses it. {BY_HAND}"
    yield Change(
        Phase.CREATE_TYPES,
        (_warning(live, target), rename_old, target.creation) if up else (),
        (drop_old,),
        description,
        refusal=refusal,
    )
    yield Change(
        Phase.DROP_TYPES,
        (drop_old,) if up else (),
        (_warning(target, live, users=live), rename_old, live.creation),
    )


def _warning(before: EnumType, after: EnumType, users: EnumType | None = None) -> Note:
    """Return a warning of the lock, rows and views of a type that is recreated."""
    removed = [label for label in before.labels if label not in after.labels]
    lines = [
        f"WARNING: PostgreSQL can't remove or move a value, so {after.sql} is recreated. Each table that has it is",
        "rewritten under an exclusive lock.",
    ]
    tables = [user for user in (users or before).users if user[0] not in ("v", "m")]
    for label in removed:
        lines.append(f"Rows with {label!r} make this fail. Change them before this line:")
        lines += [_update(user, label) for user in tables]
    if users and users.views:
        lines.append(f"The view {', '.join(users.views)} uses the type: drop it before, and create it again after.")
    return Note("\n".join(lines))


def _update(user: tuple[Any, ...], label: str) -> str:
    """Return the statement that changes the rows of a column with a label, for a comment."""
    _, table_schema, table, column, array = user
    column, value = quoted(column), literal(label)
    change, condition = f"{column} = …", f"{column} = {value}"
    if array:
        change, condition = f"{column} = array_replace({column}, {value}, …)", f"{value} = ANY ({column})"
    return f"UPDATE {quoted(table_schema, table)} SET {change} WHERE {condition}"  # noqa: S608 - a comment


def listed(labels: Iterable[str]) -> str:
    """Return labels for a message."""
    return f"({', '.join(labels)})"
