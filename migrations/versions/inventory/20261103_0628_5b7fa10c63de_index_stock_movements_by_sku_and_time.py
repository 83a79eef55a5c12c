"""Index stock movements by sku and time.

Revision ID: 5b7fa10c63de
Revises: e75035b3d752
Create Date: 2026-11-03 06:28:00+00:00

The history of a product is read by sku and time; by warehouse alone it meant a scan.
"""

from collections.abc import Sequence

from service_migrations.safe import concurrent_index, drop_concurrent_index

revision: str = "5b7fa10c63de"
down_revision: str | Sequence[str] | None = "e75035b3d752"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    concurrent_index("ix_stock_movements_sku_occurred_at", "stock_movements", ["sku", "occurred_at"])


def downgrade() -> None:
    drop_concurrent_index("ix_stock_movements_sku_occurred_at", "stock_movements")
