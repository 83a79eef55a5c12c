"""Invoices and their lines."""

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Computed,
    Date,
    ForeignKey,
    Index,
    Numeric,
    SmallInteger,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from services.billing.models.base import Base
from shared_models import BigIdentity, CurrencyCode, Money, TimestampMixin, UUIDMixin, pg_enum

if TYPE_CHECKING:
    from services.billing.models.customers import Customer
    from services.billing.models.payments import Payment

__all__ = ["Invoice", "InvoiceLine", "InvoiceStatus"]


class InvoiceStatus(StrEnum):
    """A draft becomes open when it is sent, and ends in one of the other ways."""

    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    UNCOLLECTIBLE = "uncollectible"
    VOID = "void"


class Invoice(UUIDMixin, TimestampMixin, Base):
    """A claim on a customer. Its number is given when it is issued, because numbers must have no gaps."""

    __tablename__ = "invoices"
    __table_args__ = (
        UniqueConstraint("number"),
        CheckConstraint("issued_on IS NULL OR number IS NOT NULL", name="issued_has_number"),
        CheckConstraint("due_on >= issued_on", name="due_after_issue"),
        CheckConstraint("subtotal >= 0 AND tax >= 0", name="amounts_not_negative"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_is_iso_4217"),
        Index(None, "customer_id"),
        # Usage is collected on *the* draft of a customer: a second one would split the month.
        Index(
            "uq_invoices_customer_id_draft",
            "customer_id",
            unique=True,
            postgresql_where=text("status = 'draft'::invoice_status"),
        ),
    )

    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id", ondelete="RESTRICT"))
    number: Mapped[str | None] = mapped_column(String(32))
    status: Mapped[InvoiceStatus] = mapped_column(pg_enum(InvoiceStatus, "invoice_status"), server_default="draft")
    issued_on: Mapped[date | None] = mapped_column(Date)
    due_on: Mapped[date | None] = mapped_column(Date)
    currency: Mapped[CurrencyCode]
    subtotal: Mapped[Money] = mapped_column(server_default=text("0"))
    tax: Mapped[Money] = mapped_column(server_default=text("0"))
    total: Mapped[Decimal] = mapped_column(Numeric(12, 2), Computed("subtotal + tax", persisted=True))

    customer: Mapped["Customer"] = relationship(back_populates="invoices")
    lines: Mapped[list["InvoiceLine"]] = relationship(
        back_populates="invoice", order_by="InvoiceLine.position", passive_deletes=True
    )
    payments: Mapped[list["Payment"]] = relationship(back_populates="invoice")


class InvoiceLine(Base):
    """One position of an invoice."""

    __tablename__ = "invoice_lines"
    __table_args__ = (
        UniqueConstraint("invoice_id", "position"),
        CheckConstraint('"position" > 0', name="position_from_one"),
        CheckConstraint("quantity <> 0", name="quantity_not_zero"),
    )

    id: Mapped[BigIdentity]
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(SmallInteger)
    description: Mapped[str] = mapped_column(String(500))
    quantity: Mapped[Decimal] = mapped_column(Numeric(12, 3))
    unit_price: Mapped[Money]
    amount: Mapped[Decimal] = mapped_column(Numeric(14, 2), Computed("round(quantity * unit_price, 2)", persisted=True))

    invoice: Mapped["Invoice"] = relationship(back_populates="lines")
