"""Create orders."""

import sqlalchemy as sa
from alembic import op

revision = "1a30"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE TYPE orders_state AS ENUM ('new', 'done')")
    op.execute(
        "CREATE TABLE orders (id serial CONSTRAINT pk_orders PRIMARY KEY, title varchar(50), "
        "state orders_state NOT NULL)"
    )


def downgrade():
    op.drop_table("orders")
    op.execute("DROP TYPE orders_state")
