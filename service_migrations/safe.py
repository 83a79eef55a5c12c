"""Operations for revisions, beside Alembic's own: ``from service_migrations.safe import …``.

Each works online and in offline mode, except where its docstring says otherwise.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from alembic import op
from sqlalchemy import Column, Connection, Index, MetaData, Table, TextClause, text

from service_migrations.errors import MigrationError
from service_migrations.settings.duration import milliseconds, seconds

__all__ = ["concurrent_index", "drop_concurrent_index", "timeouts"]

_STATE = text(
    """
    SELECT i.indisvalid AND i.indisready, substring(pg_get_indexdef(i.indexrelid) FROM ' USING .*'), i.indisunique
    FROM pg_index i WHERE i.indexrelid = to_regclass(:name)
    """
)


@contextmanager
def timeouts(*, lock: str | None = None, statement: str | None = None) -> Iterator[None]:
    """Give the statements of a revision other timeouts, until the block or the transaction ends.

    Args:
        lock: how long one statement may wait for a lock, such as ``"500ms"``; ``"0"`` is refused, since every
            later query would queue behind a wait without end.
        statement: how long one statement may run, such as ``"10m"``; ``"0"`` is without limit.

    Raises:
        ConfigurationError: one of them is no duration.

    """
    values = {}
    if lock is not None:
        values["lock_timeout"] = milliseconds(seconds(lock, "timeouts(lock=…)", zero=False))
    if statement is not None:
        values["statement_timeout"] = milliseconds(seconds(statement, "timeouts(statement=…)"))
    with _changed("SET LOCAL", values):
        yield


def concurrent_index(
    name: str,
    table: str,
    columns: Sequence[str | TextClause],
    *,
    schema: str | None = None,
    unique: bool = False,
    **options: Any,
) -> None:
    """Build an index while the table is read and written, and make sure that it is valid.

    It has to be alone in its revision: what the revision did before is committed when it starts. An interrupted
    build leaves an INVALID index of that name, which is dropped first; a valid one that is the same index, left by
    a run that was cut between the build and the version table, is kept.

    Args:
        name: the index's name.
        table: its table.
        columns: names, or expressions as ``sqlalchemy.text``.
        schema: the table's schema.
        unique: whether it is unique.
        options: ``postgresql_using``, ``postgresql_where`` and so on, as of ``op.create_index``.

    Raises:
        MigrationError: a valid index of that name is another one, or the one that was built is not valid.

    """
    context = op.get_context()
    with context.autocommit_block(), _without_timeouts():
        if context.as_sql:
            op.drop_index(name, table, schema=schema, postgresql_concurrently=True, if_exists=True)
        else:
            connection: Connection = op.get_bind()
            found = _state(connection, name, schema)
            if found and found[0]:
                if found[1:] == _wanted(connection, table, columns, schema, unique, options):
                    return
                raise MigrationError(
                    f"The index {name} exists, is valid, and is another one.", hint="Rename one of them."
                )
            if found:
                op.drop_index(name, table, schema=schema, postgresql_concurrently=True)
        op.create_index(
            name, table, list(columns), schema=schema, unique=unique, postgresql_concurrently=True, **options
        )
        if not context.as_sql and not (_state(op.get_bind(), name, schema) or (False,))[0]:
            raise MigrationError(f"The index {name} was built, and is INVALID.", hint="Run the upgrade again.")


def drop_concurrent_index(name: str, table: str, *, schema: str | None = None) -> None:
    """Drop an index while the table is read and written; one that is gone already is no error."""
    with op.get_context().autocommit_block(), _without_timeouts():
        op.drop_index(name, table, schema=schema, postgresql_concurrently=True, if_exists=True)


@contextmanager
def _without_timeouts() -> Iterator[None]:
    """Let a concurrent build wait for old transactions: it blocks nobody, and a timeout would leave it INVALID."""
    with _changed("SET", {"lock_timeout": 0, "statement_timeout": 0}):
        yield


@contextmanager
def _changed(command: str, values: dict[str, int]) -> Iterator[None]:
    """Set parameters, in milliseconds, and put back what they were.

    A RESET would lead to the startup parameter of the connection, which isn't ours behind a pooler or over an engine of
    the caller's. In offline mode, where nobody can look, it is the best there is.
    """
    before = {}
    for name, value in values.items():
        if not op.get_context().as_sql:
            before[name] = op.get_bind().scalar(text(f"SHOW {name}"))
        op.execute(f"{command} {name} = {value}")
    yield
    for name in values:
        op.execute(f"{command} {name} = '{before[name]}'" if name in before else f"RESET {name}")


def _state(connection: Connection, name: str, schema: str | None) -> tuple[Any, ...] | None:
    quote = connection.dialect.identifier_preparer.quote
    qualified = f"{quote(schema)}.{quote(name)}" if schema else quote(name)
    row = connection.execute(_STATE, {"name": qualified}).first()
    return tuple(row) if row else None


def _wanted(
    connection: Connection,
    table: str,
    columns: Sequence[str | TextClause],
    schema: str | None,
    unique: bool,
    options: dict[str, Any],
) -> tuple[Any, ...]:
    """Return what the server would say of the wanted index, from one on an empty copy of the table."""
    quote = connection.dialect.identifier_preparer.quote
    source = f"{quote(schema)}.{quote(table)}" if schema else quote(table)
    connection.execute(text(f"CREATE TEMP TABLE wanted_index (LIKE {source} INCLUDING GENERATED)"))
    try:
        index = Index("wanted_index_key", *columns, unique=unique, **options)
        names: list[Column[Any]] = [Column(column) for column in columns if isinstance(column, str)]
        Table("wanted_index", MetaData(), *names, index)
        index.create(connection)
        row = connection.execute(_STATE, {"name": "pg_temp.wanted_index_key"}).one()
        return tuple(row)[1:]
    finally:
        connection.execute(text("DROP TABLE wanted_index"))
