"""Offline mode gives the SQL that runs online, or refuses with the line of the revision."""

import pytest

import service_migrations
from service_migrations.errors import MigrationError
from service_migrations.history.revisions import read
from service_migrations.history.sql.offline import pending, render
from service_migrations.sql.lexer import stray_parameter
from tests.support.database import wait
from tests.support.monorepo import Monorepo

CERTAIN = {
    "a prepared transaction": ("op.execute(\"PREPARE TRANSACTION 'x'\")", "it leaves a prepared transaction"),
    "a command of psql's": (
        "op.execute('SELECT 1\\n\\\\gexec')",
        "line 2 of the statement has a backslash outside of quotes",
    ),
    "a separator of psql's": ("op.execute(r'SELECT 1 \\; SELECT 2')", "has a backslash outside of quotes"),
    "a parameter without a value": (
        "op.execute(\"INSERT INTO notes VALUES (1, 'see :page for more')\")",
        r"A value is required for bind parameter 'page'. A colon before a word is a parameter: write \: for a colon.",
    ),
    "the same in text()": (
        "op.execute(sa.text('SELECT :first, :second').bindparams(first=1))",
        r"A value is required for bind parameter 'second'.",
    ),
    "in a condition": (
        "op.execute(sa.table('t', sa.column('a')).delete().where(sa.text('a = :a')))",
        "A value is required for bind parameter 'a'.",
    ),
    "a parameter before a cast": (
        "op.get_bind().execute(sa.text('SELECT :x::json'), {'x': '1'})",
        "isn't taken for one, and the server has none. Write CAST(:x AS …) for a cast.",
    ),
    "one in a list": ("op.execute('SELECT ARRAY[:x::int, 2]')", ":x is no parameter"),
    "a colon alone": ("op.execute('SELECT 1 : 2')", ": is no parameter"),
    "a row without a value": (
        "op.get_bind().execute(sa.table('t', sa.column('a'), sa.column('b')).insert(), [{'a': 1, 'b': 2}, {'a': 1}])",
        "A value is required for bind parameter 'b'.",
    ),
    "a value of another type": (
        "op.bulk_insert(sa.table('t', sa.column('a', sa.Integer)), [{'a': '1'}])",
        "A parameter of the type Integer() can't be '1': str can't be interpreted as an integer.",
    ),
    "a name that isn't there": ("nowhere", "name 'nowhere' is not defined."),
    "a call that can't be": ("op.execute()", "execute() missing 1 required positional argument: 'sqltext'."),
    "a module that isn't there": ("import nowhere", "No module named 'nowhere'."),
}


@pytest.mark.parametrize(("body", "says"), CERTAIN.values(), ids=CERTAIN)
def test_what_would_fail_online_fails_offline_and_in_a_plan(monorepo: Monorepo, body: str, says: str) -> None:
    service = monorepo.service("billing")
    monorepo.revision("billing", "a1", None, body)
    with pytest.raises(MigrationError) as script:
        wait(service_migrations.sql(service, "head"))
    history = read(service)
    with pytest.raises(MigrationError) as plan:
        render(history, pending(history, ()))
    for error in (script.value, plan.value):
        assert error.exit_code == 1
        assert error.place == "migrations/versions/billing/a1.py:10"
        assert says in str(error)
        assert "rolled back" not in str(error)


def test_an_escaped_colon_is_a_colon(monorepo: Monorepo) -> None:
    service = monorepo.service("billing")
    monorepo.revision("billing", "a1", None, "op.execute(\"INSERT INTO notes VALUES (1, 'see \\\\:page')\")")
    assert "'see :page'" in wait(service_migrations.sql(service, "head"))


COLONS = [
    "SELECT '12:30:00', ':x::json', E'it\\':x', $$ :x::json $$, $a$:x$a$, U&':x'",
    "SELECT '1'::json::text, \"a:x\" /* :x::json /* :y */ */ FROM t -- :x::int",
    'SELECT a[1:2], a[:2], (f(1))[i:], (ARRAY[1, 2])[1:2], "a"[b.c[1]:(2)], a [ 1 : 2 ][:3]',
    "SELECT f(a := 1, b:=2)",
]
"""Colons that no server refuses."""


@pytest.mark.parametrize("sql", COLONS)
def test_a_colon_that_the_server_knows_is_no_parameter(sql: str) -> None:
    assert stray_parameter(sql) is None


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("SELECT :x::json", ":x"),
        ("SELECT a[(:x::int)]", ":x"),
        ("SELECT ARRAY[[:x::int]]", ":x"),
        ("SELECT 'a' :b", ":b"),
        ("SELECT : b", ":"),
        ("SELECT a[1:2], f(x : = 1)", ":"),
    ],
)
def test_a_colon_that_no_server_knows_is_found(sql: str, word: str) -> None:
    assert stray_parameter(sql) == word


