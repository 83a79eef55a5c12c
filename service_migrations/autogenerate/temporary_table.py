"""The statements that create a model's table as a temporary one, without its foreign keys."""

from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Constraint,
    Dialect,
    Enum,
    ForeignKeyConstraint,
    Index,
    MetaData,
    Table,
)
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable, PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy.types import ARRAY, TypeEngine

from service_migrations._sqlalchemy import (
    copy_enum,
    creation_order,
    has_prefixes,
    is_conditional,
    set_creation_order,
)
from service_migrations.autogenerate.enum_types import EnumType
from service_migrations.autogenerate.sequences import creations
from service_migrations.catalog import tables
from service_migrations.catalog.search_path import SearchPath
from service_migrations.catalog.tables import TableState
from service_migrations.models.tables.conditions import sql_of
from service_migrations.models.tables.copies import copy_table
from service_migrations.models.tables.types import enum_of, postgres_type
from service_migrations.sql.lexer import requalified
from service_migrations.sql.quoting import quoted

__all__ = ["Surroundings", "TemporaryTable", "do_block", "full_table", "reduced_table"]

_RELATIONS = 4
"""The relations of a table without indexes: itself, its TOAST table, the index of that, a sequence."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The default schema, the search path, and the enum types that differ from those of the models.

    Each of those types has an alias, and ``unqualified`` are those that a name without a schema means.
    """

    default_schema: str | None
    search_path: str
    visible: frozenset[str]
    differing_types: dict[tuple[str | None, str], EnumType]
    aliases: dict[EnumType, str]
    unqualified: frozenset[EnumType]

    @classmethod
    def of(
        cls, path: SearchPath, differing_types: Iterable[EnumType], names: Container[tuple[str | None, str]]
    ) -> "Surroundings":
        """Return the surroundings by a search path.

        Args:
            path: that of the service's SQL.
            differing_types: the types of the models that the database doesn't have in that form.
            names: of all types of both, by schema and name.

        """
        visible = frozenset({"pg_catalog", *path.schemas})
        types = {(each.schema, each.name): each for each in differing_types}
        aliases = {each: f"migrations_type_{number}_" for number, each in enumerate(types.values())}
        unqualified = frozenset(
            each
            for each in aliases
            if each.schema is None or (each.schema in visible and (None, each.name) not in names)
        )
        return cls(path.default, path.text, visible, types, aliases, unqualified)

    def temporary_name(self, enum_type: EnumType, table: str) -> str:
        """Return the name of a type in the temporary schema.

        Two types of different schemas may have one name, and a table of another schema that of a type. So only a type
        that SQL can mean by its name alone has its own.
        """
        is_named = enum_type in self.unqualified and enum_type.name != table
        return enum_type.name if is_named else self.aliases[enum_type]


@dataclass(frozen=True, slots=True)
class TemporaryTable:
    """A table's name, the enum types that it needs with their temporary names, and the statements that create it.

    ``relations`` is the approximate number of tables, indexes and sequences: the server holds a lock on each. ``kept``
    are parts that are left out, since the database has equal ones, and ``extra`` is a column that is added.
    """

    schema: str | None
    name: str
    types: tuple[tuple[EnumType, str], ...]
    statements: tuple[str, ...]
    relations: int
    kept: tuple[tables.Constraint | tables.Index, ...] = ()
    extra: str | None = None

    def completed(self, state: TableState) -> TableState:
        """Return the state of the temporary table with the kept parts, and without the extra column."""
        kept_constraints = {part.name: part for part in self.kept if isinstance(part, tables.Constraint)}
        kept_indexes = {part.name: part for part in self.kept if isinstance(part, tables.Index)}
        return replace(
            state,
            columns={name: column for name, column in state.columns.items() if name != self.extra},
            constraints=state.constraints | kept_constraints,
            indexes=state.indexes | kept_indexes,
            partition_key=None if self.extra else state.partition_key,
        )


