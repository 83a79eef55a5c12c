"""A twin: the table that a model would make, made for a moment as a temporary one, and described by PostgreSQL.

What a model says and what the catalog says are never written alike: ``quantity > 0`` comes back as ``(quantity > 0)``,
``'new'`` as ``'new'::state``. So the server is asked to put the model into its own words, and only these are compared.
All of it is rolled back.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import Connection, Table, text
from sqlalchemy.exc import DBAPIError

from service_migrations.autogenerate.enums import EnumType
from service_migrations.autogenerate.foreign_keys import foreign_keys_of
from service_migrations.autogenerate.temporary_table import Blueprint, Surroundings, block, blueprint, glance
from service_migrations.catalog.tables import TableState, read
from service_migrations.errors import ConfigurationError
from service_migrations.failures import describe, sqlstate
from service_migrations.sql.quoting import quoted

__all__ = ["NoTemporaryTablesError", "all_normalised", "normalised"]

_DENIED = ("42501", "25006")
"""No privilege to make a temporary table; a transaction or a server that is read-only."""

_AT_ONCE = 250
"""Relations that are there at the same time: each has a lock, and a server has room for 6400, for everybody."""

_MADE = text(
    "SELECT n.nspname, c.relname, c.oid::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.oid = pg_my_temp_schema() AND c.relname = ANY(:names)"
)


class NoTemporaryTablesError(Exception):
    """A role may make no temporary table here."""


def normalised(connection: Connection, table: Table, around: Surroundings) -> TableState:
    """Return the shape that a model's table would have.

    Raises:
        ConfigurationError: the server can't make such a table.
        NoTwinError: this role may make no temporary table.

    """
    try:
        shape = _made(connection, [blueprint(table, around, connection.dialect)], around)[0]
    except DBAPIError as error:
        if sqlstate(error) in _DENIED:
            raise NoTemporaryTablesError from error
        raise ConfigurationError(
            f"the models' table {table.fullname} can't be made on this server: {describe(error)}.",
            hint="Correct the model; or, if it needs what isn't there yet, add that in a revision first (--empty).",
        ) from error
    return _completed(connection, table, shape, around)


def all_normalised(
    connection: Connection, pairs: Sequence[tuple[Table, TableState]], around: Surroundings
) -> list[TableState]:
    """Return the shapes of many tables, of which several are made at a time, and none with more than it needs.

    A table that names something by text may find the twin of another there, and one that leaves a name to PostgreSQL
    may get another one. So what is found to be alike is alike; what seems to differ is to be asked of ``normalised``.

    Args:
        connection: to the database.
        pairs: each with what the database has.
        around: what they are made in.

    Raises:
        ConfigurationError, NoTwinError: as ``normalised``.

    """
    found: list[TableState] = []
    plans = ((table, glance(table, live, around, connection.dialect)) for table, live in pairs)
    for batch in _batches(plans):
        try:
            made = _made(connection, list(batch.values()), around)
        except DBAPIError:
            # whose error it is, is seen when each is made alone
            found += [normalised(connection, table, around) for table in batch]
        else:
            found += [_completed(connection, *pair, around) for pair in zip(batch, made, strict=True)]
    return found


def _batches(plans: Iterable[tuple[Table, Blueprint]]) -> Iterator[dict[Table, Blueprint]]:
    """Yield tables of one schema, for as many relations as there may be at once: in two, names may be the same."""
    batch: dict[Table, Blueprint] = {}
    for table, plan in plans:
        relations = plan.relations + sum(one.relations for one in batch.values())
        if batch and (relations > _AT_ONCE or table.schema != next(iter(batch)).schema):
            yield batch
            batch = {}
        batch[table] = plan
    if batch:
        yield batch


def _made(connection: Connection, plans: Sequence[Blueprint], around: Surroundings) -> list[TableState]:
    """Make tables of one schema in as few round trips as there may be, and return their shapes."""
    types = list(dict.fromkeys(kind for plan in plans for kind in plan.types))
    statements = [replace(kind, schema="pg_temp").creation for kind in types]
    statements += [statement for plan in plans for statement in plan.statements]
    # a type of a temporary schema is said without it, as if it were one of the search path: by a name of nobody's
    aliases = {f"migrations_twin_type_{number}": kind for number, kind in enumerate(types)}
    statements += [f"ALTER TYPE pg_temp.{quoted(kind.name)} RENAME TO {alias}" for alias, kind in aliases.items()]
    with _undone(connection):
        _look_in(connection, f"pg_temp, {around.search_path}")
        for statement in statements if len(plans) == 1 else [block(statements)]:
            connection.exec_driver_sql(statement)
        _look_in(connection, around.search_path)
        rows = connection.execute(_MADE, {"names": [plan.name for plan in plans]}).all()
        oids, rename = {name: oid for _, name, oid in rows}, _at_home(rows[0][0], plans[0].schema, aliases, around)
        found = read(connection, list(oids.values()), around.default_schema, rename)
    return [plan.completed(found[oids[plan.name]]) for plan in plans]


@contextmanager
def _undone(connection: Connection) -> Iterator[None]:
    """Roll back what is done inside; SQLAlchemy's own savepoints stay there until the end, each inside the last."""
    connection.exec_driver_sql("SAVEPOINT twin")
    try:
        yield
    finally:
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT twin")
        connection.exec_driver_sql("RELEASE SAVEPOINT twin")


def _at_home(own: str, schema: str | None, aliases: dict[str, EnumType], around: Surroundings) -> Callable[[str], str]:
    """Return what makes ``billing.state`` or ``state`` of ``pg_temp_3.state``; ``own`` is the temporary schema."""

    def rename(found: str) -> str:
        for alias, kind in reversed(aliases.items()):  # 10 before 1
            for word in (f"{own}.{alias}", f"pg_temp.{alias}", alias):  # the schema, and what it goes by in some places
                found = found.replace(word, _prefix(kind.schema, around) + json.dumps(quoted(kind.name))[1:-1])
        for temporary in (own, "pg_temp"):
            found = found.replace(f"{temporary}.", _prefix(schema, around))
        return found.replace(f'"schema" : "{own}"', f'"schema" : {json.dumps(schema)}')

    return rename


def _completed(connection: Connection, table: Table, shape: TableState, around: Surroundings) -> TableState:
    """Return a shape with what a temporary table can't have, or isn't given: foreign keys and comments."""
    keys = foreign_keys_of(table, connection.dialect, around.default_schema)
    comments = {column.name: column.comment or None for column in table.columns}  # of inherited ones it says nothing
    return replace(
        shape,
        comment=table.comment or None,
        columns={name: replace(one, comment=comments.get(name)) for name, one in shape.columns.items()},
        constraints=shape.constraints | {one.name: one for one in keys},
    )


def _prefix(schema: str | None, around: Surroundings) -> str:
    return "" if schema is None or schema in around.visible else json.dumps(f"{quoted(schema)}.")[1:-1]


def _look_in(connection: Connection, path: str) -> None:
    connection.execute(text("SELECT set_config('search_path', :path, true)"), {"path": path})
