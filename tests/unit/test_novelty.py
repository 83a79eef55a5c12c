"""What earlier statements of a plan have created, dropped, renamed and proved."""

import pytest

from service_migrations.plan.statements.novelty import LOSES, Scope
from service_migrations.sql.lexer import statements


def after(text: str) -> Scope:
    scope = Scope()
    for statement in statements(text):
        if statement.tokens[0] in ("do", "call"):
            scope.doubt(statement.tokens)
        scope.record(statement.tokens)
    return scope


def is_new(before: str, text: str) -> bool:
    (statement,) = statements(text)
    return after(before).is_new(statement.tokens)


def is_proved(before: str, text: str = "ALTER TABLE t ALTER COLUMN a SET NOT NULL") -> bool:
    (statement,) = statements(text)
    return after(before).is_proved(statement.tokens)


CREATE = "CREATE TABLE t (a int)"
CHANGES = (
    "DROP TABLE t",
    "DROP TABLE IF EXISTS public.t CASCADE",
    "ALTER TABLE t ADD b int",
    "ALTER TABLE ONLY t DROP a, DROP b",
    "ALTER TABLE IF EXISTS public.t ADD b int",
    "TRUNCATE t",
    "TRUNCATE TABLE ONLY t",
    "DELETE FROM t",
    "DELETE FROM ONLY t",
    "CREATE INDEX i ON t (a)",
    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON ONLY t USING gin (a)",
)


@pytest.mark.parametrize("change", CHANGES)
def test_a_table_is_new_from_its_creation_to_its_end(change: str) -> None:
    assert is_new(CREATE, change)
    assert not is_new("", change)
    assert not is_new("CREATE TABLE other (a int)", change)
    assert not is_new(f"{CREATE}; DROP TABLE t", change)
    assert not is_new(f"{CREATE}; ALTER TABLE t RENAME TO u", change)
    assert not is_new("CREATE TABLE IF NOT EXISTS t (a int)", change)
    assert not is_new("CREATE TABLE s.t (a int)", change)


@pytest.mark.parametrize(
    "create",
    [
        "CREATE TABLE public.t (a int)",
        "CREATE TEMP TABLE t (a int)",
        "CREATE GLOBAL TEMPORARY TABLE t (a int)",
        "CREATE UNLOGGED TABLE t AS SELECT 1",
        "CREATE FOREIGN TABLE t (a int) SERVER s",
        "CREATE TABLE u (a int); ALTER TABLE u RENAME TO t",
        "CREATE MATERIALIZED VIEW t AS SELECT 1",
    ],
)
def test_a_table_is_new_however_it_was_created(create: str) -> None:
    assert is_new(create, "ALTER TABLE t ADD b int")


@pytest.mark.parametrize("kind", sorted({*LOSES, "table", "type", "schema"}))
def test_something_of_another_kind_has_its_own_names(kind: str) -> None:
    assert is_new(f"CREATE {kind} t", f"DROP {kind} t")
    for other in {*LOSES} - {kind}:
        assert not is_new(f"CREATE {kind} t", f"DROP {other} t")


def test_a_renamed_table_keeps_its_schema() -> None:
    assert is_new("CREATE TABLE s.t (a int); ALTER TABLE s.t RENAME TO u", "DROP TABLE s.u")
    assert not is_new("CREATE TABLE s.t (a int); ALTER TABLE s.t RENAME TO u", "DROP TABLE u")
    assert not is_new("ALTER TABLE t RENAME TO u", "DROP TABLE u")
    assert is_new(f"{CREATE}; ALTER TABLE t RENAME COLUMN a TO b", "DROP TABLE t")


