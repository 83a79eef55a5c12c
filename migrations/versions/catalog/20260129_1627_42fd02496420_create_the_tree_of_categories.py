"""Create the tree of categories.

Revision ID: 42fd02496420
Revises: 9e130929da33
Create Date: 2026-01-29 16:27:00+00:00

The slug is unique among siblings. NULL equals nothing, so for the roots that takes an index of its own;
NULLS NOT DISTINCT would say both at once, but PostgreSQL 14 does not know it.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "42fd02496420"
down_revision: str | Sequence[str] | None = "9e130929da33"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "categories",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("parent_id", sa.Integer(), nullable=True),
        sa.Column("slug", sa.String(63), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("position", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_categories")),
        sa.ForeignKeyConstraint(
            ["parent_id"],
            ["categories.id"],
            name=op.f("fk_categories_parent_id_categories"),
            ondelete="RESTRICT",
        ),
        sa.UniqueConstraint("parent_id", "slug", name=op.f("uq_categories_parent_id_slug")),
        sa.CheckConstraint("parent_id <> id", name=op.f("ck_categories_not_its_own_parent")),
    )
    op.create_index(
        op.f("uq_categories_slug_roots"),
        "categories",
        ["slug"],
        unique=True,
        postgresql_where=sa.text("parent_id IS NULL"),
    )
    op.create_table(
        "product_categories",
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("category_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("product_id", "category_id", name=op.f("pk_product_categories")),
        sa.ForeignKeyConstraint(
            ["product_id"],
            ["products.id"],
            name=op.f("fk_product_categories_product_id_products"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["category_id"],
            ["categories.id"],
            name=op.f("fk_product_categories_category_id_categories"),
            ondelete="CASCADE",
        ),
    )
    op.create_index(op.f("ix_product_categories_category_id"), "product_categories", ["category_id"])


def downgrade() -> None:
    op.drop_table("product_categories")
    op.drop_table("categories")
