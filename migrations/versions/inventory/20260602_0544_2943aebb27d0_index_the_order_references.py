"""Index the order references.

Revision ID: 2943aebb27d0
Revises: c379b98aa1e5
Create Date: 2026-06-02 05:44:00+00:00

The old name has an index; code that looks a reservation up by the new name needs its own.
"""

from collections.abc import Sequence

from service_migrations.safe import concurrent_index, drop_concurrent_index

revision: str = "2943aebb27d0"
down_revision: str | Sequence[str] | None = "c379b98aa1e5"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    concurrent_index("ix_reservations_order_reference", "reservations", ["order_reference"])


def downgrade() -> None:
    drop_concurrent_index("ix_reservations_order_reference", "reservations")
