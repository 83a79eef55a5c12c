"""The private names that the library uses of others: each does what it is used for, and stands in one file."""

import ast
import asyncio
import re
from argparse import Namespace
from collections.abc import Callable
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from alembic.config import CommandLine, Config
from alembic.ddl.postgresql import PostgresqlImpl
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import Script, ScriptDirectory
from alembic.util import PriorityDispatcher
from asyncpg.protocol.protocol import ConnectionSettings
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Enum,
    Index,
    Integer,
    MetaData,
    PickleType,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    column,
    literal,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import asyncpg, psycopg
from sqlalchemy.exc import ResourceClosedError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.schema import AddConstraint, CreateTable
from sqlalchemy.util import greenlet_spawn

from service_migrations import _alembic, _asyncpg, _dotenv, _sqlalchemy
from tests.support.monorepo import ROOT

PREPARER = asyncpg.dialect().identifier_preparer
LIBRARY = ROOT / "service_migrations"
ELSEWHERE = {
    "connection/connector.py": ["=._open", "=._open"],
    "drift/moves.py": ["key._replace", "used._replace"],
    "drift/dependencies.py": ["key._replace", "item.key._replace"],
    "history/sql/offline.py": ["sys._getframe"],
    "models/attachments.py": ["sys._getframe", "sys._getframe"],
    "ownership/claimants.py": ["name._replace"],
    "revision_call.py": ["os._exit"],  # a forked process
    "settings/sources.py": ["sources._without_bare"],
    "tasks/support/ending.py": ["os._exit", "os._exit"],
    "testing/keeper.py": ["os._exit"],
}
"""Of Python's own, and documented, or of another value of the same class."""


def table(*parts: object, **options: object) -> Table:
    return Table("t", MetaData(), Column("id", Integer), *parts, **options)


def constraints_keep_the_order_that_is_set() -> None:
    first, second = UniqueConstraint("id", name="first"), CheckConstraint("id > 0", name="second")
    assert _sqlalchemy.creation_order(first) < _sqlalchemy.creation_order(second)
    made = table(first, second)
    for number, each_service in enumerate((second, first)):
        _sqlalchemy.set_creation_order(each_service, number)
    sql = str(CreateTable(made))
    assert sql.index("second") < sql.index("first")


def the_constraint_of_a_type_is_known() -> None:
    brought = table(Column("flag", Boolean(create_constraint=True, name="flag"))).constraints
    assert [
        _sqlalchemy.is_of_a_type(constraint) for constraint in brought if isinstance(constraint, CheckConstraint)
    ] == [True]
    assert not _sqlalchemy.is_of_a_type(CheckConstraint("id > 0"))


def a_constraint_with_a_rule_is_known() -> None:
    check = CheckConstraint("id > 0", name="c")
    table(check)
    assert not _sqlalchemy.is_conditional(check)
    AddConstraint(check)  # from here on CREATE TABLE leaves it out
    assert _sqlalchemy.is_conditional(check)


def a_condition_is_known_and_copied() -> None:
    connection: Any = SimpleNamespace(dialect=asyncpg.dialect())
    for make in (lambda: Index("ix", "id"), lambda: CheckConstraint("id > 0", name="ck")):
        part, copy = make(), make()
        table(part), table(copy)
        part.ddl_if(dialect="sqlite")
        assert _sqlalchemy.is_created(copy, connection)
        _sqlalchemy.copy_condition(part, copy)
        assert not _sqlalchemy.is_created(copy, connection)
        copy.ddl_if(dialect="postgresql")
        assert _sqlalchemy.is_created(copy, connection)


def an_index_of_a_column_is_known() -> None:
    indexes = table(Column("a", Integer, index=True), Index("own", "id")).indexes
    assert {index.name: _sqlalchemy.is_of_a_column(index) for index in indexes} == {"ix_t_a": True, "own": False}


def prefixes_of_a_table_are_known() -> None:
    assert _sqlalchemy.has_prefixes(table(prefixes=["UNLOGGED"]))
    assert not _sqlalchemy.has_prefixes(table())
    assert [_sqlalchemy.is_temporary(table(prefixes=each)) for each in ([], ["UNLOGGED"], ["Local Temp"])] == [
        *(False, False, True)
    ]


