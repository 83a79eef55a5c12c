"""Require a brand of every product.

Revision ID: 0df94ba87b15
Revises: b33bd72c0b51
Create Date: 2026-08-31 07:35:00+00:00

SET NOT NULL alone would read the whole table under an exclusive lock. A validated CHECK spares it that:
VALIDATE reads the table too, but readers and writers go on. Each statement commits by itself, or the lock
of the first would be held until the last; the leading DROP makes it safe to run again after an
interruption.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0df94ba87b15"
down_revision: str | Sequence[str] | None = "b33bd72c0b51"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE products DROP CONSTRAINT IF EXISTS ck_products_brand_present")
        op.execute("""
            ALTER TABLE products ADD CONSTRAINT ck_products_brand_present
            CHECK (brand IS NOT NULL) NOT VALID
        """)
        op.execute("ALTER TABLE products VALIDATE CONSTRAINT ck_products_brand_present")
        op.execute("ALTER TABLE products ALTER COLUMN brand SET NOT NULL")
        op.execute("ALTER TABLE products DROP CONSTRAINT ck_products_brand_present")


def downgrade() -> None:
    op.execute("ALTER TABLE products ALTER COLUMN brand DROP NOT NULL")
