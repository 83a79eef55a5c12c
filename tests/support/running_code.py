"""Changes of the tables users and orders: what breaks the code that runs now, and what harms nobody."""

BREAKING = {
    "a column that was dropped": ("ALTER TABLE users DROP COLUMN nick", "users", "nick", "42703"),
    "a column that was renamed": ("ALTER TABLE users RENAME full_name TO name", "users", "full_name", "42703"),
    "a table that was renamed": ("ALTER TABLE orders RENAME TO purchases", "orders", "", "42P01"),
    "a new column without a default": ("ALTER TABLE users ADD tax int NOT NULL", "users", "tax", "23502"),
    "a column that takes no NULL": ("ALTER TABLE users ALTER nick SET NOT NULL", "users", "nick", "23502"),
    "a narrower type": ("ALTER TABLE orders ALTER code TYPE varchar(5)", "orders", "code", "22001"),
    "a narrower number": ("ALTER TABLE orders ALTER price TYPE numeric(5, 2)", "orders", "price", "22003"),
    "a label that was removed": (
        (
            "ALTER TABLE users ALTER state TYPE text; DROP TYPE state; CREATE TYPE state AS ENUM ('open', 'paid'); "
            "ALTER TABLE users ALTER state TYPE state USING state::state"
        ),
        *("users", "state", "22P02"),
    ),
    "a new check": ("ALTER TABLE users ADD CONSTRAINT old CHECK (age > 20)", "users", "age", "23514"),
    "a class that a check leaves out": (
        "ALTER TABLE users DROP CONSTRAINT known, ADD CONSTRAINT known CHECK (kind = 'plain')",
        *("users", "kind", "23514"),
    ),
    "a unique index": ("CREATE UNIQUE INDEX ux ON orders (code)", "orders", "", "23505"),
    "a default that was removed": ("ALTER TABLE users ALTER note DROP DEFAULT", "users", "note", "23502"),
    "a trigger that refuses": (
        (
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$; "
            "CREATE TRIGGER no BEFORE DELETE ON orders FOR EACH ROW EXECUTE FUNCTION no()"
        ),
        *("orders", "", "P0001"),
    ),
}
"""Changes after which a statement of the code that ran before fails: SQL, table, column, SQLSTATE."""

HARMLESS = {
    "a new table": "CREATE TABLE tags (id int PRIMARY KEY)",
    "a new column that takes NULL": "ALTER TABLE users ADD phone text",
    "a new column with a default": "ALTER TABLE users ADD points int NOT NULL DEFAULT 0",
    "an index": "CREATE INDEX ix ON orders (code)",
    "a wider type": "ALTER TABLE orders ALTER code TYPE varchar(200)",
    "a wider number": "ALTER TABLE users ALTER age TYPE bigint",
    "a new label": "ALTER TYPE state ADD VALUE 'new'",
    "NULL is taken": "ALTER TABLE users ALTER full_name DROP NOT NULL",
    "a check that always held": "ALTER TABLE users ADD CONSTRAINT adult CHECK (age >= 18)",
    "a default": "ALTER TABLE users ALTER nick SET DEFAULT 'x'",
    "a unique index over a new column": "ALTER TABLE users ADD ref uuid UNIQUE",
    "a foreign key that was dropped": "ALTER TABLE orders DROP CONSTRAINT orders_user_id_fkey",
    "a comment": "COMMENT ON TABLE users IS 'people'",
    "a view": "CREATE VIEW names AS SELECT email FROM users",
}
"""Changes that the code that ran before doesn't notice."""
