"""Require a full name of every user.

Revision ID: b7f4638e548e
Revises: 6e7050ae7010
Create Date: 2026-04-14 08:47:00+00:00

SET NOT NULL alone would read the whole table under an exclusive lock. A validated CHECK spares it that:
VALIDATE reads the table too, but readers and writers go on. Each statement commits by itself, or the lock
of the first would be held until the last; the leading DROP makes it safe to run again after an
interruption.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "b7f4638e548e"
down_revision: str | Sequence[str] | None = "6e7050ae7010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE users DROP CONSTRAINT IF EXISTS ck_users_full_name_present")
        op.execute("""
            ALTER TABLE users ADD CONSTRAINT ck_users_full_name_present
            CHECK (full_name IS NOT NULL) NOT VALID
        """)
        op.execute("ALTER TABLE users VALIDATE CONSTRAINT ck_users_full_name_present")
        op.execute("ALTER TABLE users ALTER COLUMN full_name SET NOT NULL")
        op.execute("ALTER TABLE users DROP CONSTRAINT ck_users_full_name_present")


def downgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN full_name DROP NOT NULL")
