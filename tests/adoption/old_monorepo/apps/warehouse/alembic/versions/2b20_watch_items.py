"""Watch items."""

import sqlalchemy as sa
from alembic import op

revision = "2b20"
down_revision = "1a20"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE TABLE warehouse.moves (at date NOT NULL, item integer NOT NULL) PARTITION BY RANGE (at)")
    op.execute(
        "CREATE TABLE warehouse.moves_2024 PARTITION OF warehouse.moves FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')"
    )
    op.execute("CREATE VIEW warehouse.named AS SELECT id, name FROM warehouse.items WHERE name <> ''")
    op.execute(
        "CREATE FUNCTION warehouse.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := trim(NEW.name); "
        "RETURN NEW; END $$"
    )
    op.execute("CREATE TRIGGER touch BEFORE UPDATE ON warehouse.items FOR EACH ROW EXECUTE FUNCTION warehouse.touch()")
    op.execute("ALTER TABLE warehouse.items ENABLE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY visible ON warehouse.items FOR SELECT USING (id > 0)")


def downgrade():
    op.execute("DROP POLICY visible ON warehouse.items")
    op.execute("ALTER TABLE warehouse.items DISABLE ROW LEVEL SECURITY")
    op.execute("DROP TRIGGER touch ON warehouse.items")
    op.execute("DROP FUNCTION warehouse.touch()")
    op.execute("DROP VIEW warehouse.named")
    op.execute("DROP TABLE warehouse.moves")
