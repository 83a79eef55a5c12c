"""Keys of the models that the server can't make; it is asked with temporary tables.

A temporary table can't refer to a permanent one, so a table alone doesn't show that the columns that a key refers to
aren't unique, or have types that can't be compared. Nor does it show what a partitioned table refuses, where only the
database partitions it.
"""

import json
from collections.abc import Collection, Iterable, Iterator

from sqlalchemy.exc import DBAPIError

from service_migrations.autogenerate.comparison import Comparison, Key
from service_migrations.catalog.search_path import set_path
from service_migrations.catalog.tables import ColumnState, Constraint, Index, TableState
from service_migrations.errors import ConfigurationError, MigrationError
from service_migrations.failures.driver_errors import describe, is_of_the_session
from service_migrations.models.metadata import place_of_table
from service_migrations.sql.quoting import VERBATIM, quoted

__all__ = ["impossible", "is_valid_reference", "refused_by_partitions"]

_RULES = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
_MATCHES = {"f": "FULL", "p": "PARTIAL", "s": "SIMPLE"}
_LETTERS = 5
"""The letters of a key's rules; what follows are the columns of SET NULL or SET DEFAULT."""

_INDEX = "USING "
"""The beginning of an index among keys."""

_NEAR = "migrations_near"
_NOT_VALID_OF_PARTITIONS_SINCE = (18,)
"""The first version that adds a NOT VALID foreign key to a partitioned table; in CREATE TABLE it means nothing."""


def impossible(comparison: Comparison, service: str | None) -> dict[Key, MigrationError]:
    """Return the tables of the models with a foreign key that the server can't make, each with the error.

    Only keys that are new or change, or between columns that do, are tried, and of several alike that can be made one.
    """
    errors: dict[Key, MigrationError] = {}
    possible: set[tuple[object, ...]] = set()
    for key, near in comparison.targets.items():
        for constraint in near.constraints.values():
            remote = comparison.key(constraint.foreign_schema, constraint.foreign_table or "")
            if constraint.kind != "f" or _is_there(comparison, key, remote, constraint):
                continue
            far = comparison.targets.get(remote) or comparison.existing_table(remote)
            if far is None:  # such as a view
                continue
            keys = [*_keys(far), *_kept(comparison, remote)]
            shape = _shape(near, far, constraint, keys)
            if shape in possible:
                continue
            reason = _refusal(comparison, near, far, constraint, keys)
            if reason is None:
                possible.add(shape)
            else:
                errors[key] = ConfigurationError(
                    f"the foreign key {quoted(constraint.name)} of the models' table {quoted(*key)} can't be made on "
                    f"this server: {reason}.",
                    service=service,
                    path=place_of_table(comparison.models[key]),
                    hint="Correct the model.",
                )
    return errors


def refused_by_partitions(comparison: Comparison, key: Key, parts: Iterable[Constraint | Index]) -> str | None:
    """Return why the server doesn't make one of the new parts of a partitioned table; None where it makes all.

    It can't be asked of a type that the revision creates.
    """
    live, target, connection = comparison.live[key], comparison.targets[key], comparison.connection
    columns = [_column(target if name in target.columns else live, name) for name in {**live.columns, **target.columns}]
    temporary = f"pg_temp.{quoted(live.name)}"
    savepoint = connection.begin_nested()
    try:
        set_path(connection, f"pg_temp, {comparison.surroundings.search_path}")
        whole = f"CREATE TEMPORARY TABLE {quoted(live.name)} ({', '.join(columns)}) PARTITION BY {live.partition_key}"
        if _error(comparison, whole):
            return None
        for part in parts:
            if isinstance(part, Constraint):
                statement = f"ALTER TABLE {temporary} ADD CONSTRAINT {quoted(part.name)} {part.definition}"
            else:
                create, _, rest = part.definition.partition(f" ON {target.sql} ")
                statement = f"{create} ON {temporary} {rest}"
            if reason := _error(comparison, statement):
                return reason
    finally:
        savepoint.rollback()
    return None


def is_valid_reference(comparison: Comparison, near: str, far: str) -> bool:
    """Whether PostgreSQL accepts a foreign key from a column of one type to a column of another."""
    savepoint = comparison.connection.begin_nested()
    try:
        set_path(comparison.connection, comparison.surroundings.search_path)
        statements = (
            f"CREATE TEMPORARY TABLE far (key {far} UNIQUE)",
            f"CREATE TEMPORARY TABLE near (key {near} REFERENCES pg_temp.far (key))",
        )
        return not any(_error(comparison, statement) for statement in statements)
    finally:
        savepoint.rollback()


def _error(comparison: Comparison, statement: str) -> str | None:
    """Run a statement, and return what the server says against it."""
    try:
        comparison.connection.exec_driver_sql(statement, execution_options=VERBATIM)
    except DBAPIError as error:
        if is_of_the_session(error):
            raise
        return describe(error)
    return None


def _is_there(comparison: Comparison, key: Key, remote: Key, constraint: Constraint) -> bool:
    """Whether the database has the key already, and what it is between stays as it is."""
    live, target = comparison.live.get(key), comparison.targets[key]
    if live is None or _described(constraint) not in map(_described, live.constraints.values()):
        return False
    far, live_far = comparison.targets.get(remote), comparison.live.get(remote)
    pairs = [(live, target, constraint.local_columns), (live_far, far, constraint.foreign_columns)]
    return all(
        before is None
        or after is None
        or ([_column(before, name) for name in names] == [_column(after, name) for name in names])
        for before, after, names in pairs
    ) and (far is None or live_far is None or (_keys(far) == _keys(live_far) and far.unlogged == live_far.unlogged))


