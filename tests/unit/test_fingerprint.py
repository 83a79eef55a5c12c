"""The fingerprint of a revision file: the same for every Python and formatter, another for every change of meaning."""

import subprocess
import sys
from pathlib import Path

import pytest

from service_migrations.history.files.fingerprint import (
    _HEADER,
    Hashes,
    body_fingerprint,
    checksum,
    fingerprint,
    fingerprint_or_checksum,
    former_fingerprint,
    hashes,
    is_fingerprint,
)
from tests.support.monorepo import ROOT

REVISIONS = sorted(ROOT.glob("migrations/versions/*/*.py"))

ODD = '''
"""A docstring."""
from collections.abc import Sequence
import sqlalchemy as sa

revision: str = "a1"
down_revision: str | Sequence[str] | None = None


def upgrade() -> None:
    """Do it."""
    text = f"{a}" f"{b!r:>{w}} \\N{BULLET} {c:}" "d" f"{e = }" "é \\U0001fae9 \\u0378"
    values = {**a, 1: 2, "k": 1e300, 3j: ...}
    del text, values
    match values:
        case [1, *_] | {"a": None, **rest}:
            pass
    async def f(x: int, /, *args: int, key=None, **rest: str) -> None: ...
    return lambda *, k: (k := k) if not k else [i async for i in k if i]
'''
"""What Pythons have written into their trees in different ways, and some of everything else."""


def of(text: str) -> str:
    return fingerprint(text.encode())


def test_every_python_has_the_same_fingerprint_for_the_same_file() -> None:
    """The tests run on several Pythons: this value was seen on 3.11, 3.12 and 3.13."""
    assert of(ODD) == "4b7bd20d26effe8f33e8418fb7727c5e65283c83d3a63096147506f1422f5922"


def test_what_a_ledger_has_from_before_imports_were_sorted_is_still_known() -> None:
    former = "a0eba072845b0da946404f7ae54f81d9b081fceb4c65cff2725adc5dcb7fe201"
    assert former_fingerprint(ODD.encode()) == former
    assert is_fingerprint(former, ODD.encode())
    assert is_fingerprint(of(ODD), ODD.encode())
    assert not is_fingerprint(former, ODD.replace("k=k", "k=l").replace("k := k", "k := l").encode())


TEMPLATE = """
from typing import Sequence, Union

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

revision: str = "a1"
down_revision: Union[str, Sequence[str], None] = None


def upgrade() -> None:
    import services.billing.models, json
    op.execute("SELECT 1")
"""
"""A revision as the template of Alembic writes it."""


def test_what_a_linter_does_to_imports_is_no_edit(tmp_path: Path) -> None:
    path = tmp_path / "a1.py"
    path.write_text(TEMPLATE, encoding="utf-8")
    ruff = ("ruff", "check", "--isolated", "--fix", "--unsafe-fixes", "--select=I,UP,F401,FA,TC,E401", "--quiet")
    options = ("--config", "lint.isort.required-imports=['from __future__ import annotations']")
    subprocess.run([sys.executable, "-m", *ruff, *options, str(path)], check=False, cwd=tmp_path)
    text = path.read_text(encoding="utf-8")
    assert "sqlalchemy" not in text
    assert "Union" not in text
    assert "from __future__" in text
    assert of(text.replace("    op.", "    import services.billing.models, json\n    op.")) == of(TEMPLATE)


