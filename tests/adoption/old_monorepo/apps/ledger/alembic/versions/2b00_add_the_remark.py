"""Add the remark."""

import sqlalchemy as sa
from alembic import op

revision = "2b00"
down_revision = "1a00"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("ALTER TABLE entries ADD remark varchar(50); CREATE INDEX ix_entries_name ON entries (name)")


def downgrade():
    op.execute("DROP INDEX ix_entries_name; ALTER TABLE entries DROP remark")
