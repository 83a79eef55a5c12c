"""Expand payments by provider_reference.

Revision ID: 7e72b3846102
Revises: e3541337c2ab
Create Date: 2026-04-28 09:26:00+00:00

external_id could be the id of anything; a second provider made it ambiguous. RENAME COLUMN would break the
code that still runs, so the new name comes first, beside the old one, and a trigger keeps both in step
whichever of them is written. Then the old rows are filled, the code moves, and the old column goes (three
later revisions).
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "7e72b3846102"
down_revision: str | Sequence[str] | None = "e3541337c2ab"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("payments", sa.Column("provider_reference", sa.String(128), nullable=True))
    op.execute("""
        CREATE FUNCTION payments_sync_provider_reference() RETURNS trigger
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
    op.execute("""
        CREATE TRIGGER payments_sync_provider_reference
        BEFORE INSERT OR UPDATE ON payments
        FOR EACH ROW EXECUTE FUNCTION payments_sync_provider_reference()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER payments_sync_provider_reference ON payments")
    op.execute("DROP FUNCTION payments_sync_provider_reference()")
    op.drop_column("payments", "provider_reference")