def an_enum_is_copied_into_another_metadata() -> None:
    own, other = MetaData(), MetaData()
    enum = Enum("a", name="e", metadata=own)
    copy = _sqlalchemy.copy_enum(enum, other)
    assert (copy.name, copy.enums, copy.metadata) == ("e", ["a"], other)
    assert enum.metadata is own


def a_final_name_has_no_quotes() -> None:
    assert _sqlalchemy.final_name(PREPARER, "Needs quotes") == "Needs quotes"
    assert _sqlalchemy.generated_name(PREPARER, Index("Needs quotes", Column("a"))) == "Needs quotes"


def a_command_is_known_by_its_name() -> None:
    options = CommandLine().parser.parse_args(["upgrade", "head"])
    assert _alembic.command_name(options) == "upgrade"
    assert _alembic.command_name(Namespace()) is None


def offline_context(output: StringIO) -> MigrationContext:
    context = MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "output_buffer": output, "literal_binds": True}
    )
    assert type(context.impl) is PostgresqlImpl
    _alembic.write_statements(context, lambda statement, _, parameters: [f"{statement} {parameters or ''}"])
    return context


def what_is_written_offline_is_chosen() -> None:
    output = StringIO()
    offline_context(output).execute("SELECT 'a\tb' -- so")
    assert output.getvalue() == "SELECT 'a\tb' -- so\n;\n\n"


def an_execution_offline_has_its_parameters() -> None:
    output = StringIO()
    context = offline_context(output)
    context.connection.execute(text("SELECT :a"), {"a": 1})  # type: ignore[union-attr]
    context.impl.bulk_insert(table(), [{"id": 1}, {"id": 2}])
    expected = "SELECT :a {'a': 1};\n\nINSERT INTO t (id) VALUES (:id) [{'id': 1}, {'id': 2}];\n\n"
    assert output.getvalue() == expected


def an_inline_literal_is_known() -> None:
    operations = Operations(offline_context(StringIO()))
    assert _alembic.is_inline(operations.inline_literal(5))
    assert not _alembic.is_inline(bindparam("a", 5))


def the_type_of_a_parameter_has_no_decorators() -> None:
    assert _sqlalchemy.undecorated(PickleType(), asyncpg.dialect()).render_bind_cast


def the_variants_of_a_type_are_known() -> None:
    plain = Integer()
    varied = plain.with_variant(Boolean(), "postgresql")
    assert isinstance(_sqlalchemy.type_variants(varied)["postgresql"], Boolean)
    bare = _sqlalchemy.without_variants(varied)
    assert type(bare) is Integer
    assert not _sqlalchemy.type_variants(bare)
    assert _sqlalchemy.without_variants(plain) is plain


def parameters_of_a_whole_statement_are_known() -> None:
    statement = select(bindparam("a")).params(a=5)
    compiled = statement.compile(dialect=asyncpg.dialect())
    assert {**compiled.params, **_sqlalchemy.collected_parameters(compiled)}["a"] == 5


def the_line_of_a_setting_is_told() -> None:
    first, second = _dotenv.parse_stream(StringIO("A=1\nnonsense here = 'open"))
    assert (first.key, first.value, first.original.line, first.error) == ("A", "1", 1, False)
    assert second.error


def a_connection_that_never_reconnects_stays_closed() -> None:
    connection = Connection(create_async_engine("postgresql+asyncpg://u@h/d").sync_engine, connection=Lost())
    _sqlalchemy.never_reconnect(connection)
    connection.invalidate()
    with pytest.raises(ResourceClosedError):
        _ = connection.connection


class Lost:
    """What a connection of a pool has of use to a Connection that is invalidated."""

    is_valid = True

    def invalidate(self, _: object) -> None:
        pass


def execution_options_are_restored() -> None:
    connection = Connection(create_async_engine("postgresql+asyncpg://u@h/d").sync_engine, connection=Lost())
    before = connection.get_execution_options()
    connection.execution_options(yield_per=10)
    _sqlalchemy.restore_execution_options(connection, before)
    assert "yield_per" not in connection.get_execution_options()


