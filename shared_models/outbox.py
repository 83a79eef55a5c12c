"""The transactional outbox: events that are written with the change they tell of, and published afterwards.

A service that publishes events exports `OutboxMessage` from its models. It then has an ``outbox`` of its own
in its own database; what is shared is the shape, so that one relay can serve all.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, Index, String, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from shared_models.base import Base
from shared_models.types import BigIdentity

__all__ = ["OutboxMessage"]


class OutboxMessage(Base):
    """An event that waits for the relay, or was published by it."""

    __tablename__ = "outbox"
    __table_args__ = (
        # The relay asks for nothing but the unpublished: the index stays as small as the backlog.
        Index("ix_outbox_unpublished", "id", postgresql_where=text("published_at IS NULL")),
    )

    id: Mapped[BigIdentity]
    aggregate_type: Mapped[str] = mapped_column(String(63))
    aggregate_id: Mapped[str] = mapped_column(String(64))
    event_type: Mapped[str] = mapped_column(String(127))
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    published_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
