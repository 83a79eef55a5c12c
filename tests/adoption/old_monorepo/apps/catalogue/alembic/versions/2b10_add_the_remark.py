"""Add the remark."""

import sqlalchemy as sa
from alembic import op

revision = "2b10"
down_revision = "1a10"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("products", sa.Column("remark", sa.String(50)))


def downgrade():
    op.drop_column("products", "remark")
