"""The line that models lack, as ``db.adopt`` proposes it: with it, every table of theirs is found."""

import subprocess
import sys
from pathlib import Path

import pytest

from service_migrations.adoption.survey import survey
from service_migrations.adoption.table import table_text
from tests.support.plain_alembic import env, service, write

BASE = "from sqlalchemy.orm import declarative_base\nBase = declarative_base()\n"
NUMBER = "from sqlalchemy import Column, Integer\n"


def classes(*names: str) -> str:
    lines = (f"class {name}(Base):\n    __tablename__ = '{name.lower()}'\n    id = Column(Integer, primary_key=True)\n"
             for name in names)  # fmt: skip
    return NUMBER + "".join(lines)


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

ASSEMBLE = """
import sys
from pathlib import Path
from service_migrations.models.faults import faults_of
from service_migrations.models.metadata import assemble
from service_migrations.monorepo import find
metadata = assemble(find("shop", Path(sys.argv[1])))
print(len(metadata.tables), *map(str, faults_of(metadata).values()))
"""


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_line_that_models_lack_brings_each_of_their_tables(name: str, tmp_path: Path) -> None:
    imports, files, expected, count = LAYOUTS[name]
    service(tmp_path, **{"alembic/env.py": env(imports=imports), "shop/__init__.py": "", **files})
    (found,) = survey(tmp_path)
    models = found.models
    assert models
    assert models.export == expected

    text = models.file.read_text(encoding="utf-8")
    models.file.write_text(f"{text}\n{models.export}\n", encoding="utf-8")
    write(tmp_path, {"pyproject.toml": table_text(tmp_path, [found], None)})

    ran = subprocess.run(
        [sys.executable, "-c", ASSEMBLE, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (ran.stdout.strip(), ran.stderr) == (str(count), "")
