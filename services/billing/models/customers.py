"""Customers: who gets the invoice."""

from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import CheckConstraint, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from services.billing.models.base import Base
from shared_models import CountryCode, CurrencyCode, TimestampMixin, UUIDMixin

if TYPE_CHECKING:
    from services.billing.models.invoices import Invoice

__all__ = ["Customer"]


class Customer(UUIDMixin, TimestampMixin, Base):
    """An organisation as the one who pays. It lives in another service, so there is no foreign key to it."""

    __tablename__ = "customers"
    __table_args__ = (
        UniqueConstraint("organisation_id"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_is_iso_4217"),
        CheckConstraint("country ~ '^[A-Z]{2}$'", name="country_is_iso_3166"),
    )

    organisation_id: Mapped[UUID]
    legal_name: Mapped[str] = mapped_column(String(200))
    email: Mapped[str] = mapped_column(String(320))
    vat_number: Mapped[str | None] = mapped_column(String(20))
    country: Mapped[CountryCode]
    currency: Mapped[CurrencyCode] = mapped_column(server_default="EUR")

    invoices: Mapped[list["Invoice"]] = relationship(back_populates="customer")
