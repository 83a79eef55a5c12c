"""What ``db.adopt`` finds where a history leaves to others what it usually says itself."""

from pathlib import Path

import pytest

from service_migrations.adoption.survey import survey
from tests.support.plain_alembic import INI, env, revision, service

BASE = "from helpers_of_others import Base"


def test_an_env_py_that_leaves_everything_to_a_module_of_several_histories_is_found(tmp_path: Path) -> None:
    shared = (
        "from shop.shared import migrate\nfrom shop.models import Base\nmigrate.run(Base.metadata, 'shop_version')\n"
    )
    files = {"alembic/env.py": shared, "alembic.ini": ""}
    service(tmp_path, **files)
    (plain_service,) = survey(tmp_path)
    assert (list(plain_service.revisions.down), plain_service.models and plain_service.models.name) == (
        ["0001"],
        "shop.models",
    )
    text = "apps/shop/alembic/env.py:1: it doesn't call context.configure() itself, so the options aren't known."
    assert f"hook: {text}" in map(str, plain_service.notes)


def test_an_env_py_of_something_else_is_no_history(tmp_path: Path) -> None:
    files = {"alembic/env.py": "import shop\n", "alembic/versions/0001_first.py": "x = 1\n", "alembic.ini": ""}
    service(tmp_path, **files)
    assert survey(tmp_path) == ()


@pytest.mark.parametrize("top", ["", "alembic"])
def test_an_ini_inside_of_its_scripts_is_run_in_a_folder_above(tmp_path: Path, top: str) -> None:
    """A folder of that name at the top level, such as the shared one, isn't meant."""
    if top:
        (tmp_path / top).mkdir()
    service(tmp_path, **{"alembic/alembic.ini": INI, "alembic.ini": ""})
    (plain_service,) = survey(tmp_path)
    assert (plain_service.state, plain_service.relative(plain_service.script_location)) == ("new", "apps/shop/alembic")
    assert plain_service.relative(plain_service.path) == "apps/shop"


def test_an_ini_in_scripts_that_others_share_is_no_history(tmp_path: Path) -> None:
    service(
        tmp_path,
        **{"shared/scripts/alembic.ini": INI.replace("= alembic", "= scripts"), "shared/scripts/env.py": env()},
    )
    assert [plain_service.name for plain_service in survey(tmp_path)] == ["shop"]


def test_the_metadata_of_a_library_is_exported_by_its_import(tmp_path: Path) -> None:
    """And a class that the application imports for itself is no model."""
    files = {
        "alembic/env.py": env(imports=f"{BASE}\nfrom shop.app import create"),
        "shop/app.py": "from shop.proxy import Proxy\nfrom shop import models\n\ncreate = Proxy\n",
        "shop/proxy.py": "class Proxy:\n    pass\n",
        "shop/models.py": f"{BASE}\n\n\nclass Order(Base):\n    __tablename__ = 'orders'\n",
    }
    service(tmp_path, **files)
    (plain_service,) = survey(tmp_path)
    assert plain_service.models is not None
    line = f'{BASE}; metadata = Base.metadata; __all__ = ["metadata"]'
    assert (plain_service.models.name, plain_service.models.export) == ("shop.app", line)


FLASK = "from shop.database import db\n{}\n\nclass {}(db.Model):\n    __tablename__ = {!r}\n"


@pytest.mark.parametrize(
    ("imports", "other", "expected"),
    [
        ("from shop.lines import Line", FLASK.format("", "Line", "lines"), '__all__ = ["Line", "Order"]'),
        ("from shop import lines", FLASK.format("", "Line", "lines"), 'metadata = db.metadata; __all__ = ["metadata"]'),
        ("from shop.lines import add", "def add():\n    pass\n", '__all__ = ["Order"]'),
        ("from shop.lines import Helper", "class Helper:\n    pass\n", '__all__ = ["Order"]'),
    ],
    ids=["by name", "as a module", "a function", "another class"],
)
def test_models_are_listed_only_where_the_list_has_all_of_them(
    tmp_path: Path, imports: str, other: str, expected: str
) -> None:
    files = {
        "alembic/env.py": env(imports="from shop.models import Order", before="").replace("Base.", "current().db."),
        "shop/models.py": FLASK.format(imports, "Order", "orders"),
        "shop/lines.py": other,
        "shop/database.py": "from flask_sqlalchemy import SQLAlchemy\n\ndb = SQLAlchemy()\n",
    }
    service(tmp_path, **files)
    (plain_service,) = survey(tmp_path)
    assert plain_service.models is not None
    assert (plain_service.models.name, plain_service.models.export) == ("shop.models", expected)


TYPE = """
import sqlalchemy as sa
from sqlalchemy import types


class Encoded(types.TypeDecorator):
    impl = sa.Text

    def load_dialect_impl(self, dialect):
        return dialect.type_descriptor({})
"""


@pytest.mark.parametrize(
    ("descriptor", "expected"),
    [
        ("sa.Text()", "dialect.type_descriptor(sa.Text()) is VARCHAR over asyncpg"),
        ("types.UnicodeText", "dialect.type_descriptor(types.UnicodeText) is VARCHAR over asyncpg"),
        (
            "sa.TIMESTAMP(precision=3)",
            "dialect.type_descriptor(sa.TIMESTAMP(precision=3)) is TIMESTAMP without its precision over asyncpg",
        ),
        ("sa.String(40)", None),
        ("sa.CHAR(36)", None),
        ("sa.TIMESTAMP(timezone=True)", None),
    ],
)
def test_a_type_that_is_another_one_over_asyncpg_needs_psycopg(
    tmp_path: Path, descriptor: str, expected: str | None
) -> None:
    files = {
        "shop/types.py": TYPE.format(descriptor),
        "alembic/versions/0002.py": "from shop.types import Encoded\n" + revision("0002", "0001"),
    }
    service(tmp_path, **files)
    (plain_service,) = survey(tmp_path)
    notes = [str(note) for note in plain_service.notes if note.kind == "driver"]
    assert notes == ([f"driver: apps/shop/shop/types.py:10: {expected}."] if expected else [])
    assert plain_service.driver == ("psycopg" if expected else None)
