"""Memberships: which user belongs to which organisation, and as what."""

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, func
from sqlalchemy.orm import Mapped, mapped_column, relationship

from services.identity.models.base import Base
from services.identity.models.roles import ROLE_TYPE, MembershipRole

if TYPE_CHECKING:
    from services.identity.models.organisations import Organisation
    from services.identity.models.users import User

__all__ = ["Membership"]


class Membership(Base):
    """One user in one organisation."""

    __tablename__ = "memberships"
    __table_args__ = (
        CheckConstraint("invited_by_id <> user_id", name="not_invited_by_self"),
        # The primary key begins with the organisation; signing in asks by user.
        Index(None, "user_id"),
    )

    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[MembershipRole] = mapped_column(ROLE_TYPE, server_default="member")
    invited_by_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    organisation: Mapped["Organisation"] = relationship(back_populates="memberships")
    user: Mapped["User"] = relationship(back_populates="memberships", foreign_keys=[user_id])
