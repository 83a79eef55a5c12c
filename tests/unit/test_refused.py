"""What asyncpg refuses is found in a revision's file, and nothing else is."""

from textwrap import dedent, indent

import pytest

from service_migrations.history.sql import refused as module
from service_migrations.history.sql.refused import refused
from service_migrations.sql.asyncpg_refusals import _TYPES, SETTING, advice, refusal
from tests.support.monorepo import Monorepo

REFUSED = {
    "two_commands": ('op.execute("SELECT 1; SELECT 2")', "this text has 2"),
    "of_text": ('op.execute(sa.text("SELECT 1; SELECT 2; SELECT 3"))', "this text has 3"),
    "of_the_driver": ('bind.exec_driver_sql("SELECT 1; SELECT 2")', "this text has 2"),
    "of_a_name": ('SQL = "SELECT 1; SELECT 2"\nop.execute(SQL)', "this text has 2"),
    "bodies": ('op.execute("DO $$ BEGIN NULL; END $$; DO $a$ BEGIN NULL; END $a$")', "this text has 2"),
    "placeholder": ('cursor.execute("SELECT %s", (0,))', "asyncpg knows no %s"),
    "named_placeholder": ('bind.exec_driver_sql("SELECT %(n)s", {"n": 1})', "asyncpg knows no %(n)s"),
    "in": ('bind.execute(sa.text("DELETE FROM t WHERE id IN :ids"), {"ids": (1,)})', "no list for IN :ids"),
    "untyped": ("bind.execute(sa.text(\"SELECT json_build_object('k', :p)\"), {'p': 1})", "the type of :p"),
    "a_default": ('bind.execute(sa.text("ALTER TABLE t ALTER n SET DEFAULT :x"), {"x": 1})', "no parameter in ALTER"),
    "a_default_with_a_type": ('op.execute(sa.text("ALTER TABLE t ADD CHECK (n > :x)").bindparams(x=1))', "such as :x"),
    "a_comment": ('bind.execute(sa.text("COMMENT ON TABLE t IS :x"), {"x": "a"})', "no parameter in COMMENT"),
    "a_view": ('bind.execute(sa.text("CREATE VIEW v AS SELECT :x AS n"), {"x": 1})', "no parameter in CREATE"),
    "a_body": ('bind.execute(sa.text("DO $$ BEGIN PERFORM :x; END $$"), {"x": 1})', "no parameter in DO"),
    "a_date": (
        'op.execute(sa.text("UPDATE t SET d = DATE :x").bindparams(x="2024-01-01"))',
        "no parameter behind DATE",
    ),
    "concat": ("bind.execute(sa.text(\"SELECT concat(:p, 'x')\"), {'p': 1})", "the type of :p in concat()"),
    "format": ("bind.execute(sa.text(\"SELECT format('%s', :p)\"), {'p': 1})", "the type of :p in format()"),
    "to_jsonb": ('bind.execute(sa.text("SELECT to_jsonb(:p)"), {"p": 1})', "the type of :p in to_jsonb()"),
    **{f"text_of_{name}": (f'bind.{name}("SELECT 1; SELECT 2")', "this text has 2") for name in module._EXECUTES},
    **{f"psycopg2s_{name}": (f"cursor.{name}(file)", f"have no {name}()") for name in module._OF_PSYCOPG2},
    "copy": ('bind.connection.cursor().copy_expert("COPY t FROM STDIN", file)', "have no copy_expert()"),
}
TAKEN = (
    'op.execute("SELECT 1;")',
    "op.execute(\"SELECT ';'; -- the end; so\")",
    'op.execute("DO $$ BEGIN NULL; NULL; END $$")',
    'op.execute("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END")',
    "op.execute(\"SELECT '50%s'\")",
    'bind.execute(sa.text("DELETE FROM t WHERE id IN :ids").bindparams(sa.bindparam("ids", expanding=True)))',
    'bind.execute(sa.text("SELECT json_build_object(\'k\', CAST(:p AS text))"), {"p": 1})',
    "op.execute(sa.text(\"SELECT json_build_object('k', :p)\").bindparams(p='v'))",
    "q = sa.text(\"SELECT json_build_object('k', :p)\")\nop.execute(q.bindparams(sa.bindparam('p', 'v', sa.Text)))",
    "bind.execute(sa.text(\"UPDATE t SET s = :p, j = json_build_object('k', :p)\"), {'p': 'v'})",
    'bind.execute(sa.text("CREATE TABLE u AS SELECT CAST(:p AS text)"), {"p": "v"})',
    "bind.execute(sa.text(\"SELECT format(:p, 'x'), concat_ws(:q, 'x')\"), {'p': 'v', 'q': 'w'})",
    "bind.execute(sa.text('SELECT now() AT TIME ZONE :p'), {'p': 'UTC'})",
    'op.execute("ALTER TABLE t ALTER n SET DEFAULT CAST(1 AS numeric)::integer")',
    "op.execute(r\"COMMENT ON TABLE t IS 'a \\:b at 12:30'\")",
    "cursor.execute(\"COMMENT ON TABLE t IS ' :b'\")",
    "bind.exec_driver_sql(\"COMMENT ON TABLE t IS ' :b'\")",
    'op.execute(f"SELECT {x}; SELECT 2")',
    'print("SELECT 1; SELECT 2")',
    "op.execute()",
    "op.execute(SQL)",
    "copy_from(file)",
    "op.execute(b'SELECT 1; SELECT 2')",
    'if op.get_context().as_sql:\n    SQL = "SELECT 1"\nelse:\n    SQL = "SELECT 1; SELECT 2"\nop.execute(SQL)',
    'SQL = "SELECT 1; SELECT 2"\nSQL = build(SQL)\nop.execute(SQL)',
    'SQL = OTHER = "SELECT 1; SELECT 2"\nop.execute(SQL)',
    'SQL = build()\nif SQL:\n    SQL = "SELECT 1; SELECT 2"\nop.execute(SQL)',
)


