"""Alembic's operations: of tables and columns that only the models have, and of a column that gets a wider type.

Fixes for Alembic's renderer are here too.

An enum type is created by a statement of its own, once. A type decorator is replaced by its type: a revision that
imports it would change with the code.
"""

import copy as copies
import re
from collections.abc import Container
from dataclasses import replace
from itertools import count
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import AddColumnOp, AlterColumnOp, CreateIndexOp, CreateTableOp, MigrateOperation
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Enum,
    ForeignKeyConstraint,
    Integer,
    Interval,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    TextClause,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import INTERVAL, ExcludeConstraint, asyncpg
from sqlalchemy.schema import Constraint as SchemaConstraint, DefaultClause
from sqlalchemy.sql.elements import ColumnClause, conv
from sqlalchemy.sql.visitors import replacement_traverse
from sqlalchemy.types import ARRAY, TypeEngine

from service_migrations._sqlalchemy import creation_order, final_name, is_of_a_type
from service_migrations.autogenerate.sequences import sequence_of
from service_migrations.catalog.tables import ColumnState, Constraint, TableState
from service_migrations.models.tables.copies import copy_table
from service_migrations.models.tables.texts import plain
from service_migrations.models.tables.types import is_portable, postgres_type, without_own_index
from service_migrations.sql.identifiers import LONGEST, cut
from service_migrations.sql.quoting import escaped, quoted

__all__ = ["added_column", "copied", "created_table", "remove_exclusions", "render_item", "widening"]

_PREPARER = asyncpg.dialect().identifier_preparer  # type: ignore[no-untyped-call]
_INTEGERS = (BigInteger, SmallInteger, Integer)
_KINDS = {"p": PrimaryKeyConstraint, "u": UniqueConstraint, "x": ExcludeConstraint, "f": ForeignKeyConstraint}

_WIDENED = re.compile(r"(smallint|integer|bigint|text|character varying|numeric)(?:\((\d+)(?:,(\d+))?\))?")
_WIDER = {"smallint": SmallInteger, "integer": Integer, "bigint": BigInteger}


def copied(metadata: MetaData, dialect: Dialect, keys: Container[str]) -> dict[str, Table]:
    """Return copies of all tables, by key, those of some keys for Alembic's renderer; foreign keys need the others."""
    # without the schema, a foreign key would refer to a table in the default one
    target = MetaData(schema=metadata.schema, naming_convention=metadata.naming_convention)
    for table in metadata.tables.values():
        copy = copy_table(table, target)
        if table.key not in keys:
            continue
        for original, column in zip(table.columns, copy.columns, strict=True):
            column.type = _plain(original.type, dialect)
            if original is table.autoincrement_column and not is_portable(column.type):
                # SQLAlchemy makes it a SERIAL, whatever SQL its type has
                column.type = next(kind() for kind in _INTEGERS if isinstance(column.type, kind))
            if column.autoincrement == "ignore_fk":  # which Alembic writes without quotes
                column.autoincrement = original is table.autoincrement_column
            if sequence_of(original) is not None:
                column.autoincrement = False  # else Alembic's would be a SERIAL, with a sequence of its own
            default = column.server_default
            if isinstance(default, DefaultClause):
                sql = dialect.ddl_compiler(dialect, None).get_column_default_string(original)  # type: ignore[arg-type]
                column.server_default = DefaultClause(_twice_escaped(str(sql)))
            elif column.computed is not None:
                column.computed.sqltext = _compiled(column.computed.sqltext, dialect)
        for column in copy.columns:
            column.type = without_own_index(column.type)
        copy.info.clear()  # Alembic would write it into create_table
        _escape(copy, dialect)
        _use_column_names(copy)
    return dict(target.tables)


