"""Give every user a full name.

Revision ID: 6e7050ae7010
Revises: 20af1cfe1eed
Create Date: 2026-03-17 10:30:00+00:00

The first sign-up form asked for an address only, and the new one insists on a name. Who came before gets
the part of the address before the @, until they change it.

Batches of 1,000 commit one by one, in windows over the primary key: no row stays locked for long, and a run
that was interrupted may simply be repeated. The next revision makes the column NOT NULL. A downgrade keeps
the names: which of them were made here is not recorded, and the older code reads them just as well.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "6e7050ae7010"
down_revision: str | Sequence[str] | None = "20af1cfe1eed"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("""
            DO $$
            DECLARE
                start_id uuid := '00000000-0000-0000-0000-000000000000';
                stop_id uuid;
            BEGIN
                LOOP
                    SELECT id INTO stop_id FROM users
                    WHERE id >= start_id ORDER BY id OFFSET 1000 LIMIT 1;
                    UPDATE users
                    SET full_name = left(split_part(email, '@', 1), 200)
                    WHERE id >= start_id AND (stop_id IS NULL OR id < stop_id) AND full_name IS NULL;
                    COMMIT;
                    EXIT WHEN stop_id IS NULL;
                    start_id := stop_id;
                END LOOP;
            END
            $$
        """)


def downgrade() -> None:
    pass
