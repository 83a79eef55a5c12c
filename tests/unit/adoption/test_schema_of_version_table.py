"""The schema of the version table of plain Alembic, where the models have a schema of their own."""

from pathlib import Path

import pytest

from service_migrations.adoption.survey import survey
from service_migrations.adoption.writing import write
from tests.support.plain_alembic import MODELS, env, service

IN_SALES = MODELS.replace("    pass", "    metadata = MetaData(schema='sales')", 1).replace(
    "from sqlalchemy.orm", "from sqlalchemy import MetaData\nfrom sqlalchemy.orm", 1
)


@pytest.mark.parametrize(
    ("models", "env_py", "dsn", "schema"),
    [
        pytest.param(IN_SALES, env(), "postgresql://app:x@h/shop", "public", id="models in a schema"),
        pytest.param(MODELS, env(), "postgresql://app:x@h/shop", None, id="models in none"),
        pytest.param(IN_SALES.replace("sales", "public"), env(), "postgresql://app:x@h/shop", None, id="in public"),
        pytest.param(
            IN_SALES, env(options=", version_table_schema='ops'"), "postgresql://app:x@h/shop", "ops", id="named"
        ),
        pytest.param(
            IN_SALES,
            env(options=", version_table_schema=target_metadata.schema"),
            "postgresql://app:x@h/shop",
            None,
            id="computed",
        ),
        pytest.param(IN_SALES, env(), "postgresql://sales:x@h/shop", None, id="of the role, by $user"),
        pytest.param(
            IN_SALES, env(), "postgresql://app:x@h/shop?options=-csearch_path%3Dsales", None, id="by the DSN's path"
        ),
        pytest.param(
            IN_SALES,
            env(before="# the role has search_path = sales\n"),
            "postgresql://app:x@h/shop",
            None,
            id="a path is set",
        ),
    ],
)
def test_version_table_is_where_plain_alembic_has_put_it(
    tmp_path: Path, models: str, env_py: str, dsn: str, schema: str | None
) -> None:
    files = {"shop/models.py": models, "alembic/env.py": env_py, ".env": f"DATABASE_URL={dsn}\n"}
    service(tmp_path, **files)
    (plain_service,) = survey(tmp_path)
    assert plain_service.version_table_schema == schema
    assert ("version table public.alembic_version" in plain_service.summary()) is (schema == "public")


ENGINE = """
from sqlalchemy import create_engine
from shop.models import Base
engine = create_engine("postgresql://h/shop", connect_args={"options": "-csearch_path=sales"})
"""
OF_PARTS = """
[alembic]
script_location = alembic
prepend_sys_path = .
sqlalchemy.url = postgresql://%(DB_USER)s:%(DB_PASSWORD)s@h/shop
"""
CONFIGURE = "        context.configure(connection=connection"


@pytest.mark.parametrize(
    ("files", "schema"),
    [
        pytest.param({"shop/db.py": ENGINE, "alembic/env.py": env("from shop.db import Base")}, None, id="an engine"),
        pytest.param(
            {
                "alembic/env.py": env().replace(
                    CONFIGURE, f"        connection.execute(text('SET SCHEMA x'))\n{CONFIGURE}"
                )
            },
            None,
            id="a statement",
        ),
        pytest.param(
            {"alembic/env.py": env(before="options = {'schema_translate_map': {None: 'sales'}}\n")}, None, id="a map"
        ),
        pytest.param(
            {"shop/models.py": f"{IN_SALES}\nDDL = 'SET search_path = x'\n"}, "public", id="a function's path"
        ),
        pytest.param({"alembic.ini": OF_PARTS, ".env": "DB_USER=sales\n"}, None, id="a role without its password"),
        pytest.param({"alembic.ini": OF_PARTS, ".env": "DB_USER=app\n"}, "public", id="another role"),
        pytest.param({".env": "DATABASE_URL=postgresql://h:5432/shop?user=sales\n"}, None, id="a role in the query"),
    ],
)
def test_a_search_path_counts_where_a_session_begins(tmp_path: Path, files: dict[str, str], schema: str | None) -> None:
    usual = {"shop/models.py": IN_SALES, ".env": "DATABASE_URL=postgresql://app:x@h/shop\n"}
    service(tmp_path, **usual | files)
    (plain_service,) = survey(tmp_path)
    assert plain_service.version_table_schema == schema


def test_the_table_says_where_the_version_table_of_an_adopted_service_is(tmp_path: Path) -> None:
    service(tmp_path, **{"shop/models.py": IN_SALES, ".env": "DATABASE_URL=postgresql://app:x@h/shop\n"})
    write(tmp_path, survey(tmp_path))
    table = tmp_path / "pyproject.toml"
    text = table.read_text(encoding="utf-8")
    corrected = text.replace('version_table_schema = "public"\n', "")
    assert corrected != text
    table.write_text(corrected, encoding="utf-8")
    (plain_service,) = survey(tmp_path)
    assert (plain_service.state, plain_service.version_table_schema) == ("adopted", None)