@pytest.mark.parametrize("name", REFUSED)
def test_what_asyncpg_refuses_is_found_with_its_line(name: str, monorepo: Monorepo) -> None:
    body, reason = REFUSED[name]
    path = monorepo.revision("billing", "r001", None, body, "op.execute('SELECT 1; SELECT 2')")
    service = monorepo.service("billing")
    ((line, message),) = refused(service, service.relative(path))
    assert path.read_text(encoding="utf-8").splitlines()[line - 1].strip() == body.splitlines()[-1]
    assert reason in message
    assert 'set driver = "psycopg"' in message


@pytest.mark.parametrize("body", TAKEN)
def test_what_asyncpg_takes_is_not_found(body: str, monorepo: Monorepo) -> None:
    path = monorepo.revision("billing", "r001", None, body)
    service = monorepo.service("billing")
    assert list(refused(service, service.relative(path))) == []


@pytest.mark.parametrize("down", [False, True])
def test_only_what_runs_is_looked_at(monorepo: Monorepo, down: bool) -> None:
    path = monorepo.revision("billing", "r001", None, "op.execute('SELECT 1; SELECT 2')", "op.execute('SELECT 1')")
    service = monorepo.service("billing")
    assert len(list(refused(service, service.relative(path), down=down))) == (0 if down else 1)


def test_each_line_is_named_once_in_their_order(monorepo: Monorepo) -> None:
    body = "def later():\n    op.execute('SELECT 1; SELECT 2')\nop.execute(sa.text('SELECT 3; SELECT 4'))\nlater()"
    path = monorepo.revision("billing", "r001", None, body)
    service = monorepo.service("billing")
    lines = [line for line, _ in refused(service, service.relative(path))]
    assert len(lines) == 2
    assert lines == sorted(lines)


