"""A history whose models have a schema, and whose version table plain Alembic has put into public."""

from collections.abc import Callable

from service_migrations.settings.dsn import Dsn
from tests.support.database import query, run_script
from tests.support.monorepo import Monorepo, dsn_text
from tests.support.plain_alembic import revision, service

MODELS = """
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Order"]

class Base(DeclarativeBase):
    metadata = MetaData(schema="sales")

class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
"""
COLUMN = "    note: Mapped[str | None]\n"
FIRST = 'op.execute("CREATE SCHEMA sales"); op.execute("CREATE TABLE sales.orders (id serial PRIMARY KEY)")'


def test_every_command_finds_the_version_table_where_it_is(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database(creates=True)
    files = {
        "shop/models.py": MODELS,
        ".env": f"DATABASE_URL={dsn_text(dsn)}\n",
        "alembic/versions/0001_first.py": revision("0001", None, FIRST)
        + "def downgrade():\n    op.execute('DROP SCHEMA sales CASCADE')\n",
    }
    service(monorepo.root, **files)
    run_script(
        dsn,
        [
            "CREATE SCHEMA sales",
            "CREATE TABLE sales.orders (id serial PRIMARY KEY)",
            "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
            "INSERT INTO alembic_version VALUES ('0001')",
        ],
    )
    ran = monorepo.inv("db.adopt", "--write")
    assert "version table public.alembic_version" in ran.text, ran.text
    assert 'version_table_schema = "public"' in (monorepo.root / "pyproject.toml").read_text(encoding="utf-8")
    for words in (("db.status",), ("db.check",), ("db.drift",)):
        ran = monorepo.inv(*words, "--service", "shop")
        assert ran.code == 0, ran.text
    path = monorepo.root / "apps" / "shop" / "shop" / "models.py"
    path.write_text(MODELS + COLUMN, encoding="utf-8")
    for words in (("db.revision", "--message", "note"), ("db.upgrade",), ("db.check",), ("db.drift",)):
        ran = monorepo.inv(*words, "--service", "shop")
        assert ran.code == 0, ran.text
    tables = query(
        dsn, "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'sales') ORDER BY 2"
    )
    assert tables == [("public", "alembic_version"), ("public", "migration_log_shop"), ("sales", "orders")]
    assert len(query(dsn, "SELECT revision FROM public.migration_log_shop")) == 1
