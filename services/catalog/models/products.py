"""Products: what can be found, looked at and ordered."""

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, Computed, Index, String, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column, relationship

from services.catalog.models.categories import product_categories
from shared_models import Base, CurrencyCode, Money, Sku, TimestampMixin, UUIDMixin, pg_enum

if TYPE_CHECKING:
    from services.catalog.models.categories import Category

__all__ = ["Product", "ProductStatus"]

# Two things make this expression immutable, as a generated column demands: the language is a constant of type
# regconfig, and no default of the session (default_text_search_config) takes part.
SEARCH_VECTOR = (
    "setweight(to_tsvector('english'::regconfig, name::text), 'A'::\"char\")"
    " || setweight(to_tsvector('english'::regconfig, COALESCE(description, ''::text)), 'B'::\"char\")"
)


class ProductStatus(StrEnum):
    """Only an active product is shown."""

    DRAFT = "draft"
    ACTIVE = "active"
    RETIRED = "retired"


class Product(UUIDMixin, TimestampMixin, Base):
    """A product. Other services know it by its sku."""

    __tablename__ = "products"
    __table_args__ = (
        UniqueConstraint("sku"),
        CheckConstraint("list_price >= 0", name="list_price_not_negative"),
        CheckConstraint("jsonb_typeof(attributes) = 'object'", name="attributes_is_an_object"),
        # jsonb_path_ops serves @> only, which is all that the filters use, in a third of the space.
        Index(
            "ix_products_attributes",
            "attributes",
            postgresql_using="gin",
            postgresql_ops={"attributes": "jsonb_path_ops"},
        ),
        Index("ix_products_search", "search", postgresql_using="gin"),
    )

    sku: Mapped[Sku]
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str | None] = mapped_column(Text)
    brand: Mapped[str] = mapped_column(String(100))
    status: Mapped[ProductStatus] = mapped_column(pg_enum(ProductStatus, "product_status"), server_default="draft")
    list_price: Mapped[Money]
    currency: Mapped[CurrencyCode] = mapped_column(server_default="EUR")
    attributes: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    search: Mapped[str] = mapped_column(TSVECTOR, Computed(SEARCH_VECTOR, persisted=True), deferred=True)

    categories: Mapped[list["Category"]] = relationship(secondary=product_categories, back_populates="products")
