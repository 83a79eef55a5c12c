"""An upgrade keeps the SQL of downgrades, for which it runs them offline: only those that do nothing else."""

from pathlib import Path
from textwrap import indent

import pytest

from service_migrations.ledger import plain_code
from service_migrations.ledger.plain_code import is_plain

HEAD = """
import os
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from service_migrations import safe
from elsewhere import CLIENT, helper
{top}

def downgrade() -> None:
"""
PLAIN = {
    "nothing": ("", "pass"),
    "operations": ("", "op.drop_table('a')\nop.add_column('a', sa.Column('b', sa.Integer))"),
    "safe": ("", "safe.drop_index_concurrently('a')"),
    "a type of the dialect": ("", "op.alter_column('a', 'b', type_=postgresql.ARRAY(sa.Text()))"),
    "a loop": ("", "for name in ('a', 'b'):\n    op.drop_column('t', name)"),
    "a comprehension": ("", "op.execute(', '.join(str(n) for n in range(3)))"),
    "a constant": ("NAMES = ['a', 'b']", "for name in sorted(NAMES):\n    op.drop_column('t', name)"),
    "a table": ("t = sa.table('t', sa.column('a'))", "op.execute(t.delete().where(t.c.a > 1))"),
    "a value of another": ("a = 'x'\nb: str = a + 'y'", "op.drop_table(b)"),
    "a batch": ("", "with op.batch_alter_table('a') as batch:\n    batch.drop_column('b')"),
    "a function inside": ("", "def each(name):\n    op.drop_table(name)\neach('a')"),
    "a name of SQLAlchemy's": ("from sqlalchemy import Column, Integer", "op.add_column('a', Column('b', Integer))"),
    "a column of such a name": (
        "t = sa.table('t', sa.column('event_id'))",
        "op.execute(t.delete().where(t.c.event_id > 1))",
    ),
    "a name that a function has too": ("a = 'x'\ndef upgrade():\n    a = CLIENT", "op.drop_table(a)"),
    "Alembic's module": ("import alembic.op", "alembic.op.drop_table('a')"),
    "an error that is caught": ("", "try:\n    op.drop_table('a')\nexcept Exception:\n    pass"),
    "a name of sqlalchemy's modules": ("import sqlalchemy.dialects", "op.execute(sqlalchemy.text('a'))"),
    "schemas": ("", "op.drop_table('a', schema='b')\nop.execute(sa.schema.DropSchema('b'))"),
}
OTHERS = {
    "a client of the module": ("client = CLIENT('x')", "client.delete_bucket()"),
    "an imported client": ("", "CLIENT.delete_bucket()"),
    "by a local name": ("", "c = CLIENT\nc.delete_bucket()"),
    "in a list": ("", "for c in [CLIENT]:\n    c.delete_bucket()"),
    "as an argument": ("", "op.execute(str(CLIENT))"),
    "a helper": ("", "helper()"),
    "a function of the file": ("def more():\n    helper()", "more()"),
    "a function of the file under another name": ("def more():\n    helper()\nother = more", "other()"),
    "a name that is given twice": ("a = 'x'\na = CLIENT", "op.execute(a)"),
    "a name that is given in an if": ("a = 'x'\nif True:\n    a = CLIENT", "op.execute(a)"),
    "a name that a class has": ("a = 'x'\nclass a:\n    pass", "a()"),
    "a name that a coroutine has": ("a = str\nasync def a():\n    pass", "a()"),
    "a name that another function sets": ("a = 'x'\ndef upgrade():\n    global a\n    a = CLIENT", "op.execute(a)"),
    "a name that a loop sets": ("a = 'x'\nfor a in [CLIENT]:\n    pass", "op.execute(a)"),
    "a name that is deleted": ("a = 'x'\ndel a", "op.execute(a)"),
    "a name without a value": ("a: str", "op.execute(a)"),
    "itself": ("", "downgrade()"),
    "an import in a try": ("try:\n    import other as sa\nexcept ImportError:\n    pass", "sa.text('x')"),
    "a module of the team's": ("from .sqlalchemy import text", "text('x')"),
    "a module beside": ("from . import op", "op.drop_table('a')"),
    "a builtin of the file": ("len = helper", "len('a')"),
    "os": ("", "os.remove('a')"),
    "open": ("", "open('a', 'w').write('x')"),
    "print": ("", "print('a')"),
    "an engine": ("", "sa.create_engine('postgresql://x').connect().execute(sa.text('DROP TABLE a'))"),
    "an imported engine": ("from sqlalchemy import create_engine", "e = create_engine('x')\ne.begin()"),
    "an engine of the module": ("e = sa.create_engine('x')", "op.execute(e)"),
    "a session": ("from sqlalchemy.orm import Session", "Session(op.get_bind()).commit()"),
    "all of SQLAlchemy": ("from sqlalchemy import *", "create_engine('x')"),
    "a session's maker": ("from sqlalchemy.orm import sessionmaker", "sessionmaker(op.get_bind())().commit()"),
    "a session by its module": ("from sqlalchemy import orm", "orm.Session(op.get_bind()).commit()"),
    "a pool's module": ("import sqlalchemy.pool", "sqlalchemy.pool.NullPool(None)"),
    "a listener": ("", "sa.event.listen(op, 'a', helper)"),
    "Alembic's commands": ("from alembic import command", "command.upgrade(None, 'head')"),
    "Alembic's context": ("from alembic import context", "context.config.attributes['connection'].execute('x')"),
    "a coroutine": ("", "op.run_async(helper)"),
    "the library's functions": ("import service_migrations", "service_migrations.sql('a', 'b')"),
    "an import": ("", "import shutil\nshutil.rmtree('a')"),
    "an endless loop": ("", "while True:\n    pass"),
    "a global": ("count = 0", "global count\ncount = 1"),
    "a lambda": ("", "(lambda: 1)()"),
    "a hidden attribute": ("", "op.__class__.drop_table = None"),
    "a name of nowhere": ("", "undefined"),
    "a syntax error": ("", "op.("),
}


