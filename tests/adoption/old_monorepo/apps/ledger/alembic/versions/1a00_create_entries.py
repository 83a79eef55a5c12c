"""Create entries."""

import sqlalchemy as sa
from alembic import op

revision = "1a00"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    op.execute(
        """
        CREATE TYPE entries_state AS ENUM ('new', 'done');
        CREATE TABLE entries (
            id serial CONSTRAINT pk_entries PRIMARY KEY, name varchar(50) NOT NULL, state entries_state NOT NULL
        );
        """
    )


def downgrade():
    op.execute("DROP TABLE entries; DROP TYPE entries_state;")
