"""Sections and ini files with the same revisions: one is read, and what the others have of their own is named."""

from pathlib import Path

import pytest

from service_migrations.adoption.survey import survey
from tests.support.plain_alembic import service

FIRST = "[alembic]\nscript_location = alembic\nsqlalchemy.url = postgresql://u@h/shop\n"
SECOND = "[{}]\nscript_location = alembic\nsqlalchemy.url = postgresql://u@h/{}\n"
UNREAD = "its own sqlalchemy.url is not; name its database by DATABASE_DSN in the environment."


def others(root: Path) -> list[str]:
    """Return the notes of the one service on further sections."""
    (plain_service,) = survey(root)
    return [str(note) for note in plain_service.notes if "has the same revisions as" in note.text]


def test_a_section_with_the_same_revisions_is_named(tmp_path: Path) -> None:
    """With nothing said, `alembic -n billing` has a database that nobody upgrades from the day of adoption on."""
    service(tmp_path, **{"alembic.ini": FIRST + SECOND.format("billing", "billing")})
    text = "[billing] has the same revisions as [alembic], whose options are read"
    assert others(tmp_path) == [f"to do: apps/shop/alembic.ini:6: {text}: {UNREAD}"]


@pytest.mark.parametrize("name", ["alembic-tests.ini", "tests/alembic.ini"])
def test_a_file_with_the_same_revisions_is_named(name: str, tmp_path: Path) -> None:
    text = SECOND.format("alembic", "tests")
    text = text.replace("= alembic", "= %(here)s/../alembic") if "/" in name else text
    service(tmp_path, **{"alembic.ini": FIRST, name: text})
    text = "[alembic] has the same revisions as [alembic] of apps/shop/alembic.ini, whose options are read"
    assert others(tmp_path) == [f"to do: apps/shop/{name}:3: {text}: {UNREAD}"]


def test_an_option_that_only_another_section_has_is_named(tmp_path: Path) -> None:
    text = SECOND.format("audit", "shop") + "version_table = audit_version\n"
    service(tmp_path, **{"alembic.ini": FIRST + text})
    text = "[audit] has the same revisions as [alembic], whose options are read"
    assert others(tmp_path) == [f"to do: apps/shop/alembic.ini:7: {text}: its own version_table is not."]


def test_what_differs_in_nothing_that_is_run_is_not_named(tmp_path: Path) -> None:
    text = SECOND.format("again", "shop") + "timezone = UTC\n"
    service(tmp_path, **{"alembic.ini": FIRST + text})
    assert others(tmp_path) == []


def test_a_pyproject_toml_beside_an_ini_is_read_with_it(tmp_path: Path) -> None:
    table = '[tool.alembic]\nscript_location = "%(here)s/alembic"\n'
    service(tmp_path, **{"alembic.ini": FIRST, "pyproject.toml": table})
    assert others(tmp_path) == []
