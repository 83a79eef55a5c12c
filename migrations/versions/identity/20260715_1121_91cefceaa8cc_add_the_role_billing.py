"""Add the role billing.

Revision ID: 91cefceaa8cc
Revises: 99b804c426fc
Create Date: 2026-07-15 11:21:00+00:00

Bookkeepers were made admins because nothing else let them see the invoices.

PostgreSQL can add a value but not remove one. The downgrade builds the type anew and gives the members and
invitations concerned the role with the least power; both tables are rewritten under a lock.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "91cefceaa8cc"
down_revision: str | Sequence[str] | None = "99b804c426fc"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("ALTER TYPE membership_role ADD VALUE IF NOT EXISTS 'billing' BEFORE 'member'")


def downgrade() -> None:
    op.execute("ALTER TYPE membership_role RENAME TO membership_role_with_billing")
    op.execute("CREATE TYPE membership_role AS ENUM ('owner', 'admin', 'member')")
    for table in ("memberships", "invitations"):
        op.execute(f"""
            ALTER TABLE {table}
                ALTER COLUMN role DROP DEFAULT,
                ALTER COLUMN role TYPE membership_role
                    USING (
                        CASE role::text WHEN 'billing' THEN 'member' ELSE role::text END
                    )::membership_role,
                ALTER COLUMN role SET DEFAULT 'member'
        """)
    op.execute("DROP TYPE membership_role_with_billing")
