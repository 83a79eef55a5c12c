"""Of a revision file only the head is parsed, and what stands below it never changes what is read there."""

import ast
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrations import headers
from migrations.discovery import Service
from tests.monorepo import Monorepo

LINES = (
    '"""What it does.\n\nMore of it.\n"""',
    "'''\ndef in_a_docstring():\n    pass\n'''",
    "from alembic import op",
    "from alembic import *",
    "revision = 'a1'",
    'revision: str = "a1"',
    "revision = str('a1')",
    "down_revision = None",
    "down_revision = (",
    "    'a0',",
    ")",
    "depends_on = None",
    "if True:",
    "    revision = 'b2'",
    "else:",
    "@decorated",
    "def upgrade() -> None:",
    "def revision() -> None: pass",
    "def downgrade(",
    "    table: str,",
    ") -> None:",
    '    op.execute("""',
    "DROP TABLE t",
    '    """)',
    "    pass",
    "async def other():",
    "class Table:",
    "table = [",
    "]",
    "upgrade()",
    "x = 1 \\",
    "# a comment",
    "",
    "\r",
)


def read(text: str, *, whole: bool) -> "dict[str, object] | None":
    """Return what is read of a file; None where it is no Python."""
    source = text.encode()
    if not whole:
        return headers._constants(source)
    try:
        ast.parse(source)
    except SyntaxError:
        return None
    with patch.object(headers, "_FUNCTION", headers.re.compile(rb"(?!)")):
        return headers._constants(source)


@given(st.lists(st.sampled_from(LINES), max_size=14).map("\n".join))
def test_the_functions_of_a_file_change_nothing(text):
    whole = read(text, whole=True)
    assert whole is None or read(text, whole=False) == whole


@pytest.mark.parametrize(
    "below",
    [
        "revision = 'b2'",
        "def upgrade(): pass\rrevision = 'b2'",
        "def upgrade(): pass\rfrom other import *",
        "from other import *",
        "for revision in ['b2']: pass",
        "def revision(): pass",
        "class revision: pass",
        "upgrade = revision = 'b2'",
        "import b2 as revision",
        "@(revision := lambda f: f)\ndef other(): pass",
        "def other(x=(revision := 'b2')): pass",
    ],
)
def test_an_id_that_is_bound_again_below_a_function_is_seen(below):
    text = f"revision = 'a1'\ndown_revision = None\ndef upgrade():\n    pass\n{below}\n"
    assert headers._header(text.encode(), "a1.py") is None


def test_a_docstring_that_looks_like_a_function_is_a_docstring():
    docstring = b"\n\nSay so:\n\ndef upgrade():\n    pass\n"
    found = headers._constants(b'"""' + docstring + b'    """')
    assert str(found["__doc__"]).split() == docstring.decode().split()


def test_of_a_file_as_revision_writes_it_only_the_head_is_parsed(monorepo: Monorepo):
    monorepo.service("billing")
    monorepo.table_revision("billing", "a1", None)
    (path,) = Path(monorepo.root / "migrations/versions/billing").glob("*.py")
    with patch.object(ast, "parse", wraps=ast.parse) as parse:
        chain = headers.read_chain(Service("billing", monorepo.root))
    assert chain is not None
    assert chain.revisions == ("a1",)
    ((head,),) = [call.args for call in parse.call_args_list]
    assert b"def " not in head
    assert path.read_bytes().startswith(head)
