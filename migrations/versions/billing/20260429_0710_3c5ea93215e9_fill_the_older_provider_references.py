"""Fill the older provider references.

Revision ID: 3c5ea93215e9
Revises: 7e72b3846102
Create Date: 2026-04-29 07:10:00+00:00

Rows from before the trigger have the old name only. Batches commit one by one; a run that was interrupted
may be repeated. There is nothing to undo: both columns stay in step as long as both exist.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "3c5ea93215e9"
down_revision: str | Sequence[str] | None = "7e72b3846102"
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
                    SELECT id INTO stop_id FROM payments
                    WHERE id >= start_id ORDER BY id OFFSET 1000 LIMIT 1;
                    UPDATE payments
                    SET provider_reference = external_id
                    WHERE id >= start_id AND (stop_id IS NULL OR id < stop_id)
                        AND provider_reference IS NULL AND external_id IS NOT NULL;
                    COMMIT;
                    EXIT WHEN stop_id IS NULL;
                    start_id := stop_id;
                END LOOP;
            END
            $$
        """)


def downgrade() -> None:
    pass