def made(folder: Path, top: str, body: str) -> Path:
    path = folder / "revision.py"
    path.write_text(HEAD.format(top=top) + indent(body, "    ") + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("case", PLAIN)
def test_what_only_emits_sql_is_plain(tmp_path: Path, case: str) -> None:
    assert is_plain(made(tmp_path, *PLAIN[case]))


@pytest.mark.parametrize("case", OTHERS)
def test_what_may_do_something_else_is_not(tmp_path: Path, case: str) -> None:
    assert not is_plain(made(tmp_path, *OTHERS[case]))


def test_a_file_without_one_downgrade_is_not(tmp_path: Path) -> None:
    path = tmp_path / "revision.py"
    assert not is_plain(path)
    path.write_text("def upgrade():\n    pass\n", encoding="utf-8")
    assert not is_plain(path)
    path.write_text("def downgrade():\n    pass\n" * 2, encoding="utf-8")
    assert not is_plain(path)


@pytest.mark.parametrize("name", sorted(plain_code._PURE))
def test_a_builtin_without_an_effect_is_plain(tmp_path: Path, name: str) -> None:
    assert is_plain(made(tmp_path, "", f"op.execute({name})"))


@pytest.mark.parametrize("name", [*plain_code._CONNECTING, *plain_code._CONNECTING_PARTS])
def test_a_name_that_connects_is_not(tmp_path: Path, name: str) -> None:
    if name != "*":
        assert not is_plain(made(tmp_path, "", f"sa.orm.{name}(1)"))
    assert not is_plain(
        made(tmp_path, f"from sqlalchemy.orm import {name}", f"op.execute({name.strip('*') or 'text'})")
    )


NEVER = {
    "Import": "import sqlalchemy",
    "ImportFrom": "from sqlalchemy import text",
    "While": "while op.drop_table('a'):\n    pass",
    "Lambda": "x = lambda: 1",
    "Global": "global x",
    "Nonlocal": "def f():\n    x = 1\n    def g():\n        nonlocal x",
    "ClassDef": "class X:\n    pass",
    "AsyncFunctionDef": "async def f():\n    pass",
    "AsyncFor": "async def f():\n    async for x in op:\n        pass",
    "AsyncWith": "async def f():\n    async with op:\n        pass",
    "Await": "async def f():\n    await op",
    "Yield": "yield 1",
    "YieldFrom": "yield from [1]",
}


@pytest.mark.parametrize("kind", plain_code._NEVER)
def test_such_a_statement_is_never_plain(tmp_path: Path, kind: type) -> None:
    assert not is_plain(made(tmp_path, "", NEVER[kind.__name__]))
