"""The statements of a service's models, tried on a database in an interpreter of the models' own.

This file is run by that interpreter, which may have other versions of all packages, and not this library. It reads one
line of JSON with the place of the models and the server. Then there is an answer, a line of JSON, to each line with a
command and a database: ``record`` remembers which statements the database takes, ``repeat`` returns those that it no
longer takes, ``keep`` leaves rows behind.
"""

import asyncio
import importlib
import importlib.util
import inspect
import json
import os
import pkgutil
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

if TYPE_CHECKING or __package__:
    from service_migrations.compat import rows
    from service_migrations.compat.fitting import fit
    from service_migrations.compat.statements import FailedError, Statements, is_row
else:
    # these folders leave the path before the models are imported, which may have modules of the same names
    sys.path.insert(1, str(Path(__file__).parents[1] / "sql"))
    import rows
    from fitting import fit
    from statements import FailedError, Statements, is_row

    del sys.path[:2]
    for name in ("rows", "patterns", "statements", "fitting"):
        del sys.modules[name]

Function = Callable[[sa.Connection], object]
Step = tuple[str, str, str, Callable[[], object]]
"""A name, the keys of a table and a column, and what is done."""

_SHOWN = 60
"""How many characters of a value are shown."""


class Probe:
    """What the models do, tried on a connection and rolled back."""

    def __init__(self, tables: dict[str, sa.Table], kinds: dict[Any, list[Any]], hooks: dict[str, Function]) -> None:
        """Take the tables, the values of the discriminator columns, and the team's own tries."""
        self._rows, self._hooks, self._statements = rows.Rows(tables, kinds), hooks, Statements()
        self._known: set[tuple[str, str, str]] = set()
        self._types: dict[tuple[str, str], Any] = {}
        self._is_recorded = False

    def use(self, connection: sa.Connection) -> None:
        """Take the connection on which the next things are tried."""
        self._statements.connection = connection

    def record(self) -> dict[str, Any]:
        """Remember what the database takes; return why no row could be made, by table."""
        unfillable: dict[str, str] = {}
        self._is_recorded = False
        for table in self._written():
            unfillable |= fit(self._statements, self._rows, table)
            self._types |= {(table.key, column.name): self._statements.type_of(column) for column in table.columns}
        for name, table_key, column, step in self._steps():
            try:
                failed = self._statements.attempt(step)
            except rows.UnfillableError as error:
                unfillable[table_key] = str(error)
                continue
            if failed is None:
                self._known.add((name, table_key, column))
            elif name in ("insert", "insert all", "hook"):
                unfillable.setdefault(failed.table or column, f"{failed.why} [{failed.sqlstate}]")
        self._is_recorded = True
        return {"steps": len(self._known), "unfillable": unfillable}

    def repeat(self) -> dict[str, Any]:
        """Return what the database no longer takes."""
        failures = []
        for name, table_key, column, step in self._steps():
            if (name, table_key, column) in self._known:
                with suppress(rows.UnfillableError):
                    failed = self._statements.attempt(step)
                    if failed is not None:
                        failed.described["column"] = failed.described["column"] or self._statements.columns_of(failed)
                        failures.append({"action": name.split()[0], **failed.described})
        return {"failures": failures}

    def keep(self) -> dict[str, Any]:
        """Leave rows in each table, two of them alike, as the running code has left its own."""
        for table in self._written():
            for only_needed in (True, False, False):
                savepoint = self._statements.connection.begin_nested()
                try:
                    self._rows.insert(self._statements.run, table, only_needed=only_needed)
                    self._statements.check_deferred()
                except (FailedError, rows.UnfillableError):
                    savepoint.rollback()
                else:
                    savepoint.commit()
        self._statements.connection.commit()
        return {}

    def _written(self) -> list[sa.Table]:
        return [table for table in self._rows.tables.values() if not table.info.get("is_view")]

    def _steps(self) -> Iterator[Step]:
        for table in self._rows.tables.values():
            yield "read", table.key, "", partial(self._statements.run, sa.select(*table.columns).limit(1), table)
        for table in self._written():
            yield "insert", table.key, "", partial(self._insert, table, only_needed=True)
            yield "insert all", table.key, "", partial(self._insert, table)
            yield "insert twice", table.key, "", partial(self._insert_twice, table)
            if rows.known_keys(table):
                yield "insert siblings", table.key, "", partial(self._insert_siblings, table)
            for column in table.columns:
                if rows.is_written(column) and not column.foreign_keys:
                    yield from self._steps_of(table, column)
            yield "delete", table.key, "", partial(self._delete, table)
            for key in rows.known_keys(table):
                if all(rows.is_written(column) for column in key.columns):
                    columns = ", ".join(sorted(key.column_keys))
                    yield "delete parent", table.key, columns, partial(self._delete_parent, table, key)
                    if key.onupdate:
                        yield "change parent", table.key, columns, partial(self._change_parent, table, key)
        for name, function in self._hooks.items():
            yield "hook", "", name, partial(self._call, name, function)

    def _steps_of(self, table: sa.Table, column: "sa.Column[Any]") -> Iterator[Step]:
        for number in range(len(self._rows.candidates(column))):
            yield f"insert {number}", table.key, column.name, partial(self._insert_other, table, column, number)
            yield f"keep {number}", table.key, column.name, partial(self._read_back, table, column, number)
        yield "find", table.key, column.name, partial(self._find, table, column)
        if not column.primary_key:
            yield "change", table.key, column.name, partial(self._change, table, column)
        if column.nullable:
            yield "empty", table.key, column.name, partial(self._change, table, column, None)

    def _insert(self, table: sa.Table, **options: Any) -> dict[str, Any]:
        return self._rows.insert(self._statements.run, table, **options)

    def _insert_twice(self, table: sa.Table) -> None:
        self._insert(table)
        self._insert(table)

    def _insert_siblings(self, table: sa.Table) -> None:
        """Insert two rows with the same parents."""
        parents: dict[str, Any] = {}
        for key in rows.known_keys(table):
            if key.referred_table is not table and all(rows.is_written(column) for column in key.columns):
                parents |= self._parent(key)[1]
        self._insert(table, given=parents)
        self._insert(table, given=parents)

    def _parent(self, key: sa.ForeignKeyConstraint) -> tuple[dict[str, Any], dict[str, Any]]:
        """Insert a row that a foreign key refers to, and return it with the values of the key's columns."""
        parent = self._insert(key.referred_table)
        return parent, {element.parent.name: parent[element.column.name] for element in key.elements}

    def _delete_parent(self, table: sa.Table, key: sa.ForeignKeyConstraint) -> None:
        """Delete a row that others refer to: what the database does with these is a part of the foreign key."""
        parent, given = self._parent(key)
        self._insert(table, given=given)
        self._statements.run_on_row(sa.delete(key.referred_table), key.referred_table, parent)

    def _change_parent(self, table: sa.Table, key: sa.ForeignKeyConstraint) -> None:
        parent, given = self._parent(key)
        self._insert(table, given=given)
        referred = key.elements[0].column
        values = {referred: self._rows.candidates(referred)[0]}
        self._statements.run_on_row(
            sa.update(key.referred_table).values(values), key.referred_table, parent, referred.name
        )

    def _insert_other(self, table: sa.Table, column: "sa.Column[Any]", number: int) -> tuple[dict[str, Any], Any]:
        """Insert a row with one of the values of a column, and return both."""
        value = self._rows.candidates(column)[number]
        try:
            return self._insert(table, given={column.name: value}), value
        except FailedError as failed:
            failed.described["column"] = failed.described["column"] or column.name
            raise

    def _change(self, table: sa.Table, column: "sa.Column[Any]", *values: Any) -> None:
        row = self._insert(table)
        for value in values or self._rows.candidates(column)[-1:]:
            self._statements.run_on_row(sa.update(table).values({column: value}), table, row, column.name)

    def _delete(self, table: sa.Table) -> None:
        self._statements.run_on_row(sa.delete(table), table, self._insert(table))

    def _read_back(self, table: sa.Table, column: "sa.Column[Any]", number: int) -> None:
        """Read a value that was written: another type of the column may take it and round it, or return another one.

        Raises:
            FailedError: it is another one, and so is the column's type; a trigger may set a column.

        """
        row, value = self._insert_other(table, column, number)
        query = sa.select(column).where(is_row(table, row))
        rows = self._statements.run(query, table, column.name)
        if isinstance(value, sa.ClauseElement) or [row[column] for row in rows] == [value]:
            return
        former = self._types.get((table.key, column.name))
        if not self._is_recorded or self._statements.type_of(column) != former:
            read = _shown(rows[0][column]) if rows else "no row"
            why = f"{column.name} was written as {_shown(value)} and is read as {read}"
            raise FailedError(table.key, column.name, str(query), ValueError(why))

    def _find(self, table: sa.Table, column: "sa.Column[Any]") -> None:
        """Find rows by a value: another type of the column may take it, and have no comparison with it."""
        for value in self._rows.candidates(column)[:1]:
            self._statements.run(sa.select(column).where(column == value).limit(1), table, column.name)

    def _call(self, name: str, function: Function) -> None:
        try:
            function(self._statements.connection)
        except Exception as error:
            raise FailedError("", name, f"{name}()", error) from error


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def find_tables(module: Any) -> tuple[dict[str, sa.Table], dict[Any, list[Any]]]:
    """Return the tables that a module exports by key, and the values of the discriminator columns."""
    tables: dict[str, sa.Table] = {}
    kinds: dict[Any, list[Any]] = {}
    names = getattr(module, "__all__", None) or [name for name in vars(module) if name[0] != "_"]
    for exported in (getattr(module, name, None) for name in names):
        mapper = sa.inspect(exported, raiseerr=False) if inspect.isclass(exported) else None
        metadata = exported if isinstance(exported, sa.MetaData) else getattr(exported, "metadata", None)
        if isinstance(exported, sa.Table):
            tables[exported.key] = exported
        elif isinstance(mapper, sa.orm.Mapper):
            tables |= {table.key: table for table in mapper.tables if isinstance(table, sa.Table)}
        elif isinstance(metadata, sa.MetaData):
            tables |= metadata.tables
        for each in getattr(getattr(exported, "registry", None), "mappers", ()):
            if each.polymorphic_on is not None and each.polymorphic_identity is not None:
                known = kinds.setdefault(each.polymorphic_on, [])
                known += [] if each.polymorphic_identity in known else [each.polymorphic_identity]
    return tables, kinds


