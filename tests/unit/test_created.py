"""The objects that a script creates and leaves in the database."""

import pytest

from service_migrations.sql.created import Created


@pytest.mark.parametrize(
    ("sql", "left"),
    [
        ("CREATE TABLE a (id int, CHECK (b > 0))", "table public.a"),
        ('CREATE UNLOGGED TABLE IF NOT EXISTS "S"."Odd name" (id int)', "table S.Odd name"),
        ("CREATE TABLE a AS SELECT 1", "table public.a"),
        ("CREATE TEMP TABLE a (id int)", ""),
        ("CREATE FOREIGN TABLE a (id int) SERVER s", "table public.a"),
        ("CREATE INDEX i ON a (b)", ""),
        ("CREATE OR REPLACE VIEW v AS SELECT 1", "view public.v"),
        ("CREATE MATERIALIZED VIEW IF NOT EXISTS s.v AS SELECT 1", "view s.v"),
        ("CREATE SEQUENCE s.q", "sequence s.q"),
        ("CREATE TYPE t AS ENUM ('a'); CREATE DOMAIN d AS int", "type public.d, type public.t"),
        ("CREATE OR REPLACE FUNCTION f(a int, b int) RETURNS int AS $$ CREATE TABLE x() $$", "function public.f"),
        (
            'CREATE SCHEMA IF NOT EXISTS s; CREATE EXTENSION IF NOT EXISTS "uuid-ossp"',
            "extension uuid-ossp.uuid-ossp, schema s.s",
        ),
        ("CREATE TABLE a (); CREATE TABLE b (); DROP TABLE IF EXISTS a, public.b CASCADE", ""),
        ("CREATE FUNCTION f(int, text) RETURNS int AS 'x'; DROP FUNCTION f(int, text)", ""),
        ("CREATE VIEW v AS SELECT 1; DROP VIEW v", ""),
        ("CREATE MATERIALIZED VIEW v AS SELECT 1; DROP MATERIALIZED VIEW v", ""),
        ("CREATE TABLE a (); ALTER TABLE IF EXISTS ONLY a RENAME TO b", "table public.b"),
        ("CREATE TABLE a (x int); ALTER TABLE a RENAME COLUMN x TO b", "table public.a"),
        ("CREATE TABLE a (x int); ALTER TABLE a RENAME x TO b", "table public.a"),
        ("CREATE TABLE a (); ALTER TABLE a SET SCHEMA s", "table s.a"),
        ("CREATE VIEW a AS SELECT 1; ALTER TABLE a RENAME TO b", "view public.b"),
        ("CREATE TYPE t AS ENUM ('a'); ALTER TYPE t RENAME TO u", "type public.u"),
        ("CREATE TYPE t AS ENUM ('a'); ALTER TYPE t RENAME VALUE 'a' TO 'b'", "type public.t"),
        ("CREATE FUNCTION f(int) RETURNS int AS 'x'; ALTER FUNCTION f(int) RENAME TO g", "function public.g"),
        ("CREATE SCHEMA s; CREATE TABLE s.a (); ALTER SCHEMA s RENAME TO r", "schema r.r, table r.a"),
        ("CREATE SCHEMA s; CREATE TABLE s.a (); CREATE TABLE a (); DROP SCHEMA s CASCADE", "table public.a"),
        ("SET LOCAL search_path TO s, public; CREATE TABLE a ()", "table s.a"),
        ("SET search_path = 's'; CREATE TABLE a ()", "table s.a"),
        ("DO $$ BEGIN CREATE TYPE t AS ENUM ('a'); EXCEPTION WHEN duplicate_object THEN NULL; END $$", "type public.t"),
        ("DO $$ BEGIN IF true THEN EXECUTE 'CREATE TABLE a ()'; END IF; END $$", "table public.a"),
        ("CREATE TABLE a (); DO $$ BEGIN IF false THEN DROP TABLE a; END IF; END $$", "table public.a"),
        ("INSERT INTO a VALUES ('CREATE TABLE b ()') -- CREATE TABLE c ()", ""),
        ("CREATE TABLE", ""),
        ("DROP; ALTER; CREATE; DO; SET", ""),
    ],
)
def test_a_script_leaves_what_it_made_and_did_not_drop(sql: str, left: str) -> None:
    created = Created("public")
    created.apply(sql)
    assert ", ".join(sorted(f"{kind} {schema}.{name}" for kind, schema, name in created.objects)) == left


@pytest.mark.parametrize(
    ("sql", "former"),
    [
        ("CREATE TABLE a (); DROP TABLE a", "table public.a"),
        ("DROP TABLE IF EXISTS a, s.b", "table public.a, table s.b"),
        ("DROP TYPE t; DROP EXTENSION citext", "extension citext.citext, type public.t"),
        ("ALTER TYPE t RENAME TO u", "type public.t"),
        ("CREATE TABLE a (); ALTER TABLE a SET SCHEMA s", "sequence public.a, table public.a, view public.a"),
        ("CREATE SCHEMA s; CREATE TABLE s.a (); ALTER SCHEMA s RENAME TO r", "schema s.s, table s.a"),
        ("CREATE TABLE s.a (); DROP SCHEMA s CASCADE", "table s.a"),
        ("CREATE TABLE a (); DROP TABLE a; CREATE TABLE a ()", "table public.a"),
        ("DO $$ BEGIN IF false THEN DROP TABLE a; END IF; END $$", ""),
        ("ALTER TABLE a ADD b int", ""),
    ],
)
def test_what_a_script_drops_or_renames_is_known_also_where_it_did_not_make_it(sql: str, former: str) -> None:
    created = Created("public")
    created.apply(sql)
    assert ", ".join(sorted(f"{kind} {schema}.{name}" for kind, schema, name in created.former)) == former


def test_a_name_without_a_schema_is_in_the_default_one() -> None:
    created = Created("app")
    created.apply("CREATE TABLE a (); CREATE TABLE public.a ()")
    assert created.objects == {("table", "app", "a"), ("table", "public", "a")}
