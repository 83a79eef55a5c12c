"""Index the order references.

Revision ID: 2943aebb27d0
Revises: c379b98aa1e5
Create Date: 2026-06-02 05:44:00+00:00

The old name has an index; code that looks a reservation up by the new name needs its own. The leading DROP
removes the invalid index of an interrupted build.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "2943aebb27d0"
down_revision: str | Sequence[str] | None = "c379b98aa1e5"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_reservations_order_reference")
        op.execute("""
            CREATE INDEX CONCURRENTLY ix_reservations_order_reference ON reservations (order_reference)
        """)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_reservations_order_reference")
