"""What lies where: warehouses, their stock, its movements, and what is promised to orders.

Inventory keeps its tables in catalog's database and has nothing else in common with it: a product is known
by its sku, a plain value. Without a foreign key either service can be migrated, restored or moved away alone.
"""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    CheckConstraint,
    Computed,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from shared_models import (
    NAMING_CONVENTION,
    BigIdentity,
    Code,
    CountryCode,
    Sku,
    TimestampMixin,
    UUIDMixin,
    pg_enum,
)

__all__ = ["Base", "MovementKind", "Reservation", "StockLevel", "StockMovement", "Warehouse"]


class Base(DeclarativeBase):
    """The base of inventory's models."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class MovementKind(StrEnum):
    """Why a quantity changed."""

    RECEIPT = "receipt"
    SHIPMENT = "shipment"
    TRANSFER = "transfer"
    ADJUSTMENT = "adjustment"


class Warehouse(TimestampMixin, Base):
    """A place where things lie."""

    __tablename__ = "warehouses"
    __table_args__ = (
        UniqueConstraint("code"),
        CheckConstraint("country ~ '^[A-Z]{2}$'", name="country_is_iso_3166"),
    )

    id: Mapped[int] = mapped_column(Integer, Identity(always=True), primary_key=True)
    code: Mapped[Code]
    name: Mapped[str] = mapped_column(String(200))
    country: Mapped[CountryCode]
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    stock_levels: Mapped[list["StockLevel"]] = relationship(back_populates="warehouse")


class StockLevel(Base):
    """How much of a product lies in a warehouse, and how much of that is still free."""

    __tablename__ = "stock_levels"
    __table_args__ = (
        CheckConstraint("on_hand >= 0", name="on_hand_not_negative"),
        CheckConstraint("reserved >= 0 AND reserved <= on_hand", name="reserved_within_on_hand"),
        Index(None, "sku"),
    )

    warehouse_id: Mapped[int] = mapped_column(ForeignKey("warehouses.id", ondelete="RESTRICT"), primary_key=True)
    sku: Mapped[Sku] = mapped_column(primary_key=True)
    on_hand: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    reserved: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    available: Mapped[int] = mapped_column(Integer, Computed("on_hand - reserved", persisted=True))
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now()
    )

    warehouse: Mapped["Warehouse"] = relationship(back_populates="stock_levels")


class StockMovement(Base):
    """One change of one quantity. Rows are only ever added: the stock levels are their sum."""

    __tablename__ = "stock_movements"
    __table_args__ = (
        CheckConstraint("quantity <> 0", name="quantity_not_zero"),
        Index(None, "warehouse_id"),
        Index(None, "sku", "occurred_at"),
    )

    id: Mapped[BigIdentity]
    warehouse_id: Mapped[int] = mapped_column(ForeignKey("warehouses.id", ondelete="RESTRICT"))
    sku: Mapped[Sku]
    kind: Mapped[MovementKind] = mapped_column(pg_enum(MovementKind, "stock_movement_kind"))
    quantity: Mapped[int] = mapped_column(Integer)
    note: Mapped[str | None] = mapped_column(String(500))
    occurred_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Reservation(UUIDMixin, Base):
    """A quantity that is promised to an order until it is shipped, or until the promise lapses."""

    __tablename__ = "reservations"
    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity_positive"),
        CheckConstraint("expires_at > created_at", name="expires_after_creation"),
        Index(None, "order_reference"),
        Index(
            "ix_reservations_open",
            "warehouse_id",
            "sku",
            postgresql_where=text("released_at IS NULL"),
        ),
    )

    warehouse_id: Mapped[int] = mapped_column(ForeignKey("warehouses.id", ondelete="RESTRICT"))
    sku: Mapped[Sku]
    quantity: Mapped[int] = mapped_column(Integer)
    order_reference: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    released_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
