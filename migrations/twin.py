"""A twin: the table that a model would make, made for a moment as a temporary one, and described by PostgreSQL.

What a model says and what the catalog says are never written alike: ``quantity > 0`` comes back as ``(quantity > 0)``,
``'new'`` as ``'new'::state``. So the server is asked to put the model into its own words, and only these are compared.
All of it is rolled back.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from sqlalchemy import Connection, Constraint, Enum, Index, MetaData, Table, text
from sqlalchemy.exc import DBAPIError, NoReferencedColumnError, NoReferencedTableError
from sqlalchemy.schema import CreateIndex, CreateTable, ForeignKeyConstraint
from sqlalchemy.types import ARRAY, TypeDecorator, TypeEngine

from migrations import shapes
from migrations.changes import quoted
from migrations.enums import EnumType, enum_of
from migrations.errors import ConfigurationError
from migrations.shapes import Shape, read
from migrations.sqlstate import said, sqlstate

__all__ = ["NoTwinError", "Surroundings", "twin"]

_DENIED = ("42501", "25006")
"""No privilege to make a temporary table; a transaction or a server that is read-only."""

_RULES = {"NO ACTION": "a", "RESTRICT": "r", "CASCADE": "c", "SET NULL": "n", "SET DEFAULT": "d"}
_MATCHES = {"FULL": "f", "PARTIAL": "p", "SIMPLE": "s"}


class NoTwinError(Exception):
    """A role may make no temporary table here."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a table is made in: the default schema, the search path, and the enum types that aren't as modelled."""

    default_schema: str | None
    search_path: str
    visible: frozenset[str]
    unlike: dict[tuple[str | None, str], EnumType]

    @classmethod
    def of(cls, connection: Connection, unlike: Iterable[EnumType]) -> "Surroundings":
        """Return those of a connection."""
        row = connection.execute(
            text("SELECT current_schema(), current_setting('search_path'), current_schemas(true)")
        ).one()
        return cls(row[0], row[1], frozenset(row[2]), {(one.schema, one.name): one for one in unlike})


def twin(connection: Connection, table: Table, around: Surroundings) -> Shape:
    """Return the shape that a model's table would have.

    Raises:
        ConfigurationError: the server can't make such a table.
        NoTwinError: this role may make no temporary table.

    """
    savepoint = connection.begin_nested()
    try:
        shape = _made(connection, table, around)
    except DBAPIError as error:
        if sqlstate(error) in _DENIED:
            raise NoTwinError from error
        raise ConfigurationError(
            f"the models' table {table.fullname} can't be made on this server: {said(error)}. "
            f"Correct the model; or, if it needs what isn't there yet, add that in a revision first (--empty)."
        ) from error
    finally:
        savepoint.rollback()
    comments = {column.name: column.comment or None for column in table.columns}
    return replace(
        shape,
        comment=table.comment or None,
        columns={name: replace(one, comment=comments[name]) for name, one in shape.columns.items()},
        constraints=shape.constraints | {one.name: one for one in _foreign_keys(connection, table, around)},
    )


def _made(connection: Connection, table: Table, around: Surroundings) -> Shape:
    _look_in(connection, f"pg_temp, {around.search_path}")
    copy = table.to_metadata(MetaData(naming_convention=table.metadata.naming_convention), schema=None)  # type: ignore[arg-type]
    _keep_names(table.indexes, copy.indexes)
    _keep_names(table.constraints, copy.constraints)
    for number, one in enumerate(sorted(copy.constraints, key=_said)):
        one._creation_order = number  # noqa: SLF001 - copies come in any order, and of equal ones the first is made
    types = _made_types(connection, table, copy, around)
    connection.execute(CreateTable(copy, include_foreign_key_constraints=[]))
    for index in sorted(copy.indexes, key=lambda one: str(one.name)):
        index.dialect_options["postgresql"]["concurrently"] = False
        connection.execute(CreateIndex(index))
    # a type of a temporary schema is said without it, as if it were one of the search path: by a name of nobody's
    aliases = {f"migrations_twin_type_{number}": kind for number, kind in enumerate(types)}
    for alias, kind in aliases.items():
        connection.exec_driver_sql(f"ALTER TYPE pg_temp.{quoted(kind.name)} RENAME TO {alias}")
    _look_in(connection, around.search_path)
    oid, own = connection.execute(
        text(
            "SELECT c.oid::bigint, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.oid = pg_my_temp_schema() AND c.relname = :name"
        ),
        {"name": table.name},
    ).one()

    def at_home(found: str) -> str:
        """Say ``billing.state`` or ``state`` instead of ``pg_temp_3.state``."""
        for alias, kind in reversed(aliases.items()):  # 10 before 1
            for word in (f"{own}.{alias}", f"pg_temp.{alias}", alias):  # the schema, and what it goes by in some places
                found = found.replace(word, _prefix(kind.schema, around) + json.dumps(quoted(kind.name))[1:-1])
        for temporary in (own, "pg_temp"):
            found = found.replace(f"{temporary}.", _prefix(table.schema, around))
        return found.replace(f'"schema" : "{own}"', f'"schema" : {json.dumps(table.schema)}')

    return read(connection, [oid], around.default_schema, at_home)[oid]


