"""Payments: money that arrived, or was tried to be collected."""

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from services.billing.models.base import Base
from shared_models import Money, TimestampMixin, UUIDMixin, pg_enum

if TYPE_CHECKING:
    from services.billing.models.invoices import Invoice

__all__ = ["Payment", "PaymentStatus"]


class PaymentStatus(StrEnum):
    """As the provider reports it."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUNDED = "refunded"


class Payment(UUIDMixin, TimestampMixin, Base):
    """One attempt to pay an invoice; an invoice may need several."""

    __tablename__ = "payments"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint("status <> 'succeeded'::payment_status OR received_at IS NOT NULL", name="succeeded_has_date"),
        Index(None, "invoice_id"),
        # A provider sends its notifications more than once: the second must not become a second payment.
        Index(
            "uq_payments_provider_reference",
            "provider",
            "provider_reference",
            unique=True,
            postgresql_where=text("provider_reference IS NOT NULL"),
        ),
    )

    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id", ondelete="RESTRICT"))
    status: Mapped[PaymentStatus] = mapped_column(pg_enum(PaymentStatus, "payment_status"), server_default="pending")
    provider: Mapped[str] = mapped_column(String(40))
    provider_reference: Mapped[str | None] = mapped_column(String(128))
    amount: Mapped[Money]
    received_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    invoice: Mapped["Invoice"] = relationship(back_populates="payments")
