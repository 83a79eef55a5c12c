"""Require the order reference.

Revision ID: 2e917ff29109
Revises: 2943aebb27d0
Create Date: 2026-06-25 06:01:00+00:00

The trigger has filled new rows since May, the backfill the older ones. SET NOT NULL alone would read the
whole table under an exclusive lock; a validated CHECK spares it that. Each statement commits by itself, or
the lock of the first would be held until the last; the leading DROP makes it safe to run again after an
interruption.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "2e917ff29109"
down_revision: str | Sequence[str] | None = "2943aebb27d0"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE reservations DROP CONSTRAINT IF EXISTS ck_reservations_order_reference_present")
        op.execute("""
            ALTER TABLE reservations ADD CONSTRAINT ck_reservations_order_reference_present
            CHECK (order_reference IS NOT NULL) NOT VALID
        """)
        op.execute("ALTER TABLE reservations VALIDATE CONSTRAINT ck_reservations_order_reference_present")
        op.execute("ALTER TABLE reservations ALTER COLUMN order_reference SET NOT NULL")
        op.execute("ALTER TABLE reservations DROP CONSTRAINT ck_reservations_order_reference_present")


def downgrade() -> None:
    op.execute("ALTER TABLE reservations ALTER COLUMN order_reference DROP NOT NULL")
