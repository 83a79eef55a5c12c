"""What db.check says of models that can't be migrated one day: constraints and indexes without a name."""

import pytest

from service_migrations.models.metadata import assemble
from service_migrations.models.unnamed import findings
from tests.support.monorepo import Monorepo

HEAD = """
from sqlalchemy import Boolean, CheckConstraint, Enum, ForeignKey, Index, MetaData, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from shared_models import NAMING_CONVENTION

__all__ = ["Base", "Thing", "Other"]


class Base(DeclarativeBase):
    metadata = MetaData({convention})


class Other(Base):
    __tablename__ = "other"
    id: Mapped[int] = mapped_column(primary_key=True)


class Thing(Base):
    __tablename__ = "thing"
    id: Mapped[int] = mapped_column(primary_key=True)
"""

CONVENTION = "naming_convention=NAMING_CONVENTION"


def found(monorepo: Monorepo, line: str, convention: str = "") -> list[str]:
    """Return what is said of a table, up to the words that all findings have."""
    service = monorepo.service("billing", HEAD.format(convention=convention) + f"    {line}\n")
    lines = map(str, findings(service, assemble(service), "public"))
    return [text.partition(" without a name")[0] for text in lines]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("name: Mapped[str] = mapped_column(unique=True)", "a UNIQUE (name)"),
        ("other_id: Mapped[int] = mapped_column(ForeignKey('other.id'))", "a FOREIGN KEY (other_id)"),
        ("number: Mapped[int] = mapped_column(CheckConstraint('number > 0'))", "a CHECK (number > 0)"),
        ("__table_args__ = (CheckConstraint(func.length('x').in_([1, 2])),)", "a CHECK (length('x') IN (1, 2))"),
        ("__table_args__ = (ExcludeConstraint(('id', '=')),)", "an EXCLUDE (id)"),
    ],
)
def test_what_nobody_named_is_found_unless_a_convention_names_it(line: str, what: str, monorepo: Monorepo) -> None:
    assert found(monorepo, line) == [f"services/billing/models.py: thing has {what}"]


@pytest.mark.parametrize(
    "line",
    [
        "name: Mapped[str] = mapped_column(unique=True)",
        "other_id: Mapped[int] = mapped_column(ForeignKey('other.id'))",
        "number: Mapped[int] = mapped_column(CheckConstraint('number > 0', name='positive'))",
        "number: Mapped[int] = mapped_column(index=True)",
    ],
)
def test_a_convention_is_enough(line: str, monorepo: Monorepo) -> None:
    assert found(monorepo, line, CONVENTION) == []


@pytest.mark.parametrize(
    "line",
    [
        "name: Mapped[str]",
        "name: Mapped[str] = mapped_column(index=True)",
        "__table_args__ = (UniqueConstraint('id', name='one'), CheckConstraint('id > 0', name='two'))",
    ],
)
def test_a_convention_that_nothing_needs_is_not_missed(line: str, monorepo: Monorepo) -> None:
    """The default models of these tests have no convention, and a primary key each."""
    assert found(monorepo, line) == []
