"""Which revision files keep something of their own that a call of their functions changes."""

import ast

import pytest

from service_migrations.history.files.parsing import has_state, tree_of

_HEAD = '''"""A revision."""

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision = None
labels = ("a", "b")
unset: str


def downgrade(note: str = "", *, number: int = 1) -> None:
    op.drop_table("t")
'''


def test_imports_functions_and_constants_keep_nothing() -> None:
    assert not has_state(ast.parse(_HEAD))


@pytest.mark.parametrize(
    "text",
    [
        "names = []",
        "names = iter(('a', 'b'))",
        "names = (part for part in ('a', 'b'))",
        "pairs = ('a', [])",
        "table = sa.table('t')",
        "names: list = list()",
        "def upgrade(seen=[]):\n    seen.append(1)",
        "def upgrade(*, seen={}):\n    seen[1] = 1",
        "@sa.util.memoize\ndef upgrade():\n    pass",
        "class State:\n    pass",
        "number = 1\ndef upgrade():\n    global number\n    number += 1",
        "def upgrade():\n    if not hasattr(upgrade, 'ran'):\n        upgrade.ran = True",
        "def upgrade():\n    del upgrade.ran",
        "def upgrade():\n    setattr(upgrade, 'ran', True)",
        "def upgrade():\n    globals()['ran'] = True",
        "def upgrade():\n    upgrade.__dict__['ran'] = True",
        "if True:\n    names = []",
        "try:\n    names = []\nfinally:\n    pass",
        "for names in [[]]:\n    pass",
        "number = 1\nnumber += 1",
        "op.get_context()",
        "async def upgrade(): pass",
    ],
)
def test_whatever_else_stands_at_the_top_may_keep_something(text: str) -> None:
    assert has_state(ast.parse(_HEAD + text))


def test_a_text_is_parsed_once() -> None:
    assert tree_of(_HEAD.encode()) is tree_of(_HEAD.encode())
