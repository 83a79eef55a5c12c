"""Categories: a tree, and which product hangs where in it."""

from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared_models import Base, Slug

if TYPE_CHECKING:
    from services.catalog.models.products import Product

__all__ = ["Category", "product_categories"]

product_categories = Table(
    "product_categories",
    Base.metadata,
    Column[UUID]("product_id", Uuid, ForeignKey("products.id", ondelete="CASCADE"), primary_key=True),
    Column[int]("category_id", Integer, ForeignKey("categories.id", ondelete="CASCADE"), primary_key=True),
    Index(None, "category_id"),
)


class Category(Base):
    """A shelf in the shop; its place among its siblings is its position."""

    __tablename__ = "categories"
    __table_args__ = (
        UniqueConstraint("parent_id", "slug"),
        # NULL equals nothing, so the constraint above leaves the roots free to repeat themselves.
        # NULLS NOT DISTINCT would do both, but came with PostgreSQL 15.
        Index(
            "uq_categories_slug_roots",
            "slug",
            unique=True,
            postgresql_where=text("parent_id IS NULL"),
        ),
        CheckConstraint("parent_id <> id", name="not_its_own_parent"),
    )

    id: Mapped[int] = mapped_column(Integer, Identity(always=True), primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("categories.id", ondelete="RESTRICT"))
    slug: Mapped[Slug]
    title: Mapped[str] = mapped_column(String(200))
    position: Mapped[int] = mapped_column(Integer, server_default=text("0"))

    parent: Mapped["Category | None"] = relationship(back_populates="children", remote_side="Category.id")
    children: Mapped[list["Category"]] = relationship(back_populates="parent", order_by="Category.position")
    products: Mapped[list["Product"]] = relationship(secondary=product_categories, back_populates="categories")
