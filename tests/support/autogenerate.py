"""Models as text, and the revisions that autogenerate writes of them."""

import importlib
import re
import shutil
import sys

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import create_async_engine

import service_migrations
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from tests.support.database import wait
from tests.support.monorepo import Monorepo

STATEFUL = """
from enum import Enum
from sqlalchemy import CheckConstraint, MetaData, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from shared_models import NAMING_CONVENTION

__all__ = ["Base", "Thing"]

class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)

{name}_state = Enum("{name}_state", ["new", "old"])

class Thing(Base):
    __tablename__ = "{name}"
    __table_args__ = (CheckConstraint("quantity > 0", name="quantity_positive"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    quantity: Mapped[int] = mapped_column(server_default=text("1"))
    state: Mapped[{name}_state] = mapped_column(server_default="new")
"""
"""Models of one table with an enum type, a server default and a named CHECK; to be formatted with its name."""


EMPTY = """
from sqlalchemy.orm import DeclarativeBase

__all__ = ["Base"]

class Base(DeclarativeBase):
    pass
"""


MODELS = """
from sqlalchemy import (
    BigInteger, CheckConstraint, Column, Computed, Enum, ForeignKey, ForeignKeyConstraint, Identity, Index, Integer,
    MetaData, Numeric, Sequence, SmallInteger, String, Table, Text, TypeDecorator, UniqueConstraint, column, text,
)
from sqlalchemy.dialects.postgresql import ARRAY, ExcludeConstraint

__all__ = ["metadata", "things"]
metadata = MetaData()

class Shout(TypeDecorator):
    impl = String(8)
    cache_ok = True

state = Enum({labels}, name="state")
things = Table("things", metadata,
    Column("id", {key}, primary_key=True),
    Column("number", Integer, {number}nullable=True),
    {lines}
)
"""


def models(
    *lines: str, labels: tuple[str, ...] = ("new", "old"), key: str = "Integer", number: str = "", kind: str = "state"
) -> str:
    """Return models of one table with these lines; ``kind`` is the type of its column ``state``, empty for none."""
    column = [f"Column('state', {kind})"] if kind else []
    return MODELS.format(
        labels=", ".join(map(repr, labels)),
        key=key,
        number=number,
        lines="".join(f"{line},\n" for line in (*column, *lines)),
    )


def written(monorepo: Monorepo, service: Service, message: str = "change") -> str:
    """Write a revision, and return its code without the explanations of the template."""
    revision = wait(service_migrations.revision(service, message))
    assert revision is not None
    text = (monorepo.root / revision.path).read_text(encoding="utf-8")
    # quotes and lines are as a formatter leaves them, where one is installed
    text = re.sub(r"\(\n\s+", "(", text.replace('"', "'"))
    return text[text.index("def upgrade") :]


def first_upgrade(monorepo: Monorepo, service: Service) -> None:
    written(monorepo, service, "create")
    wait(service_migrations.upgrade(service))


def remodel(monorepo: Monorepo, service: Service, models: str) -> None:
    """Write other models for a service, as the next process would import them."""
    path = monorepo.root / "services" / service.name
    shutil.rmtree(path / "__pycache__", ignore_errors=True)
    for name in [name for name in sys.modules if name.startswith(f"services.{service.name}")]:
        del sys.modules[name]
    monorepo.service(service.name, models)
    importlib.invalidate_caches()


def create_all(metadata: MetaData, dsn: Dsn) -> None:
    """Create the tables of models in a database as SQLAlchemy does, without a revision."""

    async def create() -> None:
        engine = create_async_engine(dsn.url, connect_args=dsn.connect_args())
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        await engine.dispose()

    wait(create())
