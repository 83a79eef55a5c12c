"""Add the invoice status uncollectible.

Revision ID: 51359bf4c5ab
Revises: ada942a7b8b7
Create Date: 2026-09-08 08:44:00+00:00

What the collection agency gave up is neither paid nor void: tax law treats the three differently.

The downgrade turns such invoices back into open ones, which is what they were before. The type is built
anew, and the index whose predicate names the old type has to make way for the time.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "51359bf4c5ab"
down_revision: str | Sequence[str] | None = "ada942a7b8b7"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("ALTER TYPE invoice_status ADD VALUE IF NOT EXISTS 'uncollectible' BEFORE 'void'")


def downgrade() -> None:
    op.drop_index(op.f("uq_invoices_customer_id_draft"), "invoices")
    op.execute("ALTER TYPE invoice_status RENAME TO invoice_status_with_uncollectible")
    op.execute("CREATE TYPE invoice_status AS ENUM ('draft', 'open', 'paid', 'void')")
    op.execute("""
        ALTER TABLE invoices
            ALTER COLUMN status DROP DEFAULT,
            ALTER COLUMN status TYPE invoice_status
                USING (
                    CASE status::text WHEN 'uncollectible' THEN 'open' ELSE status::text END
                )::invoice_status,
            ALTER COLUMN status SET DEFAULT 'draft'
    """)
    op.execute("DROP TYPE invoice_status_with_uncollectible")
    op.create_index(
        op.f("uq_invoices_customer_id_draft"),
        "invoices",
        ["customer_id"],
        unique=True,
        postgresql_where=sa.text("status = 'draft'::invoice_status"),
    )