def created_table(
    copy: Table, state: TableState, taken: Container[str], later: Container[tuple[str, ...]]
) -> list[MigrateOperation]:
    """Return the operations that create a table and its indexes.

    Args:
        copy: a table from ``copied``.
        state: that table as the server describes it.
        taken: the names of the indexes of other tables in its schema.
        later: the columns of the foreign keys that are left out, to be added later.

    """
    _set_names(copy, state, taken)
    numbered = copy.autoincrement_column
    for key in [each for each in copy.constraints if isinstance(each, ForeignKeyConstraint)]:
        if tuple(element.parent.name for element in key.elements) in later:
            copy.constraints.discard(key)
            for element in key.elements:
                element.parent.foreign_keys.discard(element)
                column = element.parent
                if column.primary_key and column is not numbered and column.identity is None:
                    column.autoincrement = False  # else it would be a SERIAL, without its foreign key
    indexes = sorted(copy.indexes, key=lambda index: str(index.name))
    return [CreateTableOp.from_table(copy), *(CreateIndexOp.from_index(index) for index in indexes)]


def remove_exclusions(copy: Table, state: TableState, taken: Container[str]) -> list[Constraint]:
    """Remove the exclusion constraints from a copy, and return them as the server describes them.

    Alembic renders neither the text of an expression nor an operator class, so they are added by the server's text.
    Arguments are those of ``created_table``, which comes after it.
    """
    exclusions = [part for part in copy.constraints if isinstance(part, ExcludeConstraint)]
    names = {_model_name(exclusion) for exclusion in exclusions}
    for exclusion in exclusions:
        copy.constraints.discard(exclusion)
    return [
        constraint if constraint.name in names else replace(constraint, name=_free_name(constraint.name, taken))
        for constraint in state.constraints.values()
        if constraint.kind == "x"
    ]


def added_column(copy: Column[Any]) -> AddColumnOp:
    """Return the operation that adds a column."""
    return AddColumnOp(copy.table.name, copy, schema=copy.table.schema)


def render_item(kind: str, item: Any, context: AutogenContext) -> str | bool:
    """Render items that Alembic would render wrongly (its ``render_item``); False means Alembic's own way."""
    if kind == "primary_key" and isinstance(item, PrimaryKeyConstraint):
        return _primary_key(item, context)
    return _rendered_type(item, context) if kind == "type" else False


def _rendered_type(item: Any, context: AutogenContext) -> str | bool:
    """Render a type without a class of the models; False means Alembic's own way."""
    if isinstance(item, ARRAY) and isinstance(item.item_type, Enum):
        context.imports.add("from sqlalchemy.dialects import postgresql")
        dimensions = f", dimensions={item.dimensions}" if item.dimensions else ""
        return f"postgresql.ARRAY({_rendered_type(item.item_type, context)}{dimensions})"
    if isinstance(item, Enum) and item.native_enum and item.name:
        context.imports.add("from sqlalchemy.dialects import postgresql")
        labels = ", ".join(repr(label) for label in plain(item.enums))
        schema = f", schema={plain(item.schema)!r}" if item.schema else ""
        return f"postgresql.ENUM({labels}, name={plain(item.name)!r}{schema}, create_type=False)"
    if is_portable(item) or context.opts["user_module_prefix"] is not None:  # a team names types by its own module
        return False
    standard = postgres_type(item, context.dialect)  # a comparison by Alembic alone has the models' own type
    if is_portable(standard) and not isinstance(standard, ARRAY):
        is_of_dialect = "dialects" in type(standard).__module__
        context.imports.update(["from sqlalchemy.dialects import postgresql"] if is_of_dialect else [])
        return f"{'postgresql' if is_of_dialect else 'sa'}.{standard!r}"
    context.imports.add("from service_migrations.safe import SQLType")
    sql: str = context.dialect.type_compiler_instance.process(standard)
    return f"SQLType({sql!r})"


