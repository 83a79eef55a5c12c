"""The tables of models in PostgreSQL's notation: each is created as a temporary table, read and rolled back.

A model and the catalog never have the same text: the server returns ``quantity > 0`` as ``(quantity > 0)``, and
``'new'`` as ``'new'::state``. So the server normalises the model first, and only its own texts are compared.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import CheckConstraint, Connection, Dialect, Table, text
from sqlalchemy.exc import DBAPIError

from service_migrations._sqlalchemy import final_name, is_unlogged, verbatim_dialect
from service_migrations.autogenerate.enum_types import EnumType
from service_migrations.autogenerate.foreign_keys import foreign_keys_of
from service_migrations.autogenerate.temporary_table import (
    Surroundings,
    TemporaryTable,
    do_block,
    full_table,
    reduced_table,
)
from service_migrations.catalog.search_path import OWN_PATH, set_path
from service_migrations.catalog.tables import NOT_VALID, Constraint, TableState, read
from service_migrations.errors import AccessDeniedError, ConfigurationError, MigrationError
from service_migrations.failures.driver_errors import describe, is_of_the_session, sqlstate
from service_migrations.models.tables.inheritance import parents_of
from service_migrations.sql.quoting import VERBATIM, quoted

__all__ = ["NoTemporaryTablesError", "all_normalised", "normalised"]

_DENIED, _READ_ONLY = "42501", "25006"
"""A missing privilege, of which only that to create temporary tables is the role's; a read-only server."""

_MAY_CREATE = text("SELECT has_database_privilege(current_database(), 'TEMPORARY')")

_NO_UNLOGGED_WHOLES_SINCE = (18,)
"""The first version that refuses an unlogged partitioned table; before, that meant nothing."""

_AT_ONCE = 250
"""The number of relations that exist at the same time: each needs one of the 6400 locks that all sessions share."""

_TEMPORARY_TABLES = text(
    "SELECT n.nspname, c.relname, c.oid::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.oid = pg_my_temp_schema() AND c.relname = ANY(CAST(CAST(:names AS text[]) AS name[]))"
)


class NoTemporaryTablesError(Exception):
    """No temporary table can be created: the role may not, or the database is read-only for it.

    Attributes:
        kind: the class of the error, where a comparison can't do without them.
        reason: a clause that says why.
        hint: what gives it back.

    """

    def __init__(self, *, is_read_only: bool) -> None:
        """Describe the error."""
        self.kind: type[MigrationError]
        if is_read_only:
            self.kind, self.reason = ConfigurationError, "the database is read-only here"
            self.hint = "Name the primary, or take back what makes it read-only: `inv db.doctor` says what does."
        else:
            self.kind, self.reason = AccessDeniedError, "this role may not create temporary tables"
            self.hint = "The owner of the database can run: GRANT TEMPORARY ON DATABASE … TO …;"
        super().__init__(self.reason)


def normalised(
    connection: Connection,
    table: Table,
    surroundings: Surroundings,
    live: TableState | None = None,
    parents: Iterable[Table] = (),
) -> TableState:
    """Return a model's table as the server describes it.

    Args:
        connection: to the database.
        table: the table.
        surroundings: of the table.
        live: the table of the database, where it has it.
        parents: those that the table inherits from and the database lacks, each after its own.

    Raises:
        ConfigurationError: the server can't create such a table.
        AccessDeniedError: this role may not use what the table needs.
        NoTemporaryTablesError: no temporary table can be created.

    """
    try:
        dialect = verbatim_dialect(connection.dialect)
        temporary = [full_table(parent, surroundings, dialect) for parent in parents]
        temporary.append(full_table(table, surroundings, dialect, live))
        state = _create_and_read(connection, temporary, surroundings)[-1]
    except DBAPIError as error:
        if is_of_the_session(error):
            raise
        code = sqlstate(error)
        if code == _READ_ONLY or (code == _DENIED and not connection.scalar(_MAY_CREATE)):
            raise NoTemporaryTablesError(is_read_only=code == _READ_ONLY) from error
        message = f"the models' table {table.fullname} can't be created on this server: {describe(error)}."
        if code == _DENIED:
            raise AccessDeniedError(message, hint="Grant it to this role, or run as the owner.") from error
        hint = "Correct the model; or, if it needs a missing object, create that in a revision first (--empty)."
        if parents_of(table):
            hint = (
                "If it inherits a column that changes, upgrade its parent, and write the next revision. Otherwise: "
                + hint
            )
        raise ConfigurationError(message, hint=hint) from error
    return _completed(connection, table, state, surroundings)


def all_normalised(
    connection: Connection, pairs: Sequence[tuple[Table, TableState]], surroundings: Surroundings
) -> list[TableState]:
    """Return many models' tables as the server describes them.

    Several are created at a time, and without the parts that are certainly equal. A table whose SQL names another one
    may find the temporary table of that, and a name that PostgreSQL chooses may differ. So a table that is equal to the
    database's is equal; one that seems to differ has to be checked with ``normalised``.

    Args:
        connection: to the database.
        pairs: each with the table of the database.
        surroundings: of the tables.

    Raises:
        ConfigurationError, NoTemporaryTablesError: as ``normalised``.

    """
    states: list[TableState] = []
    live = dict(pairs)
    reduced = (
        (table, reduced_table(table, state, surroundings, verbatim_dialect(connection.dialect)))
        for table, state in pairs
    )
    for batch in _batches(reduced):
        try:
            created = _create_and_read(connection, list(batch.values()), surroundings)
        except DBAPIError as error:
            if is_of_the_session(error):
                raise
            # alone, the table that fails is known
            states += [normalised(connection, table, surroundings, live[table]) for table in batch]
        else:
            states += [_completed(connection, *pair, surroundings) for pair in zip(batch, created, strict=True)]
    return states


