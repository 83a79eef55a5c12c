"""Create products."""

import sqlalchemy as sa
from alembic import op

revision = "1a10"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "products",
        sa.Column("name", sa.String(50), nullable=False),
        sa.Column("id", sa.Integer, primary_key=True),
    )
    op.create_index("ix_products_name", "products", ["name"])


def downgrade():
    op.drop_index("ix_products_name", "products")
    op.drop_table("products")
