"""Add the payment status refunded.

Revision ID: c4d09b7e52f1
Revises: 51359bf4c5ab
Create Date: 2026-10-21 14:07:00+00:00

The downgrade turns refunded payments back into succeeded ones, which they were before the money went back;
a refund that never had a date of receipt takes the date of its row. The CHECK names the old type, so it
goes and comes back with the type.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "c4d09b7e52f1"
down_revision: str | Sequence[str] | None = "51359bf4c5ab"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("ALTER TYPE payment_status ADD VALUE IF NOT EXISTS 'refunded'")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_payments_succeeded_has_date"), "payments", type_="check")
    op.execute("ALTER TYPE payment_status RENAME TO payment_status_with_refunded")
    op.execute("CREATE TYPE payment_status AS ENUM ('pending', 'succeeded', 'failed')")
    op.execute("""
        ALTER TABLE payments
            ALTER COLUMN received_at TYPE timestamptz
                USING CASE status::text
                    WHEN 'refunded' THEN COALESCE(received_at, created_at)
                    ELSE received_at
                END,
            ALTER COLUMN status DROP DEFAULT,
            ALTER COLUMN status TYPE payment_status
                USING (
                    CASE status::text WHEN 'refunded' THEN 'succeeded' ELSE status::text END
                )::payment_status,
            ALTER COLUMN status SET DEFAULT 'pending'
    """)
    op.execute("DROP TYPE payment_status_with_refunded")
    op.create_check_constraint(
        op.f("ck_payments_succeeded_has_date"),
        "payments",
        "status <> 'succeeded'::payment_status OR received_at IS NOT NULL",
    )