@pytest.mark.parametrize("path", REVISIONS, ids=lambda path: path.stem)
def test_a_formatter_of_another_taste_changes_nothing(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    style = ("--line-length=60", "--config", "format.quote-style='single'", "--config", "format.indent-style='tab'")
    subprocess.run([sys.executable, "-m", "ruff", "format", "--isolated", *style, str(copy)], check=True, cwd=tmp_path)
    assert copy.read_bytes() != path.read_bytes()
    assert checksum(copy.read_bytes()) != checksum(path.read_bytes())
    assert fingerprint(copy.read_bytes()) == fingerprint(path.read_bytes())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1  # a comment", "x = (\n    1\n)"),
        ("x: int = 1", "x = 1"),
        ("x: int\ny = 1", "y = 1"),
        ("def f():\n    'doc'", "def f():\n    pass"),
        ("def f(a: int) -> str: pass", "def f(a): pass"),
        ("del (a, b)", "del a, b"),
        ("del [a, (b, c)]", "del a, b, c"),
        ('x = "ab"', "x = 'a' 'b'"),
        ('x = f"{a:}"', 'x = f"{a}"'),
        ("x = 0xFF", "x = 255"),
        ("import b\nimport a\na, b", "import a\nimport b\na, b"),
        ("import a, b\na, b", "import a\nimport b\na, b"),
        ("from m import b, a\na, b", "from m import a\nfrom m import b\na, b"),
        ("import a as a\na", "import a\na"),
        ("from typing import Union\nx: Union[int, str] = 1", "x: int | str = 1"),
        ("from __future__ import annotations\nx = 1", "x = 1"),
        ("import sqlalchemy as sa\nx = 1", "x = 1"),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\nx: a.b = 1", "x = 1"),
        ("def f():\n    import b\n    import a", "def f():\n    import a\n    import b"),
        ("x = 1\r\n", "x = 1\n"),
        ("\ufeffx = 1", "x = 1"),
    ],
)
def test_what_means_the_same_has_the_same_fingerprint(one: str, other: str) -> None:
    assert of(one) == of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 2"),
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x = 'a'", "x = b'a'"),
        ("x = 'None'", "x = None"),
        ("down_revision = 'a'", "down_revision = 'b'"),
        ("down_revision = 'a'", "down_revision = None"),
        ("f(a, b)", "f(b, a)"),
        ("f(a=b)", "f(b=a)"),
        ("f([a], b)", "f([a, b])"),
        ("f('SELECT  1')", "f('SELECT 1')"),
        ("x = {**a}", "x = {None: a}"),
        ("x = {'a': '', 'b': 1}", "x = {'a': 1, 'b': ''}"),
        ("x = a or '' or b", "x = a or b or ''"),
        ("if a:\n    b\nc", "if a:\n    b\n    c"),
        ("if a:\n    b\nelse:\n    c", "if a:\n    c\nelse:\n    b"),
        ("def upgrade(): f()\ndef downgrade(): g()", "def upgrade(): g()\ndef downgrade(): f()"),
        ("a < b", "a <= b"),
        ("f('x', 'y')", "f('x' 'y')"),
        ("x = f'{a!r}'", "x = f'{a!s}'"),
        ("x = f'b{a}'", "x = f'c{a}'"),
        ("x = f'{a}{b}'", "x = f'{a} {b}'"),
        ("del a, b", "del b, a"),
        ("from .. import a", "from . import a"),
        ("import a", "import b"),
        ("import services.models\nx = 1", "x = 1"),
        ("from m import a\na", "from n import a\na"),
        ("from m import a\nfrom n import a\na", "from n import a\nfrom m import a\na"),
        ("from m import *\nfrom n import *", "from n import *\nfrom m import *"),
        ("from m import a as b\nb", "from m import b\nb"),
        ("import a.b\na", "import a\na"),
        ("import a.b as a\na", "import a.b\na"),
        ("import a\nf()\nimport b\na, b", "import a\nimport b\nf()\na, b"),
        ("import sqlalchemy as sa\nsa.f()", "sa.f()"),
        ("x: int = 1", "y: int = 1"),
        ("def f():\n    1", "def f(): pass"),
        ("def f(a, *, b): pass", "def f(a, b): pass"),
    ],
)
def test_what_means_something_else_has_another_fingerprint(one: str, other: str) -> None:
    assert of(one) != of(other)


def test_a_long_chain_of_operators_is_no_recursion() -> None:
    assert of("x = " + " + ".join(["a"] * 900)) != of("x = " + " + ".join(["a"] * 901))


def test_the_checksum_is_of_the_text_whatever_its_line_ends() -> None:
    assert checksum(b"a\r\nb\rc\n") == checksum(b"a\nb\nc\n") != checksum(b"a\nb\nc")


def test_a_file_has_both_hashes_and_one_that_is_no_python_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a1.py"
    path.write_bytes(b"x = 1\r\n")
    assert hashes(path) == Hashes(checksum(b"x = 1\n"), of("x = 1"))
    assert fingerprint_or_checksum(b"x = 1") == of("x = 1")
    for source in (b"x = ", b"x = '\0'", b"\xff"):
        assert fingerprint_or_checksum(source) == checksum(source)


PLAIN = """
import sqlalchemy as sa

revision = "a1"
(first, *rest), values[0].name, [x, y] = sa.f(*a, **b)
count: int = 3
(count): int = 3
values[1:2, ...] += first.second[x](y)
for a.b in rest:
    a.b[0] = not a
"""


def test_the_fingerprint_in_a_ledger_stays_what_it_is() -> None:
    """Another one for the same file would be an edit of every history that was applied."""
    assert of(PLAIN) == "842d9adacf8412a6734b85574182d909976dabdfc051b8ffa4486b04b1a432c9"


HEADER = {"revision": "'a1'", "down_revision": "None", "branch_labels": "('a',)", "depends_on": "'b2'"}
UPGRADE = "def upgrade():\n    op.execute('SELECT 1')\n"


def header(annotation: str = "", **values: str) -> str:
    return "".join(f"{name}{annotation} = {value}\n" for name, value in {**HEADER, **values}.items())


@pytest.mark.parametrize("key", sorted({*_HEADER, *HEADER}))
@pytest.mark.parametrize("annotation", ["", ": str | None"])
def test_the_body_is_the_same_at_every_place_of_the_history(key: str, annotation: str) -> None:
    body = body_fingerprint((header() + UPGRADE).encode())
    assert body_fingerprint((header(annotation, **{key: "'other'"}) + UPGRADE).encode()) == body
    assert of(header() + UPGRADE) != of(header(**{key: "'other'"}) + UPGRADE)


def test_the_order_of_imports_is_none_of_the_bodys() -> None:
    bodies = (f"import {first}\nimport {second}\na, b\n" for first, second in ("ab", "ba"))
    one, other = (body_fingerprint((header() + body).encode()) for body in bodies)
    assert one == other


@pytest.mark.parametrize("more", ["name = 'a1'\n", "import os\n", "revision()\n", "x.revision = 'a1'\n"])
def test_everything_else_is_of_the_body(more: str) -> None:
    body = body_fingerprint((header() + UPGRADE).encode())
    assert body_fingerprint((header() + more + UPGRADE).encode()) != body
    assert body_fingerprint((header() + UPGRADE.replace("1", "2")).encode()) != body
