"""Index memberships by user.

Revision ID: 8e0b3a4349cc
Revises: 91cefceaa8cc
Create Date: 2026-09-09 07:05:00+00:00

Each sign-in lists the user's organisations, and the primary key begins with the organisation. The leading
DROP removes what an interrupted build leaves behind: an index that is invalid, costs writes and serves no
query.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "8e0b3a4349cc"
down_revision: str | Sequence[str] | None = "91cefceaa8cc"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_memberships_user_id")
        op.execute("CREATE INDEX CONCURRENTLY ix_memberships_user_id ON memberships (user_id)")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_memberships_user_id")
