"""What ``db.adopt`` reads of an env.py that leaves its work to functions of a file that several histories share."""

from pathlib import Path

import pytest

from service_migrations.adoption.plain_service import PlainService
from service_migrations.adoption.survey import survey
from service_migrations.adoption.writing import write as write_files
from tests.support.plain_alembic import MODELS, service, write

CALLS_ITSELF = "it doesn't call context.configure() itself, so the options aren't known."

CALL = 'from kit.environment import run\nfrom shop.models import Base\n\nrun(Base.metadata, "shop")\n'

HELPER = """
import os

from alembic import context
from sqlalchemy import engine_from_config, pool

config = context.config


def include_object(item, name, kind, reflected, other):
    return not name.startswith("tmp_")


def run(metadata, name, schema=None):
    config.set_main_option("sqlalchemy.url", os.environ[f"{name.upper()}_DATABASE_URL"])
    options = dict(
        target_metadata=metadata,
        version_table=f"{name}_version",
        version_table_schema=schema,
        include_object=include_object,
    )
    if context.is_offline_mode():
        context.configure(url=config.get_main_option("sqlalchemy.url"), literal_binds=True, **options)
        with context.begin_transaction():
            context.run_migrations()
        return
    engine = engine_from_config(config.get_section("alembic"), prefix="sqlalchemy.", poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, **options)
        with context.begin_transaction():
            context.run_migrations()
"""

ASYNC = """
import asyncio
import os

from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine


def _run(connection, metadata, version_table):
    context.configure(connection=connection, target_metadata=metadata, version_table=version_table)
    with context.begin_transaction():
        context.run_migrations()


async def _online(metadata, version_table, variable="DATABASE_URL"):
    engine = create_async_engine(os.environ[variable])
    async with engine.connect() as connection:
        await connection.run_sync(_run, metadata, version_table)


def run(metadata, *, service, **others):
    asyncio.run(_online(metadata, f"{service}_version", **others))
"""

GIVEN = """
import asyncio
import os
from functools import partial

from kit.environment import _run
from shop.models import Base
from sqlalchemy.ext.asyncio import create_async_engine


async def main():
    engine = create_async_engine(os.environ["DATABASE_URL"])
    async with engine.connect() as connection:
        await connection.run_sync({call})


asyncio.run(main())
"""

OPTIONS = """
from alembic import context


def offline(metadata, **options):
    context.configure(url="postgresql://h/d", target_metadata=metadata, **options)
    context.run_migrations()


def online(metadata, **options):
    with connected() as connection:
        context.configure(connection=connection, target_metadata=metadata, **options)
        context.run_migrations()
"""


def adopted(root: Path, env: str, helper: str, file: str = "libs/kit/src/kit/environment.py") -> PlainService:
    write(root, {"libs/kit/pyproject.toml": '[project]\nname = "kit"\nversion = "0"\n', file: helper})
    write(root, {"pyproject.toml": '[tool.uv.workspace]\nmembers = ["libs/*"]\n', "libs/kit/src/kit/__init__.py": ""})
    service(root, **{"alembic/env.py": env, "alembic.ini": "[alembic]\nscript_location = alembic\n"})
    (service_of_alembic,) = survey(root)
    return service_of_alembic


def notes(of: PlainService, kind: str) -> list[str]:
    return [str(note) for note in of.notes if note.kind == kind]


def test_the_arguments_of_the_shared_function_are_read(tmp_path: Path) -> None:
    read = adopted(tmp_path, CALL, HELPER)
    assert (read.version_table, read.version_table_schema) == ("shop_version", None)
    assert read.models is not None
    assert read.models.name == "shop.models"
    assert read.dsn.dsn_key == "SHOP_DATABASE_URL"
    assert notes(read, "hook") == ["hook: libs/kit/src/kit/environment.py:10: include_object=include_object."]
    assert notes(read, "to do") == []


@pytest.mark.parametrize(
    "call",
    [
        'from kit.environment import run as go\nfrom shop.models import Base\ngo(name="shop", metadata=Base.metadata)',
        'from kit import environment\nfrom shop.models import Base\nenvironment.run(Base.metadata, "shop")',
        'import kit.environment\nfrom shop.models import Base\nkit.environment.run(Base.metadata, "shop")',
        'from kit.environment import run\nfrom shop.models import Base\nN = "shop"\nif N:\n    run(Base.metadata, N)',
    ],
    ids=["under another name, by keywords", "of a module", "of a package", "by names"],
)
def test_it_may_be_called_in_any_way(tmp_path: Path, call: str) -> None:
    read = adopted(tmp_path, call, HELPER)
    assert read.version_table == "shop_version"
    assert read.models is not None
    assert read.models.name == "shop.models"
    assert [note for note in notes(read, "hook") if "include_object" not in note] == []


def test_a_schema_of_the_version_table_is_read(tmp_path: Path) -> None:
    read = adopted(tmp_path, CALL.replace('"shop")', '"shop", schema="meta")'), HELPER)
    assert (read.version_table, read.version_table_schema) == ("shop_version", "meta")


def test_functions_that_it_calls_in_its_file_are_read_too(tmp_path: Path) -> None:
    read = adopted(tmp_path, CALL.replace('"shop")', 'service="shop", variable="SHOP_URL")'), ASYNC)
    assert (read.version_table, read.dsn.dsn_key) == ("shop_version", "SHOP_URL")
    assert read.models is not None
    assert (read.models.name, notes(read, "hook"), notes(read, "to do")) == ("shop.models", [], [])