def full_table(
    table: Table, surroundings: Surroundings, dialect: Dialect, live: TableState | None = None
) -> TemporaryTable:
    """Return a temporary table with all parts of a model's table.

    Of keys with the same columns, CREATE TABLE creates one. Where the database has each of them, as after revisions
    that added one later, they are added after CREATE TABLE.
    """
    metadata = MetaData(naming_convention=table.metadata.naming_convention)
    copy = copy_table(table, metadata, temporary=True)
    existing = live.constraints if live else {}
    # PostgreSQL creates the first of equal ones, which a type's own CHECKs have no order for
    order = sorted(
        copy.constraints,
        key=lambda each: (each.name not in existing, creation_order(each), *_sort_key(each, dialect)),
    )
    for number, constraint in enumerate(order):
        set_creation_order(constraint, number)
    separate = _separate_keys(copy, live) if live else []
    copy.constraints.difference_update(separate)
    types: dict[EnumType, str] = {}
    for original, column in zip(table.columns, copy.columns, strict=True):
        enum = enum_of(original.type)
        if enum is None:
            continue
        schema = None if enum.schema == surroundings.default_schema else enum.schema
        # a temporary table hides a type of its name
        column.type = _renamed(original.type, enum.schema or surroundings.default_schema, str(enum.name))
        if differing := surroundings.differing_types.get((schema, str(enum.name))):
            types[differing] = surroundings.temporary_name(differing, table.name)
            column.type = _renamed(original.type, "pg_temp", types[differing])
    statements = [
        *creations(table),
        str(CreateTable(copy, include_foreign_key_constraints=[]).compile(dialect=dialect)),
    ]
    compiler = dialect.ddl_compiler(dialect, None)  # type: ignore[arg-type]
    statements += [f"ALTER TABLE {quoted(copy.name)} ADD {compiler.process(key)}" for key in separate]
    for index in sorted(copy.indexes, key=lambda index: str(index.name)):
        index.dialect_options["postgresql"]["concurrently"] = False
        statements.append(str(CreateIndex(index).compile(dialect=dialect)))
    for enum_type, name in types.items():
        # a default or a CHECK may name the type with its schema, which has no such type or a differing one
        schema, temporary = enum_type.schema or surroundings.default_schema or "", f"pg_temp.{quoted(name)}"
        statements = [requalified(statement, schema, enum_type.name, temporary) for statement in statements]
    relations = _RELATIONS + len(copy.constraints) + len(copy.indexes)
    return TemporaryTable(table.schema, table.name, tuple(types.items()), tuple(statements), relations)


def do_block(statements: Iterable[str]) -> str:
    """Return a DO block that runs statements; unlike a script, it can't end the transaction."""
    body = "".join(f"EXECUTE {_dollared(statement)};\n" for statement in statements)
    return f"DO {_dollared(f'BEGIN {body} END')}"


def _dollared(text: str) -> str:
    """Return a text as a dollar-quoted constant, independent of ``standard_conforming_strings``."""
    tag = next(tag for tag in (f"$q{number}$" for number in count()) if tag not in text)
    return f"{tag}\n{text}\n{tag}"


def _renamed(column_type: TypeEngine[Any], schema: str | None, name: str) -> TypeEngine[Any]:
    """Return a copy of a type with its enum under another name; a copied column shares the array of the original."""
    column_type = postgres_type(column_type)
    if isinstance(column_type, ARRAY):
        return ARRAY(_renamed(column_type.item_type, schema, name), dimensions=column_type.dimensions)
    if not isinstance(column_type, Enum):
        return column_type
    # of an array it is the model's own, in whose MetaData ``create_all`` would find the copy
    enum = copy_enum(column_type, MetaData())
    enum.schema, enum.name = schema, name
    return enum


def _separate_keys(copy: Table, live: TableState) -> list[UniqueConstraint]:
    """Return the keys of a model with the columns of another key of it, where the database has them all."""
    model_keys: dict[tuple[str, ...], list[Constraint]] = {}
    for constraint in sorted(copy.constraints, key=lambda each: not isinstance(each, PrimaryKeyConstraint)):
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint) and constraint.columns:
            model_keys.setdefault(tuple(_column_names(constraint)), []).append(constraint)
    live_keys = Counter(each.local_columns for each in live.constraints.values() if each.kind in ("p", "u"))
    return [
        key
        for columns, keys in model_keys.items()
        if 1 < len(keys) <= live_keys[columns]
        for key in keys[1:]
        if isinstance(key, UniqueConstraint)
    ]


def _sort_key(constraint: Constraint, dialect: Dialect) -> tuple[str, str, list[str]]:
    condition = sql_of(constraint, dialect) if isinstance(constraint, CheckConstraint) else ""
    return str(constraint.name), condition, _column_names(constraint)


def _column_names(part: Constraint | Index) -> list[str]:
    return [column.name for column in getattr(part, "columns", ())]


_IDENTITY_SINCE = (17,)
"""The first version in which a partitioned table may have identity columns."""

_REDUCED_RELATIONS = 2
"""The relations of a reduced table: itself, and perhaps a sequence."""


