"""What a revision does that can't be rendered, read from its text: the guard of an upgrade knows nothing else of it."""

import ast

import pytest

from service_migrations.plan.statements.novelty import Scope
from service_migrations.plan.unrendered import reasons


def classes(*lines: str, rendered: tuple[int, ...] = (), failed: int | None = None) -> set[str]:
    """Return the classes of a function ``upgrade`` with these lines."""
    body = "".join(f"    {line}\n" for line in lines)
    tree = ast.parse(f"def upgrade():\n{body}\ndef downgrade():\n    op.drop_table('v')\n")
    return {str(kind) for (kind, _), _ in reasons(tree, "downgrade", rendered, failed, Scope())}


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("op.drop_table('t')", {"breaking", "destructive"}),
        ("op.drop_column('t', 'a')", {"breaking", "destructive"}),
        ("op.rename_table('t', 'u')", {"breaking"}),
        ("op.alter_column('t', 'a', new_column_name='b')", {"breaking"}),
        ("op.alter_column('t', 'a', nullable=False)", {"breaking"}),
        ("op.alter_column('t', 'a', server_default=None)", {"breaking"}),
        ("op.alter_column('t', 'a', type_=sa.String(5))", {"breaking"}),
        ("op.alter_column('t', 'a', nullable=True, type_=sa.Text(), existing_type=sa.String(5))", set()),
        ("op.execute('REVOKE SELECT ON t FROM r')", {"breaking"}),
        ("op.add_column('t', sa.Column('a', sa.Text()))", set()),
    ],
)  # fmt: skip
def test_what_cant_be_rendered_is_read(call: str, expected: set[str]) -> None:
    assert classes(call) == expected


TEXTS = {
    "f-string": """op.execute(f"ALTER TABLE {schema}.{table} DROP COLUMN {column}")""",
    "f-string over lines": '''op.execute(f"""ALTER TABLE {table}\n  DROP COLUMN IF EXISTS a""")''',
    "literals side by side": """op.execute("ALTER TABLE t " f"DROP COLUMN {a}")""",
    "quoted in an f-string": """op.execute(f'ALTER TABLE "{table}" DROP COLUMN "{a}"')""",
    "percent": """op.execute("ALTER TABLE %s DROP COLUMN a" % table)""",
    "percent with names": """op.execute("ALTER TABLE %(table)s DROP COLUMN a" % {"table": table})""",
    "format": """op.execute("ALTER TABLE {} DROP COLUMN {name!r}".format(table, name=a))""",
    "sum": """op.execute("ALTER TABLE " + table + " DROP COLUMN a")""",
    "sum over lines": """op.execute(\n    "ALTER TABLE "\n    + quote(table)\n    + " DROP COLUMN a"\n)""",
    "join of a list": """op.execute(" ".join(["ALTER TABLE", table, "DROP COLUMN a"]))""",
    "join of actions": """op.execute(f"ALTER TABLE t {', '.join(f'DROP COLUMN {name}' for name in names)}")""",
    "dedent": '''op.execute(dedent(f"""\n  ALTER TABLE {table} DROP a\n"""))''',
    "text()": """bind.execute(sa.text(f"ALTER TABLE {table} DROP COLUMN a"))""",
    "replace": """op.execute("ALTER TABLE TT DROP COLUMN a".replace("TT", table))""",
    "verb": """op.execute(f"{'DROP'} TABLE {table}")""",
    "dropped table": """op.execute("DROP TABLE " + ", ".join(tables))""",
    "schema": """op.execute(f"DROP SCHEMA {tenant} CASCADE")""",
    "all rows": """op.execute(f"DELETE FROM {table}")""",
    "all rows by a condition": """op.execute(f"DELETE FROM {table} WHERE true")""",
    "truncate": """op.execute("TRUNCATE %s" % ", ".join(tables))""",
}


@pytest.mark.parametrize("call", TEXTS.values(), ids=TEXTS)
def test_a_loss_in_a_text_that_is_put_together_is_seen(call: str) -> None:
    assert "destructive" in classes("for table in tables:", *(f"    {line}" for line in call.split("\n")))