SCHEMA = "CREATE SCHEMA s"
STAYS_NEW = {
    "a new table moves in": f"{SCHEMA}; {CREATE}; ALTER TABLE t SET SCHEMA s",
    "a new view moves in": f"{SCHEMA}; CREATE MATERIALIZED VIEW v AS SELECT 1; ALTER MATERIALIZED VIEW v SET SCHEMA s",
    "a new foreign table moves in": f"{SCHEMA}; CREATE FOREIGN TABLE f () SERVER x; ALTER FOREIGN TABLE f SET SCHEMA s",
    "another name": f"{SCHEMA}; ALTER TABLE t OWNER TO s",
    "a namesake": f"{SCHEMA}; ALTER TABLE t RENAME COLUMN a TO s",
    "another schema": f"{SCHEMA}; ALTER TABLE t SET SCHEMA r",
    "another schema in a block": f"{SCHEMA}; DO $$ BEGIN ALTER TABLE t SET SCHEMA r; END $$",
    "a namesake in a block": f"{SCHEMA}; DO $$ BEGIN ALTER TABLE s RENAME TO r; DROP TABLE s; END $$",
    "a block without ALTER": f"{SCHEMA}; DO $$ BEGIN PERFORM 'ALTER TABLE t SET SCHEMA s'; END $$",
}
NO_MORE = {
    "a table moves in": f"{SCHEMA}; ALTER TABLE t SET SCHEMA s",
    "a foreign table moves in": f"{SCHEMA}; ALTER FOREIGN TABLE f SET SCHEMA s",
    "a function moves in": f"{SCHEMA}; ALTER FUNCTION f(int) SET SCHEMA s",
    "a type moves in": f"{SCHEMA}; ALTER TYPE f SET SCHEMA s",
    "it moves in in a block": f"{SCHEMA}; DO $$ BEGIN ALTER TABLE t SET SCHEMA s; END $$",
    "a function moves in in a block": f"{SCHEMA}; DO $$ BEGIN ALTER FUNCTION f(int) SET SCHEMA s; END $$",
    "a block renames it": f"{SCHEMA}; DO $$ BEGIN ALTER SCHEMA s RENAME TO r; END $$",
    "a block drops it": f"{SCHEMA}; DO $$ BEGIN DROP SCHEMA s; END $$",
    "a block runs what isn't there": f"{SCHEMA}; DO $$ BEGIN EXECUTE way; END $$",
    "a block of another language": f"{SCHEMA}; DO LANGUAGE plpython3u $$plpy.execute(way)$$",
    "a procedure": f"{SCHEMA}; CALL p()",
    "any schema in a block": f"{SCHEMA}; DO $$ BEGIN EXECUTE format('ALTER TABLE t SET SCHEMA %I', x); END $$",
}


@pytest.mark.parametrize("before", STAYS_NEW.values(), ids=STAYS_NEW)
def test_a_schema_stays_new(before: str) -> None:
    assert is_new(before, "DROP SCHEMA s")


@pytest.mark.parametrize("before", NO_MORE.values(), ids=NO_MORE)
def test_a_schema_that_may_have_something_old_is_new_no_more(before: str) -> None:
    assert not is_new(before, "DROP SCHEMA s")
    assert is_new(f"{before}; {SCHEMA}", "DROP SCHEMA s")


@pytest.mark.parametrize("word", ["function", "procedure", "routine", "aggregate"])
def test_functions_and_procedures_share_their_names(word: str) -> None:
    for other in ("function", "procedure", "routine", "aggregate"):
        assert is_new(f"CREATE {word} f", f"DROP {other} f")


def test_what_moves_out_of_a_new_schema_leaves_its_own_name() -> None:
    assert is_new("CREATE TABLE s.t (a int); ALTER TABLE s.t SET SCHEMA r", "DROP TABLE r.t")
    assert not is_new("CREATE TABLE s.t (a int); ALTER TABLE s.t SET SCHEMA r", "DROP TABLE s.t")
    assert is_new('CREATE TABLE "s.t" (a int); ALTER TABLE "s.t" SET SCHEMA r', 'DROP TABLE r."s.t"')
    assert not is_new('CREATE TABLE "s.t" (a int)', "DROP TABLE s.t")


def test_what_a_block_may_have_dropped_proves_nothing() -> None:
    for drop in ("ALTER TABLE t DROP CONSTRAINT k", "ALTER TABLE t DROP CONSTRAINT IF EXISTS k"):
        assert not is_proved(f"{ADD}; DO $$ BEGIN {drop}; END $$")
    assert is_proved(f"{ADD}; DO $$ BEGIN ALTER TABLE t DROP CONSTRAINT other; END $$")


