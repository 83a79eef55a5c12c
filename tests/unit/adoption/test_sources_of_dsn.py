"""Where a DSN isn't from: an empty option, a name of a dialect, what env.py computes, and tests of an application."""

from pathlib import Path

import pytest

from service_migrations.adoption.plain_service import PlainService
from service_migrations.adoption.survey import survey
from tests.support.plain_alembic import INI, env, revision, service, write

FLASK = (
    "from flask import current_app\nfrom shop.models import Base",
    "config.set_main_option('sqlalchemy.url', current_app.config.get('SQLALCHEMY_DATABASE_URI'))",
    ", **current_app.extensions['migrate'].configure_args",
)
READS = "import os\nSQLALCHEMY_DATABASE_URI = os.environ['{}']\n"


def only(root: Path) -> PlainService:
    (plain_service,) = survey(root)
    return plain_service


def to_do(found: PlainService) -> list[str]:
    return [note.text for note in found.notes if note.kind == "to do"]


@pytest.mark.parametrize("url", ['""', "postgresql://", "postgresql+psycopg2://"])
def test_a_url_without_anything_is_no_dsn(tmp_path: Path, url: str) -> None:
    service(tmp_path, **{"alembic.ini": INI.replace("%(DATABASE_URL)s", url)})
    found = only(tmp_path)
    assert found.dsn.description == "unknown"
    assert to_do(found) == ["apps/shop/alembic.ini:5 has no DSN. Set DATABASE_DSN in apps/shop/.env."]


@pytest.mark.parametrize("url", ["sqlite://", "postgresql+psycopg2://"])
def test_an_engine_with_its_own_connections_has_no_dsn(tmp_path: Path, url: str) -> None:
    before = f"""
from sqlalchemy import create_engine
from shop.keys import opened, given
config.set_main_option("sqlalchemy.url", given())
def engine():
    return create_engine({url!r}, creator=opened)
"""
    service(tmp_path, **{"alembic/env.py": env(before=before)})
    found = only(tmp_path)
    assert (found.state, found.dsn.description) == ("new", "unknown")


def test_an_option_that_env_py_computes_is_no_variable(tmp_path: Path) -> None:
    before = "from shop.keys import given\nconfig.set_section_option('alembic', 'DATABASE_URL', given())"
    service(tmp_path, **{"alembic/env.py": env(before=before)})
    found = only(tmp_path)
    assert (found.dsn.dsn_key, found.dsn.description) == (None, "unknown")


def test_the_configuration_of_tests_is_not_the_applications(tmp_path: Path) -> None:
    service(tmp_path, **{"alembic/env.py": env(*FLASK), "shop/tests/conf.py": READS.format("TEST_URL")})
    assert only(tmp_path).dsn.description == "unknown"
    write(
        tmp_path, {"apps/shop/shop/config.py": "import os\nclass TestingConfig:\n    SQLALCHEMY_DATABASE_URI = 'a'\n"}
    )
    assert only(tmp_path).dsn.description == "unknown"
    write(tmp_path, {"apps/shop/shop/wsgi.py": READS.format("SHOP_URL")})
    assert only(tmp_path).dsn.dsn_key == "SHOP_URL"


def test_an_application_above_the_directory_of_its_history_is_read(tmp_path: Path) -> None:
    models = "from shop.db.base import Base\n"
    app = "from flask_migrate import Migrate\nmigrate = Migrate(None, None, version_table='shop_version')\n"
    files = {
        "shop/__init__.py": "",
        "shop/db/__init__.py": models,
        "shop/app.py": READS.format("SHOP_URL") + app,
        "shop/db/migrations/env.py": env(*FLASK),
        "shop/db/migrations/versions/0001_first.py": revision("0001", None),
    }
    write(tmp_path, files)
    found = only(tmp_path)
    assert (found.dsn.dsn_key, found.version_table, found.hooks) == ("SHOP_URL", "shop_version", ())


def test_the_place_of_an_applications_dsn_is_named(tmp_path: Path) -> None:
    config = "class Config:\n    SQLALCHEMY_DATABASE_URI = 'postgresql://shop:secret@db/shop'\n"
    service(tmp_path, **{"alembic/env.py": env(*FLASK), "shop/config.py": config})
    (text,) = [text for text in to_do(only(tmp_path)) if "DSN itself" in text]
    assert text.startswith("apps/shop/shop/config.py:2 has the DSN itself.")


def test_revisions_of_folders_that_are_not_known_are_not_judged(tmp_path: Path) -> None:
    versions = {f"alembic/versions/{name}/0001_first.py": revision("0001", None) for name in ("one", "two")}
    text = env(before="context.script.version_locations = [chosen(config)]\ndef chosen(config): ...")
    service(tmp_path, **{"alembic/env.py": text, "alembic/versions/0001_first.py": None, **versions})
    found = only(tmp_path)
    blocked = [note.text for note in found.notes if note.kind == "blocked"]
    assert len(blocked) == 1
    assert "it sets the folders of its revisions" in blocked[0]
    assert "head not known" in found.summary()


@pytest.mark.parametrize(
    ("options", "expression", "expected"),
    [
        ('env_nested_delimiter="__"', "settings.db.url", "DB__URL"),
        ('env_nested_delimiter="__", env_prefix="SHOP_"', "str(settings.db.url)", "SHOP_DB__URL"),
        ('env_nested_delimiter="_"', "settings.outer.db.url", "OUTER_DB_URL"),
        ('env_nested_delimiter="__"', "settings.db.inherited", "DB__INHERITED"),
        ('env_nested_delimiter="__"', "settings.own.url", "OWN_URL"),
        ('extra="ignore"', "settings.db.url", None),
    ],
)
def test_settings_inside_of_settings_have_the_variable_of_both_names(
    options: str, expression: str, expected: str | None, tmp_path: Path
) -> None:
    text = f"""
from pydantic import BaseModel
from pydantic_settings import BaseSettings, SettingsConfigDict
class Common(BaseModel):
    inherited: str
class Database(Common):
    url: str
class Outer(BaseModel):
    db: Database
class Own(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="OWN_")
    url: str
class Settings(BaseSettings):
    model_config = SettingsConfigDict({options})
    db: Database
    outer: Outer
    own: Own = Own()
settings = Settings()
"""
    before = f"from shop.settings import settings\nconfig.set_main_option('sqlalchemy.url', {expression})"
    service(tmp_path, **{"alembic/env.py": env(before=before), "shop/settings.py": text})
    assert only(tmp_path).dsn.dsn_key == expected
