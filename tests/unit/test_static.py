"""Of a revision file only the head is parsed, and what stands below it never changes what is read there."""

import ast
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, strategies as st

from service_migrations.history.files import static
from service_migrations.history.revision import Revision
from tests.support.monorepo import Monorepo

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
        return static._constants(source)
    try:
        ast.parse(source)
    except SyntaxError:
        return None
    with patch.object(static, "_FUNCTION", static.re.compile(rb"(?!)")):
        return static._constants(source)


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
    assert static.certain_revision(text.encode(), "a1.py") is None


CLEVER = {
    "a function that binds it again": "def _rename():\n    global revision\n    revision = 'p9'\n_done = _rename()",
    "a function in a table": "def _rename():\n    global revision\n    revision = 'p9'\nt = sa.table(_rename())",
    "a function that a library calls": "def f(_):\n    global x, revision\n    revision = 'p9'\nx = re.sub('', f, '')",
    "the same over two lines": "def f(_):\n    global x,\\\n    revision\n    revision = 1\nx = re.sub('', f, '')",
    "a class body": "class _Other:\n    global down_revision\n    down_revision = 'p9'",
    "a decorator": "def _rename(f):\n    vars(sys.modules[__name__])['revision'] = 'p9'\n@_rename\ndef other(): pass",
    "vars": "_ = vars().update({'revi' 'sion': 'p9'})",
    "locals": "_ = locals().update({'revi' 'sion': 'p9'})",
    "setattr": "_ = setattr(sys.modules[__name__], 'revi' 'sion', 'p9')",
    "setattr in a default": "def f(x=setattr(sys.modules[__name__], 'revi' 'sion', 'p9')): pass",
    "a walrus": "_ = (revision := 'p9')",
    "a walrus on the next line": "_ = (revision \\\n := 'p9')",
    "a walrus in an annotation": "x: (revision := 'p9') = 1",
    "a walrus in a default": "def f(x=(revision := 'p9')): pass",
    "a walrus in an f-string": "x = f'{(revision := 1)}'",
    "a comprehension": "x = [revision := one for one in 'p']",
    "exec": "_ = exec('revi' 'sion = 1')",
    "eval": "_ = eval('locals()').update(x=1)",
    "a call of our own": "from migrations import helpers\n_ = helpers.rename(__name__)",
    "an attribute": "sys.modules[__name__].revision = 'p9'",
    "del": "del revision",
    "a label that is made on demand": "def __getattr__(name):\n    return 'x'",
    "an error": "x = 1 / 0",
    "an error in a default": "def f(x=1 / 0): pass",
    "an error in an annotation": "def f(x: 1 / 0): pass",
    "a name that isn't there": "x = nonsense",
    "a library that isn't there": "import nonsense",
    "a part of a library that isn't there": "from nonsense.more import something",
    "an import from the package": "from . import something",
    "raise": "raise RuntimeError",
}


@pytest.mark.parametrize("clever", CLEVER.values(), ids=CLEVER)
@pytest.mark.parametrize("above", ["", "def upgrade() -> None:\n    pass\n"], ids=["in the head", "below a function"])
def test_a_file_that_is_too_clever_is_left_to_alembic(above, clever):
    text = f"import re\nimport sys\nimport sqlalchemy as sa\nrevision = 'a1'\ndown_revision = None\n{above}{clever}\n"
    assert static.certain_revision(text.encode(), "a1.py") is None


@pytest.mark.parametrize(
    "common",
    [
        'revision: str = "a1"',
        "from collections.abc import Sequence\nbranch_labels: str | Sequence[str] | None = None",
        "from typing import Sequence, Union\ndepends_on: Union[str, Sequence[str], None] = None",
        "BATCH = 1000\nSIZES: dict[str, list[int]] = {'a': [1, -2]}",
        "NAMES = {'a', 'b'}\nSAME = NAMES",
        "t = sa.table('t', sa.column('id', sa.Integer), sa.column('name', sa.String(50)))\nid_ = t.c.id",
        "from sqlalchemy import column, table\nt = table('t', column('id')).alias('u')",
        "from sqlalchemy.dialects import postgresql\nstatus = postgresql.ENUM('a', 'b', name='status')",
        "import uuid\nimport datetime\nfirst = uuid.UUID(int=1)\nsince = datetime.date(2026, 1, 1)",
        "import logging\nlog = logging.getLogger(__name__)",
        'import textwrap\nSQL = textwrap.dedent("""\nSELECT 1\n""")',
        "def _fill(connection: sa.Connection, size: int = 10, *more: str) -> list[int]:\n    x = sum(1 for _ in more)",
        "async def _wait() -> None: pass",
        "def upgrade():\n    # a global setting, evaluated\n    op.execute('DO $$ BEGIN x := 1; END $$')",
    ],
)
def test_what_is_common_in_revisions_is_read(common):
    first = "" if "revision:" in common else "revision = 'a1'\n"
    revision = static.certain_revision(
        f"import sqlalchemy as sa\n{first}down_revision = None\n{common}\n".encode(), "a1.py"
    )
    assert revision is not None
    assert (revision.revision, revision.down_revision) == ("a1", ())


