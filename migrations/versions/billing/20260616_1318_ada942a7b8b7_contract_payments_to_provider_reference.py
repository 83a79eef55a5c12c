"""Contract payments to provider_reference.

Revision ID: ada942a7b8b7
Revises: 77e075ecbc50
Create Date: 2026-06-16 13:18:00+00:00

No code has known the old name since the release of May. Dropping a column is a change of the catalog only,
and its index goes with it.

The downgrade brings back column, trigger, values and index. It commits in between, so each of its steps may
find its work done already.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from service_migrations.safe import concurrent_index

revision: str = "ada942a7b8b7"
down_revision: str | Sequence[str] | None = "77e075ecbc50"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("DROP TRIGGER payments_sync_provider_reference ON payments")
    op.execute("DROP FUNCTION payments_sync_provider_reference()")
    op.drop_column("payments", "external_id")


def downgrade() -> None:
    op.execute("ALTER TABLE payments ADD COLUMN IF NOT EXISTS external_id varchar(128)")
    op.execute("""
        CREATE OR REPLACE FUNCTION payments_sync_provider_reference() RETURNS trigger
        LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                NEW.provider_reference := COALESCE(NEW.provider_reference, NEW.external_id);
                NEW.external_id := NEW.provider_reference;
            ELSIF NEW.provider_reference IS DISTINCT FROM OLD.provider_reference THEN
                NEW.external_id := NEW.provider_reference;
            ELSIF NEW.external_id IS DISTINCT FROM OLD.external_id THEN
                NEW.provider_reference := NEW.external_id;
            END IF;
            RETURN NEW;
        END
        $$
    """)
    op.execute("DROP TRIGGER IF EXISTS payments_sync_provider_reference ON payments")
    op.execute("""
        CREATE TRIGGER payments_sync_provider_reference
        BEFORE INSERT OR UPDATE ON payments
        FOR EACH ROW EXECUTE FUNCTION payments_sync_provider_reference()
    """)
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
                    SET external_id = provider_reference
                    WHERE id >= start_id AND (stop_id IS NULL OR id < stop_id)
                        AND external_id IS NULL AND provider_reference IS NOT NULL;
                    COMMIT;
                    EXIT WHEN stop_id IS NULL;
                    start_id := stop_id;
                END LOOP;
            END
            $$
        """)
    concurrent_index(
        "uq_payments_provider_external_id",
        "payments",
        ["provider", "external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
