"""Fill the brand of older products.

Revision ID: b33bd72c0b51
Revises: 31281b579992
Create Date: 2026-08-03 05:48:00+00:00

Takes the brand out of the attributes, in whichever way it was spelled there; a product that has none gets
the word 'unbranded'. Batches commit one by one; a run that was interrupted may be repeated. The attributes
keep their keys until no code reads them.

The downgrade writes the brands into the attributes, where the older code looks for them: what was edited
since would be lost with the column otherwise.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "b33bd72c0b51"
down_revision: str | Sequence[str] | None = "31281b579992"
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
                    SELECT id INTO stop_id FROM products
                    WHERE id >= start_id ORDER BY id OFFSET 1000 LIMIT 1;
                    UPDATE products
                    SET brand = left(
                        COALESCE(
                            NULLIF(btrim(attributes ->> 'brand'), ''),
                            NULLIF(btrim(attributes ->> 'Brand'), ''),
                            NULLIF(btrim(attributes ->> 'manufacturer'), ''),
                            'unbranded'
                        ),
                        100
                    )
                    WHERE id >= start_id AND (stop_id IS NULL OR id < stop_id) AND brand IS NULL;
                    COMMIT;
                    EXIT WHEN stop_id IS NULL;
                    start_id := stop_id;
                END LOOP;
            END
            $$
        """)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("""
            DO $$
            DECLARE
                start_id uuid := '00000000-0000-0000-0000-000000000000';
                stop_id uuid;
            BEGIN
                LOOP
                    SELECT id INTO stop_id FROM products
                    WHERE id >= start_id ORDER BY id OFFSET 1000 LIMIT 1;
                    UPDATE products
                    SET attributes = attributes || jsonb_build_object('brand', brand)
                    WHERE id >= start_id AND (stop_id IS NULL OR id < stop_id)
                        AND brand <> 'unbranded' AND brand IS DISTINCT FROM attributes ->> 'brand';
                    COMMIT;
                    EXIT WHEN stop_id IS NULL;
                    start_id := stop_id;
                END LOOP;
            END
            $$
        """)
