"""Create items."""

import sqlalchemy as sa
from alembic import op

revision = "1a20"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE EXTENSION IF NOT EXISTS citext")
    op.execute("CREATE TYPE warehouse.items_state AS ENUM ('new', 'done')")
    op.execute(
        "CREATE TABLE warehouse.items (id serial CONSTRAINT pk_items PRIMARY KEY, name varchar(50) NOT NULL, "
        "code citext, remark varchar(50), state warehouse.items_state NOT NULL)"
    )
    op.create_index("ix_items_name", "items", ["name"], schema="warehouse")


def downgrade():
    op.drop_table("items", schema="warehouse")
    op.execute("DROP TYPE warehouse.items_state")
    op.execute("DROP EXTENSION citext")
