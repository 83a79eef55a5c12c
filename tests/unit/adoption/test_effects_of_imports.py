"""What an env.py does by importing something, and where it says that the revisions are."""

from pathlib import Path

import pytest

from service_migrations.adoption.plain_service import BLOCKED, PlainService
from service_migrations.adoption.survey import survey
from tests.support.plain_alembic import env, revision, service, write

OPERATION = """
from alembic.operations import MigrateOperation, Operations

@Operations.register_operation("create_view")
class CreateView(MigrateOperation):
    pass

@Operations.implementation_for(CreateView)
def create_view(operations, operation):
    operations.execute("CREATE VIEW v AS SELECT 1")
"""
WORKS = {
    OPERATION: "Operations.register_operation('create_view'), and 1 more in this file",
    "from alembic.operations import Operations\nOperations.create_table = print": "Operations.create_table",
    "from alembic import op\nop.create_table = print": "op.create_table",
    "from sqlalchemy.dialects.postgresql.base import ischema_names\nischema_names['geo'] = int": "ischema_names['geo']",
    "from alembic.ddl.postgresql import PostgresqlImpl\nclass Own(PostgresqlImpl):\n    pass": "class Own",
    "@compiles(CreateTable, 'postgresql')\ndef create(*_):\n    pass": "compiles(CreateTable, 'postgresql')",
    "event.listen(Table, 'after_parent_attach', print)": "event.listen(Table, 'after_parent_attach', print)",
    "register_entities([view])": "register_entities([view])",
}


def only(root: Path) -> PlainService:
    (plain_service,) = survey(root)
    return plain_service


def hooks(found: PlainService) -> list[str]:
    return [str(note) for note in found.notes if note.kind == "hook"]


@pytest.mark.parametrize(("work", "named"), WORKS.items(), ids=list(WORKS.values()))
@pytest.mark.parametrize(
    "way", ["import shop.ops", "from shop import ops", "from shop.ops import *", "import shop.deep"]
)
def test_what_a_file_registers_that_env_py_imports_is_named(tmp_path: Path, work: str, named: str, way: str) -> None:
    service(tmp_path, **{"alembic/env.py": env(f"from shop.models import Base\n{way}"), "shop/ops.py": work})
    write(tmp_path, {"apps/shop/shop/__init__.py": "", "apps/shop/shop/deep.py": "from . import ops"})
    (line,) = hooks(only(tmp_path))
    assert line.startswith("hook: apps/shop/shop/ops.py:")
    assert ": env.py imports this file, and it " in line
    assert line.endswith(f"{named}.")


@pytest.mark.parametrize("importer", ["shop/models.py", "alembic/versions/0002_second.py"])
def test_what_models_or_revisions_import_too_is_no_hook(tmp_path: Path, importer: str) -> None:
    files = {"alembic/env.py": env("from shop.models import Base\nimport shop.ops"), "shop/ops.py": OPERATION}
    service(tmp_path, **files)
    write(
        tmp_path, {"apps/shop/shop/__init__.py": "", "apps/shop/alembic/versions/0002_second.py": revision("2", "0001")}
    )
    path = tmp_path / "apps/shop" / importer
    path.write_text("from shop import ops\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert hooks(only(tmp_path)) == []


def test_a_file_that_only_defines_is_no_hook(tmp_path: Path) -> None:
    defines = (
        "import os\nfrom alembic import op\n\nURL = os.environ['X']\nclass A:\n    def f(self):\n        op.x = 1\n"
    )
    service(
        tmp_path, **{"alembic/env.py": env("from shop.models import Base\nimport shop.ops"), "shop/ops.py": defines}
    )
    write(tmp_path, {"apps/shop/shop/__init__.py": ""})
    assert hooks(only(tmp_path)) == []


@pytest.mark.parametrize(
    ("line", "is_named"),
    [
        ("import their_alembic_operations  # noqa: F401", True),
        ("from their_alembic_operations import views", True),
        ("import their_alembic_operations\ntheir_alembic_operations.set_up = 1", False),
        ("import os, sys, asyncio, sqlmodel", False),
        ("from shop.models import Order", False),
        ("import shop", False),
    ],
)
def test_a_package_that_env_py_imports_and_does_not_use_is_named(tmp_path: Path, line: str, is_named: bool) -> None:
    service(tmp_path, **{"alembic/env.py": env(f"from shop.models import Base\n{line}")})
    named = [text for text in hooks(only(tmp_path)) if "imports their_alembic_operations and doesn't use it" in text]
    assert bool(named) is is_named


@pytest.mark.parametrize(
    "value",
    [
        '["shop/migrations"]',
        '[os.path.join(os.path.dirname(__file__), "..", "shop", "migrations")]',
        '[str(Path(__file__).parent.parent / "shop" / "migrations")]',
    ],
)
def test_folders_of_revisions_that_env_py_sets_are_read(tmp_path: Path, value: str) -> None:
    before = f"script = context.script\nscript.version_locations = {value}"
    moved = {"alembic/versions/0001_first.py": None, "shop/migrations/0001_first.py": revision("0001", None)}
    service(tmp_path, **{"alembic/env.py": env(before=before), **moved})
    found = only(tmp_path)
    assert found.version_locations == (tmp_path / "apps/shop/shop/migrations",)
    assert (found.state, found.revisions.heads) == ("new", ("0001",))


def test_folders_of_revisions_that_env_py_computes_block_it_until_the_table_has_them(tmp_path: Path) -> None:
    before = "context.script.version_locations = folders_of_plugins()"
    moved = {"alembic/versions/0001_first.py": None, "shop/migrations/0001_first.py": revision("0001", None)}
    service(tmp_path, **{"alembic/env.py": env(before=before), **moved})
    found = only(tmp_path)
    assert found.state == BLOCKED
    assert [note.text for note in found.notes if note.kind == BLOCKED] == [
        "it sets the folders of its revisions, which can't be read from it; write its table by hand, with versions."
    ]
    table = """
        [tool.service-migrations]
        services = ["apps/shop"]
        source = "{path}"
        models = "shop.models"
        versions = "{path}/shop/migrations"
        """
    write(tmp_path, {"pyproject.toml": table})
    found = only(tmp_path)
    assert (found.state, found.revisions.heads) == ("adopted", ("0001",))
    assert not [note for note in found.notes if note.kind == BLOCKED]
