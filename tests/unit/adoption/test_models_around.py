"""Models of a base that is a library's, or tables of a plain class, and what is proposed for a base of its own."""

from pathlib import Path

import pytest

from service_migrations.adoption.plain_service import PlainService
from service_migrations.adoption.survey import survey
from tests.support.plain_alembic import env, revision, service, write
from tests.support.plain_models import BASE, NUMBER, assembled, classes

LIBRARY = "from depot_lib.db import model_base\n"
ITEM = f"{LIBRARY}{NUMBER}class Item(model_base.Own):\n    __tablename__ = 'items'\n    id = Column(Integer)\n"
CATALOGUE = """
from sqlalchemy import Column, Integer, MetaData, Table
class Catalogue:
    metadata = MetaData()
    items = Table("items", metadata, Column("id", Integer, primary_key=True))
    parts = Table("parts", metadata, Column("id", Integer, primary_key=True))
"""


def only(root: Path) -> PlainService:
    (plain_service,) = survey(root)
    return plain_service


def plugin(root: Path, files: dict[str, str], *, neighbour: bool = False) -> None:
    """Write a package whose history is two folders below its models."""
    location = "shop/db/migration/alembic_migrations"
    text = env(imports="from depot_lib.db import model_base").replace("Base.metadata", "model_base.Own.metadata")
    given = {f"{location}/env.py": text, f"{location}/versions/0001_first.py": revision("0001", None), **files}
    if neighbour:
        given |= {"shop/other/env.py": text, "shop/other/versions/0002_first.py": revision("0002", None)}
    packages = {f"{name}/__init__.py": "" for name in ("shop", "shop/db", "shop/db/migration", "shop/tests")}
    write(root, packages | given)


def test_models_of_a_librarys_base_are_found_in_the_package_around(tmp_path: Path) -> None:
    other = f"from elsewhere import Base\n{classes('Other')}"
    plugin(tmp_path, {"shop/db/items.py": ITEM, "shop/db/other.py": other, "shop/tests/test_items.py": ITEM})
    found = only(tmp_path)
    assert found.state == "new", found.notes
    assert found.models
    assert (found.models.name, found.models.source, found.models.others) == ("shop.db.items", tmp_path, ())


def test_a_package_that_has_other_histories_is_not_searched(tmp_path: Path) -> None:
    plugin(tmp_path, {"shop/items.py": ITEM}, neighbour=True)
    assert [service.models for service in survey(tmp_path) if "migration" in service.path.parts] == [None]


def test_a_metadata_of_a_library_is_proposed_with_its_whole_name(tmp_path: Path) -> None:
    names = "ABCDEFGH"
    text = LIBRARY + classes(*names).replace("(Base)", "(model_base.Own)")
    plugin(tmp_path, {"shop/db/items.py": text})
    models = only(tmp_path).models
    assert models
    assert models.export == 'metadata = model_base.Own.metadata; __all__ = ["metadata"]'


def test_a_class_that_a_library_may_name_a_table_for_is_not_left_out(tmp_path: Path) -> None:
    plugin(tmp_path, {"shop/db/items.py": f"{ITEM}class Part(model_base.Own):\n    id = Column(Integer)\n"})
    models = only(tmp_path).models
    assert models
    assert models.export == 'metadata = model_base.Own.metadata; __all__ = ["metadata"]'


def test_tables_in_the_body_of_a_class_are_tables(tmp_path: Path) -> None:
    imports = "from shop.models import Catalogue"
    text = env(imports=imports).replace("Base.metadata", "Catalogue.metadata")
    service(tmp_path, **{"alembic/env.py": text, "shop/models.py": CATALOGUE})
    found = only(tmp_path)
    assert found.models
    assert (found.models.name, found.models.export) == (
        "shop.models",
        'metadata = Catalogue.metadata; __all__ = ["metadata"]',
    )
    assert assembled(tmp_path, found) == ("2", "")


@pytest.mark.parametrize(
    "imports",
    ["from shop import base\nfrom shop import extra", "from shop import extra\nfrom shop import base"],
)
def test_another_base_than_that_of_env_py_is_not_proposed_alone(tmp_path: Path, imports: str) -> None:
    text = env(imports=imports, before="for table in extra.Own.metadata.sorted_tables: table.to_metadata(base)")
    extra = f"from sqlalchemy.orm import declarative_base\nfrom shop.base import A\nOwn = declarative_base()\n{NUMBER}"
    extra += "".join(
        f"class {name}(Own):\n    __tablename__ = '{name.lower()}'\n    id = Column(Integer, primary_key=True)\n"
        for name in "CDEFGHIJ"
    )
    files = {
        "alembic/env.py": text.replace("= Base.metadata", "= base.Base.metadata"),
        "shop/models.py": None,
        "shop/base.py": BASE + classes("A", "B"),
        "shop/extra.py": extra,
    }
    service(tmp_path, **files)
    models = only(tmp_path).models
    assert models
    assert (models.name, models.export) == ("shop.extra", "__all__ = [...], with the name of every model")


def test_a_base_with_a_table_of_its_own_is_not_proposed_for_the_tables_of_another(tmp_path: Path) -> None:
    """An env.py that leaves all to a class of the team names no metadata."""
    text = "from alembic import context\nfrom shop.runner import Runner\nRunner(context).run()\n"
    runner = f"{BASE}{classes('Version')}from shop import models\nclass Runner:\n    pass\n"
    service(tmp_path, **{"alembic/env.py": text, "shop/runner.py": runner})
    models = only(tmp_path).models
    assert models
    assert (models.name, models.export) == ("shop.runner", "__all__ = [...], with the name of every model")
