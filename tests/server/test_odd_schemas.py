# ruff: noqa: S608 - a name of this file
"""A schema with a dot, quotes or other characters of SQL: version table, ledger, locks and drift work in it."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.adoption.verify import verify
from service_migrations.drift.drift import drift
from service_migrations.errors import ConfigurationError
from service_migrations.settings.dsn import Dsn
from service_migrations.sql.quoting import quoted
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo

MODELS = """
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Thing"]


class Base(DeclarativeBase):
    metadata = MetaData(schema={schema!r})


class Thing(Base):
    __tablename__ = "things"
    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str | None]
"""


@pytest.mark.parametrize("schema", ["my.schema", "My Schema", "a\"b'c%d:e{f}\\;--", "order"])
def test_the_schema_of_the_models_may_have_any_name(
    monorepo: Monorepo, database: Callable[..., Dsn], schema: str
) -> None:
    dsn = database(creates=True)
    service = monorepo.service("shop", MODELS.format(schema=schema), dsn)
    name = quoted(schema)
    at = f"schema = sa.sql.quoted_name({schema!r}, True)\n"
    create = f'{at}op.create_table("things", sa.Column("id", sa.Integer, primary_key=True), schema=schema)'
    monorepo.revision("shop", "r1", None, create, f'{at}op.drop_table("things", schema=schema)')
    add = f'{at}op.add_column("things", sa.Column("note", sa.String), schema=schema)'
    monorepo.revision("shop", "r2", "r1", add, f'{at}op.drop_column("things", "note", schema=schema)')
    assert len(wait(service_migrations.upgrade(service)).applied) == 2
    assert query(dsn, f"SELECT version_num FROM {name}.alembic_version_shop") == [("r2",)]
    assert query(dsn, f"SELECT count(*) FROM {name}.{quoted(service.ledger_table)}") == [(2,)]
    assert wait(service_migrations.upgrade(service)).applied == ()
    assert wait(service_migrations.check(service)).differences == ()
    assert wait(drift(service)).differences == ()
    assert wait(verify(service)).revisions == ("r2",)
    ran = monorepo.inv("db.status", "--service", "shop")
    assert (ran.code, "r2" in ran.out) == (0, True), ran.text
    query(dsn, f"CREATE TABLE public.alembic_version_shop AS TABLE {name}.alembic_version_shop")
    with pytest.raises(ConfigurationError, match="alembic_version_shop"):
        wait(service_migrations.upgrade(service))
    query(dsn, "DROP TABLE public.alembic_version_shop")
    wait(service_migrations.downgrade(service, "base"))
    assert query(dsn, f"SELECT version_num FROM {name}.alembic_version_shop") == []