def _primary_key(key: PrimaryKeyConstraint, context: AutogenContext) -> str | bool:
    """Render a primary key with the options that Alembic leaves out; False where it has none."""
    options: dict[str, Any] = {"deferrable": key.deferrable, "initially": key.initially, **key.dialect_kwargs}
    options = {name: value for name, value in options.items() if value}
    if not options or not key.columns:
        return False
    parts = [repr(str(column.name)) for column in key.columns]
    prefixes = [context.opts[f"{module}_module_prefix"] or "" for module in ("alembic", "sqlalchemy")]
    parts += [f"name={prefixes[0]}f({str(key.name)!r})"] if key.name else []
    parts += [f"{name}={value!r}" for name, value in options.items()]
    return f"{prefixes[1]}PrimaryKeyConstraint({', '.join(parts)})"


def _set_names(copy: Table, state: TableState, taken: Container[str]) -> None:
    """Give each part the name that PostgreSQL gives it, as a final one.

    With another naming convention in the future it would get another name, but revisions drop it by this one.
    """
    parts = sorted(copy.constraints, key=creation_order)
    model_names = {part: _model_name(part) for part in parts}
    named = {(_kind(part), name) for part, name in model_names.items() if name}
    unnamed = [constraint for name, constraint in state.constraints.items() if (constraint.kind, name) not in named]
    existing = {(constraint.kind, name) for name, constraint in state.constraints.items()}
    for part in parts:
        name = model_names[part] or _take_name(unnamed, part, taken)
        if name is None or (_kind(part) in ("u", "x") and (_kind(part), model_names[part]) in named - existing):
            # PostgreSQL creates one of two equal constraints; CHECKs without a name follow, as the server deparses them
            copy.constraints.discard(part)
        else:
            part.name = conv(name)
    for check in (constraint for constraint in unnamed if constraint.kind == "c"):
        sql = check.definition.removeprefix("CHECK (").removesuffix(")")
        copy.append_constraint(CheckConstraint(_twice_escaped(sql), name=conv(check.name)))
    for index in copy.indexes:
        index.name = conv(str(index.name))


def _kind(constraint: SchemaConstraint) -> str:
    return next((letter for letter, kind in _KINDS.items() if isinstance(constraint, kind)), "c")


def _model_name(constraint: SchemaConstraint) -> str | None:
    """Return a model's name for a constraint, shortened as by SQLAlchemy; None for a constraint of a type."""
    if not isinstance(constraint.name, str) or is_of_a_type(constraint):  # Alembic leaves these to the type
        return None
    return final_name(_PREPARER, constraint.name)


def _take_name(unnamed: list[Constraint], constraint: SchemaConstraint, taken: Container[str]) -> str | None:
    """Remove the server's counterpart of an unnamed constraint from a list, and return its name.

    Of two over the same columns either will do; a CHECK can only be found by its text.
    """
    kind = _kind(constraint)
    if kind == "c":
        return None
    columns = tuple(column.name for column in getattr(constraint, "columns", ()))
    matches = [each for each in unnamed if each.kind == kind and (kind != "u" or each.local_columns == columns)]
    matches.sort(key=lambda match: match.local_columns != columns)
    if not matches:
        return None
    unnamed.remove(matches[0])
    return matches[0].name if kind == "f" else _free_name(matches[0].name, taken)


def _free_name(name: str, taken: Container[str]) -> str:
    """Return a name that PostgreSQL has chosen, with a number where an index of another table has it."""
    free, numbers = name, count(1)
    while free in taken:
        free = f"{cut(name, LONGEST - 2)}{next(numbers)}"
    return free


def _use_column_names(copy: Table) -> None:
    """Name the columns in options and expressions by their names: a revision doesn't know their ``key=``.

    Alembic takes the keys into the options, and fails to copy two expressions over one column with a key.
    """
    names = {column.key: column.name for column in copy.columns}
    parts: list[Any] = [*copy.indexes, *copy.constraints]
    for part in parts:
        options = part.dialect_options["postgresql"]
        if options.get("include"):
            keys = [getattr(included, "key", included) for included in options["include"]]
            options["include"] = [str(names.get(key, key)) for key in keys]
    for index in copy.indexes:
        # the label of an expression may be the key of a column
        own = {each.key: str(each.name) for each in index.expressions if isinstance(each, Column)}
        options = index.dialect_options["postgresql"]
        if options["ops"]:
            options["ops"] = {own.get(key, key): operator_class for key, operator_class in options["ops"].items()}
        index.expressions = [
            each if isinstance(each, Column | str) else replacement_traverse(each, {}, _without_key)
            for each in index.expressions
        ]


