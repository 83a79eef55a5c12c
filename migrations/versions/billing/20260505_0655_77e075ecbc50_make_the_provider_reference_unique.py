"""Make the provider reference unique.

Revision ID: 77e075ecbc50
Revises: 3c5ea93215e9
Create Date: 2026-05-05 06:55:00+00:00

The old name has such an index; code that looks a payment up by the new name needs its own, and so does the
rule that no notification of a provider is booked twice. The leading DROP removes the invalid index of an
interrupted build.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "77e075ecbc50"
down_revision: str | Sequence[str] | None = "3c5ea93215e9"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS uq_payments_provider_reference")
        op.execute("""
            CREATE UNIQUE INDEX CONCURRENTLY uq_payments_provider_reference
            ON payments (provider, provider_reference) WHERE provider_reference IS NOT NULL
        """)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS uq_payments_provider_reference")
