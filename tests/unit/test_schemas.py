"""The schema of a service's MetaData, read from the files of its models."""

from pathlib import Path

import pytest

from service_migrations.rollout.schemas import UNSURE, Schemas
from service_migrations.service import Service

MODELS = "from orders import base\n__all__ = ['Base']\nBase = base.Base\n"
BASE = "from sqlalchemy import MetaData\nfrom sqlalchemy.orm import DeclarativeBase\nclass Base(DeclarativeBase):\n"


@pytest.mark.parametrize(
    ("base", "schema"),
    [
        (f"{BASE}    pass\n", None),
        (f"{BASE}    metadata = MetaData(schema='sales')\n", "sales"),
        (f"{BASE}    metadata = MetaData(schema=None)\n", None),
        ("from other import Base\nBase.metadata.schema = 'sales'\n", UNSURE),
        ("from other import Base\nBase.metadata . schema = 'sales'\n", UNSURE),
        ("from other import Base\nBase.metadata.\\\n  schema = 'sales'\n", UNSURE),
        ("from other import Base\n(Base.metadata. # of it\n  schema) = 'sales'\n", UNSURE),
        ("from other import Base\nBase.metadata.schema, n = 'sales', 1\n", UNSURE),
        ("from other import Base\nBase.metadata.schema: str = 'sales'\n", UNSURE),
        ("from other import Base\nfor Base.metadata.schema in ['sales']: pass\n", UNSURE),
        # what only has the word
        ("from other import Base\nschema = 'sales'\nBase.schema()\nprint(Base.schema)\n", None),
        ("from other import Base\nargs = {'schema': 'sales'}\nBase.json_schema = 1\n", None),
    ],
)
def test_schema_is_read_wherever_a_file_may_set_it(tmp_path: Path, base: str, schema: str | None) -> None:
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "models.py").write_text(MODELS, encoding="utf-8")
    (tmp_path / "orders" / "base.py").write_text(base, encoding="utf-8")
    service = Service("orders", tmp_path, tmp_path / "orders", tmp_path, "orders.models", (), "alembic_version_orders")
    assert Schemas(tmp_path).of(service) == schema
