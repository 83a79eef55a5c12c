"""What a script destroys, or changes the privileges on."""

import pytest

from service_migrations.sql.destroyed import destroyed

CASES = {
    "DROP FUNCTION IF EXISTS a.f(int, text), g()": {("function", "a", "f"), ("function", "", "g")},
    "DROP MATERIALIZED VIEW IF EXISTS totals": {("view", "", "totals")},
    'DROP ROLE "Reader"': {("role", "", "Reader")},
    "DROP USER reader": {("role", "", "reader")},
    "DROP SCHEMA area CASCADE": {("schema", "", "area")},
    'DROP TRIGGER t ON area."Orders"': {("table", "area", "Orders")},
    "DROP POLICY p ON orders": {("table", "", "orders")},
    "DELETE FROM area.orders WHERE id = 1": {("table", "area", "orders")},
    "TRUNCATE orders, lines": {("table", "", "orders"), ("table", "", "lines")},
    "TRUNCATE TABLE orders": {("table", "", "orders")},
    "GRANT SELECT ON TABLE orders, area.lines TO reader": {("table", "", "orders"), ("table", "area", "lines")},
    "REVOKE ALL ON orders FROM reader, PUBLIC": {("table", "", "orders"), ("grantee", "", "reader")},
    "REVOKE USAGE ON SCHEMA area FROM reader": {("grantee", "", "reader")},
    "ALTER DEFAULT PRIVILEGES IN SCHEMA area REVOKE SELECT ON TABLES FROM reader": {("grantee", "", "reader")},
    "DROP VIEW v; CREATE VIEW v AS SELECT 1": set(),
    "DROP VIEW a.v; CREATE VIEW b.v AS SELECT 1": {("view", "a", "v")},
    "DROP VIEW a.v; CREATE VIEW a.v AS SELECT 1": set(),
    "DROP VIEW a.v; CREATE VIEW v AS SELECT 1": set(),
    "DROP VIEW v; CREATE VIEW a.v AS SELECT 1": set(),
    "DROP FUNCTION f(); CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'": set(),
    "DROP TRIGGER t ON orders; CREATE CONSTRAINT TRIGGER t AFTER INSERT ON orders EXECUTE FUNCTION f()": set(),
    "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ DROP TABLE orders; DELETE FROM lines $$": set(),
    "ALTER DEFAULT PRIVILEGES IN SCHEMA area GRANT SELECT ON TABLES TO reader": set(),
    "CREATE TABLE orders (id int); INSERT INTO orders VALUES (1)": set(),
    "SELECT 'DROP TABLE orders'": set(),
    "DROP": set(),
    "": set(),
}


@pytest.mark.parametrize("sql", CASES)
def test_what_a_script_destroys(sql: str) -> None:
    assert set(destroyed(sql)) == CASES[sql]