def a_connection_is_taken_instead_of_made() -> None:
    given = SimpleNamespace()
    dbapi = create_async_engine("postgresql+asyncpg://u@h/d").dialect.loaded_dbapi
    another = SimpleNamespace()
    asked: list[dict[str, Any]] = []

    async def connect(**options: Any) -> Any:
        asked.append(options)
        return another

    options = _sqlalchemy.connect_arguments_for(given, connect)
    taken = [asyncio.run(greenlet_spawn(dbapi.connect, host="h", **options)) for _ in range(2)]
    assert [each.driver_connection for each in taken] == [given, another]
    assert asked == [{"host": "h"}]


def a_wrapped_revision_is_called_in_its_place() -> None:
    called = []
    revision = SimpleNamespace(module=SimpleNamespace(upgrade=lambda: called.append("revision")), revision="a1")
    step = RevisionStep(None, revision, True)  # type: ignore[arg-type]
    context = MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "fn": lambda *_: [step], "output_buffer": StringIO()}
    )
    _alembic.wrap_revisions(context, lambda _, step, __: lambda: called.extend(["before", step.migration_fn()]))
    (wrapped,) = context._migrations_fn((), context)  # type: ignore[misc]
    wrapped.migration_fn()
    assert called == ["revision", "before", None]
    assert step.migration_fn is revision.module.upgrade


def a_context_continues_in_another_transaction() -> None:
    context = MigrationContext.configure(dialect_name="postgresql")
    assert context._transaction is None
    transaction = object()
    _alembic.continue_in(context, transaction)  # type: ignore[arg-type]
    assert context._transaction is transaction


def the_folders_of_a_directory_are_known() -> None:
    directory = ScriptDirectory(str(ROOT / "migrations"), version_locations=["a", "b"])
    assert _alembic.version_locations(directory) == [Path("a").absolute(), Path("b").absolute()]
    directory.version_locations = ["c"]
    assert _alembic.version_locations(directory) == [Path("a").absolute(), Path("b").absolute()]


def a_module_that_answers_to_any_name_is_known() -> None:
    modules = ModuleType("plain", "Text."), ModuleType("any", "Text.")
    modules[0].__dict__["down_revision"] = None
    modules[1].__dict__["__getattr__"] = lambda _: None
    plain, unclear = (Script(module, "a1", "a1.py") for module in modules)
    assert not _alembic.answers_to_any_name(plain)
    assert plain.doc == "Text."
    assert _alembic.answers_to_any_name(unclear)
    with pytest.raises(AttributeError):
        assert unclear.doc


def a_registered_comparator_is_known() -> None:
    registered = PriorityDispatcher()
    assert not _alembic.has_comparators(registered, "table", "column")
    registered.dispatch_for("column", qualifier="postgresql")(print)
    assert _alembic.has_comparators(registered, "table", "column")
    assert not _alembic.has_comparators(registered, "table")


def the_codec_of_char_can_be_replaced() -> None:
    settings = ConnectionSettings(("127.0.0.1", 5432))
    _asyncpg.read_char_as_text(SimpleNamespace(_protocol=SimpleNamespace(get_settings=lambda: settings)))


def a_version_table_is_created_wider() -> None:
    output = StringIO()
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": output})
    _alembic.widen_version_table(context, 255)
    context._ensure_version_table()
    assert "version_num VARCHAR(255) NOT NULL" in output.getvalue()


USES: dict[str, tuple[Callable[[], None], ...]] = {
    "SQLAlchemy": (
        constraints_keep_the_order_that_is_set,
        the_constraint_of_a_type_is_known,
        a_constraint_with_a_rule_is_known,
        a_condition_is_known_and_copied,
        an_index_of_a_column_is_known,
        prefixes_of_a_table_are_known,
        an_enum_is_copied_into_another_metadata,
        a_final_name_has_no_quotes,
        a_connection_that_never_reconnects_stays_closed,
        execution_options_are_restored,
        a_connection_is_taken_instead_of_made,
        the_type_of_a_parameter_has_no_decorators,
        the_variants_of_a_type_are_known,
        parameters_of_a_whole_statement_are_known,
    ),
    "alembic": (
        a_command_is_known_by_its_name,
        what_is_written_offline_is_chosen,
        an_execution_offline_has_its_parameters,
        an_inline_literal_is_known,
        a_wrapped_revision_is_called_in_its_place,
        a_context_continues_in_another_transaction,
        the_folders_of_a_directory_are_known,
        a_version_table_is_created_wider,
        a_registered_comparator_is_known,
        a_module_that_answers_to_any_name_is_known,
    ),
    "asyncpg": (the_codec_of_char_can_be_replaced,),
    "python-dotenv": (the_line_of_a_setting_is_told,),
}