TABLE = (
    "sa.Table('t', sa.MetaData(), sa.Column('a', sa.Integer), sa.Column('b', sa.Integer, default=7, onupdate=8), "
    "sa.Column('c', sa.Text, default=lambda: 'x'))"
)

WRITTEN = {
    "no values": ("op.execute(sa.table('t', sa.column('a')).insert())", "INSERT INTO t DEFAULT VALUES;"),
    "executed with parameters": (
        "op.get_bind().execute(sa.text('UPDATE t SET a = :a'), {'a': 'it\\'s'})",
        "UPDATE t SET a = 'it''s';",
    ),
    "a default in Python": (
        f"op.execute({TABLE}.insert().values([{{'a': 1}}, {{'a': 2, 'c': 'y'}}]))",
        "INSERT INTO t (a, b, c) VALUES (1, 7, 'x'::VARCHAR), (2, 7, 'y'::VARCHAR);",
    ),
    "a default of an update": (
        f"op.execute({TABLE}.update().values(a=1))",
        "UPDATE t SET a=1, b=8;",
    ),
    "defaults of rows": (
        f"op.bulk_insert({TABLE}, [{{'a': 1}}])",
        "INSERT INTO t (a, b, c) VALUES (1, 7, 'x'::VARCHAR);",
    ),
    "a list of values": (
        "op.execute(sa.delete(sa.table('t')).where(sa.column('a', sa.BigInteger).in_([1, 2])))",
        "DELETE FROM t WHERE a IN ('1'::BIGINT, '2'::BIGINT);",
    ),
    "a constant online too": (
        "op.execute(sa.table('t', sa.column('a')).update().values(a=op.inline_literal('x')))",
        "UPDATE t SET a='x';",
    ),
    "a backslash before a colon": (
        "op.execute(sa.text('SELECT :a, 1\\\\:\\\\:int').bindparams(a='b\\\\:c'))",
        "SELECT E'b\\\\:c'::VARCHAR, 1::int;",
    ),
}


@pytest.mark.parametrize(("body", "sql"), WRITTEN.values(), ids=WRITTEN)
def test_a_parameter_is_written_with_the_value_and_the_type_that_it_has_online(
    monorepo: Monorepo, body: str, sql: str
) -> None:
    service = monorepo.service("billing")
    monorepo.revision("billing", "a1", None, body)
    assert sql in wait(service_migrations.sql(service, "head"))


def test_a_default_that_needs_a_connection_is_named(monorepo: Monorepo) -> None:
    column = "sa.Column('b', sa.Text, default=lambda context: context.get_current_parameters()['a'])"
    table = f"sa.Table('t', sa.MetaData(), sa.Column('a', sa.Text), {column})"
    service = monorepo.service("billing")
    monorepo.revision("billing", "a1", None, f"op.execute({table}.insert().values(a='x'))")
    with pytest.raises(MigrationError, match=r"The default of t\.b needs a connection .*: give the value"):
        wait(service_migrations.sql(service, "head"))


def test_a_query_without_rows_is_no_bug_of_the_revision(monorepo: Monorepo) -> None:
    service = monorepo.service("billing")
    monorepo.revision("billing", "a1", None, "for row in op.get_bind().execute(sa.text('SELECT 1')): pass")
    history = read(service)
    (rendered,) = render(history, pending(history, ()))
    assert "NoneType" in str(rendered.error)
    with pytest.raises(MigrationError, match=r"Offline there are no rows, and a query returns None: run it online\.$"):
        wait(service_migrations.sql(service, "head"))


WITHOUT_A_CONNECTION = {
    "a variable that a failed question leaves without a value": (
        """
        try:
            keys = sa.inspect(op.get_bind()).get_foreign_keys("a")
        finally:
            print(keys)
        """,
        "NoInspectionAvailable: No inspection system is available",
        "Offline there is no connection to ask",
    ),
    "a variable of a loop over no rows": (
        """
        for row in op.get_bind().execute(sa.text("SELECT 1")) or []:
            last = row
        print(last)
        """,
        "UnboundLocalError: ",
        "UnboundLocalError: ",
    ),
    "a mistake where the answer is None": (
        """
        try:
            op.get_bind().execute(sa.text("SELECT 1")).fetchall()
        except AttributeError:
            nowhere
        """,
        "NameError: ",
        "name 'nowhere' is not defined",
    ),
    "a connection as a context": (
        "with op.get_bind() as bind: pass",
        "TypeError: 'MockConnection' object does not support",
        "Offline there is no connection to ask",
    ),
}