@pytest.mark.parametrize(
    "call",
    [
        '_run, Base.metadata, "shop_version"',
        'partial(_run, metadata=Base.metadata, version_table="shop_version")',
        'lambda connection: _run(connection, Base.metadata, "shop_version")',
    ],
    ids=["with arguments", "partial", "lambda"],
)
def test_a_function_that_another_one_is_given_is_read(tmp_path: Path, call: str) -> None:
    read = adopted(tmp_path, GIVEN.format(call=call), ASYNC)
    assert (read.version_table, read.dsn.dsn_key) == ("shop_version", "DATABASE_URL")
    assert read.models is not None
    assert (read.models.name, notes(read, "hook"), notes(read, "to do")) == ("shop.models", [], [])


def test_a_default_of_the_shared_function_counts(tmp_path: Path) -> None:
    read = adopted(tmp_path, CALL.replace('"shop")', 'service="shop")'), ASYNC)
    assert (read.version_table, read.dsn.dsn_key) == ("shop_version", "DATABASE_URL")


def test_options_that_it_passes_on_are_read(tmp_path: Path) -> None:
    call = """
    from alembic import context
    from kit.environment import offline, online
    from shop.models import Base

    if context.is_offline_mode():
        offline(Base.metadata, version_table="shop_version", user_module_prefix="shop.")
    else:
        online(Base.metadata, version_table="shop_version", user_module_prefix="shop.")
    """
    read = adopted(tmp_path, call, OPTIONS)
    assert read.version_table == "shop_version"
    (hook,) = notes(read, "hook")
    assert hook.endswith("user_module_prefix='shop.'.")


def test_another_version_table_in_each_mode_is_not_guessed(tmp_path: Path) -> None:
    call = """
    from kit.environment import offline, online
    from shop.models import Base

    offline(Base.metadata, version_table="shop_version")
    online(Base.metadata, version_table="orders_version")
    """
    read = adopted(tmp_path, call, OPTIONS)
    assert any("version_table can't be read from it" in note for note in notes(read, "to do"))


def test_a_file_beside_the_env_py_is_read_as_well(tmp_path: Path) -> None:
    env = CALL.replace("kit.environment", "shop.environment")
    read = adopted(tmp_path, env, HELPER, "apps/shop/shop/environment.py")
    assert (read.version_table, read.dsn.dsn_key) == ("shop_version", "SHOP_DATABASE_URL")


@pytest.mark.parametrize(
    ("env", "helper"),
    [
        (CALL.replace("import Base", "import Base\n\nconfig = object()"), HELPER),
        (CALL, HELPER.replace("def run", "def other")),
        (CALL, HELPER.replace("context.configure", "configured")),
    ],
    ids=["a name that means something else", "no such function", "nobody configures"],
)
def test_what_cannot_be_followed_is_said(tmp_path: Path, env: str, helper: str) -> None:
    read = adopted(tmp_path, env, helper)
    assert f"hook: apps/shop/alembic/env.py:1: {CALLS_ITSELF}" in notes(read, "hook")
    assert any("version_table can't be read from it" in note for note in notes(read, "to do"))


@pytest.mark.parametrize(
    "env",
    [
        f'{CALL}run(Base.metadata, "orders")\n',
        CALL.replace("import run", "import both").replace("run(Base", "both(Base"),
    ],
    ids=["by the env.py", "by another function"],
)
def test_two_histories_of_one_function_are_not_taken_for_one(tmp_path: Path, env: str) -> None:
    both = "\n\ndef both(metadata, name):\n    run(metadata, name)\n    run(metadata, name + '_2')\n"
    read = adopted(tmp_path, env, HELPER + both)
    assert f"hook: apps/shop/alembic/env.py:1: {CALLS_ITSELF}" in notes(read, "hook")


def test_a_function_that_is_called_twice_beside_configure_is_no_obstacle(tmp_path: Path) -> None:
    helper = HELPER.replace("    options = dict(", "    say('a')\n    say('b')\n    options = dict(")
    helper += "\n\ndef say(text):\n    print(text)\n"
    assert adopted(tmp_path, CALL, helper).version_table == "shop_version"


@pytest.mark.parametrize("name", ["name", "name + 'x'"])
def test_a_function_that_calls_itself_ends(tmp_path: Path, name: str) -> None:
    helper = HELPER.replace("    if context.is_offline_mode():", f"    run(metadata, {name})\n    if True:")
    read = adopted(tmp_path, CALL, helper)
    assert read.version_table == ("shop_version" if name == "name" else "alembic_version")


@pytest.mark.parametrize(
    "call",
    ['run(*[Base.metadata, "shop"])', 'run(**settings("shop"))', 'run().of(Base.metadata, "shop")'],
    ids=["a list", "a mapping", "of its result"],
)
def test_arguments_that_are_not_known_one_by_one_are_not_guessed(tmp_path: Path, call: str) -> None:
    read = adopted(tmp_path, CALL.replace('run(Base.metadata, "shop")', call), HELPER)
    assert any("version_table can't be read from it" in note for note in notes(read, "to do"))


def test_a_hook_that_several_services_have_in_a_shared_file_is_written_once(tmp_path: Path) -> None:
    adopted(tmp_path, CALL, HELPER)
    files = {"alembic/env.py": CALL.replace("shop", "orders"), "alembic.ini": "[alembic]\nscript_location = alembic\n"}
    service(tmp_path, "apps/orders", **files, **{"orders/models.py": MODELS, "orders/__init__.py": ""})
    both = survey(tmp_path)
    assert [each.version_table for each in both] == ["orders_version", "shop_version"]
    write_files(tmp_path, both)
    assert (tmp_path / "migrations/env.py").read_text(encoding="utf-8").count("include_object=include_object") == 1
