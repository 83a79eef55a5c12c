"""Index the search vector of products.

Revision ID: 6770d7b7b145
Revises: c33d54b86c91
Create Date: 2026-05-11 06:20:00+00:00

Apart from the column, so that the build blocks nobody.
"""

from collections.abc import Sequence

from service_migrations.safe import concurrent_index, drop_concurrent_index

revision: str = "6770d7b7b145"
down_revision: str | Sequence[str] | None = "c33d54b86c91"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    concurrent_index("ix_products_search", "products", ["search"], postgresql_using="gin")


def downgrade() -> None:
    drop_concurrent_index("ix_products_search", "products")
