"""A history of Advanced Alchemy: its env.py says nothing, and its configuration in the application everything."""

import pytest

from service_migrations.adoption.survey import survey
from tests.support.plain_alembic import revision, service

ENVIRONMENT = """
import asyncio
from typing import cast
from advanced_alchemy.base import metadata_registry
from alembic import context
from alembic.autogenerate import rewriter
from sqlalchemy.ext.asyncio import async_engine_from_config

config = context.config
writer = rewriter.Rewriter()
{more}

def migrate(connection):
    context.configure(
        connection=connection,
        target_metadata=metadata_registry.get(config.bind_key),
        version_table=config.version_table_name,
        version_table_schema=config.version_table_schema,
        version_table_pk=config.version_table_pk,
        user_module_prefix=config.user_module_prefix,
        compare_type=config.compare_type,
        process_revision_directives=writer,
    )
    context.run_migrations()

async def online():
    section = config.get_section(config.config_ini_section)
    section["sqlalchemy.url"] = config.db_url
    engine = config.engine or async_engine_from_config(section, prefix="sqlalchemy.")
    async with engine.connect() as connection:
        await connection.run_sync(migrate)

asyncio.run(online())
"""
MODELS = """
from advanced_alchemy.base import BigIntBase
from sqlalchemy.orm import Mapped
__all__ = ["Order"]
class Order(BigIntBase):
    __tablename__ = "orders"
    note: Mapped[str]
"""
CONFIG = """
import os
from advanced_alchemy.{module} import AlembicAsyncConfig, SQLAlchemyAsyncConfig
{config}
"""
CASES = {
    "its defaults": (
        'config = SQLAlchemyAsyncConfig(connection_string=os.environ["DATABASE_URL"])',
        ("alembic_versions", None, "DATABASE_URL"),
    ),
    "inside": (
        """config = SQLAlchemyAsyncConfig(
            connection_string=os.environ["DATABASE_URL"],
            alembic_config=AlembicAsyncConfig(script_location="shop/migrations", version_table_name="ddl_version"),
        )""",
        ("ddl_version", None, "DATABASE_URL"),
    ),
    "by a name, beside another one": (
        """TABLE = "shop_ddl"
other = AlembicAsyncConfig(script_location="other/migrations", version_table_name="others")
own = AlembicAsyncConfig(
    script_location="apps/shop/shop/migrations", version_table_name=TABLE, version_table_schema="own"
)
configs = [
    SQLAlchemyAsyncConfig(connection_string=os.environ["OTHER_URL"], alembic_config=other),
    SQLAlchemyAsyncConfig(connection_string=os.environ["DATABASE_URL"], alembic_config=own),
]""",
        ("shop_ddl", "own", "DATABASE_URL"),
    ),
}


def files(config: str, more: str = "", place: str = "shop/config.py", module: str = "config") -> dict[str, str | None]:
    return {
        "alembic.ini": None,
        "alembic/env.py": None,
        "alembic/versions/0001_first.py": None,
        "shop/__init__.py": "",
        "shop/models.py": MODELS,
        "shop/migrations/env.py": ENVIRONMENT.format(more=more),
        "shop/migrations/versions/0001.py": revision("0001", None),
        place: CONFIG.format(module=module, config=config),
    }


@pytest.mark.parametrize("module", ["config", "extensions.litestar", "extensions.fastapi"])
@pytest.mark.parametrize("place", ["shop/config.py", "settings/database.py"])
@pytest.mark.parametrize("case", CASES)
def test_version_table_and_dsn_are_those_of_its_configuration(tmp_path, case, place, module):
    config, expected = CASES[case]
    service(tmp_path, **files(config, place=place, module=module))
    [plain_service] = survey(tmp_path)
    assert (plain_service.version_table, plain_service.version_table_schema, plain_service.dsn.dsn_key) == expected
    assert plain_service.models
    assert plain_service.models.name == "shop.models"
    assert plain_service.hooks == ()
    assert [str(note) for note in plain_service.notes] == []


@pytest.mark.parametrize("base", ["BigIntBase", "UUIDAuditBase", "UUIDv7Base", "base.NanoIDBase"])
def test_a_model_whose_table_has_the_name_of_its_class_is_found(tmp_path, base):
    given = files(CASES["its defaults"][0])
    given["shop/models.py"] = (
        f"from advanced_alchemy import base\n__all__ = ['Order']\nclass Order({base}):\n    note: str\n"
    )
    given["shop/base.py"] = f"class Ours({base}):\n    __abstract__ = True\n"
    service(tmp_path, **given)
    [plain_service] = survey(tmp_path)
    assert plain_service.models
    assert plain_service.models.name == "shop.models"
    assert [str(note) for note in plain_service.notes] == []


def test_what_a_team_has_put_into_its_env_py_is_a_hook(tmp_path):
    more = "@writer.rewrites(object)\ndef changed(context, revision, op):\n    return op\n"
    service(tmp_path, **files(CASES["its defaults"][0], more))
    [plain_service] = survey(tmp_path)
    assert [hook.name for hook in plain_service.hooks] == ["process_revision_directives"]


def test_a_version_table_that_is_computed_is_to_be_said(tmp_path):
    config = 'config = AlembicAsyncConfig(version_table_name=compute(), script_location="shop/migrations")'
    service(tmp_path, **files(config))
    [plain_service] = survey(tmp_path)
    texts = [str(note) for note in plain_service.notes]
    assert "version_table can't be read from it; set version_table in the table." in texts[0]
    assert "apps/shop/shop/config.py:4" in texts[0]


@pytest.mark.parametrize(
    "line",
    ["from shop.models import Order", "import shop.models", "from shop import models", "from shop import models as m"],
)
def test_a_package_without_an_init_is_found_by_how_the_team_imports_it(tmp_path, line):
    given = files(f"{line}\n{CASES['its defaults'][0]}")
    del given["shop/__init__.py"]
    service(tmp_path, **given)
    [plain_service] = survey(tmp_path)
    assert plain_service.models
    assert (plain_service.models.name, plain_service.relative(plain_service.models.source)) == (
        "shop.models",
        "apps/shop",
    )
