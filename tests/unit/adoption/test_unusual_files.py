"""What ``db.adopt`` reads of files in unusual forms, where plain Alembic does what it always does."""

from pathlib import Path

import pytest

from service_migrations.adoption.plain_service import PlainService
from service_migrations.adoption.survey import survey
from tests.support.plain_alembic import INI, env, service, write

HELPER = """
from alembic import context

def run(metadata, **options):
    context.configure(url="postgresql://h/d", target_metadata=metadata, **options)
    context.run_migrations()
"""


def only(root: Path) -> PlainService:
    services = survey(root)
    assert len(services) == 1, services
    return services[0]


def notes(found: PlainService, kind: str) -> list[str]:
    return [note.text for note in found.notes if note.kind == kind]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("from alembic import context as ctx", "ctx."),
        ("import alembic.context as ctx", "ctx."),
        ("import alembic as a", "a.context."),
        ("from alembic.context import configure as set_up; from alembic import context", ""),
    ],
)
def test_the_options_of_a_context_under_another_name_are_read(tmp_path: Path, line: str, name: str) -> None:
    """With the usual version table instead, the first upgrade would run the whole history again."""
    text = env(options=', version_table="orders_version"').replace("from alembic import context\n", f"{line}\n")
    text = text.replace("context.configure", f"{name}configure" if name else "set_up")
    text = text.replace("    context.", f"    {name or 'context.'}").replace("if context.", f"if {name or 'context.'}")
    service(tmp_path, **{"alembic/env.py": text})
    found = only(tmp_path)
    assert found.version_table == "orders_version"
    assert notes(found, "hook") == []


def test_an_environment_that_leaves_configure_to_another_file_names_its_version_table(tmp_path: Path) -> None:
    text = """
    from shop.environment import run
    from shop.models import Base
    run(Base.metadata, version_table="orders_version")
    """
    service(tmp_path, **{"alembic/env.py": text, "shop/environment.py": HELPER})
    found = only(tmp_path)
    assert found.version_table == "orders_version"
    assert notes(found, "hook") == []


CONFIGURED = """
import os
from alembic import context
from shop.models import Base
TABLE = "of_the_file"
OPTIONS = dict(target_metadata=Base.metadata)
{before}
def run():
    {inside}
    context.configure(url=os.environ["DATABASE_URL"], target_metadata=Base.metadata, {options})
run()
"""


@pytest.mark.parametrize(
    ("before", "inside", "options"),
    [
        ('OPTIONS["version_table"] = "orders_version"', "pass", "**OPTIONS"),
        ('OPTIONS.update(version_table="orders_version")', "pass", "**OPTIONS"),
        ('OPTIONS |= {"version_table": "orders_version"}', "pass", "**OPTIONS"),
        ("", 'OPTIONS["version_table"] = "orders_version"', "**OPTIONS"),
        ('MORE = {**OPTIONS, "version_table": "orders_version"}', "pass", "**MORE"),
        ('MORE = OPTIONS | {"version_table": "orders_version"}', "pass", "**MORE"),
        ('MORE = dict(OPTIONS, version_table="orders_version")', "pass", "**MORE"),
        ('OTHER, NAME = 1, "orders_version"', "pass", "version_table=NAME"),
        ("", 'TABLE = "orders_version"', "version_table=TABLE"),
    ],
)
def test_options_that_are_put_together_are_read(tmp_path: Path, before: str, inside: str, options: str) -> None:
    service(tmp_path, **{"alembic/env.py": CONFIGURED.format(before=before, inside=inside, options=options)})
    found = only(tmp_path)
    assert found.version_table == "orders_version"
    assert not any("can't be read" in note.text for note in found.notes)


@pytest.mark.parametrize(
    ("before", "options"),
    [
        ('if os.environ.get("OTHER"):\n    TABLE = "of_another"', "version_table=TABLE"),
        ("", 'version_table="one" if os.environ.get("OTHER") else "two"'),
        ("", 'version_table="one")\n    context.configure(version_table="two"'),
    ],
    ids=["a branch", "a condition", "two calls"],
)
def test_a_version_table_that_depends_on_something_is_not_guessed(tmp_path: Path, before: str, options: str) -> None:
    service(tmp_path, **{"alembic/env.py": CONFIGURED.format(before=before, inside="pass", options=options)})
    assert "version_table can't be read from it; set version_table in the table." in notes(only(tmp_path), "to do")


def test_options_that_are_only_partly_in_the_file_say_so(tmp_path: Path) -> None:
    text = CONFIGURED.format(before="OPTIONS.update(os.environ)", inside="pass", options="**OPTIONS")
    service(tmp_path, **{"alembic/env.py": text})
    assert "options of configure() can't be read from it: **OPTIONS." in notes(only(tmp_path), "hook")


def test_ids_of_one_assignment_are_read(tmp_path: Path) -> None:
    service(tmp_path, **{"alembic/versions/0002_second.py": 'revision, down_revision = "0002", "0001"\n'})
    assert only(tmp_path).revisions.heads == ("0002",)


