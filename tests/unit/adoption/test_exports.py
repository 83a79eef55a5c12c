"""The line that models lack, as ``db.adopt`` proposes it: with it, every table of theirs is found."""

from pathlib import Path

import pytest

from service_migrations.adoption.survey import survey
from tests.support.plain_alembic import env, service
from tests.support.plain_models import AUTOMATIC, BASE, DECORATED, NUMBER, assembled, classes, unnamed

PARTS = {
    "shop/models.py": None,
    "shop/models/a.py": f"from .base import Base\n{classes('A')}",
    "shop/models/b.py": f"from .base import Base\n{classes('B')}",
    "shop/models/base.py": BASE,
}
LAYOUTS: dict[str, tuple[str, dict[str, str | None], str, int]] = {
    "one file": (
        "from shop.models import Base",
        {"shop/models.py": BASE + classes("A", "B")},
        '__all__ = ["Base", "A", "B"]',
        2,
    ),
    "one file with many": (
        "from shop.models import Base",
        {"shop/models.py": BASE + classes(*"ABCDEFGHI")},
        'metadata = Base.metadata; __all__ = ["metadata"]',
        9,
    ),
    "a package that imports its parts": (
        "from shop.models import Base",
        {
            **PARTS,
            "shop/models/__init__.py": "from .base import Base\nfrom .a import A\nfrom .b import B\n",
        },
        'metadata = Base.metadata; __all__ = ["metadata"]',
        2,
    ),
    "a package whose parts env.py imports": (
        "import shop.models.a, shop.models.b\nfrom shop.models.base import Base",
        {**PARTS, "shop/models/__init__.py": ""},
        'from shop.models.base import Base; metadata = Base.metadata; __all__ = ["metadata"]',
        2,
    ),
    "a module that collects": (
        "from shop.all import Base",
        {
            **PARTS,
            "shop/all.py": "from shop.models.base import Base\nfrom shop.models.a import A\n"
            "from shop.models.b import B\n",
            "shop/models/__init__.py": "",
        },
        'metadata = Base.metadata; __all__ = ["metadata"]',
        2,
    ),
    "names by the base": (
        "from shop.models import Base",
        {"shop/models.py": AUTOMATIC + unnamed("A", "B")},
        '__all__ = ["Base", "A", "B"]',
        2,
    ),
    "names by the base of another file, by its module": (
        "from shop import base",
        {
            "shop/models.py": f"from shop import base\n{unnamed(*'ABCDEFG').replace('(Base)', '(base.Base)')}",
            "shop/base.py": AUTOMATIC,
            "alembic/env.py": env(imports="from shop import base").replace("= Base.", "= base.Base."),
        },
        'metadata = base.Base.metadata; __all__ = ["metadata"]',
        7,
    ),
    "a base that two files pass on, the second with a star": (
        "from shop.database import Base",
        {
            "shop/models.py": f"from shop.database import *\n{unnamed(*'AB')}",
            "shop/database.py": "from .base import *\n",
            "shop/base.py": AUTOMATIC,
        },
        '__all__ = ["A", "B"]',
        2,
    ),
    "a base decorated": (
        "from shop.models import Base",
        {"shop/models.py": DECORATED + unnamed("A", "B")},
        '__all__ = ["Base", "A", "B"]',
        2,
    ),
    "a class of a mixin without a table": (
        "from shop.models import Base",
        {
            "shop/models.py": f"class Mixin:\n    __table__ = None\n{AUTOMATIC}{unnamed('A')}".replace(
                "(Base)", "(Mixin, Base)"
            )
        },
        '__all__ = ["Base", "A"]',
        1,
    ),
    "a mixin whose metadata is None": (
        "from shop.models import Mixin as Base",
        {
            "shop/models.py": f"class Mixin:\n    metadata = None\n{BASE}"
            f"{classes(*'ABCDEFG').replace('(Base)', '(Base, Mixin)')}",
            "alembic/env.py": env(imports="from shop.models import Mixin").replace("= Base.", "= Mixin."),
        },
        'metadata = Base.metadata; __all__ = ["metadata"]',
        7,
    ),
    "parts of a package that a module imports relatively": (
        "from shop.all import Base",
        {
            **PARTS,
            "shop/all.py": "from .models.base import Base\nfrom .models import a, b\n",
            "shop/models/__init__.py": "",
        },
        'metadata = Base.metadata; __all__ = ["metadata"]',
        2,
    ),
    "modules that a module beside them imports relatively": (
        "from shop.all import Base",
        {
            "shop/models.py": None,
            "shop/all.py": "from .base import Base\nfrom . import a, b\n",
            "shop/a.py": f"from .base import Base\n{classes('A')}",
            "shop/b.py": f"from . import base\n{classes('B').replace('(Base)', '(base.Base)')}",
            "shop/base.py": BASE,
        },
        'metadata = Base.metadata; __all__ = ["metadata"]',
        2,
    ),
    "a namespace package": (
        "from acme.shop.models import Base",
        {"shop/models.py": None, "acme/shop/models.py": AUTOMATIC + unnamed("A")},
        '__all__ = ["Base", "A"]',
        1,
    ),
    "a package in src": (
        "from shop.base import Base",
        {
            "shop/__init__.py": None,
            "shop/models.py": None,
            "src/shop/base.py": AUTOMATIC,
            "src/shop/orders.py": f"from .base import Base\n{unnamed('A')}",
        },
        '__all__ = ["Base", "A"]',
        1,
    ),
    "two bases": (
        "from shop.models import Base, Other",
        {
            "shop/models.py": f"{BASE}Other = declarative_base()\n{classes('A')}"
            + classes("B").replace("(Base)", "(Other)"),
            "alembic/env.py": env(imports="from shop.models import Base, Other").replace(
                "= Base.metadata", "= [Base.metadata, Other.metadata]"
            ),
        },
        '__all__ = ["A", "B"]',
        2,
    ),
    "a class that has another's metadata": (
        "from shop.models import Manager",
        {
            "shop/models.py": f"{BASE}{classes(*'ABCDEFG')}class Manager:\n    metadata = Base.metadata\n",
            "alembic/env.py": env(imports="from shop.models import Manager").replace("= Base.", "= Manager."),
        },
        'metadata = Manager.metadata; __all__ = ["metadata"]',
        7,
    ),
    "an object that holds the base": (
        "from shop.db import DB",
        {
            "shop/db.py": "from sqlalchemy.orm import declarative_base\nclass Database:\n    def __init__(self):\n"
            "        self.Base = declarative_base()\nDB = Database()\n",
            "shop/models.py": "from sqlalchemy import Column, Integer\nfrom shop.db import DB\n"
            + classes("A", "B").replace("(Base)", "(DB.Base)"),
            "alembic/env.py": env(imports="from shop.db import DB").replace("= Base.", "= DB.Base."),
        },
        'metadata = DB.Base.metadata; __all__ = ["metadata"]',
        2,
    ),
    "a generic class": (
        "from shop.base import Base",
        {
            "shop/base.py": AUTOMATIC,
            "shop/models.py": "from typing import Generic, TypeVar\nfrom shop.base import Base\nT = TypeVar('T')\n"
            f"class Of(Base, Generic[T]):\n    __abstract__ = True\n{unnamed('A').replace('(Base)', '(Of[int])')}",
        },
        '__all__ = ["Base", "A"]',
        1,
    ),
    "models that a base names for a type checker only": (
        "from shop.base import Base",
        {
            "shop/base.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from shop.models import A\n"
            + BASE,
            "shop/models.py": f"from shop.base import Base\n{classes('A')}",
        },
        '__all__ = ["Base", "A"]',
        1,
    ),
    "a registry": (
        "from shop.models import mappers\nclass Base:\n    metadata = mappers.metadata",
        {
            "shop/models.py": f"{NUMBER}from sqlalchemy import Table\nfrom sqlalchemy.orm import registry\n"
            "mappers = registry()\na = Table('a', mappers.metadata, Column('id', Integer))\n",
        },
        '__all__ = ["mappers", "a"]',
        1,
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_line_that_models_lack_brings_each_of_their_tables(name: str, tmp_path: Path) -> None:
    imports, files, expected, count = LAYOUTS[name]
    service(tmp_path, **{"alembic/env.py": env(imports=imports), "shop/__init__.py": "", **files})
    (plain_service,) = survey(tmp_path)
    models = plain_service.models
    assert models
    assert models.export == expected

    assert assembled(tmp_path, plain_service) == (str(count), "")
