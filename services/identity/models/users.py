"""Users: people who can sign in."""

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import DateTime, Index, String, func, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from services.identity.models.base import Base
from shared_models import TimestampMixin, UUIDMixin

if TYPE_CHECKING:
    from services.identity.models.memberships import Membership

__all__ = ["User"]


class User(UUIDMixin, TimestampMixin, Base):
    """A person, who may belong to several organisations."""

    __tablename__ = "users"
    __table_args__ = (
        # People type their address in any case; citext would be an extension.
        Index("uq_users_email_lower", func.lower(text("email")), unique=True),
    )

    email: Mapped[str] = mapped_column(String(320))
    full_name: Mapped[str] = mapped_column(String(200))
    password_hash: Mapped[str | None] = mapped_column(String(255))
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    last_seen_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    memberships: Mapped[list["Membership"]] = relationship(
        back_populates="user", foreign_keys="Membership.user_id", passive_deletes=True
    )
