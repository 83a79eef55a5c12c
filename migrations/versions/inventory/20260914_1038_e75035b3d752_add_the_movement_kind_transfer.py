"""Add the movement kind transfer.

Revision ID: e75035b3d752
Revises: 8a794e2ee0da
Create Date: 2026-09-14 10:38:00+00:00

A transfer between two warehouses was booked as two adjustments, which nobody could tell from losses. The
downgrade books them as adjustments again, and says in the note what they were; the type is built anew.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "e75035b3d752"
down_revision: str | Sequence[str] | None = "8a794e2ee0da"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("ALTER TYPE stock_movement_kind ADD VALUE IF NOT EXISTS 'transfer' BEFORE 'adjustment'")


def downgrade() -> None:
    op.execute("ALTER TYPE stock_movement_kind RENAME TO stock_movement_kind_with_transfer")
    op.execute("CREATE TYPE stock_movement_kind AS ENUM ('receipt', 'shipment', 'adjustment')")
    op.execute("""
        ALTER TABLE stock_movements
            ALTER COLUMN note TYPE varchar(500)
                USING CASE kind::text
                    WHEN 'transfer' THEN left(concat_ws(', ', 'transfer', note), 500)
                    ELSE note
                END,
            ALTER COLUMN kind TYPE stock_movement_kind
                USING (
                    CASE kind::text WHEN 'transfer' THEN 'adjustment' ELSE kind::text END
                )::stock_movement_kind
    """)
    op.execute("DROP TYPE stock_movement_kind_with_transfer")
