"""Models of a service of plain Alembic, and what the library finds in them once it is adopted."""

import subprocess
import sys
from pathlib import Path

from service_migrations.adoption.plain_service import PlainService
from service_migrations.adoption.table import table_text
from tests.support.plain_alembic import write

BASE = "from sqlalchemy.orm import declarative_base\nBase = declarative_base()\n"
NUMBER = "from sqlalchemy import Column, Integer\n"


def classes(*names: str) -> str:
    lines = (f"class {name}(Base):\n    __tablename__ = '{name.lower()}'\n    id = Column(Integer, primary_key=True)\n"
             for name in names)  # fmt: skip
    return NUMBER + "".join(lines)


AUTOMATIC = """
from sqlalchemy.orm import DeclarativeBase, declared_attr
class Base(DeclarativeBase):
    @declared_attr.directive
    def __tablename__(cls): return cls.__name__.lower()
"""
DECORATED = """
from sqlalchemy.orm import as_declarative, declared_attr
@as_declarative()
class Base:
    @declared_attr
    def __tablename__(cls): return cls.__name__.lower()
"""


def unnamed(*names: str) -> str:
    return NUMBER + "".join(f"class {name}(Base):\n    id = Column(Integer, primary_key=True)\n" for name in names)


ASSEMBLE = """
import sys
from pathlib import Path
from service_migrations.models.faults import faults_of
from service_migrations.models.metadata import assemble
from service_migrations.monorepo import find
metadata = assemble(find(sys.argv[1], Path(sys.argv[2])))
print(len(metadata.tables), *map(str, faults_of(metadata).values()))
"""


def assembled(root: Path, found: PlainService) -> tuple[str, str]:
    """Return the number of tables that the library finds with the proposed line, and what it has to say of them."""
    models = found.models
    assert models
    text = models.file.read_text(encoding="utf-8")
    models.file.write_text(f"{text}\n{models.export}\n", encoding="utf-8")
    write(root, {"pyproject.toml": table_text(root, [found], None)})
    ran = subprocess.run(
        [sys.executable, "-c", ASSEMBLE, found.name, str(root)], capture_output=True, text=True, check=False, timeout=60
    )
    return ran.stdout.strip(), ran.stderr