def _batches(tables: Iterable[tuple[Table, TemporaryTable]]) -> Iterator[dict[Table, TemporaryTable]]:
    """Yield batches of tables of one schema, within the limit of relations.

    In two schemas, tables may have the same name.
    """
    batch: dict[Table, TemporaryTable] = {}
    for table, temporary in tables:
        relations = temporary.relations + sum(each.relations for each in batch.values())
        if batch and (relations > _AT_ONCE or table.schema != next(iter(batch)).schema):
            yield batch
            batch = {}
        batch[table] = temporary
    if batch:
        yield batch


def _create_and_read(
    connection: Connection, tables: Sequence[TemporaryTable], surroundings: Surroundings
) -> list[TableState]:
    """Create temporary tables for one schema in few round trips, and return their states."""
    types = list(dict.fromkeys(named for table in tables for named in table.types))
    statements = [replace(enum_type, schema="pg_temp", name=name).creation for enum_type, name in types]
    statements += [statement for table in tables for statement in table.statements]
    # a type of the temporary schema is deparsed without its schema: a unique name tells it from the search path's
    aliases = {surroundings.aliases[enum_type]: enum_type for enum_type, _ in types}
    statements += [
        f"ALTER TYPE pg_temp.{quoted(name)} RENAME TO {surroundings.aliases[enum_type]}"
        for enum_type, name in types
        if name != surroundings.aliases[enum_type]
    ]
    with _rolled_back(connection):
        set_path(connection, f"pg_temp, {surroundings.search_path}")
        for statement in statements if len(tables) == 1 else [do_block(statements)]:
            connection.exec_driver_sql(statement, execution_options=VERBATIM)
        set_path(connection, OWN_PATH)
        rows = connection.execute(_TEMPORARY_TABLES, {"names": [table.name for table in tables]}).all()
        oids = {name: oid for _, name, oid in rows}
        rename = _renaming(rows[0][0], tables[-1].schema, aliases, surroundings)
        # where pg_temp isn't named it is the first, and a temporary table would hide a type of its name
        path = ", ".join(filter(None, (surroundings.search_path, "pg_temp")))
        states = read(connection, list(oids.values()), surroundings.default_schema, path, rename, restores=False)
    return [table.completed(states[oids[table.name]]) for table in tables]


@contextmanager
def _rolled_back(connection: Connection) -> Iterator[None]:
    """Roll back to a savepoint at the end; SQLAlchemy's savepoints would nest until the transaction ends."""
    connection.exec_driver_sql("SAVEPOINT normalise")
    try:
        yield
    finally:
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT normalise")
        connection.exec_driver_sql("RELEASE SAVEPOINT normalise")


def _renaming(
    temporary_schema: str, schema: str | None, aliases: dict[str, EnumType], surroundings: Surroundings
) -> Callable[[str], str]:
    """Return a function that replaces names of temporary tables and types: ``pg_temp_3.state`` by ``billing.state``."""

    def rename(row: str) -> str:
        for alias, enum_type in aliases.items():
            name = _prefix(enum_type.schema, surroundings) + json.dumps(quoted(enum_type.name))[1:-1]
            for temporary_name in (f"{temporary_schema}.{alias}", f"pg_temp.{alias}", alias):  # all three occur
                row = row.replace(temporary_name, name)
        for temporary in (temporary_schema, "pg_temp"):
            row = row.replace(f"{temporary}.", _prefix(schema, surroundings))
        return row.replace(f'"schema" : "{temporary_schema}"', f'"schema" : {json.dumps(schema)}')

    return rename


def _completed(connection: Connection, table: Table, state: TableState, surroundings: Surroundings) -> TableState:
    """Return a state with what the temporary table of a model lacks: foreign keys, comments, NOT VALID, UNLOGGED.

    Raises:
        ConfigurationError: it is UNLOGGED and partitioned, which a temporary table never is.

    """
    dialect = verbatim_dialect(connection.dialect)
    if is_unlogged(table) and state.partition_key and (dialect.server_version_info or ()) >= _NO_UNLOGGED_WHOLES_SINCE:
        raise ConfigurationError(
            f"the models' table {table.fullname} can't be created on this server: it is partitioned and UNLOGGED.",
            hint="Only its partitions can be UNLOGGED.",
        )
    keys = foreign_keys_of(table, dialect, surroundings.default_schema)
    keys += _unvalidated_checks(table, dialect, state)
    comments = {column.name: column.comment or None for column in table.columns}  # without inherited columns
    return replace(
        state,
        comment=table.comment or None,
        unlogged=is_unlogged(table),
        columns={name: replace(column, comment=comments.get(name)) for name, column in state.columns.items()},
        constraints=state.constraints | {key.name: key for key in keys},
    )


def _unvalidated_checks(table: Table, dialect: Dialect, state: TableState) -> Iterator[Constraint]:
    """Yield the CHECKs of a model that are NOT VALID: those of a new table are valid at once."""
    for check in (each for each in table.constraints if isinstance(each, CheckConstraint)):
        if not check.dialect_options["postgresql"].get("not_valid") or not isinstance(check.name, str):
            continue
        name = final_name(dialect.identifier_preparer, check.name)
        if name in state.constraints:
            constraint = state.constraints[name]
            yield replace(constraint, definition=f"{constraint.definition}{NOT_VALID}", valid=False)


def _prefix(schema: str | None, surroundings: Surroundings) -> str:
    return "" if schema is None or schema in surroundings.visible else json.dumps(f"{quoted(schema)}.")[1:-1]