@pytest.mark.parametrize(("body", "rendered", "says"), WITHOUT_A_CONNECTION.values(), ids=WITHOUT_A_CONNECTION)
def test_what_only_fails_without_a_connection_is_left_to_the_run_online(
    monorepo: Monorepo, body: str, rendered: str, says: str
) -> None:
    service = monorepo.service("billing")
    path = monorepo.revision("billing", "a1", None, body)
    history = read(service)
    (result,) = render(history, pending(history, ()))
    assert str(result.error).startswith(rendered)
    assert result.error_line is not None
    assert result.error_line > path.read_text().splitlines().index("def upgrade():")
    with pytest.raises(MigrationError, match=says) as script:
        wait(service_migrations.sql(service, "head"))
    assert script.value.place.startswith("migrations/versions/billing/a1.py:")


def test_the_value_of_an_enum_without_a_name_is_rendered_as_its_text(monorepo: Monorepo) -> None:
    service = monorepo.service("billing")
    table = 'sa.table("orders", sa.column("state", sa.Enum))'
    monorepo.revision("billing", "a1", None, f"op.execute({table}.insert().values(state='open'))")
    assert "INSERT INTO orders (state) VALUES ('open')" in wait(service_migrations.sql(service, "head"))


@pytest.mark.parametrize("question", ["op.get_bind().engine.url", "sa.inspect(op.get_bind())"])
def test_offline_a_question_to_the_connection_is_answered_with_what_to_do(question: str, monorepo: Monorepo) -> None:
    service = monorepo.service("billing")
    monorepo.revision("billing", "a1", None, question)
    with pytest.raises(MigrationError, match=r"Offline there is no connection to ask: run it online\.$"):
        wait(service_migrations.sql(service, "head"))


ASKING = {
    "the mode": ("from alembic import context", "if not context.is_offline_mode():"),
    "the mode, in a module of its own": ("from questions import online", "if online():"),
    "the context's mode, in a module of its own": ("from questions import script", "if not script():"),
    "the connection": ("", "if op.get_bind() is not None:"),
    "the connection, kept": ("", "bind = op.get_bind()\nif bind:"),
    "the connection, among other conditions": ("", "if not op.get_bind() and True:\n    return\nif True:"),
    "an error that is caught": ("", "try:\n    op.get_bind().scalar('x')\nexcept AttributeError:\n    return\nif 1:"),
}
QUESTIONS = """\
from alembic import context, op

def online():
    return not context.is_offline_mode()

def script():
    return op.get_context().as_sql
"""


@pytest.mark.parametrize(("before", "question"), ASKING.values(), ids=ASKING)
@pytest.mark.parametrize("down", [False, True])
def test_a_script_says_where_a_revision_asks_whether_it_has_a_connection(
    monorepo: Monorepo, caplog: pytest.LogCaptureFixture, before: str, question: str, *, down: bool
) -> None:
    service = monorepo.service("billing")
    (monorepo.root / "questions.py").write_text(QUESTIONS)
    asks, other = f"{before}\n{question}\n    op.execute('DROP TABLE t')", "op.execute('SELECT 1')"
    path = monorepo.revision("billing", "a1", None, *((other, asks) if down else (asks, other)))
    lines = path.read_text().splitlines()
    line = 1 + next(number for number, text in enumerate(lines) if text.strip() == question.partition("\n")[0])
    if question.startswith(("bind", "try")):
        line += 1
    warning = f"migrations/versions/billing/a1.py:{line}: with a connection this revision may do more than its SQL here"
    target = "a1:base" if down else "head"
    assert f"-- WARNING: {warning}" in wait(service_migrations.sql(service, target, down=down))
    assert [warning in record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [True]
    caplog.clear()
    history = read(service)
    rendered = render(history, history.revisions, down=down)[0]
    assert (rendered.online_part, rendered.is_whole) == (line, False)
    assert "WARNING" not in wait(service_migrations.sql(service, *(("head",) if down else ("a1:base",)), down=not down))
    assert render(history, history.revisions, down=not down)[0].is_whole


def test_whoever_asks_for_a_revision_that_does_all_without_a_connection_gets_no_warning(monorepo: Monorepo) -> None:
    service = monorepo.service("billing")
    body = "with op.get_context().autocommit_block():\n    op.create_table('t', sa.Column('id', sa.Integer))"
    safe = "from service_migrations import safe\nsafe.concurrent_index('i', 't', ['id'])"
    monorepo.revision("billing", "a1", None, f"{body}\n{safe}")
    assert "WARNING" not in wait(service_migrations.sql(service, "head"))
    history = read(service)
    assert all(rendered.is_whole for rendered in render(history, history.revisions))