def _without_key(element: Any, **_: object) -> Any:
    """Return a column for one of a table that has a key; None leaves anything else as it is."""
    has_key = isinstance(element, Column) and element.key != element.name
    return ColumnClause(element.name, element.type) if has_key else None


def _escape(copy: Table, dialect: Dialect) -> None:
    """Escape the colons of a table's conditions, which a revision passes to ``sqlalchemy.text``."""
    for constraint in copy.constraints:
        if isinstance(constraint, CheckConstraint):
            constraint.sqltext = _compiled(constraint.sqltext, dialect)
        elif isinstance(constraint, ExcludeConstraint) and constraint.where is not None:
            constraint.where = _compiled(constraint.where, dialect)
    for options in (index.dialect_options["postgresql"] for index in copy.indexes):
        if options["where"] is not None:
            options["where"] = _compiled(options["where"], dialect)
    for index in [each for each in copy.indexes if each.dialect_options["postgresql"]["concurrently"]]:
        index.dialect_options["postgresql"]["concurrently"] = False


def _compiled(expression: Any, dialect: Dialect) -> TextClause:
    if isinstance(expression, str):
        return _twice_escaped(expression)
    options = {"literal_binds": True, "include_table": False}
    return _twice_escaped(str(expression.compile(dialect=dialect, compile_kwargs=options)))


def _twice_escaped(sql: str) -> TextClause:
    """Return SQL that is still escaped after Alembic has rendered it, which removes one escape."""
    return text(escaped(escaped(sql)))


def _plain(column_type: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    """Return a type as PostgreSQL gets it, without the constraint that SQLAlchemy makes of it."""
    if isinstance(column_type, Interval) and column_type.native:
        return INTERVAL(precision=column_type.second_precision)  # Alembic renders sa.Interval() without it
    column_type = postgres_type(column_type, dialect)
    if isinstance(column_type, Boolean | Enum) and column_type.create_constraint:
        bare = copies.copy(column_type)  # its CHECK is created like every other, by name
        bare.create_constraint = False
        return bare
    return column_type


def widening(table: TableState, before: ColumnState, after: ColumnState) -> AlterColumnOp | None:
    """Return the operation that widens a column; None where its new type is no wider one, or a name needs quotes.

    A statement names the new type only; from the operation a reader, and ``db.plan``, see that no value is too long.
    """
    names = [name for name in (table.schema, table.name, before.name) if name is not None]
    old, new = _WIDENED.fullmatch(before.kind), _WIDENED.fullmatch(after.kind)
    if old is None or new is None or not _is_wider(old, new) or any(quoted(name) != name for name in names):
        return None
    existing, new_type = _sqlalchemy(old), _sqlalchemy(new)
    return AlterColumnOp(table.name, before.name, schema=table.schema, existing_type=existing, modify_type=new_type)


def _is_wider(old: re.Match[str], new: re.Match[str]) -> bool:
    if old[0] == new[0]:
        return False
    if old[1] in _WIDER and new[1] in _WIDER:
        return list(_WIDER).index(old[1]) < list(_WIDER).index(new[1])
    if (old[1] == "numeric") != (new[1] == "numeric") or {old[1], new[1]} & _WIDER.keys():
        return False
    if new[2] is None or old[2] is None:
        return new[2] is None
    digits, scale, new_digits, new_scale = (int(part or 0) for part in (old[2], old[3], new[2], new[3]))
    return scale <= new_scale and digits - scale <= new_digits - new_scale


def _sqlalchemy(match: re.Match[str]) -> Any:
    base, first, second = match.groups()
    if base in _WIDER:
        return _WIDER[base]()
    if base == "numeric":
        return Numeric(int(first), int(second)) if first else Numeric()
    return Text() if base == "text" else String(int(first) if first else None)
