"""Index memberships by user.

Revision ID: 8e0b3a4349cc
Revises: 91cefceaa8cc
Create Date: 2026-09-09 07:05:00+00:00

Each sign-in lists the user's organisations, and the primary key begins with the organisation.
"""

from collections.abc import Sequence

from service_migrations.safe import concurrent_index, drop_concurrent_index

revision: str = "8e0b3a4349cc"
down_revision: str | Sequence[str] | None = "91cefceaa8cc"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    concurrent_index("ix_memberships_user_id", "memberships", ["user_id"])


def downgrade() -> None:
    drop_concurrent_index("ix_memberships_user_id", "memberships")
