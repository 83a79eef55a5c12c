"""What ``db.adopt`` reads of an env.py that leaves its work to an object, as those of many services share its class."""

from pathlib import Path

import pytest

from service_migrations.adoption.plain_service import PlainService
from service_migrations.adoption.survey import survey
from tests.support.plain_alembic import service

HELPER = """
import os

from alembic import context
from sqlalchemy import create_engine


class Runner:
    options = {"on_version_apply": print}

    def __init__(self, metadata, name, version_table=None):
        version_table = version_table or f"{name}_version"
        self.metadata = metadata
        self.name = name
        self.version_table = version_table

    @property
    def url(self):
        return os.environ[f"{self.name.upper()}_DATABASE_URL"]

    def online(self):
        with create_engine(self.url).connect() as connection:
            self.migrate(connection)

    def migrate(self, connection):
        context.configure(
            connection=connection,
            target_metadata=self.metadata,
            version_table=self.version_table,
            **self.options,
        )
        with context.begin_transaction():
            context.run_migrations()

    def run(self):
        if not context.is_offline_mode():
            self.online()

    def __call__(self):
        self.run()
"""
LINE = HELPER.splitlines().index("            **self.options,") + 1
ATTRIBUTES = """
from alembic import context
from sqlalchemy import create_engine


class Runner:
    metadata = None
    name = "none"

    def run(self):
        with create_engine("postgresql://h/d").connect() as connection:
            context.configure(
                connection=connection, target_metadata=self.metadata, version_table="version_of_" + self.name
            )
            context.run_migrations()
"""
DATACLASS = """
from dataclasses import dataclass

from alembic import context
from sqlalchemy import MetaData, create_engine


@dataclass
class Runner:
    metadata: MetaData
    name: str = "none"

    def run(self):
        with create_engine("postgresql://h/d").connect() as connection:
            context.configure(
                connection=connection, target_metadata=self.metadata, version_table=f"{self.name}_version"
            )
            context.run_migrations()
"""
IMPORTS = "from kit.runner import Runner\nfrom shop.models import Base\n\n"
SET = """
runner = Runner()
runner.metadata = Base.metadata
runner.name = "shop"
runner.run()
"""
OWN = """
class Own(Runner):
    def migrate(self, connection):
        connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS shop")
        super().migrate(connection)

    def online(self):
        super().online()


Own(Base.metadata, "shop").run()
"""


def read(root: Path, helper: str, text: str) -> PlainService:
    """Return the one service of a monorepo whose env.py has a text, and whose shared file another."""
    files = {"env.py": text, "alembic.ini": "[alembic]\nscript_location = alembic\n"}
    service(root, **{f"alembic/{name}" if name == "env.py" else name: each for name, each in files.items()})
    (root / "kit").mkdir()
    (root / "kit/__init__.py").touch()
    (root / "kit/runner.py").write_text(helper)
    (plain_service,) = survey(root)
    return plain_service


@pytest.mark.parametrize(
    "text",
    [
        'Runner(Base.metadata, "shop").run()\n',
        'runner = Runner(metadata=Base.metadata, name="shop")\nrunner.run()\n',
        "class Own(Runner):\n    pass\n\n\nOwn(Base.metadata, 'shop').run()\n",
        """
class Own(Runner):
    def __init__(self, name):
        super().__init__(Base.metadata, name)

Own("shop").run()
""",
        """
def main():
    runner = Runner(Base.metadata, "shop")
    runner.run()

main()
""",
        'Runner(Base.metadata, "shop")()\n',
    ],
)
def test_the_options_of_an_object_of_a_shared_file_are_read(text: str, tmp_path: Path) -> None:
    """With the usual version table instead, the first upgrade would run the whole history again."""
    rows = read(tmp_path, HELPER, IMPORTS + text)
    assert rows.version_table == "shop_version"
    assert rows.dsn.dsn_key == "SHOP_DATABASE_URL"
    assert [(hook.text, hook.path.name, hook.line) for hook in rows.hooks] == [
        ("on_version_apply=print", "runner.py", LINE)
    ]


def test_what_a_class_of_the_service_does_is_a_hook_at_its_own_line(tmp_path: Path) -> None:
    rows = read(tmp_path, HELPER, IMPORTS + OWN)
    assert rows.version_table == "shop_version"
    hooks = {(hook.path.name, hook.line) for hook in rows.hooks if "runs SQL" in hook.text}
    assert hooks == {("env.py", 7)}


@pytest.mark.parametrize(
    ("helper", "text", "version_table"),
    [
        (
            ATTRIBUTES,
            "class Own(Runner):\n    metadata = Base.metadata\n    name = 'shop'\n\n\nOwn().run()\n",
            "version_of_shop",
        ),
        (
            ATTRIBUTES,
            "runner = Runner()\nrunner.metadata = Base.metadata\nrunner.name = 'shop'\nrunner.run()\n",
            "version_of_shop",
        ),
        (DATACLASS, "Runner(Base.metadata, name='shop').run()\n", "shop_version"),
        (DATACLASS, "Runner(Base.metadata).run()\n", "none_version"),
    ],
)
def test_attributes_of_a_class_and_fields_of_a_dataclass_are_read(
    helper: str, text: str, version_table: str, tmp_path: Path
) -> None:
    assert read(tmp_path, helper, IMPORTS + text).version_table == version_table


def test_an_object_of_a_class_in_env_py_itself_is_read(tmp_path: Path) -> None:
    rows = read(tmp_path, "", f'{HELPER}\nfrom shop.models import Base\n\nRunner(Base.metadata, "shop").run()\n')
    assert rows.version_table == "shop_version"
    assert rows.dsn.dsn_key == "SHOP_DATABASE_URL"
    assert [(hook.path.name, hook.line) for hook in rows.hooks] == [("env.py", LINE)]


@pytest.mark.parametrize(
    "change",
    [
        (
            "        self.name = name",
            "        self.name = name\n        if name:\n            self.version_table = 'x'",
        ),
        ("    def online(self):", "    def online(self):\n        self.version_table = os.environ['TABLE']"),
    ],
)
def test_an_attribute_that_is_given_twice_is_left_to_a_person(change: tuple[str, str], tmp_path: Path) -> None:
    helper = HELPER.replace("        self.version_table = version_table\n", "")
    helper = helper.replace(
        "        self.metadata = metadata\n",
        "        self.metadata = metadata\n        self.version_table = version_table\n",
    )
    rows = read(tmp_path, helper.replace(*change), f"{IMPORTS}Runner(Base.metadata, 'shop').run()\n")
    assert any("version_table can't be read" in note.text for note in rows.notes)


def test_options_that_a_method_adds_are_not_passed_over(tmp_path: Path) -> None:
    helper = HELPER.replace(
        "    def online(self):", '    def online(self):\n        self.options["version_table_schema"] = "x"'
    )
    rows = read(tmp_path, helper, f"{IMPORTS}Runner(Base.metadata, 'shop').run()\n")
    assert any("options of configure() can't be read" in hook.text for hook in rows.hooks)


def test_two_objects_are_two_histories_and_left_to_a_person(tmp_path: Path) -> None:
    text = "Runner(Base.metadata, 'shop').run()\nRunner(Base.metadata, 'other').run()\n"
    rows = read(tmp_path, HELPER, IMPORTS + text)
    assert any("version_table can't be read" in note.text for note in rows.notes)
