"""Index the attributes of products.

Revision ID: 9e34f17aa49c
Revises: 837a6deb46b9
Create Date: 2026-03-30 06:40:00+00:00

The filters beside the list of products ask with @> only: jsonb_path_ops serves that in a third of the
space.
"""

from collections.abc import Sequence

from service_migrations.safe import concurrent_index, drop_concurrent_index

revision: str = "9e34f17aa49c"
down_revision: str | Sequence[str] | None = "837a6deb46b9"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    concurrent_index(
        "ix_products_attributes",
        "products",
        ["attributes"],
        postgresql_using="gin",
        postgresql_ops={"attributes": "jsonb_path_ops"},
    )


def downgrade() -> None:
    drop_concurrent_index("ix_products_attributes", "products")
