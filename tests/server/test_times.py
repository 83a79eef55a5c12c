"""Defaults that are the time at which a revision ran: another one in each database, and no difference of anything."""

from collections.abc import Callable

import pytest

from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, run_script
from tests.support.monorepo import Monorepo
from tests.support.pytest_runs import given, pytest_in

MODELS = """
from datetime import datetime
from sqlalchemy import DateTime, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Visit"]


class Base(DeclarativeBase):
    pass


class Visit(Base):
    __tablename__ = "visits"
    id: Mapped[int] = mapped_column(primary_key=True)
    created: Mapped[datetime] = mapped_column(DateTime, server_default="now()")
    seen: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default="now")
    left: Mapped[datetime] = mapped_column(DateTime, server_default=text(f"'{datetime.now()}'"))
"""

TABLE = """
from datetime import datetime
op.create_table(
    "visits",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("created", sa.DateTime, server_default="now()", nullable=False),
    sa.Column("seen", sa.DateTime(timezone=True), server_default="now", nullable=False),
    sa.Column("left", sa.DateTime, server_default=text(f"'{datetime.now()}'"), nullable=False),
)
""".replace("text(", "sa.text(")

LATER = "'2031-05-06 07:08:09.123456'"


@pytest.fixture
def visits(monorepo: Monorepo, database: Callable[..., Dsn]) -> tuple[Monorepo, Dsn]:
    """A service at head, whose table was made on another day."""
    dsn = database(creates=True)
    monorepo.service("visits", MODELS, dsn)
    monorepo.revision("visits", "a1", None, TABLE, 'op.drop_table("visits")')
    assert monorepo.inv("db.upgrade", "--service", "visits").code == 0
    zone = f"{LATER[:-1]}+00'"
    run_script(
        dsn,
        [
            f"ALTER TABLE visits ALTER created SET DEFAULT {LATER}, ALTER seen SET DEFAULT {zone}",
            f'ALTER TABLE visits ALTER "left" SET DEFAULT {LATER}',
        ],
    )
    return monorepo, dsn


def test_a_default_of_another_run_is_no_difference(visits: tuple[Monorepo, Dsn]) -> None:
    monorepo, _ = visits
    check = monorepo.inv("db.check", "--service", "visits")
    assert check.code == 0, check
    for column in ("created", "seen", "left"):
        warning = f"visits.{column}: its server_default is the time at which the table was made"
        assert check.err.count(warning) == 1, check.err
    for words in (["db.drift"], ["db.adopt", "--verify"]):
        ran = monorepo.inv(*words, "--service", "visits")
        assert ran.code == 0, ran


def test_the_tests_of_every_history_pass(monorepo: Monorepo, server: Server) -> None:
    monorepo.service("visits", MODELS)
    monorepo.revision("visits", "a1", None, TABLE, 'op.drop_table("visits")')
    ran = pytest_in(monorepo.root, "-rA", "--pyargs", "service_migrations.testing", **given(server))
    assert ran.code == 0, ran.text


def test_any_other_default_still_is_one(visits: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = visits
    run_script(dsn, ["ALTER TABLE visits ALTER created SET DEFAULT '-infinity', ALTER seen DROP DEFAULT"])
    for task in ("db.check", "db.drift"):
        ran = monorepo.inv(task, "--service", "visits")
        assert ran.code == 3, ran
        assert len(ran.out.splitlines()) == 2, ran


def test_a_constant_of_the_history_is_compared(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database(creates=True)
    monorepo.service("shop", None, dsn)
    monorepo.revision("shop", "a1", None, "op.execute(\"CREATE TABLE t (a timestamp DEFAULT '2020-01-02 03:04:05')\")")
    assert monorepo.inv("db.upgrade", "--service", "shop").code == 0
    run_script(dsn, [f"ALTER TABLE t ALTER a SET DEFAULT {LATER}"])
    drift = monorepo.inv("db.drift", "--service", "shop")
    assert drift.code == 3, drift
    assert "column t.a has the default '2031-05-06 07:08:09.123456'" in drift.out
    assert query(dsn, "SELECT count(*) FROM t")[0][0] == 0
