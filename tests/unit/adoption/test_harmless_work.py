"""What an env.py and its revisions do that needs no place here."""

from pathlib import Path

import pytest

from service_migrations.adoption.survey import survey
from tests.support.plain_alembic import INI, env, revision, service, write

HARMLESS = {
    "logs": "import logging\nlogging.getLogger('alembic.env').info('begins')",
    "a level": "import logging\nlogging.getLogger('alembic').setLevel(logging.INFO)",
    "a handler": "import logging\nhandler = logging.StreamHandler()\nlogger = logging.getLogger('alembic')\n"
    "handler.setFormatter(logging.Formatter('%s'))\nlogger.addHandler(handler)",
    "options under another name": "settings_of = context.config\nsettings_of.set_main_option('x', 'y')",
    "options of a module under another name": "import alembic.context\nown = alembic.context.config\n"
    "own.set_main_option('x', 'y')",
    "SQL of SQLite": "from sqlalchemy import text\ndef prepare(connection):\n"
    "    connection.execute(text('PRAGMA foreign_keys=OFF'))\n    connection.exec_driver_sql('begin immediate')",
}


def notes(root: Path, kind: str) -> list[str]:
    (plain_service,) = survey(root)
    return [note.text for note in plain_service.notes if note.kind == kind]


@pytest.mark.parametrize("name", HARMLESS)
def test_work_that_needs_no_place_is_no_hook(name: str, tmp_path: Path) -> None:
    service(tmp_path, **{"alembic/env.py": env(before=HARMLESS[name])})
    assert notes(tmp_path, "hook") == []


def test_other_work_at_import_is_a_hook(tmp_path: Path) -> None:
    before = "from shop.start import begin\nbegin()"
    service(tmp_path, **{"alembic/env.py": env(before=before), "shop/start.py": "def begin(): ...\n"})
    assert notes(tmp_path, "hook") == ["it does something at import: begin()."]


def test_a_folder_named_as_alembic_is_not_what_a_revision_imports(tmp_path: Path) -> None:
    ini = INI.replace("prepend_sys_path = .", "prepend_sys_path = lib")
    service(tmp_path, **{"alembic.ini": ini, "lib/alembic/__init__.py": "op = None\n"})
    assert [text for text in notes(tmp_path, "to do") if "it imports alembic" in text] == []


def test_a_member_of_an_enum_is_no_session_of_an_application(tmp_path: Path) -> None:
    text = env(imports="from flask import current_app\nfrom shop.models import Base")
    first = "from shop.kinds import Kind\n" + revision("0001", None, "op.execute(str({Kind.session, Kind.talk}))")
    service(tmp_path, **{"alembic/env.py": text, "alembic/versions/0001_first.py": first})
    write(tmp_path, {"apps/shop/shop/kinds.py": "import enum\nclass Kind(enum.Enum):\n    session = 1\n    talk = 2\n"})
    assert [text for text in notes(tmp_path, "to do") if "connection of the application" in text] == []
