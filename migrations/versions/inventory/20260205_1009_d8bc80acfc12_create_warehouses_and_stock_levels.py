"""Create warehouses and stock levels.

Revision ID: d8bc80acfc12
Revises:
Create Date: 2026-02-05 10:09:00+00:00

The tables lie in catalog's database, under names that catalog doesn't use. There is no foreign key between
the two: a sku is a plain value here, so that either service can be migrated, restored or moved away alone.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "d8bc80acfc12"
down_revision: str | Sequence[str] | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "warehouses",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("code", sa.String(16), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("country", sa.CHAR(2), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_warehouses")),
        sa.UniqueConstraint("code", name=op.f("uq_warehouses_code")),
        sa.CheckConstraint("country ~ '^[A-Z]{2}$'", name=op.f("ck_warehouses_country_is_iso_3166")),
    )
    op.create_table(
        "stock_levels",
        sa.Column("warehouse_id", sa.Integer(), nullable=False),
        sa.Column("sku", sa.String(32), nullable=False),
        sa.Column("on_hand", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("reserved", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("available", sa.Integer(), sa.Computed("on_hand - reserved", persisted=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("warehouse_id", "sku", name=op.f("pk_stock_levels")),
        sa.ForeignKeyConstraint(
            ["warehouse_id"],
            ["warehouses.id"],
            name=op.f("fk_stock_levels_warehouse_id_warehouses"),
            ondelete="RESTRICT",
        ),
        sa.CheckConstraint("on_hand >= 0", name=op.f("ck_stock_levels_on_hand_not_negative")),
        sa.CheckConstraint(
            "reserved >= 0 AND reserved <= on_hand", name=op.f("ck_stock_levels_reserved_within_on_hand")
        ),
    )
    op.create_index(op.f("ix_stock_levels_sku"), "stock_levels", ["sku"])


def downgrade() -> None:
    op.drop_table("stock_levels")
    op.drop_table("warehouses")
