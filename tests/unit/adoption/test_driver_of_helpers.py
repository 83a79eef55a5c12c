"""The driver that a history needs for files that its revisions import, and for what only another database runs."""

from pathlib import Path

import pytest

from service_migrations.adoption.survey import survey
from tests.support.plain_alembic import revision, service, write


def notes(root: Path, kind: str) -> list[str]:
    (plain_service,) = survey(root)
    return [note.text for note in plain_service.notes if note.kind == kind]


HELPER = """
from alembic import op

ROWS = "SELECT 1"

def add(name):
    op.execute(f"CREATE TABLE {name} (id int)")
    check(name)

def check(name):
    if op.get_bind().dialect.name == "mysql":
        return op.get_bind().execute("SELECT DATABASE()").fetchall()

def old(name):
    op.execute("DROP TABLE a; DROP TABLE b")
    return op.get_bind().execute(ROWS).fetchall()
"""
COMMANDS = """
import alembic.command

def connect(connection):
    connection.cursor().execute("PRAGMA foreign_keys=ON")

def add(name):
    alembic.command.upgrade(None, name)
"""


@pytest.mark.parametrize("text", [HELPER, COMMANDS], ids=["a function that nothing calls", "a file of commands"])
def test_what_no_revision_does_needs_no_other_driver(text: str, tmp_path: Path) -> None:
    first = "from shop.helpers import add\n" + revision("0001", None, "add('a')")
    service(tmp_path, **{"alembic/versions/0001_first.py": first, "shop/helpers.py": text})
    assert notes(tmp_path, "driver") == []


@pytest.mark.parametrize("call", ["old('a')", "way('a')", "from shop.helpers import old as drop\ndrop('a')"])
def test_what_a_revision_calls_of_a_helper_needs_the_other_driver(call: str, tmp_path: Path) -> None:
    first = "from shop.helpers import old\nfrom shop.more import way\n" + revision("0001", None, call)
    service(tmp_path, **{"alembic/versions/0001_first.py": first, "shop/helpers.py": HELPER})
    more = "from alembic import op\nfrom shop.helpers import old\n"
    more += "def way(name):\n    op.execute('SELECT 1')\n    old(name)\n"
    write(tmp_path, {"apps/shop/shop/more.py": more})
    assert [text.partition(":")[0] for text in notes(tmp_path, "driver")] == [
        "2 statements in one text, and asyncpg takes one.",
        "it reads rows, and asyncpg has other values for some types",
    ]


def test_rows_that_only_another_database_gives_need_no_other_driver(tmp_path: Path) -> None:
    body = """
    bind = op.get_bind()
    if bind.dialect.name == "mysql":
        bind.execute(sa.text("SELECT DATABASE()")).scalar()
    """
    service(tmp_path, **{"alembic/versions/0001_first.py": revision("0001", None, body)})
    assert notes(tmp_path, "driver") == []


def test_a_helper_of_which_revisions_take_a_constant_alone_needs_no_other_driver(tmp_path: Path) -> None:
    first = "from shop.helpers import ROWS\n" + revision("0001", None, "op.execute(ROWS)")
    service(tmp_path, **{"alembic/versions/0001_first.py": first, "shop/helpers.py": HELPER})
    assert notes(tmp_path, "driver") == []