def test_an_option_that_names_options_which_name_others_is_filled_in(tmp_path: Path) -> None:
    """Names have dots too, and a circle ends."""
    ini = """
    [alembic]
    base = %(here)s/database
    script_location = %(base)s/alembic
    version_locations = %(script_location)s/versions
    db.host = localhost
    db.circle = %(db.circle)s
    sqlalchemy.url = postgresql://%(DB_USER)s@%(db.host)s/shop%(db.circle)s
    """
    service(tmp_path, **{"alembic.ini": ini})
    folder = tmp_path / "apps/shop"
    (folder / "database").mkdir()
    (folder / "alembic").rename(folder / "database/alembic")
    found = only(tmp_path)
    assert found.config == folder / "alembic.ini"
    assert found.version_locations == (folder / "database/alembic/versions",)
    assert "DB_USER" in found.dsn.description


def test_two_databases_whose_names_differ_in_case_are_two(tmp_path: Path) -> None:
    for name, database in (("one", "Shop"), ("two", "shop")):
        service(tmp_path, f"apps/{name}", **{".env": f"DATABASE_URL=postgresql://u@localhost/{database}\n"})
    assert [plain_service.state for plain_service in survey(tmp_path)] == ["new", "new"]


def test_the_usual_port_is_the_same_server(tmp_path: Path) -> None:
    for name, host in (("one", "LOCALHOST:5432"), ("two", "localhost")):
        service(tmp_path, f"apps/{name}", **{".env": f"DATABASE_URL=postgresql://u@{host}/shop\n"})
    assert [plain_service.state for plain_service in survey(tmp_path)] == ["blocked", "blocked"]


def test_an_option_of_new_revisions_that_is_a_number_of_toml_is_there(tmp_path: Path) -> None:
    write(tmp_path, {"pyproject.toml": "[tool.alembic]\ntruncate_slug_length = 30\n"})
    service(tmp_path, **{"alembic.ini": f"{INI}truncate_slug_length = 30\n"})
    assert not any("truncate_slug_length" in text for text in notes(only(tmp_path), "to do"))


OTHER = ".env of the top level has DATABASE_DSN, which counts here unless the environment has DATABASE_URL. "


@pytest.mark.parametrize(
    ("own", "shared", "expected"),
    [
        ("DATABASE_URL=postgresql://u@h/orders", "", []),
        ("", "DATABASE_URL=postgresql://u@h/orders", [f"{OTHER}Set DATABASE_DSN in apps/shop/.env."]),
        ("", "", [f"{OTHER}Set DATABASE_DSN in apps/shop/.env."]),
        ("", "DATABASE_URL=postgresql://other@h:5432/billing", []),
    ],
    ids=["its own .env", "the shared .env", "the environment", "one database"],
)
def test_the_dsn_of_the_top_level_is_not_taken_for_that_of_a_service_with_another_variable(
    tmp_path: Path, own: str, shared: str, expected: list[str]
) -> None:
    """It may be the database of another service."""
    write(tmp_path, {".env": f"DATABASE_DSN=postgresql://u@h/billing\n{shared}\n"})
    service(tmp_path, **{".env": f"{own}\n"})
    found = only(tmp_path)
    assert found.dsn.dsn_key == "DATABASE_URL"
    assert notes(found, "to do") == expected


def test_a_dsn_of_an_ini_file_is_not_replaced_by_that_of_the_top_level(tmp_path: Path) -> None:
    write(tmp_path, {".env": "DATABASE_DSN=postgresql://u@h/billing\n"})
    ini = INI.replace("%(DATABASE_URL)s", "postgresql://u@h/orders")
    service(tmp_path, **{"alembic.ini": ini})
    assert notes(only(tmp_path), "to do")[0].startswith("apps/shop/alembic.ini:5 has the DSN itself.")


FLASK = """
from alembic import context
from flask import current_app

context.configure(target_metadata=current_app.extensions["migrate"].db.metadata)
context.run_migrations()
"""


@pytest.mark.parametrize("text", [FLASK, FLASK.replace("flask", "advanced_alchemy")], ids=["flask", "alchemy"])
def test_a_link_of_an_editor_that_leads_nowhere_is_passed_over(tmp_path: Path, text: str) -> None:
    """Emacs has one for each file that is being edited."""
    options = "target_metadata=None, version_table=config.version_table_name"
    text = text.replace("context.configure(target", f"config = context.config\ncontext.configure({options}, target")
    service(tmp_path, **{"alembic.ini": None, "alembic/env.py": text})
    for folder in ("apps/shop", "apps/shop/alembic"):
        (tmp_path / folder / ".#env.py").symlink_to("nobody@nowhere.1")
        (tmp_path / folder / "gone.py").symlink_to("nowhere")
    (tmp_path / "apps/other/versions").mkdir(parents=True)
    (tmp_path / "apps/other/env.py").symlink_to("nowhere")
    assert only(tmp_path).state in ("new", "blocked")
