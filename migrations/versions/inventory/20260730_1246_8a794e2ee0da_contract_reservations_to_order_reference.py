"""Contract reservations to order_reference.

Revision ID: 8a794e2ee0da
Revises: 2e917ff29109
Create Date: 2026-07-30 12:46:00+00:00

No code has known the old name since the release of July. Dropping a column is a change of the catalog only,
and its index goes with it.

The downgrade brings back column, trigger, values, index and NOT NULL. It commits in between, so each of its
steps may find its work done already.
"""

from collections.abc import Sequence

from alembic import op

from service_migrations.safe import concurrent_index

revision: str = "8a794e2ee0da"
down_revision: str | Sequence[str] | None = "2e917ff29109"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("DROP TRIGGER reservations_sync_order_reference ON reservations")
    op.execute("DROP FUNCTION reservations_sync_order_reference()")
    op.drop_column("reservations", "order_no")


def downgrade() -> None:
    op.execute("ALTER TABLE reservations ADD COLUMN IF NOT EXISTS order_no varchar(64)")
    op.execute("""
        CREATE OR REPLACE FUNCTION reservations_sync_order_reference() RETURNS trigger
        LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                NEW.order_reference := COALESCE(NEW.order_reference, NEW.order_no);
                NEW.order_no := NEW.order_reference;
            ELSIF NEW.order_reference IS DISTINCT FROM OLD.order_reference THEN
                NEW.order_no := NEW.order_reference;
            ELSIF NEW.order_no IS DISTINCT FROM OLD.order_no THEN
                NEW.order_reference := NEW.order_no;
            END IF;
            RETURN NEW;
        END
        $$
    """)
    op.execute("DROP TRIGGER IF EXISTS reservations_sync_order_reference ON reservations")
    op.execute("""
        CREATE TRIGGER reservations_sync_order_reference
        BEFORE INSERT OR UPDATE ON reservations
        FOR EACH ROW EXECUTE FUNCTION reservations_sync_order_reference()
    """)
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
                    SET order_no = order_reference
                    WHERE id >= start_id AND (stop_id IS NULL OR id < stop_id) AND order_no IS NULL;
                    COMMIT;
                    EXIT WHEN stop_id IS NULL;
                    start_id := stop_id;
                END LOOP;
            END
            $$
        """)
    concurrent_index("ix_reservations_order_no", "reservations", ["order_no"])
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE reservations DROP CONSTRAINT IF EXISTS ck_reservations_order_no_present")
        op.execute("""
            ALTER TABLE reservations ADD CONSTRAINT ck_reservations_order_no_present
            CHECK (order_no IS NOT NULL) NOT VALID
        """)
        op.execute("ALTER TABLE reservations VALIDATE CONSTRAINT ck_reservations_order_no_present")
        op.execute("ALTER TABLE reservations ALTER COLUMN order_no SET NOT NULL")
        op.execute("ALTER TABLE reservations DROP CONSTRAINT ck_reservations_order_no_present")
