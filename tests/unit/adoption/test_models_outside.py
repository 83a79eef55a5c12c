"""Models that an env.py doesn't import: found by its base, in the package of that."""

from pathlib import Path

import pytest

from service_migrations.adoption.plain_service import PlainService
from service_migrations.adoption.survey import survey
from tests.support.plain_alembic import env, revision, write
from tests.support.plain_models import AUTOMATIC, BASE, assembled, classes, unnamed

INI = "[alembic]\nscript_location = %(here)s/{}\n"


def package(
    root: Path, location: str, files: dict[str, str], ini: str | None = None, imports: str | None = None
) -> None:
    """Write a package whose alembic.ini, if any, is beside its env.py or above it."""
    text = env(imports=imports or "from shop.db.base import Base")
    given = {f"{location}/env.py": text, f"{location}/versions/0001_first.py": revision("0001", None), **files}
    if ini:
        given[f"{Path(location).parent}/alembic.ini"] = INI.format(ini)
    write(root, {"shop/__init__.py": "", "shop/db/__init__.py": "", "shop/db/base.py": BASE, **given})


def only(root: Path) -> PlainService:
    (service,) = survey(root)
    return service


LAYOUTS: dict[str, tuple[dict[str, str], str, str, int]] = {
    "a package of models": (
        {
            "shop/model/__init__.py": "",
            "shop/model/a.py": f"from shop.db.base import Base\n{classes('A')}",
            "shop/model/b.py": f"from shop.db.base import Base\n{classes('B')}",
            "shop/rest/orders.py": "from shop.model.a import A\nclass Resource(A):\n    __abstract__ = True\n",
        },
        "shop.model",
        'from shop.db.base import Base; metadata = Base.metadata; __all__ = ["metadata"]',
        2,
    ),
    "a module beside the history": (
        {
            "shop/db/sqlalchemy/__init__.py": "",
            "shop/db/sqlalchemy/models.py": "from shop.db import base as mb\n"
            + classes(*"ABCDEFG").replace("(Base)", "(mb.Base)"),
        },
        "shop.db.sqlalchemy.models",
        'metadata = mb.Base.metadata; __all__ = ["metadata"]',
        7,
    ),
    "a module that only collects": (
        {
            "shop/db/head.py": '"""All."""\nfrom shop.orders import tables  # noqa\n'
            "from shop.bills import tables as bills  # noqa\n",
            "shop/orders/__init__.py": "",
            "shop/orders/tables.py": f"from shop.db.base import Base\n{classes('A')}",
            "shop/bills/__init__.py": "",
            "shop/bills/tables.py": f"from shop.db.base import Base\n{classes('B')}",
            "shop/main.py": "from shop.orders import tables\nfrom shop.bills import tables as bills\nrun = print\n",
        },
        "shop.db.head",
        'from shop.db.base import Base; metadata = Base.metadata; __all__ = ["metadata"]',
        2,
    ),
    "another base beside": (
        {
            "shop/model.py": f"from shop.db.base import Base\n{classes('A')}",
            "shop/cache.py": BASE + classes("B"),
            "shop/tests/__init__.py": "",
            "shop/tests/test_model.py": f"from shop.db.base import Base\n{classes('C')}",
        },
        "shop.model",
        '__all__ = ["Base", "A"]',
        1,
    ),
    "a base whose root and tables are of one metadata": (
        {
            "shop/db/base.py": "from sqlalchemy import MetaData\nnaming = MetaData()\n"
            f"{AUTOMATIC}    metadata = naming\n",
            "shop/model.py": f"from shop.db.base import naming\n{unnamed()}from sqlalchemy import Table\n"
            "links = Table('links', naming, Column('id', Integer))\n",
        },
        "shop.model",
        '__all__ = ["links"]',
        1,
    ),
}