def test_a_name_in_quotes_is_no_word() -> None:
    assert is_new(f'{CREATE}; ALTER TABLE t RENAME "to" TO b', "DROP TABLE t")


@pytest.mark.parametrize("change", ["DROP TABLE t, u", "TRUNCATE t, u"])
def test_all_of_several_have_to_be_new(change: str) -> None:
    assert not is_new(CREATE, change)
    assert is_new(f"{CREATE}; CREATE TABLE u (a int)", change)


def test_a_view_that_was_refreshed_is_new_where_it_was_made() -> None:
    assert is_new("CREATE MATERIALIZED VIEW m AS SELECT 1", "REFRESH MATERIALIZED VIEW m")
    assert is_new("CREATE MATERIALIZED VIEW m AS SELECT 1", "DROP MATERIALIZED VIEW m")
    assert not is_new("CREATE VIEW m AS SELECT 1", "REFRESH MATERIALIZED VIEW m")


@pytest.mark.parametrize("way", ["", "CONCURRENTLY "])
def test_an_index_is_new_where_its_table_is(way: str) -> None:
    for create in (f"CREATE INDEX {way}i ON t (a)", f"CREATE UNIQUE INDEX {way}i ON t (a)"):
        assert is_new(f"{CREATE}; {create}", f"DROP INDEX {way}i")
        assert not is_new(create, f"DROP INDEX {way}i")
    assert not is_new(CREATE, f"DROP INDEX {way}i")
    assert after("CREATE INDEX ON t (a)").indexes == {}  # PostgreSQL names it


@pytest.mark.parametrize(
    "statement", ["SELECT 1", "UPDATE u SET a = 1", "COMMENT ON TABLE t IS 'x'", "GRANT ALL ON t TO u"]
)
def test_what_names_no_object_in_its_place_is_never_new(statement: str) -> None:
    assert not is_new(CREATE, statement)


# NOT NULL that a validated CHECK proves

ADD = "ALTER TABLE t ADD CONSTRAINT k CHECK (a IS NOT NULL)"


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (ADD, True),
        (f"{ADD} NOT VALID", False),
        (f"{ADD} NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT k", True),
        (f"{ADD} NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT other", False),
        (f"{ADD} NOT VALID; ALTER TABLE u VALIDATE CONSTRAINT k", False),
        (f"{ADD}; ALTER TABLE t DROP CONSTRAINT k", False),
        (f"{ADD}; ALTER TABLE t DROP CONSTRAINT IF EXISTS k", False),
        (f"{ADD}; ALTER TABLE t DROP CONSTRAINT other", True),
        ("ALTER TABLE t ADD CONSTRAINT k CHECK (b IS NOT NULL)", False),
        ("ALTER TABLE t ADD CONSTRAINT k CHECK (a IS NULL)", False),
        ("ALTER TABLE t ADD CONSTRAINT k CHECK (a IS NOT NULL OR b > 0)", False),
        ("ALTER TABLE t ADD CONSTRAINT k UNIQUE (a)", False),
        ("ALTER TABLE u ADD CONSTRAINT k CHECK (a IS NOT NULL)", False),
        ("ALTER TABLE t VALIDATE CONSTRAINT k", False),
        ("", False),
    ],
)
def test_not_null_is_proved_by_a_validated_check_of_the_column(before: str, expected: bool) -> None:
    assert is_proved(before) is expected
    assert is_proved(before, "ALTER TABLE public.t ALTER a SET NOT NULL") is expected


def test_every_column_has_to_be_proved() -> None:
    both = "ALTER TABLE t ALTER a SET NOT NULL, ALTER b SET NOT NULL"
    other = "ALTER TABLE t ADD CONSTRAINT l CHECK (b IS NOT NULL)"
    assert not is_proved(ADD, both)
    assert is_proved(f"{ADD}; {other}", both)
    assert is_proved(f"{ADD}, ADD CONSTRAINT l CHECK (b IS NOT NULL)", both)


@pytest.mark.parametrize(
    "statement", ["ALTER TABLE t ALTER a DROP NOT NULL", "ALTER TABLE t ADD b int", "DROP TABLE t"]
)
def test_what_sets_no_column_not_null_is_not_proved(statement: str) -> None:
    assert not is_proved(ADD, statement)