def load(request: dict[str, Any]) -> Probe:
    """Import the driver, the models, and the team's own tries: the functions of a file, which get a connection."""
    driver()
    sys.path[:0] = request["folders"]
    module = importlib.import_module(request["models"])
    for info in pkgutil.walk_packages(getattr(module, "__path__", []), f"{request['models']}."):
        importlib.import_module(info.name)
    hooks: dict[str, Function] = {}
    if request["hooks"]:
        own = runpy.run_path(request["hooks"], run_name="own_tries")
        functions = {name: each for name, each in own.items() if name[0] != "_" and inspect.isfunction(each)}
        hooks = {name: each for name, each in functions.items() if each.__module__ == "own_tries"}
    return Probe(*find_tables(module), hooks)


def driver() -> str:
    """Return the driver that this interpreter has.

    Raises:
        ImportError: it has none.

    """
    names = [name for name in ("asyncpg", "psycopg") if importlib.util.find_spec(name)]
    if not names:
        raise ImportError("there is neither asyncpg nor psycopg")
    return names[0]


async def answer(url: dict[str, Any], work: Callable[[sa.Connection], Any]) -> Any:
    """Run a function on a connection of the driver that this interpreter has."""
    engine = create_async_engine(sa.URL.create(f"postgresql+{driver()}", **url), poolclass=sa.pool.NullPool)
    async with engine.connect() as connection:
        return await connection.run_sync(work)


def main() -> None:
    """Answer one request after the other."""
    # models may print, and so may a program that they start, which may also read
    requests, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    null_device = os.open(os.devnull, os.O_RDWR)
    os.dup2(null_device, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # nobody reads stderr
        os.dup2(null_device, 1)
    os.close(null_device)
    sys.stdout = sys.stderr

    def send(reply: dict[str, Any]) -> None:
        answers.write(f"{json.dumps(reply)}\n")
        answers.flush()

    request = json.loads(requests.readline())
    try:
        probe = load(request)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever models raise
        send({"error": " ".join(f"{type(error).__name__}: {error}".split())})
        return
    send({})
    for line in requests:
        command, database = json.loads(line)

        def work(connection: sa.Connection, command: str = command) -> Any:
            probe.use(connection)
            return getattr(probe, command)()

        try:
            send(asyncio.run(answer({**request["url"], "database": database}, work)))
        except Exception as error:  # noqa: BLE001 - whatever types and defaults of models raise
            send({"error": " ".join(f"{type(error).__name__}: {error}".split())})


if __name__ == "__main__":
    main()
