"""Changes that people make by hand in the database of the shop."""

__all__ = ["CASES"]

CASES: dict[str, tuple[list[str], str]] = {
    "a column's length": (
        ["ALTER TABLE customers ALTER COLUMN email TYPE varchar(100)"],
        (
            "column customers.email is character varying(100) in the database, character varying(320) in the history: "
            "ALTER TABLE public.customers ALTER COLUMN email TYPE character varying(320);"
        ),
    ),
    "a column's type": (
        [
            "DROP MATERIALIZED VIEW totals",
            "ALTER TABLE orders ALTER COLUMN total TYPE text",
            "INSERT INTO orders (customer, state, total) VALUES (1, 'paid', '5')",
        ],
        "column orders.total is text in the database, numeric(10,2) in the history: ",
    ),
    "an enum column that became text": (
        [
            "DROP POLICY visible ON orders",
            "DROP VIEW open_orders",
            "DROP INDEX ux_orders_open",
            "DROP STATISTICS related",
            (
                "ALTER TABLE orders ALTER COLUMN state DROP DEFAULT, ALTER COLUMN state TYPE text, "
                "ALTER COLUMN state SET DEFAULT 'open'"
            ),
        ],
        "column orders.state is text in the database, public.state in the history: ",
    ),
    "a column's collation": (
        ["ALTER TABLE customers ALTER COLUMN name TYPE text"],
        'column customers.name has the collation none in the database, pg_catalog."C" in the history: ',
    ),
    "a collation that the history doesn't have": (
        ['ALTER TABLE events ALTER COLUMN what TYPE text COLLATE "C"'],
        'column events.what has the collation pg_catalog."C" in the database, none in the history: ',
    ),
    "a column that takes NULL": (
        ["ALTER TABLE customers ALTER COLUMN email DROP NOT NULL"],
        (
            "column customers.email takes NULL in the database but not in the history: "
            "ALTER TABLE public.customers ALTER COLUMN email SET NOT NULL; -- Fill what is NULL first."
        ),
    ),
    "a column that takes no NULL": (
        ["UPDATE customers SET score = 0", "ALTER TABLE customers ALTER COLUMN score SET NOT NULL"],
        "column customers.score is NOT NULL in the database, and takes NULL in the history: ",
    ),
    "a default that was removed": (
        ["ALTER TABLE customers ALTER COLUMN since DROP DEFAULT"],
        "column customers.since has the default none in the database, '2020-01-01'::date in the history: ",
    ),
    "a default that was changed": (
        ["ALTER TABLE orders ALTER COLUMN state SET DEFAULT 'paid'"],
        (
            "column orders.state has the default 'paid'::public.state in the database, 'open'::public.state in the "
            "history: "
        ),
    ),
    "a default that was added": (
        ["ALTER TABLE customers ALTER COLUMN score SET DEFAULT 7"],
        "column customers.score has the default 7 in the database, none in the history: ",
    ),
    "an identity that was dropped": (
        ["ALTER TABLE customers ALTER COLUMN id DROP IDENTITY"],
        "column customers.id has the identity none in the database, BY DEFAULT in the history: ",
    ),
    "an identity that was changed": (
        ["ALTER TABLE customers ALTER COLUMN id SET GENERATED ALWAYS"],
        "column customers.id has the identity ALWAYS in the database, BY DEFAULT in the history: ",
    ),
    "an identity's step": (
        ["ALTER TABLE customers ALTER COLUMN id SET INCREMENT BY 3"],
        "sequence customers_id_seq has INCREMENT BY 3 in the database, INCREMENT BY 1 in the history: ",
    ),
    "an identity that the history doesn't have": (
        [
            "ALTER TABLE events ADD n integer",
            "ALTER TABLE events DROP n",
            "ALTER TABLE orders ALTER customer ADD GENERATED ALWAYS AS IDENTITY",
        ],
        "column orders.customer has the identity ALWAYS in the database, none in the history: ",
    ),
    "an expression that was dropped": (
        ["ALTER TABLE customers ALTER COLUMN doubled DROP EXPRESSION"],
        "column customers.doubled has the expression none in the database, (score * 2) STORED in the history: ",
    ),
    "an expression that was changed": (
        [
            "ALTER TABLE customers DROP COLUMN doubled",
            "ALTER TABLE customers ADD doubled integer GENERATED ALWAYS AS (score * 3) STORED",
            "CREATE INDEX ix_customers_doubled ON customers (doubled)",
        ],
        (
            "column customers.doubled has the expression (score * 3) STORED in the database, (score * 2) STORED in "
            "the history: "
        ),
    ),
    "an expression that was changed, and its index is gone": (
        [
            "ALTER TABLE customers DROP COLUMN doubled",
            "ALTER TABLE customers ADD doubled integer GENERATED ALWAYS AS (score * 3) STORED",
        ],
        "index ix_customers_doubled is in the history but not in the database: ",
    ),
    "an expression that the history doesn't have": (
        [
            "ALTER TABLE orders DROP COLUMN placed",
            (
                "ALTER TABLE orders ADD placed timestamptz NOT NULL "
                "GENERATED ALWAYS AS ('2020-01-01Z'::timestamptz) STORED"
            ),
        ],
        "column orders.placed has the expression ",
    ),
    "a column that was added": (
        ["ALTER TABLE customers ADD phone text"],
        (
            "column customers.phone is in the database but not in the history: ALTER TABLE public.customers "
            "DROP COLUMN phone; "
            "-- This loses what is in it."
        ),
    ),
    "a serial column that was added": (
        ["ALTER TABLE customers ADD number serial"],
        "column customers.number is in the database but not in the history: ",
    ),
    "a column that was dropped": (
        ["TRUNCATE customers CASCADE", "ALTER TABLE customers DROP COLUMN email"],
        (
            "column customers.email is in the history but not in the database: ALTER TABLE public.customers ADD "
            "COLUMN email "
            "character varying(320) NOT NULL; COMMENT ON COLUMN public.customers.email IS 'where it''s sent'; "
            "-- Rows need a value first."
        ),
    ),
    "an identity column that was dropped": (
        ["ALTER TABLE customers DROP COLUMN id CASCADE"],
        "column customers.id is in the history but not in the database: ",
    ),
    "a serial column that was dropped": (
        ["DROP VIEW open_orders", "DROP POLICY visible ON orders", "ALTER TABLE orders DROP COLUMN id"],
        "column orders.id is in the history but not in the database: ",
    ),
    "a table that was dropped": (
        ["DROP TABLE orders CASCADE"],
        "table orders is in the history but not in the database: CREATE SEQUENCE public.orders_id_seq AS integer ",
    ),
    "a table that others refer to, dropped": (
        ["DROP TABLE customers CASCADE"],
        "table customers is in the history but not in the database: CREATE TABLE public.customers (",
    ),
    "a table that was added": (
        ["CREATE TABLE extra (id integer PRIMARY KEY)", "CREATE INDEX ix_extra ON extra (id)"],
        "table extra is in the database but not in the history: DROP TABLE public.extra; -- This loses what is in it.",
    ),
    "tables that refer to each other, added": (
        ["CREATE TABLE a (id integer PRIMARY KEY)", "CREATE TABLE b (id integer PRIMARY KEY, a integer REFERENCES a)"],
        "table b is in the database but not in the history: DROP TABLE public.b;",
    ),
    "a name that has to be quoted": (
        ['CREATE TABLE "Odd; name" ("a ""b""" integer)', 'ALTER TABLE customers ADD "Select" text'],
        'table Odd; name is in the database but not in the history: DROP TABLE public."Odd; name";',
    ),
    "an unlogged table": (
        ["ALTER TABLE orders SET UNLOGGED"],
        "table orders is UNLOGGED in the database, LOGGED in the history: ALTER TABLE public.orders SET LOGGED;",
    ),
    "a storage parameter": (
        ["ALTER TABLE orders SET (fillfactor = 50, autovacuum_enabled = off)"],
        "table orders has the options ",
    ),
    "row level security": (
        ["ALTER TABLE orders DISABLE ROW LEVEL SECURITY"],
        "table orders has row level security off in the database, on in the history: ",
    ),
    "row level security for the owner": (
        ["ALTER TABLE orders FORCE ROW LEVEL SECURITY"],
        "table orders has row level security for its owner on in the database, off in the history: ",
    ),
    "a replica identity": (
        ["ALTER TABLE orders REPLICA IDENTITY DEFAULT"],
        "table orders has the replica identity DEFAULT in the database, FULL in the history: ",
    ),
    "a partition that was detached": (
        ["ALTER TABLE events DETACH PARTITION events_2020"],
        "table events_2020 has the partition bound none in the database, FOR VALUES FROM ",
    ),
    "a partition with another bound": (
        [
            "ALTER TABLE events DETACH PARTITION events_2020",
            "ALTER TABLE events ATTACH PARTITION events_2020 FOR VALUES FROM ('2020-01-01') TO ('2022-01-01')",
        ],
        "table events_2020 has the partition bound FOR VALUES FROM ('2020-01-01') TO ('2022-01-01') in the database, ",
    ),
    "a partition that was dropped": (
        ["DROP TABLE events_2020"],
        "table events_2020 is in the history but not in the database: CREATE TABLE public.events_2020 PARTITION OF ",
    ),
    "a parent": (
        ["CREATE TABLE base (score integer)", "ALTER TABLE customers INHERIT base"],
        "table customers has the parents ['public.base'] in the database, none in the history: ",
    ),
    "an enum's label that was added in the history": (
        [
            "DROP VIEW open_orders",
            "DROP INDEX ux_orders_open",
            "DROP STATISTICS related",
            "ALTER TABLE orders ALTER state DROP DEFAULT, ALTER state TYPE text",
            "DROP TYPE state",
            "CREATE TYPE state AS ENUM ('paid')",
            "ALTER TABLE orders ALTER state TYPE state USING 'paid'",
        ],
        (
            "enum state has the labels paid in the database, open, paid, shipped in the history: "
            "ALTER TYPE public.state ADD VALUE 'open' BEFORE 'paid'; "
            "ALTER TYPE public.state ADD VALUE 'shipped' AFTER 'paid';"
        ),
    ),
    "an enum's label that was renamed": (
        ["ALTER TYPE state RENAME VALUE 'paid' TO 'settled'"],
        (
            "enum state has the labels open, settled, shipped in the database, open, paid, shipped in the history: "
            "ALTER TYPE public.state RENAME VALUE 'settled' TO 'paid';"
        ),
    ),
    "a type that was dropped": (
        ["DROP TYPE money_range"],
        "range type money_range is in the history but not in the database: CREATE TYPE public.money_range AS RANGE (",
    ),
    "an enum that was added": (
        ["CREATE TYPE mood AS ENUM ('fine')"],
        "enum mood is in the database but not in the history: ",
    ),
    "a composite type": (
        ["ALTER TYPE place ADD ATTRIBUTE country text"],
        "composite type place has the attributes ",
    ),
    "a domain's default": (
        ["ALTER DOMAIN email DROP DEFAULT"],
        "domain email has the default none in the database, 'nobody@example.org'::character varying in the history: ",
    ),
    "a domain that takes no NULL": (
        ["ALTER DOMAIN email SET NOT NULL"],
        "domain email is NOT NULL in the database only: ",
    ),
    "a domain's constraint": (
        ["ALTER DOMAIN email DROP CONSTRAINT has_at"],
        "domain constraint email.has_at is in the history but not in the database: ",
    ),
    "a domain's constraint that was changed": (
        ["ALTER DOMAIN email DROP CONSTRAINT has_at", "ALTER DOMAIN email ADD CONSTRAINT has_at CHECK (VALUE <> '')"],
        "domain constraint email.has_at is CHECK (",
    ),
    "a CHECK that was dropped": (
        ["ALTER TABLE customers DROP CONSTRAINT ck_score"],
        (
            "constraint customers.ck_score is in the history but not in the database: "
            "ALTER TABLE public.customers ADD CONSTRAINT ck_score CHECK ((score >= 0));"
        ),
    ),
    "a CHECK that was changed": (
        [
            "ALTER TABLE customers DROP CONSTRAINT ck_score",
            "ALTER TABLE customers ADD CONSTRAINT ck_score CHECK (score > 0)",
        ],
        "constraint customers.ck_score is CHECK ((score > 0)) in the database, CHECK ((score >= 0)) in the history: ",
    ),
    "a CHECK that was added": (
        ["ALTER TABLE customers ADD CONSTRAINT extra CHECK (id > 0)"],
        "constraint customers.extra is in the database but not in the history: ",
    ),
    "a constraint that is not valid": (
        [
            "ALTER TABLE orders DROP CONSTRAINT fk_customer",
            "ALTER TABLE orders ADD CONSTRAINT fk_customer FOREIGN KEY (customer) REFERENCES customers NOT VALID",
        ],
        (
            "constraint orders.fk_customer is NOT VALID in the database, and valid in the history: "
            "ALTER TABLE public.orders VALIDATE CONSTRAINT fk_customer;"
        ),
    ),
    "a foreign key's action": (
        [
            "ALTER TABLE orders DROP CONSTRAINT fk_customer",
            (
                "ALTER TABLE orders ADD CONSTRAINT fk_customer "
                "FOREIGN KEY (customer) REFERENCES customers ON DELETE CASCADE"
            ),
        ],
        "constraint orders.fk_customer is FOREIGN KEY (customer) REFERENCES public.customers(id) ON DELETE CASCADE ",
    ),
    "a key that was dropped": (
        ["ALTER TABLE customers DROP CONSTRAINT pk_customers CASCADE"],
        "constraint customers.pk_customers is in the history but not in the database: ",
    ),
    "an index that was dropped": (
        ["DROP INDEX ix_orders_customer"],
        (
            "index ix_orders_customer is in the history but not in the database: "
            "CREATE INDEX CONCURRENTLY ix_orders_customer ON public.orders USING btree (customer);"
        ),
    ),
    "an index that was added": (
        ["CREATE INDEX quick ON orders (total)"],
        "index quick is in the database but not in the history: DROP INDEX CONCURRENTLY public.quick;",
    ),
    "an index that was changed": (
        ["DROP INDEX ux_orders_open", "CREATE INDEX ux_orders_open ON orders (customer)"],
        "index ux_orders_open is CREATE INDEX ux_orders_open ON public.orders USING btree (customer) in the database, ",
    ),
    "an index of a partitioned table": (
        ["DROP INDEX ix_events"],
        "index ix_events is in the history but not in the database: ",
    ),
    "an index that became a constraint": (
        ["DROP INDEX ix_orders_customer", "ALTER TABLE orders ADD CONSTRAINT ix_orders_customer UNIQUE (id, customer)"],
        "constraint orders.ix_orders_customer is in the database but not in the history: ",
    ),
    "a constraint that became an index": (
        ["ALTER TABLE customers DROP CONSTRAINT uq_email", "CREATE UNIQUE INDEX uq_email ON customers (email)"],
        "constraint customers.uq_email is in the history but not in the database: ",
    ),
    "a view that was dropped": (
        ["DROP VIEW open_orders"],
        "view open_orders is in the history but not in the database: ",
    ),
    "a view with a column more": (
        ["CREATE OR REPLACE VIEW open_orders AS SELECT id, customer, total FROM orders WHERE state = 'open'"],
        "view open_orders has another definition in the database than in the history: DROP VIEW public.open_orders; ",
    ),
    "a view with another condition": (
        ["CREATE OR REPLACE VIEW open_orders AS SELECT id, customer FROM orders"],
        (
            "view open_orders has another definition in the database than in the history: CREATE OR REPLACE VIEW "
            "public.open_orders "
        ),
    ),
    "a view's option": (
        ["ALTER VIEW open_orders SET (security_barrier = true)"],
        "view open_orders has the options security_barrier=true in the database, none in the history: ",
    ),
    "a view that was added": (
        ["CREATE VIEW more AS SELECT 1 AS one"],
        "view more is in the database but not in the history: ",
    ),
    "views that depend on each other, added": (
        [
            "CREATE VIEW one AS SELECT 1 AS n",
            "CREATE MATERIALIZED VIEW two AS SELECT n FROM one",
            "CREATE VIEW three AS SELECT n FROM two",
        ],
        "view one is in the database but not in the history: DROP VIEW public.one;",
    ),
    "a materialized view": (
        ["DROP MATERIALIZED VIEW totals", "CREATE MATERIALIZED VIEW totals AS SELECT customer FROM orders"],
        "materialized view totals has another definition in the database than in the history: ",
    ),
    "a function's body": (
        ["CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"],
        (
            "function touch() has another definition in the database than in the history: CREATE OR REPLACE "
            "FUNCTION public.touch() "
        ),
    ),
    "a function's result": (
        [
            "DROP FUNCTION twice(integer)",
            "CREATE FUNCTION twice(n integer) RETURNS bigint LANGUAGE sql AS 'SELECT 2::bigint * n'",
        ],
        "function twice(n integer) has another definition in the database than in the history: DROP FUNCTION ",
    ),
    "a function that was dropped": (
        ["DROP FUNCTION touch() CASCADE"],
        "function touch() is in the history but not in the database: CREATE OR REPLACE FUNCTION public.touch() ",
    ),
    "a function that was added": (
        [
            "CREATE FUNCTION more() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
            "ALTER TABLE customers ALTER score SET DEFAULT more()",
        ],
        "function more() is in the database but not in the history: DROP FUNCTION public.more();",
    ),
    "a function that became strict": (
        ["ALTER FUNCTION twice(integer) STRICT"],
        "function twice(n integer) has another definition in the database than in the history: ",
    ),
    "a procedure": (["DROP PROCEDURE sweep()"], "procedure sweep() is in the history but not in the database: "),
    "an aggregate": (
        ["DROP AGGREGATE total(integer)"],
        "aggregate total(integer) is in the history but not in the database: ",
    ),
    "an aggregate's start": (
        ["CREATE OR REPLACE AGGREGATE total(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '5')"],
        "aggregate total(integer) has another definition in the database than in the history: ",
    ),
    "a trigger that was dropped": (
        ["DROP TRIGGER touch ON customers"],
        "trigger customers.touch is in the history but not in the database: CREATE TRIGGER touch ",
    ),
    "a trigger that is disabled": (
        ["ALTER TABLE customers DISABLE TRIGGER touch"],
        (
            "trigger customers.touch is disabled in the database, enabled in the history: "
            "ALTER TABLE public.customers ENABLE TRIGGER touch;"
        ),
    ),
    "a trigger that was changed": (
        [
            "DROP TRIGGER touch ON customers",
            "CREATE TRIGGER touch BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION touch()",
        ],
        "trigger customers.touch is CREATE TRIGGER touch BEFORE INSERT ON public.customers ",
    ),
    "a trigger that was added": (
        ["CREATE TRIGGER more AFTER UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch()"],
        "trigger orders.more is in the database but not in the history: DROP TRIGGER more ON public.orders;",
    ),
    "a rule": (["DROP RULE keep ON customers"], "rule customers.keep is in the history but not in the database: "),
    "a policy that was dropped": (
        ["DROP POLICY visible ON orders"],
        "policy orders.visible is in the history but not in the database: CREATE POLICY visible ON public.orders ",
    ),
    "a policy that was changed": (
        ["ALTER POLICY visible ON orders USING (true)"],
        "policy orders.visible has another definition in the database than in the history: ",
    ),
    "a policy that was added": (
        ["CREATE POLICY open_door ON orders USING (true)"],
        "policy orders.open_door is in the database but not in the history: DROP POLICY open_door ON public.orders;",
    ),
    "extended statistics": (
        ["DROP STATISTICS related"],
        "statistics orders.related is in the history but not in the database: ",
    ),
    "a sequence's step and end": (
        ["ALTER SEQUENCE numbers INCREMENT BY 2 MAXVALUE 2000 CYCLE"],
        (
            "sequence numbers has INCREMENT BY 2 MAXVALUE 2000 CYCLE in the database, INCREMENT BY 5 MAXVALUE "
            "1000 NO CYCLE in "
            "the history: ALTER SEQUENCE public.numbers INCREMENT BY 5 MAXVALUE 1000 NO CYCLE;"
        ),
    ),
    "a sequence's type": (
        ["ALTER SEQUENCE numbers AS integer"],
        "sequence numbers is integer in the database, bigint in the ",
    ),
    "a sequence's owner": (
        ["ALTER SEQUENCE numbers OWNED BY orders.customer"],
        "sequence numbers has the owner public.orders.customer in the database, none in the history: ",
    ),
    "a sequence that was dropped": (
        ["DROP SEQUENCE numbers"],
        (
            "sequence numbers is in the history but not in the database: CREATE SEQUENCE public.numbers AS bigint "
            "INCREMENT BY 5 "
        ),
    ),
    "a serial column's sequence": (
        ["DROP SEQUENCE orders_id_seq CASCADE"],
        "sequence orders_id_seq is in the history but not in the database: ",
    ),
    "a sequence that was added": (
        ["CREATE SEQUENCE more"],
        "sequence more is in the database but not in the history: ",
    ),
    "the compression of a column": (
        ["ALTER TABLE customers ALTER name SET COMPRESSION pglz, ALTER name SET STATISTICS 7"],
        "column customers.name has the compression pglz in the database, none in the history: ",
    ),
    "the options of a column": (
        ["ALTER TABLE customers ALTER score SET (n_distinct = 5, n_distinct_inherited = 6)"],
        "column customers.score has the options ",
    ),
    "the options of TOAST": (
        ["ALTER TABLE customers SET (toast.autovacuum_enabled = false)"],
        "table customers has the options toast.autovacuum_enabled=false in the database, none in the history: ",
    ),
    "the options of a key": (
        ["ALTER INDEX uq_email SET (fillfactor = 50)"],
        "index uq_email has the options ",
    ),
    "the index to cluster on": (
        ["ALTER TABLE customers CLUSTER ON uq_email"],
        "index uq_email is what CLUSTER orders by in the database only: ALTER TABLE public.customers SET WITHOUT",
    ),
    "the target of a statistics object": (
        ["ALTER STATISTICS related SET STATISTICS 77"],
        "statistics orders.related has the statistics target 77 in the database, none in the history: ",
    ),
    "a comment on a column": (
        ["COMMENT ON COLUMN customers.email IS E'it\\'s\\nanother'"],
        (
            r"column customers.email has the comment E'it''s\nanother' in the database, 'where it''s sent' in the "
            "history: "
        ),
    ),
    "a comment on a schema": (
        ["COMMENT ON SCHEMA public IS 'ours'"],
        "schema public has the comment 'ours' in the database, 'standard public schema' in the history: ",
    ),
    "a comment that was removed": (
        ["COMMENT ON TABLE customers IS NULL"],
        (
            "table customers has the comment none in the database, 'who buys' in the history: "
            "COMMENT ON TABLE public.customers IS 'who buys';"
        ),
    ),
    "a comment that was added": (
        ["COMMENT ON FUNCTION twice(integer) IS 'doubles'"],
        (
            "function twice(n integer) has the comment 'doubles' in the database, none in the history: "
            "COMMENT ON FUNCTION public.twice(n integer) IS NULL;"
        ),
    ),
}
"""What was done, and how the line begins that tells of it."""