def test_what_revision_writes_is_read(monorepo: Monorepo):
    service = monorepo.service("billing")
    for name in ("first", "second"):
        ran = monorepo.inv("db.revision", "--service", "billing", "-m", name, "--empty")
        assert ran.code == 0, ran.text
    chain = static.read_chain(service)
    assert chain is not None
    assert [revision.message for revision in chain.revisions] == ["first", "second"]


def test_a_docstring_that_looks_like_a_function_is_a_docstring():
    docstring = b"\n\nSay so:\n\ndef upgrade():\n    pass\n"
    constants = static._constants(b'"""' + docstring + b'    """')
    assert str(constants["__doc__"]).split() == docstring.decode().split()


def test_of_a_file_as_revision_writes_it_only_the_head_is_parsed(monorepo: Monorepo):
    monorepo.service("billing")
    monorepo.table_revision("billing", "a1", None)
    (path,) = Path(monorepo.root / "migrations/versions/billing").glob("*.py")
    with patch.object(ast, "parse", wraps=ast.parse) as parse:
        chain = static.read_chain(monorepo.find("billing"))
    assert chain is not None
    assert chain.ids == ("a1",)
    ((head,),) = [call.args for call in parse.call_args_list]
    assert b"def " not in head
    assert path.read_bytes().startswith(head)


@pytest.mark.parametrize("library", sorted({*static._LIBRARIES, "datetime", "decimal", "logging", "re", "sqlalchemy"}))
def test_a_plain_call_of_a_known_library_is_read(library):
    text = f"import {library} as library\nrevision = 'a1'\ndown_revision = None\nx = library.make(1, a=[2]).more()\n"
    assert static.certain_revision(text.encode(), "a1.py") is not None
    text = text.replace(f"import {library}", "import json")
    assert static.certain_revision(text.encode(), "a1.py") is None


HEADER = {"revision": "'a1'", "down_revision": "'a0'", "branch_labels": "None", "depends_on": "None"}


def of_header(more: str = "", **values: str) -> Revision | None:
    lines = [f"{name} = {value}\n" for name, value in {**HEADER, **values}.items() if value]
    return static.certain_revision(f"'What it does.'\n{''.join(lines)}{more}".encode(), "a1.py")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("None", ()),
        ("'b1'", ("b1",)),
        ("('b1', 'c1')", ("b1", "c1")),
        ("['c1', 'b1']", ("c1", "b1")),
        ("()", ()),
        ("[]", ()),
    ],
)
@pytest.mark.parametrize("name", ["down_revision", "branch_labels", "depends_on"])
def test_a_header_has_one_name_several_or_none(name: str, value: str, expected: tuple[str, ...]) -> None:
    plain = Revision("a1", ("a0",), "What it does.", "a1.py", is_head=False)
    assert of_header() == plain
    assert of_header(**{name: value}) == replace(plain, **{name: expected})


@pytest.mark.parametrize(
    "type_", ["{} | None", "None | {}", "{}[str]", "list[{}]", "dict[str, {}]", "[{}]", "({}, str)"]
)
def test_every_part_of_an_annotation_has_to_be_known(type_: str) -> None:
    assert of_header(more=f"x: {type_.format('str')} = 1\n") == of_header()
    assert of_header(more=f"x: {type_.format('nonsense')} = 1\n") is None


def test_a_library_that_nobody_has_imported_yet_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sched", raising=False)
    static._is_installed.cache_clear()
    assert of_header(more="import sched\nfrom sched import scheduler\n") == of_header()


@pytest.mark.parametrize("name", ["branch_labels", "depends_on"])
def test_labels_and_dependencies_may_be_missing_and_the_parent_may_not(name: str) -> None:
    assert of_header(**{name: ""}) == of_header()
    assert of_header(down_revision="") is None
    assert of_header(revision="") is None


@pytest.mark.parametrize(
    "value", ["1", "True", "('b1', 2)", "('b1', None)", "('b1', '')", "''", "{'b1'}", "('b1', 'b1')"]
)
@pytest.mark.parametrize("name", ["down_revision", "branch_labels", "depends_on"])
def test_a_header_with_something_else_is_left_to_alembic(name: str, value: str) -> None:
    assert of_header(**{name: value}) is None
    assert of_header(**{name: "'b1'"}, more=f"{name} = 'c1'\n") is None
    assert of_header(**{name: "'b1'"}, more="__doc__ = 'other'\n") is None


@pytest.mark.parametrize(
    "value", ["None", "1", "('a1',)", "''", "'a@1'", "'a+1'", "'a:1'", "'a-1'", "'head'", "'base'"]
)
def test_an_id_that_cannot_be_is_left_to_alembic(value: str) -> None:
    assert of_header(revision=value) is None
