"""Add the brand of products.

Revision ID: 31281b579992
Revises: 6770d7b7b145
Create Date: 2026-07-20 11:05:00+00:00

The brand was one attribute among many, and half of the products spelled the key otherwise. It becomes a
column: first nullable, written by the new code; the next revision fills the older rows.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "31281b579992"
down_revision: str | Sequence[str] | None = "6770d7b7b145"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("products", sa.Column("brand", sa.String(100), nullable=True))


def downgrade() -> None:
    op.drop_column("products", "brand")