def _described(constraint: Constraint) -> tuple[object, ...]:
    return (
        *(constraint.kind, constraint.foreign_schema, constraint.foreign_table),
        *(constraint.foreign_columns, constraint.local_columns, constraint.rules),
    )


def _shape(near: TableState, far: TableState, constraint: Constraint, keys: list[str]) -> tuple[object, ...]:
    """Return what decides whether a key can be made, without the names of tables."""
    names = (constraint.local_columns, constraint.foreign_columns)
    near_columns = [_column(near, name) for name in names[0]]
    far_columns = [_column(far, name) for name in names[1]]
    return (
        *(str(near_columns), str(far_columns), names[1], tuple(keys), constraint.rules),
        *(near is far and names[0], near.unlogged, far.unlogged, names[0] if constraint.rules[_LETTERS:] else None),
        constraint.valid or near.partition_key is None,
    )


def _refusal(
    comparison: Comparison, near: TableState, far: TableState, constraint: Constraint, keys: list[str]
) -> str | None:
    """Return why the server doesn't make a key; None where it does, or can't be asked."""
    version = comparison.connection.dialect.server_version_info or ()
    is_old = near.partition_key is not None and not constraint.valid and version < _NOT_VALID_OF_PARTITIONS_SINCE
    if is_old and comparison.key(near.schema, near.name) in comparison.live:
        return "before PostgreSQL 18, the key of a partitioned table can't be NOT VALID"
    if far.unlogged and not near.unlogged:
        return f"{far.sql} is UNLOGGED, and {near.sql} isn't"
    connection, is_one = comparison.connection, near is far
    near_name = near.name if is_one or near.name != far.name else _NEAR
    far_names = [*constraint.foreign_columns, *(name for part in _parts(far) for name in sorted(part.uses))]
    far_names = [name for name in far.columns if name in far_names]
    names = [*constraint.local_columns, *far_names] if is_one else far_names
    creations = list(_creations(far, far.name, names, keys))
    if not is_one:
        creations += _creations(near, near_name, constraint.local_columns, ())
    savepoint = connection.begin_nested()
    try:
        set_path(connection, f"pg_temp, {comparison.surroundings.search_path}")
        if any(_error(comparison, statement) for statement in creations):
            return None  # such as a type that a change before this one creates
        return _error(
            comparison,
            f"ALTER TABLE pg_temp.{quoted(near_name)} ADD CONSTRAINT {quoted(constraint.name)} FOREIGN KEY "
            f"({_listed(constraint.local_columns)}) REFERENCES pg_temp.{quoted(far.name)} "
            f"({_listed(constraint.foreign_columns)}) {_rules(constraint.rules)}",
        )
    finally:
        savepoint.rollback()


def _creations(table: TableState, name: str, columns: Iterable[str], keys: Collection[str]) -> Iterator[str]:
    clauses = [_column(table, column) for column in dict.fromkeys(columns)]
    clauses += [key for key in keys if not key.startswith(_INDEX)]
    yield f"CREATE TEMPORARY TABLE {quoted(name)} ({', '.join(filter(None, clauses))})"
    for key in keys:
        if key.startswith(_INDEX):
            yield f"CREATE UNIQUE INDEX ON pg_temp.{quoted(name)} {key}"


def _column(table: TableState, name: str) -> str:
    """Return a column with its type, and that it is generated, which a rule may forbid."""
    column: ColumnState | None = table.columns.get(name)
    if column is None:
        return ""
    clause = f"{quoted(name)} {column.kind}"
    if not column.generated:
        return clause
    stored = "STORED" if column.generated == "s" else "VIRTUAL"
    return f"{clause} GENERATED ALWAYS AS (CAST(NULL AS {column.type})) {stored}"


def _parts(table: TableState) -> list[Constraint | Index]:
    """Return what a foreign key can lead to."""
    return [
        *(constraint for constraint in table.constraints.values() if constraint.kind in ("p", "u")),
        *(
            index
            for index in table.indexes.values()
            if index.valid and index.plain and index.definition.startswith("CREATE UNIQUE INDEX ")
        ),
    ]


def _keys(table: TableState) -> list[str]:
    """Return what a foreign key can lead to: a clause of CREATE TABLE, or what follows the table in CREATE INDEX."""
    return sorted(
        part.definition if isinstance(part, Constraint) else _INDEX + part.definition.partition(f" {_INDEX}")[2]
        for part in _parts(table)
    )


def _kept(comparison: Comparison, key: Key) -> list[str]:
    """Return those keys of a table of the database that hooks leave out, so that they are neither dropped nor made."""
    whole, compared = comparison.existing_table(key), comparison.live.get(key)
    if whole is None or compared is None:
        return []
    return [definition for definition in _keys(whole) if definition not in _keys(compared)]


def _rules(letters: str) -> str:
    on_update, on_delete, match, deferrable, deferred = tuple(letters[:_LETTERS])
    columns = json.loads(letters[_LETTERS:] or "[]")
    return " ".join(
        [
            f"MATCH {_MATCHES.get(match, 'SIMPLE')}",
            f"ON UPDATE {_RULES.get(on_update, 'NO ACTION')}",
            f"ON DELETE {_RULES.get(on_delete, 'NO ACTION')}",
            f"({_listed(columns)})" if columns else "",
            "DEFERRABLE" if deferrable == "t" else "",
            "INITIALLY DEFERRED" if deferred == "t" else "",
        ]
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(quoted, names))
