"""Expand the name."""

import sqlalchemy as sa
from alembic import op

revision = "2e30"
down_revision = "1a30"
branch_labels = ("expand",)
depends_on = None


def upgrade():
    op.execute("ALTER TABLE orders ADD name varchar(50) NOT NULL DEFAULT ''")
    op.execute("ALTER TABLE orders ALTER name DROP DEFAULT")
    op.execute("ALTER TABLE orders ADD remark varchar(50)")
    op.create_index("ix_orders_name", "orders", ["name"])


def downgrade():
    op.drop_column("orders", "remark")
    op.drop_column("orders", "name")
