"""Organisations: whom a contract is made with."""

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, DateTime, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from services.identity.models.base import Base
from shared_models import Slug, TimestampMixin, UUIDMixin

if TYPE_CHECKING:
    from services.identity.models.memberships import Membership

__all__ = ["Organisation"]


class Organisation(UUIDMixin, TimestampMixin, Base):
    """A customer of the whole platform; other services know it by its id."""

    __tablename__ = "organisations"
    __table_args__ = (
        UniqueConstraint("slug"),
        CheckConstraint("slug ~ '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'", name="slug_is_a_dns_label"),
    )

    slug: Mapped[Slug]
    name: Mapped[str] = mapped_column(String(200))
    suspended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    memberships: Mapped[list["Membership"]] = relationship(back_populates="organisation", passive_deletes=True)
