"""The statements of a service's models, tried on a database in an interpreter of the models' own.

This file is run by that interpreter, which may have other versions of all packages, and not this library. It reads one
line of JSON with the place of the models and the server. Then there is an answer, a line of JSON, to each line with a
command and a database: ``record`` remembers which statements the database takes, ``repeat`` tells which of those it
doesn't take any more, ``keep`` leaves rows behind.
"""

import asyncio
import importlib
import importlib.util
import inspect
import json
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
else:
    # these folders leave the path before the models are imported, which may have modules of the same names
    sys.path.insert(1, str(Path(__file__).parents[1] / "sql"))
    import rows

    del sys.path[:2], sys.modules["rows"], sys.modules["patterns"]

Function = Callable[[sa.Connection], object]
Step = tuple[str, str, str, Callable[[], object]]
"""A name, the keys of a table and a column, and what is done."""

_TRIES = 200
"""How many rows are tried until the checks of a table hold."""
_CHECK_VIOLATION = "23514"
_CONSTRAINED = """
    SELECT attname FROM pg_attribute JOIN (
        SELECT conrelid, conkey FROM pg_constraint WHERE conname = :constraint
        UNION
        SELECT indrelid, indkey::int2[] FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE relname = :constraint
    ) AS constrained (relation, columns) ON attrelid = relation AND attnum = ANY (columns)
    WHERE relation = to_regclass(:table) ORDER BY attnum
"""
"""The columns of a constraint, or of a unique index."""


class FailedError(Exception):
    """A statement failed."""

    def __init__(self, table: str, column: str, statement: str, error: Exception) -> None:
        """Take what was tried, and the driver's error."""
        super().__init__(str(error))
        server: Any = getattr(error, "orig", None) or error
        server = server.__cause__ or server
        shown = getattr(server, "diag", server)
        said = getattr(shown, "message_primary", None) or getattr(server, "message", None) or server
        self.table = table
        self.constraint = getattr(shown, "constraint_name", None)
        self.sqlstate = getattr(server, "sqlstate", None) or ""
        self.why = " ".join(str(said).split())
        self.described = {
            "table": table,
            "column": getattr(shown, "column_name", None) or column,
            "statement": " ".join(statement.split()),
            "sqlstate": self.sqlstate,
            "why": self.why,
        }


