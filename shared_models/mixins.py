"""Columns that most tables have.

All defaults are the server's: a row that is written by hand, or by a migration, gets them as well.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, Uuid, func
from sqlalchemy.orm import Mapped, mapped_column

__all__ = ["TimestampMixin", "UUIDMixin"]


class UUIDMixin:
    """A random key. The function is built into PostgreSQL since 13, so this needs no extension."""

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, server_default=func.gen_random_uuid(), sort_order=-10)


class TimestampMixin:
    """When a row was written first, and when it was written last by the application."""

    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now(), sort_order=90)
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now(), sort_order=91
    )
