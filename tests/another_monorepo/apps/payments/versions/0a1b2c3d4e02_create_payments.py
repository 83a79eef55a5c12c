"""Create payments.

Revision ID: 0a1b2c3d4e02
Revises:
Create Date: 2026-05-04 09:12:00+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "0a1b2c3d4e02"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "payments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_payments"),
    )


def downgrade() -> None:
    op.drop_table("payments")