def _made_types(connection: Connection, table: Table, copy: Table, around: Surroundings) -> list[EnumType]:
    types: list[EnumType] = []
    for original, column in zip(table.columns, copy.columns, strict=True):
        if (enum := enum_of(original.type)) is None:
            continue
        unlike = around.unlike.get((None if enum.schema == around.default_schema else enum.schema, str(enum.name)))
        column.type = _placed(original.type, None if unlike else enum.schema)
        if unlike and unlike not in types:
            types.append(unlike)
            connection.exec_driver_sql(replace(unlike, schema="pg_temp").creation)
    return types


def _placed(kind: TypeEngine[Any], schema: str | None) -> TypeEngine[Any]:
    """Return a type with its enum in a schema; a copy, since a copied column has the array of the original one."""
    if isinstance(kind, TypeDecorator):
        return _placed(kind.impl_instance, schema)
    if isinstance(kind, ARRAY):
        return ARRAY(_placed(kind.item_type, schema), dimensions=kind.dimensions)
    if not isinstance(kind, Enum):
        return kind
    found: Enum = kind.copy()  # type: ignore[no-untyped-call]
    found.schema = schema
    return found


def _keep_names(originals: Iterable[Constraint | Index], copies: Iterable[Constraint | Index]) -> None:
    """Give what ``unique=True`` and ``index=True`` made its own name again: a convention may put the schema into it."""
    names = {one.name for one in originals}
    lost = [one for one in originals if one.name not in {copy.name for copy in copies}]
    for copy in [one for one in copies if one.name not in names]:
        for one in lost:
            if type(one) is type(copy) and _column_names(one) == _column_names(copy):
                copy.name = one.name


def _said(one: Constraint) -> tuple[str, str, list[str]]:
    return str(one.name), str(getattr(one, "sqltext", "")), _column_names(one)


def _column_names(part: Constraint | Index) -> list[str]:
    return [column.name for column in getattr(part, "columns", ())]


def _prefix(schema: str | None, around: Surroundings) -> str:
    return "" if schema is None or schema in around.visible else json.dumps(f"{quoted(schema)}.")[1:-1]


def _look_in(connection: Connection, path: str) -> None:
    connection.execute(text("SELECT set_config('search_path', :path, true)"), {"path": path})


def _foreign_keys(connection: Connection, table: Table, around: Surroundings) -> list[shapes.Constraint]:
    """Return a model's foreign keys as the catalog would list them; a temporary table can't have any."""
    found: list[shapes.Constraint] = []
    compiler = connection.dialect.ddl_compiler(connection.dialect, None)  # type: ignore[arg-type]
    for key in (one for one in table.constraints if isinstance(one, ForeignKeyConstraint)):
        sql = str(compiler.process(key))
        *path, remote = key.elements[0].target_fullname.split(".")[:-1]
        columns = []
        for element in key.elements:
            name = element.target_fullname.rpartition(".")[2]
            with suppress(NoReferencedTableError, NoReferencedColumnError):
                name = element.column.name
                path, remote = [element.column.table.schema or ""], element.column.table.name
            columns.append(name)
        schema = ".".join(path) or around.default_schema
        preparer = connection.dialect.identifier_preparer
        name = str(preparer.format_constraint(key)) if isinstance(key.name, str) else ""
        rules = "".join(
            [
                _RULES.get((key.onupdate or "NO ACTION").upper(), "?"),
                _RULES.get((key.ondelete or "NO ACTION").upper().partition(" (")[0], "?"),
                _MATCHES.get((key.match or "SIMPLE").upper(), "?"),
                "t" if key.deferrable or (key.initially or "").upper() == "DEFERRED" else "f",
                "t" if (key.initially or "").upper() == "DEFERRED" else "f",
                "f" if key.dialect_options["postgresql"].get("not_valid") else "t",
            ]
        )
        local = tuple(element.parent.name for element in key.elements)
        definition = sql[sql.index("FOREIGN KEY") :]
        plain = name[1:-1].replace('""', '"') if name.startswith('"') else name
        names = {one.name for one in found}
        if plain in names:
            raise ConfigurationError(
                f"the models' table {table.fullname} has two foreign keys named {plain}. Give one another name."
            )
        chosen, uses = plain or _chosen(f"{table.name}_{'_'.join(local)}", names), frozenset(local)
        place = (schema, remote, tuple(columns), local)
        found.append(shapes.Constraint(chosen, "f", definition, *place, rules, None, uses, frozenset()))
    return found


def _chosen(stem: str, taken: set[str]) -> str:
    """Return a name for a foreign key that has none, as PostgreSQL would but for where it cuts a long one."""
    stem = stem.encode()[:56].decode(errors="ignore")
    return next(name for name in (f"{stem}_fkey{number or ''}" for number in count()) if name not in taken)