TWO = 'op.execute("SELECT 1; SELECT 2")'
ELSEWHERE = {
    "a_branch": 'if bind.dialect.name == "mysql":\n    TWO',
    "of_several": 'if bind.dialect.name in ("mysql", "mssql"):\n    TWO',
    "not_this_one": 'if op.get_bind().engine.name != "postgresql":\n    TWO',
    "an_else": 'if "postgresql" == bind.dialect.name:\n    pass\nelse:\n    TWO',
    "an_elif": 'if bind.dialect.name == "postgresql":\n    pass\nelif flag:\n    TWO',
    "behind_a_return": 'if bind.dialect.name == "postgresql":\n    return\nTWO',
    "behind_an_else_that_returns": 'if bind.dialect.name == "sqlite":\n    pass\nelse:\n    return\nTWO',
    "a_url": 'if "postgres" not in str(bind.engine.url):\n    TWO',
    "a_beginning_of_a_description": 'if bind.dialect.dialect_description.startswith("mysql"):\n    TWO',
    "a_beginning_of_a_url": 'if not str(bind.engine.url).startswith(("postgresql", "postgres")):\n    TWO',
    "a_name_of_the_dialect": 'kind = bind.dialect.name\nif kind == "mysql":\n    TWO',
    "a_function_of_the_dialect": 'def kind():\n    return bind.dialect.name\nif kind() == "mysql":\n    TWO',
    "a_walrus": 'if (kind := bind.dialect.name) == "mysql":\n    TWO',
    "a_name": 'is_mysql = bind.dialect.name == "mysql"\nif is_mysql and flag:\n    TWO',
    "a_function": "def is_mysql():\n    return bind.dialect.name == 'mysql'\nif is_mysql() and flag:\n    TWO",
    "an_expression": 'op.execute("SELECT 1") if bind.dialect.name != "mysql" else TWO',
    "a_function_that_is_not_called": "def other():\n    TWO",
    "a_function_of_another_database": 'def other():\n    TWO\nif bind.dialect.name == "mysql":\n    other()',
}
REACHED = {
    "a_branch": 'if bind.dialect.name == "postgresql":\n    TWO',
    "of_several": 'if bind.dialect.name in ("postgresql", "sqlite"):\n    TWO',
    "an_else": 'if bind.dialect.name == "sqlite":\n    pass\nelse:\n    TWO',
    "behind_a_return": 'if bind.dialect.name == "sqlite":\n    return\nTWO',
    "no_sqlite": 'if not str(op.get_bind().engine.url).startswith("sqlite"):\n    TWO',
    "a_driver_at_the_beginning": 'if not bind.dialect.dialect_description.startswith("postgresql+psycopg2"):\n    TWO',
    "a_beginning_of_something_else": 'if kind.startswith("mysql"):\n    TWO',
    "another_question": 'if kind == "invoice":\n    TWO',
    "one_of_two": 'if bind.dialect.name == "mysql" or flag:\n    TWO',
    "a_name_with_two_values": 'flag = kind == "mysql"\nflag = True\nif flag:\n    TWO',
    "a_function": "def other():\n    TWO\nfor step in (other,):\n    step()",
    "a_block": "with op.get_context().autocommit_block():\n    TWO",
    "a_try": "try:\n    TWO\nexcept ValueError:\n    pass",
    "behind_a_block_that_returns": "with suppress(ValueError):\n    return\nTWO",
    "in_the_end": "try:\n    return\nfinally:\n    TWO",
    "a_loop_that_ends_elsewhere": 'while True:\n    if bind.dialect.name == "sqlite":\n        break\n    TWO',
    "a_case": 'match bind.dialect.name:\n    case "postgresql":\n        TWO',
    "a_value_of_a_loop": 'for kind in ("mysql", "oracle"):\n    if kind == "mysql":\n        TWO',
    "a_value_of_a_row": 'if row.warehouse != "snowflake":\n    pass\nelse:\n    TWO',
    "a_variable": 'if os.environ["WAREHOUSE"] == "redshift":\n    TWO',
    "an_argument": 'def load(source):\n    if source == "oracle":\n        TWO\nload("oracle")',
    "a_name_that_changes": 'skip = bind.dialect.name == "postgresql"\nskip &= flag\nif skip:\n    return\nTWO',
    "a_name_of_a_pair": 'flag = bind.dialect.name == "postgresql"\nflag, _ = f()\nif skip:\n    return\nTWO',
    "no_name_of_a_dialect": 'if bind.dialect.name == "postgres":\n    return\nTWO',
    "other_letters": 'if bind.dialect.name == "PostgreSQL":\n    return\nTWO',
    "the_dialect_itself": 'if bind.dialect == "postgresql":\n    return\nTWO',
    "the_drivers_name": 'if bind.engine.url.drivername == "postgresql":\n    return\nTWO',
    "a_decorated_function": "@steps.append\ndef step():\n    TWO\nfor each in steps:\n    each()",
    "a_call_of_an_object": "class Step:\n    def __call__(self):\n        TWO\nStep()()",
    "a_method_that_a_base_calls": "class Step(Base):\n    def forward(self):\n        TWO\nStep().run()",
    "a_name_that_is_put_together": 'def upgrade_one():\n    TWO\nlocals()["upgrade_" + name]()',
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_never_runs_on_postgresql_is_not_found(name: str, monorepo: Monorepo) -> None:
    path = monorepo.revision("billing", "r001", None, ELSEWHERE[name].replace("TWO", TWO))
    service = monorepo.service("billing")
    assert list(refused(service, service.relative(path))) == []


@pytest.mark.parametrize("name", REACHED)
def test_what_runs_on_postgresql_is_found_in_every_block(name: str, monorepo: Monorepo) -> None:
    path = monorepo.revision("billing", "r001", None, REACHED[name].replace("TWO", TWO))
    service = monorepo.service("billing")
    ((line, _),) = refused(service, service.relative(path))
    assert path.read_text(encoding="utf-8").splitlines()[line - 1].strip() == TWO


@pytest.mark.parametrize("down", [False, True])
def test_a_function_counts_for_the_direction_that_calls_it(monorepo: Monorepo, down: bool) -> None:
    path = monorepo.revision("billing", "r001", None, "pass", "helper()")
    path.write_text(path.read_text(encoding="utf-8") + f"\n\ndef helper():\n    {TWO}\n", encoding="utf-8")
    service = monorepo.service("billing")
    assert len(list(refused(service, service.relative(path), down=down))) == (1 if down else 0)


def test_a_statement_is_on_the_line_of_the_call_that_sends_it(monorepo: Monorepo) -> None:
    path = monorepo.revision(
        "billing", "r001", None, 'op.execute(\n    sa.text(\n        "SELECT 1; SELECT 2"\n    )\n)'
    )
    service = monorepo.service("billing")
    ((line, _),) = refused(service, service.relative(path))
    assert path.read_text(encoding="utf-8").splitlines()[line - 1].strip() == "op.execute("


@pytest.mark.parametrize("text", ["def upgrade(:", "\0"])
def test_what_is_no_python_is_reported_where_it_is_imported(monorepo: Monorepo, text: str) -> None:
    path = monorepo.revision("billing", "r001", None)
    service = monorepo.service("billing")
    path.write_text(text, encoding="utf-8")
    assert list(refused(service, service.relative(path))) == []
    assert list(refused(service, "migrations/versions/billing/none.py")) == []


def test_over_psycopg_nothing_is_refused(monorepo: Monorepo) -> None:
    configured = monorepo.root / "pyproject.toml"
    text = configured.read_text(encoding="utf-8")
    configured.write_text(text + '\n[tool.service-migrations.service.billing]\ndriver = "psycopg"\n', encoding="utf-8")
    path = monorepo.revision("billing", "r001", None, "\n".join(body for body, _ in REFUSED.values()))
    service = monorepo.service("billing")
    assert list(refused(service, service.relative(path))) == []


@pytest.mark.parametrize(
    ("state", "text", "has_parameters", "advised"),
    [
        ("42601", "cannot insert multiple commands into a prepared statement", False, "one command at a time"),
        ("42601", 'syntax error at or near "%"', False, "knows no %s"),
        ("42601", 'syntax error at or near "$1"', True, "Write the value into the text"),
        (
            "0A000",
            "materialized views may not be defined using bound parameters",
            True,
            "Write the value into the text",
        ),
        (None, "the server expects 0 arguments for this query, 1 was passed", True, "Write the value into the text"),
        ("42804", "column x is of type integer but expression is of type character varying", True, "CAST(:name"),
        ("42P18", "could not determine data type of parameter $1", True, "CAST(:name"),
        ("22000", "invalid input for query argument $1: 7 (expected str, got int)", True, "CAST(:name"),
        (None, "AttributeError: 'AsyncAdapt_asyncpg_cursor' object has no attribute 'copy_from'", False, "no COPY"),
        (
            None,
            "AttributeError: 'AsyncAdapt_asyncpg_connection' object has no attribute 'notices'",
            False,
            "psycopg2's own",
        ),
        (None, "AssertionError: <class 'AsyncAdapt_asyncpg_dbapi.UniqueViolationError'>", False, ""),
        *((state, "a parameter", True, "CAST(:name") for state in _TYPES),
        *((state, "no parameter", False, "") for state in _TYPES),
        ("P0001", 'at or near "%"', False, ""),
        ("P0001", 'at or near "$1"', True, ""),
        ("42601", 'at or near "$1"', False, ""),
        ("42804", "column x cannot be cast automatically to type integer", False, ""),
        ("42601", 'syntax error at or near "FROMM"', True, ""),
        ("23505", "duplicate key", True, ""),
    ],
)
def test_a_refusal_is_told_from_other_failures(state: str, text: str, has_parameters: bool, advised: str) -> None:
    given = advice(state, text, has_parameters=has_parameters)
    assert advised in given
    assert bool(given) == bool(advised)


@pytest.mark.parametrize(
    ("statement", "advised"),
    [
        ("DELETE FROM t WHERE id IN $1", "expanding=True"),
        ("DELETE FROM t WHERE id NOT IN $1::VARCHAR", "expanding=True"),
        ("COMMENT ON TABLE t IS $1", "Write the value into the text"),
    ],
)
def test_what_helps_is_about_the_place_of_the_parameter(statement: str, advised: str) -> None:
    text = 'syntax error at or near "$1"'
    assert advised in advice("42601", text, has_parameters=True, statement=statement)


def test_a_text_with_one_command_is_taken() -> None:
    assert refusal(indent(dedent("SELECT 1\n;\n-- SELECT 2;"), "  ")) is None


@pytest.mark.parametrize(
    ("text", "has_parameters", "expected"),
    [
        (
            "SELECT 1; SELECT 2",
            False,
            "takes one command at a time, and this text has 2. Write one op.execute() for each",
        ),
        ("SELECT %s", True, "knows no %s. Write op.execute(sa.text(…).bindparams(…))"),
        ("1 in :ids", False, "takes no list for IN :ids. Write sa.bindparam('ids', expanding=True), or = ANY(:ids)"),
        ("jsonb_build_array(1, :x)", False, "needs the type of :x in jsonb_build_array(). Write CAST(:x AS text)"),
        ("SELECT '%s'", False, None),
    ],
)
def test_a_refusal_says_what_to_write(text: str, has_parameters: bool, expected: str | None) -> None:
    message = expected and f"asyncpg {expected}, or {SETTING}."
    assert refusal(text, has_parameters=has_parameters) == message
    expanded = refusal(text, has_parameters=has_parameters, is_expanded=True)
    assert expanded == (None if ":ids" in text else message)