class Probe:
    """What the models do, tried on a connection and rolled back."""

    connection: sa.Connection

    def __init__(self, tables: dict[str, sa.Table], kinds: dict[Any, list[Any]], hooks: dict[str, Function]) -> None:
        """Take the tables, the values of the columns that tell classes apart, and the team's own tries."""
        self._rows, self._hooks = rows.Rows(tables, kinds), hooks
        self._known: set[tuple[str, str, str]] = set()

    def record(self) -> dict[str, Any]:
        """Remember what the database takes, and tell why no row could be made, by table."""
        unfillable: dict[str, str] = {}
        for table in self._written():
            self._choose(table)
        for name, table_key, column, step in self._steps():
            try:
                failed = self._attempt(step)
            except rows.UnfillableError as error:
                unfillable[table_key] = str(error)
                continue
            if failed is None:
                self._known.add((name, table_key, column))
            elif name in ("insert", "insert all", "hook"):
                unfillable.setdefault(failed.table or column, f"{failed.why} [{failed.sqlstate}]")
        return {"steps": len(self._known), "unfillable": unfillable}

    def repeat(self) -> dict[str, Any]:
        """Tell what the database doesn't take any more."""
        failures = []
        for name, table_key, column, step in self._steps():
            if (name, table_key, column) in self._known:
                with suppress(rows.UnfillableError):
                    failed = self._attempt(step)
                    if failed is not None:
                        failed.described["column"] = failed.described["column"] or self._columns_of(failed)
                        failures.append({"action": name.split()[0], **failed.described})
        return {"failures": failures}

    def keep(self) -> dict[str, Any]:
        """Leave rows in each table, two of them alike, as the running code has left its own."""
        for table in self._written():
            for only_needed in (True, False, False):
                savepoint = self.connection.begin_nested()
                try:
                    self._rows.insert(self._run, table, only_needed=only_needed)
                except (FailedError, rows.UnfillableError):
                    savepoint.rollback()
                else:
                    savepoint.commit()
        self.connection.commit()
        return {}

    def _written(self) -> list[sa.Table]:
        return [table for table in self._rows.tables.values() if not table.info.get("is_view")]

    def _steps(self) -> Iterator[Step]:
        for table in self._rows.tables.values():
            yield "read", table.key, "", partial(self._run, sa.select(*table.columns).limit(1), table)
        for table in self._written():
            yield "insert", table.key, "", partial(self._insert, table, only_needed=True)
            yield "insert all", table.key, "", partial(self._insert, table)
            yield "insert twice", table.key, "", partial(self._insert_twice, table)
            for column in table.columns:
                if rows.is_written(column) and not column.foreign_keys:
                    yield from self._steps_of(table, column)
            yield "delete", table.key, "", partial(self._delete, table)
        for name, function in self._hooks.items():
            yield "hook", "", name, partial(self._call, name, function)

    def _steps_of(self, table: sa.Table, column: "sa.Column[Any]") -> Iterator[Step]:
        for number in range(len(self._rows.candidates(column))):
            yield f"insert {number}", table.key, column.name, partial(self._insert_other, table, column, number)
        if not column.primary_key:
            yield "change", table.key, column.name, partial(self._change, table, column)
        if column.nullable:
            yield "empty", table.key, column.name, partial(self._change, table, column, None)

    def _insert(self, table: sa.Table, **options: Any) -> dict[str, Any]:
        return self._rows.insert(self._run, table, **options)

    def _insert_twice(self, table: sa.Table) -> None:
        self._insert(table)
        self._insert(table)

    def _insert_other(self, table: sa.Table, column: "sa.Column[Any]", number: int) -> None:
        try:
            self._insert(table, given={column.name: self._rows.candidates(column)[number]})
        except FailedError as failed:
            failed.described["column"] = failed.described["column"] or column.name
            raise

    def _change(self, table: sa.Table, column: "sa.Column[Any]", *values: Any) -> None:
        row = self._insert(table)
        for value in values or self._rows.candidates(column)[-1:]:
            change = sa.update(table).where(_is_row(table, row)).values({column.name: value})
            self._run(change, table, column.name)

    def _delete(self, table: sa.Table) -> None:
        self._run(sa.delete(table).where(_is_row(table, self._insert(table))), table)

    def _call(self, name: str, function: Function) -> None:
        try:
            function(self.connection)
        except Exception as error:
            raise FailedError("", name, f"{name}()", error) from error

    def _run(self, statement: Any, table: sa.Table, column: str = "") -> "sa.CursorResult[Any]":
        try:
            return self.connection.execute(statement)
        except sa.exc.StatementError as error:
            raise FailedError(table.key, column, str(error.statement or statement), error) from None

    def _attempt(self, step: Callable[[], object]) -> FailedError | None:
        """Return why a step fails; nothing of it stays."""
        savepoint = self.connection.begin_nested()
        try:
            step()
        except FailedError as failed:
            return failed
        finally:
            with suppress(sa.exc.SQLAlchemyError):
                savepoint.rollback()
        return None

    def _columns_of(self, failed: FailedError) -> str:
        """Return the columns of the constraint or the index that a row violates."""
        names = {"constraint": failed.constraint, "table": failed.table}
        return ", ".join(self.connection.scalars(sa.text(_CONSTRAINED), names)) if failed.constraint else ""

    def _choose(self, table: sa.Table) -> None:
        """Choose the values of a plain row so that the checks of the table hold together."""
        chosen = self._rows.chosen.setdefault(table.key, {})
        for _ in range(_TRIES):
            try:
                failed = self._attempt(lambda: self._insert(table))
            except rows.UnfillableError:
                return
            if failed is None or failed.sqlstate != _CHECK_VIOLATION or failed.table != table.key:
                return
            for column in _columns_of_check(table, failed.why):  # counts up, digit by digit
                chosen[column.name] = chosen.get(column.name, 0) + 1
                if chosen[column.name] < len(self._rows.candidates(column)):
                    break
                chosen[column.name] = 0
            else:
                return


def _is_row(table: sa.Table, row: dict[str, Any]) -> "sa.ColumnElement[bool]":
    keys = [column for column in table.primary_key.columns if column.name in row] or list(table.columns)
    return sa.and_(*(column == row[column.name] for column in keys))


def _columns_of_check(table: sa.Table, message: str) -> "list[sa.Column[Any]]":
    columns = [column for column in table.columns if rows.is_written(column) and not column.foreign_keys]
    checks = [
        each for each in table.constraints if isinstance(each, sa.CheckConstraint) and f'"{each.name}"' in message
    ]
    text = " ".join(str(check.sqltext) for check in checks)
    return [column for column in columns if rows.is_named_in(column, text)] or columns


def find_tables(module: Any) -> tuple[dict[str, sa.Table], dict[Any, list[Any]]]:
    """Return the tables that a module exports by key, and the values of the columns that tell classes apart."""
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
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), f"{request['models']}."):
        importlib.import_module(found.name)
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
    answers, sys.stdout = sys.stdout, sys.stderr  # models may print

    def send(reply: dict[str, Any]) -> None:
        answers.write(f"{json.dumps(reply)}\n")
        answers.flush()

    request = json.loads(sys.stdin.readline())
    try:
        probe = load(request)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever models raise
        send({"error": " ".join(f"{type(error).__name__}: {error}".split())})
        return
    send({})
    for line in sys.stdin:
        command, database = json.loads(line)

        def work(connection: sa.Connection, command: str = command) -> Any:
            probe.connection = connection
            return getattr(probe, command)()

        send(asyncio.run(answer({**request["url"], "database": database}, work)))


if __name__ == "__main__":
    main()