@pytest.mark.parametrize(
    ("dependency", "use"),
    [(dependency, use) for dependency, uses in USES.items() for use in uses],
    ids=[use.__name__ for uses in USES.values() for use in uses],
)
def test_a_private_name_still_does_what_it_is_used_for(dependency: str, use: Callable[[], None]) -> None:
    try:
        use()
    except Exception as error:  # noqa: BLE001 - whatever goes wrong, the version is the news
        pytest.fail(f"{dependency} {version(dependency)}: {use.__name__}: {type(error).__name__}: {error}")


def foreign_private_names(path: Path) -> list[str]:
    """Return the private names that a file takes of others: not of ``self``, and not those that it defines."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    own.add("_fields")  # documented, of the nodes of ast
    found = []
    for node in nodes:
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "super()"):
            found += [f"{ast.unparse(node.value)}.{node.attr}"] if node.attr not in own else []
        elif isinstance(node, ast.ImportFrom) and not str(node.module).startswith("service_migrations"):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.keyword) and node.arg:
            found.append(f"=.{node.arg}")
    return [name for name in found if re.match(r"_[a-z]", name.rpartition(".")[2])]


def test_a_blank_revision_is_written_without_the_files_of_the_others(tmp_path: Path) -> None:
    versions = tmp_path / "versions"
    versions.mkdir()
    (versions / "broken.py").write_text("no Python", encoding="utf-8")
    (tmp_path / "script.py.mako").write_text('revision = "${up_revision}"\ndown_revision = ${repr(down_revision)}\n')
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    script = _alembic.write_empty(config, "a1", message="x", rev_id="b2", version_path=str(versions))
    assert script
    assert (script.revision, script.down_revision, script.is_head) == ("b2", "a1", True)
    assert Path(script.path).read_text(encoding="utf-8") == "revision = \"b2\"\ndown_revision = 'a1'\n"


def test_a_table_that_was_read_before_is_what_alembic_would_read(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text('[tool.alembic]\nscript_location = "%(here)s/m"\n', encoding="utf-8")
    read, given = Config(toml_file=file), Config(toml_file=file)
    assert read.get_alembic_option("script_location") == f"{tmp_path}/m"
    file.write_text("no TOML", encoding="utf-8")
    _alembic.give_toml_table(given, {"script_location": "%(here)s/m"})
    assert given.get_alembic_option("script_location") == f"{tmp_path}/m"
    assert given.toml_args == read.toml_args


def test_no_other_file_takes_a_private_name() -> None:
    own = {LIBRARY / f"{name}.py" for name in ("_alembic", "_asyncpg", "_sqlalchemy", "_dotenv")}
    found = {
        path.relative_to(LIBRARY).as_posix(): names
        for path in LIBRARY.rglob("*.py")
        if path not in own and (names := foreign_private_names(path))
    }
    assert found == ELSEWHERE


def test_each_file_names_the_version_that_it_was_checked_on() -> None:
    for name in ("_alembic", "_asyncpg", "_sqlalchemy", "_dotenv"):
        text = (LIBRARY / f"{name}.py").read_text(encoding="utf-8")
        assert re.search(r"checked on \d+\.\d+\.\d+", text.partition("\n")[0]), name


def test_a_dialect_writes_percent_signs_as_they_are() -> None:
    dialect = psycopg.dialect()
    doubled = str(literal("5%").compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    plain = _sqlalchemy.verbatim_dialect(dialect)
    written = [
        str(literal("5%").compile(dialect=plain, compile_kwargs={"literal_binds": True})),
        plain.identifier_preparer.quote("5%"),
        plain.type_compiler_instance.process(String(collation="5%")),
        str((column("a") % 2).compile(dialect=plain, compile_kwargs={"literal_binds": True})),
    ]
    assert doubled == "'5%%'"
    assert written == ["'5%'", '"5%"', 'VARCHAR COLLATE "5%"', "a % 2"]
    assert _sqlalchemy.verbatim_dialect(PREPARER.dialect) is PREPARER.dialect
