"""Fill the older order references.

Revision ID: c379b98aa1e5
Revises: bf39ab3a1335
Create Date: 2026-05-21 05:52:00+00:00

Rows from before the trigger have the old name only. Batches commit one by one; a run that was interrupted
may be repeated. There is nothing to undo: both columns stay in step as long as both exist.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "c379b98aa1e5"
down_revision: str | Sequence[str] | None = "bf39ab3a1335"
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
                    SELECT id INTO stop_id FROM reservations
                    WHERE id >= start_id ORDER BY id OFFSET 1000 LIMIT 1;
                    UPDATE reservations
                    SET order_reference = order_no
                    WHERE id >= start_id AND (stop_id IS NULL OR id < stop_id) AND order_reference IS NULL;
                    COMMIT;
                    EXIT WHEN stop_id IS NULL;
                    start_id := stop_id;
                END LOOP;
            END
            $$
        """)


def downgrade() -> None:
    pass
