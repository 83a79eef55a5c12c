"""Expand reservations by order_reference.

Revision ID: bf39ab3a1335
Revises: 56680b6b7aa2
Create Date: 2026-05-19 09:30:00+00:00

Orders come from marketplaces too by now, and what those send is a reference, not our number. RENAME COLUMN
would break the code that still runs, so the new name comes first, beside the old one, and a trigger keeps
both in step whichever of them is written. It fires before NOT NULL is checked: new code need not know the
old name at all.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "bf39ab3a1335"
down_revision: str | Sequence[str] | None = "56680b6b7aa2"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("reservations", sa.Column("order_reference", sa.String(64), nullable=True))
    op.execute("""
        CREATE FUNCTION reservations_sync_order_reference() RETURNS trigger
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
    op.execute("""
        CREATE TRIGGER reservations_sync_order_reference
        BEFORE INSERT OR UPDATE ON reservations
        FOR EACH ROW EXECUTE FUNCTION reservations_sync_order_reference()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER reservations_sync_order_reference ON reservations")
    op.execute("DROP FUNCTION reservations_sync_order_reference()")
    op.drop_column("reservations", "order_reference")