def reduced_table(table: Table, live: TableState, surroundings: Surroundings, dialect: Dialect) -> TemporaryTable:
    """Return a temporary table without the keys and indexes that are certainly equal to those of ``live``.

    Of an unusual table it has all parts.
    """
    equal = _equal_parts(table, live, dialect)
    checks = [constraint for constraint in table.constraints if isinstance(constraint, CheckConstraint)]
    if equal is None or not _is_ordinary(table, surroundings, dialect):
        return full_table(table, surroundings, dialect, live)
    names = {column.name for column in table.columns}
    extra = next(name for name in (f"_{number}" for number in count()) if name not in names)
    first = next((column for column in table.columns if column.primary_key), None)
    compiler = dialect.ddl_compiler(dialect, None)  # type: ignore[arg-type]
    parts = [compiler.process(CreateColumn(column), first_pk=column is first) for column in table.columns]
    checks.sort(key=lambda check: (str(check.name), sql_of(check, dialect)))
    parts += [compiler.process(check) for check in checks]
    sql = f"CREATE TABLE {quoted(table.name)} ({', '.join(parts)}, {extra} integer) PARTITION BY LIST ({extra})"
    return TemporaryTable(table.schema, table.name, (), (sql,), _REDUCED_RELATIONS, equal, extra)


def _equal_parts(
    table: Table, live: TableState, dialect: Dialect
) -> tuple[tables.Constraint | tables.Index, ...] | None:
    """Return the keys and indexes of a table in the database; None where one may differ from the model's."""
    keys = [
        constraint
        for constraint in table.constraints
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint) and constraint.columns
    ]
    parts = [
        *(_equal_key(key, live, dialect) for key in keys),
        *(_equal_index(index, live, dialect) for index in table.indexes),
    ]
    equal = tuple(part for part in parts if part is not None)
    if len(equal) < len(parts) or len({tuple(key.columns) for key in keys}) < len(keys):
        return None  # PostgreSQL creates one of two equal keys
    return equal


def _equal_key(
    key: PrimaryKeyConstraint | UniqueConstraint, live: TableState, dialect: Dialect
) -> tables.Constraint | None:
    kind, words = ("p", "PRIMARY KEY") if isinstance(key, PrimaryKeyConstraint) else ("u", "UNIQUE")
    definition = f"{words} ({', '.join(quoted(column.name) for column in key.columns)})"
    unusual = key.dialect_kwargs or key.deferrable is not None or key.initially is not None
    if unusual or (kind == "p" and any(column.nullable for column in key.columns)):
        return None
    name = dialect.identifier_preparer.format_constraint(key) if isinstance(key.name, str) else None
    if name is None and kind == "u":
        return None
    for constraint in live.constraints.values():
        if (constraint.kind, constraint.definition) == (kind, definition) and name in (None, quoted(constraint.name)):
            return constraint
    return None


def _equal_index(index: Index, live: TableState, dialect: Dialect) -> tables.Index | None:
    if (
        not isinstance(index.name, str)
        or index.dialect_kwargs
        or not all(isinstance(part, Column) for part in index.expressions)
    ):
        return None
    name = dialect.identifier_preparer.format_index(index)
    create = "CREATE UNIQUE INDEX" if index.unique else "CREATE INDEX"
    columns = ", ".join(quoted(column.name) for column in index.columns)
    definition = f"{create} {name} ON {live.sql} USING btree ({columns})"
    same_name = next((each for each in live.indexes.values() if quoted(each.name) == name), None)
    if same_name is None or not same_name.valid or same_name.definition != definition:
        return None
    return same_name


def _is_ordinary(table: Table, surroundings: Surroundings, dialect: Dialect) -> bool:
    """Whether a table has only columns and CHECKs beside its keys, all valid in a partitioned one."""
    if table.dialect_kwargs or has_prefixes(table):
        return False
    if any(is_conditional(constraint) or not isinstance(constraint, _KINDS) for constraint in table.constraints):
        return False
    for column in table.columns:
        enum = enum_of(column.type)
        if column.system or (column.identity and (dialect.server_version_info or ()) < _IDENTITY_SINCE):
            return False
        if (
            enum
            and (None if enum.schema == surroundings.default_schema else enum.schema, enum.name)
            in surroundings.differing_types
        ):
            return False
    return True


_KINDS: tuple[type[Constraint], ...] = (CheckConstraint, ForeignKeyConstraint, PrimaryKeyConstraint, UniqueConstraint)
