"""Create accounts."""

import sqlalchemy as sa
from alembic import op

revision = "1a40"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE TYPE accounts_state AS ENUM ('new', 'done')")
    op.execute(
        "CREATE TABLE accounts (id serial CONSTRAINT pk_accounts PRIMARY KEY, name varchar(50) NOT NULL, "
        "state accounts_state NOT NULL)"
    )


def downgrade():
    op.drop_table("accounts")
    op.execute("DROP TYPE accounts_state")
