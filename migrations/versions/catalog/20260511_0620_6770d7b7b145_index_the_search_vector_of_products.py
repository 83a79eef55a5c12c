"""Index the search vector of products.

Revision ID: 6770d7b7b145
Revises: c33d54b86c91
Create Date: 2026-05-11 06:20:00+00:00

Apart from the column, so that the build blocks nobody. The leading DROP removes the invalid index of an
interrupted build.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "6770d7b7b145"
down_revision: str | Sequence[str] | None = "c33d54b86c91"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_products_search")
        op.execute("CREATE INDEX CONCURRENTLY ix_products_search ON products USING gin (search)")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_products_search")