OPERATIONS = {
    "alias": "drop = op.drop_table",
    "import": "from alembic.op import drop_column",
    "its name": "getattr(op, 'drop_table')('t')",
    "partial": "partial(op.drop_column, 'u')('t')",
    "operation": "op.invoke(ops.DropTableOp('t'))",
    "DDL": "op.execute(DropTable(Table('t', MetaData())))",
    "schema": "op.execute(sa.schema.DropSchema('tenant'))",
    "a table": "Table('t', MetaData()).drop(op.get_bind())",
    "a table by keyword": "t.drop(bind=bind, checkfirst=True)",
    "a type": "postgresql.ENUM(name='state').drop(op.get_bind())",
    "all tables": "metadata.drop_all(bind)",
    "rows of a table": "bind.execute(t.delete())",
    "rows by a function": "bind.execute(sa.delete(t))",
    "rows that are returned": "bind.execute(delete(t).returning(t.c.id))",
    "rows of a session": "session.query(Thing).delete(synchronize_session=False)",
}


@pytest.mark.parametrize("call", OPERATIONS.values(), ids=OPERATIONS)
def test_a_loss_by_an_operation_is_seen_however_it_is_called(call: str) -> None:
    assert "destructive" in classes(call)


HARMLESS = {
    "docstring": ('"""Drop table t."""', "pass"),
    "a part of a text alone": ("""op.execute("DELETE FROM " + table + " WHERE id = 1")""",),
    "a condition": ("bind.execute(t.delete().where(t.c.id == 1))",),
    "a condition of a function": ("bind.execute(sa.delete(t).returning(t.c.id).where(t.c.id == 1))",),
    "a filter": ("session.query(Thing).filter(Thing.id == 1).delete()",),
    "one object": ("session.delete(thing)",),
    "an index": ("Index('ix', t.c.a).drop(bind)",),
    "a word": ("""op.execute(f"SELECT {column} FROM t")""",),
    "a key of a dict": ("values.update({'a': 1})", "names.insert(0, 'a')"),
    "a percent sign": ("""op.execute("SELECT 1 WHERE a LIKE '100%%' AND b = %s" % b)""",),
}


@pytest.mark.parametrize("lines", HARMLESS.values(), ids=HARMLESS)
def test_what_loses_nothing_is_not_called_destructive(lines: tuple[str, ...]) -> None:
    assert not classes(*lines) - {"data"}


@pytest.mark.parametrize(
    "call",
    [
        "op.bulk_insert(t, rows)", "bind.execute(t.insert().values(a=1))", "bind.execute(sa.update(t).values(a=1))",
        "bind.execute(t.update().values(a=1))", "bind.execute(t.delete().where(t.c.id == 1))",
        """op.execute(f"UPDATE {table} SET a = 1")""",
    ],
)  # fmt: skip
def test_a_change_of_rows_is_seen(call: str) -> None:
    assert classes(call) == {"data"}


def test_what_is_known_as_sql_is_not_read_again() -> None:
    lines = ("op.execute(", "    'ALTER TABLE ' + t +", "    ' DROP COLUMN a')", "op.execute('SELECT 1')")
    assert classes(*lines, rendered=(2,)) == set()
    assert classes(*lines, rendered=(5,)) == {"breaking", "destructive"}


def test_the_line_that_failed_is_read_although_a_part_of_it_was_rendered() -> None:
    line = "for row in bind.execute(query): op.execute(f'DROP TABLE {row.name}')"
    assert classes(line, rendered=(2,), failed=2) == {"breaking", "destructive"}


def test_a_long_sum_of_texts_is_read() -> None:
    assert "destructive" in classes("op.execute('DROP TABLE t' + " + " + ".join(["x"] * 200) + ")")


DEFINITIONS = {
    "of the downgrade": ("DROP = 'DROP TABLE t'\ndef back():\n    op.execute(DROP)", "pass", "back()", set()),
    "of both": ("DROP = 'DROP TABLE t'", "op.execute(DROP)", "op.execute(DROP)", {"breaking", "destructive"}),
    "of both by a function": (
        "DROP = 'DROP TABLE t'\ndef run():\n    op.execute(DROP)", "run()", "run()", {"breaking", "destructive"},
    ),
    "by its name": ("DROP = 'DROP TABLE t'", "op.execute(globals()['DROP'])", "DROP", {"breaking", "destructive"}),
    "of nobody": ("DROP = 'DROP TABLE t'", "pass", "pass", {"breaking", "destructive"}),
}  # fmt: skip


@pytest.mark.parametrize(("definitions", "up", "back", "expected"), DEFINITIONS.values(), ids=DEFINITIONS)
def test_what_only_the_other_function_uses_isnt_read(definitions: str, up: str, back: str, expected: set[str]) -> None:
    tree = ast.parse(f"{definitions}\ndef upgrade():\n    {up}\ndef downgrade():\n    {back}\n")
    assert {str(kind) for (kind, _), _ in reasons(tree, "downgrade", (), None, Scope())} == expected
