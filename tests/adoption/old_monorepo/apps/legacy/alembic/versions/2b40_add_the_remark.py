"""Add the remark."""

import sqlalchemy as sa
from alembic import op

revision = "2b40"
down_revision = "1a40"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("accounts", sa.Column("remark", sa.String(50)))
    op.create_index("ix_accounts_name", "accounts", ["name"])


def downgrade():
    op.drop_index("ix_accounts_name", "accounts")
    op.drop_column("accounts", "remark")
