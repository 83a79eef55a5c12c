"""The schema of the version table of plain Alembic, where the models have a schema of their own."""

from pathlib import Path

import pytest

from service_migrations.adoption.survey import survey
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
    (found,) = survey(tmp_path)
    assert found.version_table_schema == schema
    assert ("version table public.alembic_version" in found.summary()) is (schema == "public")
