"""Make the provider reference unique.

Revision ID: 77e075ecbc50
Revises: 3c5ea93215e9
Create Date: 2026-05-05 06:55:00+00:00

The old name has such an index; code that looks a payment up by the new name needs its own, and so does the
rule that no notification of a provider is booked twice.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from service_migrations.safe import concurrent_index, drop_concurrent_index

revision: str = "77e075ecbc50"
down_revision: str | Sequence[str] | None = "3c5ea93215e9"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    concurrent_index(
        "uq_payments_provider_reference",
        "payments",
        ["provider", "provider_reference"],
        unique=True,
        postgresql_where=sa.text("provider_reference IS NOT NULL"),
    )


def downgrade() -> None:
    drop_concurrent_index("uq_payments_provider_reference", "payments")