@pytest.mark.parametrize("ini", [None, "alembic"], ids=["no ini file", "ini file"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_models_that_env_py_does_not_import_are_found_by_a_base(name: str, ini: str | None, tmp_path: Path) -> None:
    files, models, export, count = LAYOUTS[name]
    package(tmp_path, "shop/db/migration/alembic", files, ini)
    service = only(tmp_path)
    assert service.state == "new", service.notes
    assert service.models
    assert (service.models.name, service.models.export, service.models.others) == (models, export, ())
    assert assembled(tmp_path, service) == (str(count), "")


def test_modules_of_which_none_brings_all_are_named(tmp_path: Path) -> None:
    parts = {f"shop/{name}/tables.py": f"from shop.db.base import Base\n{classes(name.title())}" for name in "abcdef"}
    package(tmp_path, "shop/db/migration", parts)
    (note,) = [str(note) for note in only(tmp_path).notes if "tables that" in note.text]
    assert note == (
        "to do: shop/a/tables.py: shop.b.tables, shop.c.tables, shop.d.tables and 2 more have tables that "
        "shop.a.tables doesn't import; import them there, or set models to "
        "a module that imports all and has an __all__."
    )


@pytest.mark.parametrize(
    "target",
    [
        "[Base.metadata, Other.metadata]",
        "combine(Base.metadata, other=Other.metadata)",
        "[Base.metadata] + [Other.metadata]",
    ],
)
def test_each_of_several_bases_has_its_models_found(target: str, tmp_path: Path) -> None:
    parts = {
        "shop/model.py": f"from shop.db.base import Base\n{classes('A')}",
        "shop/other.py": (BASE + classes("B")).replace("Base =", "Other =").replace("(Base)", "(Other)"),
    }
    imports = "from shop.db.base import Base\nfrom shop.other import Other\ndef combine(*args, **more): pass\n"
    text = env(imports=imports).replace("target_metadata = Base.metadata", f"target_metadata = {target}")
    package(tmp_path, "shop/db/migration", {**parts, "shop/db/migration/env.py": text})
    models = only(tmp_path).models
    assert models
    assert {models.name, *models.others} == {"shop.model", "shop.other"}


def test_a_package_that_has_the_env_py_is_not_imported_as_a_whole(tmp_path: Path) -> None:
    parts = {f"shop/db/{name}.py": f"from shop.db.base import Base\n{classes(name.title())}" for name in "ab"}
    package(tmp_path, "shop/db/migration", {**parts, "shop/db/migration/__init__.py": ""})
    service = only(tmp_path)
    assert service.models
    assert (service.models.name, service.models.others) == ("shop.db.a", ("shop.db.b",))

    (tmp_path / "shop/db/migration/__init__.py").unlink()  # no import of the package finds it
    service = only(tmp_path)
    assert service.models
    assert (service.models.name, service.models.others) == ("shop.db", ())


def test_models_of_another_service_on_the_same_base_are_its_own(tmp_path: Path) -> None:
    for name in ("orders", "bills"):
        files = {
            f"shop/{name}/__init__.py": "",
            f"shop/{name}/tables.py": f"from shop.db.base import Base\n{classes(name.title())}",
        }
        package(tmp_path, f"shop/{name}/migrations", files)
    models = {service.name: service.models for service in survey(tmp_path)}
    assert {name: (each.name, each.others) for name, each in models.items() if each} == {
        "bills": ("shop.bills.tables", ()),
        "orders": ("shop.orders.tables", ()),
    }


def test_names_that_are_a_circle_end(tmp_path: Path) -> None:
    files = {
        "shop/db/base.py": "from shop.db.other import Base\nfrom shop.db.other import *\n",
        "shop/db/other.py": "from shop.db.base import Base\nfrom shop.db.base import *\n"
        "class A(B): pass\nclass B(A): pass\n",
        "shop/db/c.py": "from shop.db.other import *\nclass C(Base, Nothing):\n    id = Column()\n",
    }
    package(tmp_path, "shop/db/migration", files)
    assert only(tmp_path).state == "blocked"
