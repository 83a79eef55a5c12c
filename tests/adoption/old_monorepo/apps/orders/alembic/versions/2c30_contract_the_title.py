"""Contract the title."""

import sqlalchemy as sa
from alembic import op

revision = "2c30"
down_revision = "1a30"
branch_labels = ("contract",)
depends_on = "2e30"


def upgrade():
    op.drop_column("orders", "title")


def downgrade():
    op.add_column("orders", sa.Column("title", sa.String(50)))
