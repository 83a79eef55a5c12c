# ruff: noqa: E501 - files of others as they are
"""Services of plain Alembic, written into a folder of a test."""

import textwrap
from pathlib import Path

INI = """
[alembic]
script_location = alembic
prepend_sys_path = .
sqlalchemy.url = %(DATABASE_URL)s
"""
MODELS = """
from sqlalchemy.orm import DeclarativeBase

__all__ = ["Base", "Order"]

class Base(DeclarativeBase):
    pass

class Order(Base):
    __tablename__ = "orders"
"""
ENV = """
from logging.config import fileConfig
from sqlalchemy import engine_from_config, pool
from alembic import context
{imports}
config = context.config
if config.config_file_name is not None:
    fileConfig(config.config_file_name)
target_metadata = Base.metadata
{before}
def run_migrations_offline():
    url = config.get_main_option("sqlalchemy.url")
    context.configure(url=url, target_metadata=target_metadata, literal_binds=True, dialect_opts={{"paramstyle": "named"}})
    with context.begin_transaction():
        context.run_migrations()

def run_migrations_online():
    connectable = engine_from_config(config.get_section(config.config_ini_section, {{}}), prefix="sqlalchemy.")
    with connectable.connect() as connection:
        context.configure(connection=connection, target_metadata=target_metadata{options})
        with context.begin_transaction():
            context.run_migrations()

if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
"""


def env(imports: str = "from shop.models import Base", before: str = "", options: str = "") -> str:
    return ENV.format(imports=imports, before=before, options=options)


def revision(revision: str, down: str | None, body: str = "pass", **more: str) -> str:
    lines = [
        "import sqlalchemy as sa",
        "from alembic import op",
        f"revision = {revision!r}",
        f"down_revision = {down!r}",
    ]
    lines += [f"{key} = {value!r}" for key, value in more.items()]
    return "\n".join([*lines, "def upgrade():", textwrap.indent(textwrap.dedent(body).strip(), "    "), ""])


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")


def service(root: Path, folder: str = "apps/shop", **files: str | None) -> None:
    """Write a service; a keyword is a file of it, with __ for a slash and _ for the dot."""
    given = {
        "alembic.ini": INI,
        "alembic/env.py": env(),
        "alembic/versions/0001_first.py": revision("0001", None),
        "shop/models.py": MODELS,
    } | {name: text for name, text in files.items() if text is not None}
    given = {
        name: text for name, text in given.items() if name not in [key for key, text in files.items() if text is None]
    }
    write(root, {f"{folder}/{name}" if folder else name: text for name, text in given.items()})
