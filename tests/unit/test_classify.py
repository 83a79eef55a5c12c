"""The classes of a statement, read from its tokens alone: what is found, and what isn't taken for it."""

import pytest

from service_migrations.plan.classes import Class
from service_migrations.plan.statements import classify as module
from service_migrations.plan.statements.classify import classify
from service_migrations.plan.statements.columns import SERIAL
from service_migrations.plan.statements.novelty import LOSES, Scope
from service_migrations.sql.lexer import statements

X, L, D, C = Class.DESTRUCTIVE, Class.LOCKS, Class.DATA, Class.CONCURRENT


def classes(text: str) -> set[Class]:
    """Return the classes of statements, each of which knows what those before it have created.

    What breaks running code is in test_breaking.py.
    """
    scope, found = Scope(), set()
    for statement in statements(text):
        found |= {kind for kind, _ in classify(statement.tokens, scope)}
        scope.record(statement.tokens)
    return found - {Class.BREAKING}


# A way to run a statement, and that statement


INNER = {
    "DROP TABLE t": {X},
    "TRUNCATE t": {X},
    "DELETE FROM t": {D, X},
    "DELETE FROM t WHERE a": {D},
    "UPDATE t SET a = 1": {D},
    "INSERT INTO t VALUES (1)": {D},
    "MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE": {D},
    "ALTER TABLE t DROP COLUMN a": {X},
    "ALTER TABLE t SET UNLOGGED": {L},
    "CALL p()": {D},
    "SELECT 1": set(),
    "SELECT 1 FROM t FOR UPDATE": set(),
    "GRANT EXECUTE ON FUNCTION f TO u": set(),
}
BLOCKS = {
    "block": "DO $$ BEGIN {}; END $$",
    "after another": "DO $$ BEGIN PERFORM 1; {}; END $$",
    "in an IF": "DO $$ BEGIN IF a THEN {}; END IF; END $$",
    "in an ELSE": "DO $$ BEGIN IF a THEN NULL; ELSE {}; END IF; END $$",
    "in a LOOP": "DO $$ BEGIN FOR a IN 1..2 LOOP {}; END LOOP; END $$",
    "nested": "DO $$ BEGIN BEGIN {}; END; END $$",
    "of an exception": "DO $$ BEGIN NULL; EXCEPTION WHEN others THEN {}; END $$",
    "with a language": "DO LANGUAGE plpgsql $do$ BEGIN {}; END $do$",
    "quoted": "DO 'BEGIN {}; END'",
    "quoted with escapes": r"DO E'BEGIN\n {};\tEND'",
    "EXECUTE with escapes": r"DO $$ BEGIN EXECUTE E'\n{}'; END $$",
    "EXECUTE": "DO $$ BEGIN EXECUTE '{}'; END $$",
}
RUN = {
    "alone": "{}",
    "EXPLAIN ANALYZE": "EXPLAIN ANALYZE {}",
    "EXPLAIN ANALYSE": "EXPLAIN ANALYSE {}",
    "EXPLAIN ANALYZE VERBOSE": "EXPLAIN ANALYZE VERBOSE {}",
    "EXPLAIN (ANALYZE)": "EXPLAIN (ANALYZE) {}",
    "EXPLAIN (…, ANALYZE on)": "EXPLAIN (COSTS off, ANALYZE on, FORMAT json) {}",
}
ROWS = ("INSERT", "UPDATE", "DELETE", "SELECT")


@pytest.mark.parametrize("statement", INNER)
@pytest.mark.parametrize("way", BLOCKS.values(), ids=BLOCKS)
def test_what_a_block_runs_has_its_classes(way: str, statement: str) -> None:
    assert classes(way.format(statement)) == INNER[statement]


@pytest.mark.parametrize("statement", [one for one in INNER if one.startswith((*ROWS, "MERGE"))])
@pytest.mark.parametrize("way", RUN.values(), ids=RUN)
def test_what_explain_runs_has_its_classes(way: str, statement: str) -> None:
    assert classes(way.format(statement)) == INNER[statement]


@pytest.mark.parametrize("statement", [one for one in INNER if one.startswith(ROWS)])
@pytest.mark.parametrize(
    "way",
    [
        "EXPLAIN {}",
        "EXPLAIN VERBOSE {}",
        "EXPLAIN (VERBOSE) {}",
        "EXPLAIN (ANALYZE off) {}",
        "EXPLAIN (BUFFERS, ANALYZE false) {}",
        "EXPLAIN (ANALYZE 0) {}",
    ],
)
def test_what_explain_only_plans_has_none(way: str, statement: str) -> None:
    assert classes(way.format(statement)) == set()


@pytest.mark.parametrize("statement", [one for one in INNER if one.startswith(ROWS)])
def test_what_is_prepared_has_its_classes(statement: str) -> None:
    assert classes(f"PREPARE p AS {statement}") == INNER[statement]
    assert classes(f"PREPARE p (int, text) AS {statement}") == INNER[statement]
    assert classes("PREPARE TRANSACTION 'p'") == set()


@pytest.mark.parametrize("statement", [one for one in INNER if one.startswith(ROWS) and "SELECT" not in one])
@pytest.mark.parametrize(
    "way",
    [
        "WITH d AS ({}) SELECT 1",
        "WITH c AS (SELECT 1), d AS MATERIALIZED ({}) SELECT 1",
        "COPY ({} RETURNING a) TO STDOUT",
        "CREATE TABLE v AS WITH d AS ({} RETURNING a) SELECT a FROM d",
        "CREATE TABLE index AS WITH d AS ({} RETURNING a) SELECT a FROM d",
        "INSERT INTO v WITH d AS ({} RETURNING a) SELECT a FROM d",
        "CREATE TEMP TABLE v AS WITH d AS ({} RETURNING a) SELECT a FROM d",
        "PREPARE p AS WITH d AS ({}) SELECT 1",
        "EXPLAIN ANALYZE WITH d AS ({}) SELECT 1",
    ],
)
def test_what_is_inside_another_statement_has_its_classes(way: str, statement: str) -> None:
    assert classes(way.format(statement)) == INNER[statement]


@pytest.mark.parametrize("unseen", ["CALL p()", "DO $$ BEGIN EXECUTE a_variable; END $$"])
def test_what_cannot_be_seen_may_have_moved_tables_with_rows_into_a_new_schema(unseen: str) -> None:
    assert classes(f"CREATE SCHEMA v; {unseen}; DROP SCHEMA v CASCADE") == {D, X}
    assert classes(f"CREATE TABLE v (a int); {unseen}; DROP TABLE v") == {D}


@pytest.mark.parametrize("end", ["", " RETURNING a", " RETURNING (SELECT 1 FROM u WHERE b)"])
@pytest.mark.parametrize("condition", ["true", "(true)", "TRUE", "NOT false", "1 = 1", "(1 = 1)", "'a' = 'a'"])
def test_a_delete_on_a_condition_that_is_always_true_empties_the_table(condition: str, end: str) -> None:
    assert classes(f"DELETE FROM t WHERE {condition}{end}") == {D, X}  # noqa: S608


def test_only_the_condition_of_the_delete_itself_counts() -> None:
    assert classes("DELETE FROM t USING (SELECT 1 FROM u WHERE b) x WHERE true") == {D, X}
    assert classes("DELETE FROM t USING (SELECT 1 FROM u WHERE true) x WHERE b") == {D}
    assert classes("DELETE FROM t USING (SELECT 1 FROM u WHERE b) x") == {D, X}
    assert classes("DELETE FROM t WHERE true RETURNING (SELECT 1 FROM u WHERE b), a") == {D, X}
    assert classes("DO $$ BEGIN DELETE FROM t WHERE true; END $$") == {D, X}


@pytest.mark.parametrize(
    "condition",
    ["a", "a = 1", "a = a", "1 = 2", "1 < 1", "1 = 1 AND a", "true AND a", "false", "a = (SELECT b FROM u WHERE true)"],
)
def test_a_delete_on_any_other_condition_only_changes_rows(condition: str) -> None:
    assert classes(f"DELETE FROM t WHERE {condition} RETURNING a") == {D}  # noqa: S608


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER INDEX i SET TABLESPACE x",
        "ALTER INDEX IF EXISTS a.i SET TABLESPACE x",
        "ALTER INDEX ALL IN TABLESPACE a SET TABLESPACE b",
        "ALTER TABLE ALL IN TABLESPACE a OWNED BY app SET TABLESPACE b NOWAIT",
        "ALTER MATERIALIZED VIEW ALL IN TABLESPACE a SET TABLESPACE b",
        "ALTER TABLE t ALTER COLUMN a SET EXPRESSION AS (b + 1)",
        "ALTER TABLE t ALTER a SET EXPRESSION AS (b + 1)",
        "VACUUM (ANALYZE, FULL) t",
        "VACUUM (FULL true) t",
        "VACUUM FULL VERBOSE t",
    ],
)
def test_what_copies_a_table_or_an_index_locks(statement: str) -> None:
    assert classes(statement) == {L}


@pytest.mark.parametrize(
    "statement", ["VACUUM (FULL off) t", "VACUUM (FULL false, ANALYZE) t", "ALTER INDEX i RENAME TO tablespace"]
)
def test_an_option_that_is_off_has_no_class(statement: str) -> None:
    assert classes(statement) == set()


def test_a_reindex_is_concurrent_where_its_option_is_on() -> None:
    assert classes("REINDEX (VERBOSE, CONCURRENTLY) TABLE t") == {C}
    assert classes("REINDEX (CONCURRENTLY true) TABLE t") == {C}
    assert classes("REINDEX (CONCURRENTLY off) TABLE t") == {L}
    assert classes("REINDEX INDEX i") == {L}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE t SET a = NULL", {D, X}),
        ("UPDATE ONLY t AS x SET b = 1, a = (NULL::text) RETURNING *", {D, X}),
        ("UPDATE t SET a = CAST(NULL AS int) WHERE true", {D, X}),
        ("WITH x AS (UPDATE t SET a = NULL RETURNING *) SELECT 1", {D, X}),
        ("UPDATE t SET a = NULL WHERE b", {D}),
        ("UPDATE t SET a = NULLIF(a, '')", {D}),
        ("UPDATE t SET a = b IS NULL", {D}),
        ("CREATE TABLE t (a int); UPDATE t SET a = NULL", {D}),
        ("ALTER TABLE t ADD b int; UPDATE t SET b = NULL", {D}),
        ("ALTER TABLE t ADD b int; UPDATE t SET b = NULL, a = NULL", {D, X}),
        ("UPDATE t SET a = DEFAULT", {D, X}),
        ("UPDATE t SET (a, b) = (1, DEFAULT)", {D, X}),
        ("UPDATE t SET a = DEFAULT WHERE b", {D}),
        ("ALTER TABLE t ADD b int DEFAULT 1; UPDATE t SET b = DEFAULT", {D}),
        ("ALTER TABLE t ALTER a TYPE int USING NULL", {X}),
        ("ALTER TABLE t ALTER a TYPE int USING 0", {X}),
        ("ALTER TABLE t ALTER a SET DATA TYPE int USING ('a'::text)::int", {X}),
        ('ALTER TABLE s.t ALTER "A" TYPE uuid USING gen_random_uuid()', {X}),
        ('ALTER TABLE t ALTER "A" TYPE text USING a', {X}),  # of another column
        ('ALTER TABLE t ALTER "A" TYPE text USING lower(t."A")', set()),
        ("ALTER TABLE ONLY s.t ALTER A TYPE text USING length_of(t)", set()),
        ("ALTER TABLE t ALTER a TYPE text USING CASE WHEN A > 1 THEN 'x' ELSE 'y' END", set()),
        ("ALTER TABLE t ALTER a TYPE int USING (NULL::int), ADD b int", {X}),
        ("ALTER TABLE t ALTER a TYPE int USING NULLIF(a, '')::int", set()),
        ("CREATE TABLE t (a int); ALTER TABLE t ALTER a TYPE text USING NULL", set()),
        ("ALTER TABLE t ADD b int; ALTER TABLE t ALTER COLUMN b TYPE text USING NULL", set()),
        ("ALTER TABLE t ADD b int; ALTER TABLE t ALTER COLUMN a TYPE text USING NULL", {X}),
    ],
)
def test_a_column_that_is_emptied_is_lost_as_a_dropped_one_is(statement: str, expected: set[Class]) -> None:
    assert classes(statement) == expected


# Lists, member by member


@pytest.mark.parametrize("kind", sorted({*LOSES, "table", "type", "domain", "schema", "database", "extension"}))
def test_the_drop_of_what_holds_data_destroys(kind: str) -> None:
    assert classes(f"DROP {kind} t") == {X}
    assert classes(f"DROP {kind} IF EXISTS t CASCADE") == {X}


TAKES_COLUMNS = (
    *("ACCESS METHOD", "COLLATION", "FOREIGN DATA WRAPPER", "FUNCTION", "LANGUAGE", "OPERATOR"),
    *("OPERATOR CLASS", "PROCEDURE", "ROUTINE", "SERVER", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY"),
)


@pytest.mark.parametrize("kind", [*TAKES_COLUMNS, *module._TAKES_COLUMNS])
def test_the_drop_of_what_columns_hang_on_destroys_with_cascade(kind: str) -> None:
    assert classes(f"DROP {kind} f CASCADE") == {X}
    assert classes(f"DROP {kind} f") == set()
    assert classes(f"DROP {kind} f RESTRICT") == set()


def test_the_drop_of_what_a_role_owns_destroys() -> None:
    assert classes("DROP OWNED BY app") == {X}


@pytest.mark.parametrize(
    "kind", ["VIEW", "FOREIGN TABLE", "AGGREGATE", "SEQUENCE", "STATISTICS", "TRIGGER", "POLICY", "INDEX", "ROLE"]
)
def test_the_drop_of_what_holds_no_rows_has_no_class(kind: str) -> None:
    assert classes(f"DROP {kind} t") == set()
    assert classes(f"DROP {kind} IF EXISTS t CASCADE") == set()
    assert classes(f"DROP {kind} access, text, language CASCADE") == set()


@pytest.mark.parametrize("serial", sorted({*SERIAL, "serial", "bigserial", "smallserial", "serial8"}))
def test_a_serial_column_locks(serial: str) -> None:
    assert classes(f"ALTER TABLE t ADD c {serial}") == {L}
    assert classes(f"ALTER TABLE t ADD COLUMN c {serial} NOT NULL") == {L}
    assert classes(f"CREATE TABLE v (a {serial}); ALTER TABLE v ADD c {serial}") == set()


@pytest.mark.parametrize("word", sorted({*module._REWRITES, "tablespace", "logged", "unlogged", "access"}))
@pytest.mark.parametrize("relation", ["TABLE t", "TABLE IF EXISTS ONLY a.t", "MATERIALIZED VIEW t", "FOREIGN TABLE t"])
def test_a_rewrite_locks(relation: str, word: str) -> None:
    assert classes(f"ALTER {relation} SET {word} x") == {L}
    assert classes(f"ALTER {relation} ADD a int, SET {word} x") == {L}
    assert classes(f"ALTER {relation} RENAME {word} TO a") == set()
    new = relation.rsplit(maxsplit=1)[-1]
    assert classes(f"CREATE TABLE {new} (a int); ALTER {relation} SET {word} x") == set()


@pytest.mark.parametrize(
    "action",
    [
        *(
            "SET SCHEMA a",
            "SET (fillfactor = 70)",
            "SET WITHOUT CLUSTER",
            "RENAME a TO serial",
            "RENAME a TO bigserial",
        ),
        *("ALTER CONSTRAINT k DEFERRABLE", "ADD CONSTRAINT k CHECK (a > 0) ENFORCED", "ADD CHECK (a > 0)"),
        *("ALTER a SET DEFAULT concurrently()", "RENAME CONSTRAINT k TO l", "OWNER TO tablespace"),
    ],
)
def test_what_only_changes_the_catalog_or_is_for_squawk_has_no_class(action: str) -> None:
    assert classes(f"ALTER TABLE t {action}") == set()


def test_a_new_column_with_a_check_locks_and_a_constraint_is_for_squawk() -> None:
    assert classes("ALTER TABLE t ADD COLUMN c int CHECK (c > 0)") == {L}
    assert classes("ALTER TABLE t ADD CONSTRAINT serial CHECK (c > 0)") == set()
    assert classes("ALTER TABLE t ADD COLUMN c int") == set()


@pytest.mark.parametrize("mode", ["ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE"])
def test_a_lock_that_writers_share_has_no_class(mode: str) -> None:
    assert classes(f"LOCK TABLE t IN {mode} MODE") == set()
    assert classes(f"LOCK t, u IN {mode} MODE NOWAIT") == set()


@pytest.mark.parametrize("mode", ["SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE"])
def test_a_lock_that_readers_share_keeps_writers_out(mode: str) -> None:
    (statement,) = statements(f"LOCK TABLE t IN {mode} MODE")
    assert list(classify(statement.tokens, Scope())) == [(L, "LOCK keeps writers out of the table.")]


@pytest.mark.parametrize("text", ["LOCK TABLE t IN ACCESS EXCLUSIVE MODE NOWAIT", "LOCK t", "LOCK in_mode, mode"])
def test_the_strongest_lock_and_that_of_no_mode_keep_readers_out_too(text: str) -> None:
    (statement,) = statements(text)
    assert list(classify(statement.tokens, Scope())) == [(L, "LOCK keeps readers and writers out of the table.")]


@pytest.mark.parametrize(
    "statement",
    ["LOCK TABLE t IN ACCESS EXCLUSIVE MODE", "LOCK TABLE t", "CLUSTER t", "VACUUM FULL t", "VACUUM (FULL) t"],
)
def test_what_keeps_others_out_locks(statement: str) -> None:
    assert classes(statement) == {L}


@pytest.mark.parametrize(
    "statement",
    ["VACUUM t", "ANALYZE t", "SELECT * FROM t FULL JOIN u", "SET LOCAL x = 1", "COMMENT ON TABLE t IS 'x'", "", "("],
)
def test_what_keeps_nobody_out_has_no_class(statement: str) -> None:
    assert classes(statement) == set()


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("CREATE INDEX CONCURRENTLY i ON t (a)", {C}),
        ("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)", {C}),
        ("CREATE INDEX i ON t (concurrently)", set()),  # a lock, which squawk knows
        ("CREATE INDEX ON t (concurrently(a))", set()),
        ("DROP INDEX CONCURRENTLY i", {C}),
        ("REINDEX INDEX CONCURRENTLY i", {C}),
        ("REINDEX (VERBOSE) TABLE CONCURRENTLY t", {C}),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY m", {C}),
        ("REFRESH MATERIALIZED VIEW m", {L}),
        ("CREATE MATERIALIZED VIEW m AS SELECT 1; REFRESH MATERIALIZED VIEW m", set()),
        ("CREATE VIEW concurrently AS SELECT 1", set()),
        ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", {C}),
        ("ALTER TABLE t DETACH PARTITION p", set()),  # a lock, but not for long
        ("ALTER TABLE t ATTACH PARTITION p DEFAULT", {L}),
        ("ALTER DOMAIN d SET NOT NULL", {L}),
        ("ALTER DOMAIN a.d VALIDATE CONSTRAINT c", {L}),
        ("ALTER DOMAIN d DROP NOT NULL", set()),
        ("ALTER DOMAIN d SET DEFAULT 1", set()),
        ("CREATE DOMAIN d AS int; ALTER DOMAIN d SET NOT NULL", set()),
        ("ALTER TABLE t VALIDATE CONSTRAINT c", set()),  # writers go on meanwhile
    ],
)
def test_what_is_built_runs_beside_others_or_locks(statement: str, expected: set[Class]) -> None:
    assert classes(statement) == expected


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("ALTER TABLE t DROP a", {X}),
        ("ALTER TABLE t DROP COLUMN IF EXISTS a CASCADE", {X}),
        ("ALTER TABLE t DROP CONSTRAINT a", set()),
        ("ALTER TYPE t DROP ATTRIBUTE a", {X}),
        ("ALTER TYPE t ADD VALUE 'drop'", set()),
        ("ALTER FOREIGN TABLE t DROP COLUMN a", {X}),
        ("ALTER TABLE t ALTER a DROP DEFAULT, ALTER a DROP NOT NULL, ALTER a DROP EXPRESSION", set()),
        ("ALTER SEQUENCE t SET LOGGED", set()),
        ("ALTER SCHEMA t RENAME TO u", set()),
    ],
)
def test_an_alter_destroys_with_a_column_only(statement: str, expected: set[Class]) -> None:
    assert classes(statement) == expected


@pytest.mark.parametrize("way", ["COPY t FROM STDIN", "COPY t (a) FROM '/tmp/x' WITH (FORMAT csv)"])
def test_a_copy_into_a_table_changes_rows(way: str) -> None:
    assert classes(way) == {D}
    assert classes("COPY t TO STDOUT") == set()
    assert classes("COPY (SELECT a FROM t) TO STDOUT") == set()


# What only looks like one


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DROP TABLE t; END $$",
        "CREATE FUNCTION f() RETURNS void BEGIN ATOMIC DELETE FROM t; END",
        "CREATE RULE r AS ON INSERT TO t DO INSTEAD (DELETE FROM t)",
        "CREATE TRIGGER g BEFORE DELETE ON t EXECUTE FUNCTION f()",
        "CREATE POLICY p ON t FOR DELETE USING (true)",
        "GRANT DELETE, UPDATE, TRUNCATE ON t TO app",
        "DO $$ BEGIN RAISE NOTICE 'DROP TABLE t'; END $$",
        "SELECT 'DELETE FROM t'",
        'SELECT "delete" FROM t',
        "CREATE TABLE v (a int); DROP TABLE v",
        "CREATE TABLE v (a int); TRUNCATE v",
        "CREATE SCHEMA v; DROP SCHEMA v",
    ],
)
def test_what_runs_nothing_on_old_rows_has_no_class(statement: str) -> None:
    assert classes(statement) == set()


def test_what_is_new_by_chance_is_not_new() -> None:
    assert classes("CREATE TABLE IF NOT EXISTS v (a int); DROP TABLE v") == {X}
    assert classes("CREATE TABLE v (a int); DROP TABLE v, t") == {X}
    assert classes("CREATE TABLE a.v (a int); DROP TABLE v") == {X}
    assert classes("CREATE TABLE v (a int); DROP TABLE v; DROP TABLE v") == {X}


def test_a_reason_names_the_statement() -> None:
    (statement,) = statements("DROP TABLE t")
    assert list(classify(statement.tokens, Scope())) == [
        (Class.BREAKING, "Statements that use table t fail."),
        (X, "DROP TABLE loses what is in it."),
    ]
    (statement,) = statements("REINDEX TABLE CONCURRENTLY t")
    said = "REINDEX … CONCURRENTLY lets others read and write meanwhile."
    assert list(classify(statement.tokens, Scope())) == [(C, said)]


@pytest.mark.parametrize(
    "text",
    [
        *(value.format(statement) for value in RUN.values() for statement in INNER if "SELECT" not in statement),
        "COPY (DELETE FROM t RETURNING a) TO STDOUT",
        "LOCK TABLE t IN ACCESS EXCLUSIVE MODE NOWAIT",
        "PREPARE p (int) AS DELETE FROM t",
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON ONLY t (a)",
        "CREATE MATERIALIZED VIEW IF NOT EXISTS m AS WITH d AS (DELETE FROM t RETURNING a) SELECT a FROM d",
        "DROP INDEX CONCURRENTLY IF EXISTS i, j",
        "DROP MATERIALIZED VIEW IF EXISTS m CASCADE",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY m WITH DATA",
        "REINDEX (VERBOSE) TABLE CONCURRENTLY t",
        "ALTER DOMAIN a.d SET NOT NULL",
        "ALTER MATERIALIZED VIEW m SET TABLESPACE x",
        "ALTER TABLE t ADD CONSTRAINT k CHECK (a IS NOT NULL) NOT VALID, ALTER COLUMN a SET NOT NULL",
        "ALTER TABLE t VALIDATE CONSTRAINT k, DROP CONSTRAINT IF EXISTS l",
        "ALTER TABLE t RENAME TO u",
        "DO LANGUAGE plpgsql $$ BEGIN EXECUTE 'DROP TABLE t'; END $$",
    ],
)
def test_a_statement_that_ends_too_early_is_left_to_the_server(text: str) -> None:
    (statement,) = statements(text)
    for end in range(len(statement.tokens)):
        scope = Scope(created={("table", "t")})
        assert {kind for kind, _ in classify(statement.tokens[:end], scope)} <= set(Class)
        scope.is_new(statement.tokens[:end])
        scope.is_proved(statement.tokens[:end])
        scope.record(statement.tokens[:end])


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("format('ALTER TABLE %I DROP COLUMN a', t)", {X}),
        ("format('DROP TABLE %1$I.%2$I', 's', 't')", {X}),
        ("format('UPDATE %s SET a = %L', t, 'TRUNCATE t')", {D}),
        ("format('%s', 'TRUNCATE t')", {Class.DESTRUCTIVE}),
        ("format('CREATE %s TABLE %I (a int)', CASE WHEN a THEN 'UNLOGGED' ELSE '' END, 't')", set()),
        ("format('%2$s %1$s t', 'TABLE', 'DROP')", {X}),
        ("format('DROP TABLE %I', 'log_' || n)", {X}),
        ("format('DROP TABLE ' || '%I.%I', s, lower('log_' || n)) || ' CASCADE'", {X}),
        ("'ALTER TABLE ' || format('%I.%I', s, 'a' || n) || ' DROP COLUMN a'", {X}),
        ("'ALTER TABLE ' || quote_ident(r.t) || ' DROP COLUMN a'", {X}),
        ("'DR' || 'OP TABLE t'", {X}),
        ("'TRUNCATE ' || t", {Class.DESTRUCTIVE}),
        ("format('ALTER TABLE %I ADD COLUMN a int', t)", set()),
        ("'CREATE INDEX ON ' || t || ' (drop_me)'", set()),
        ("a_variable", {D}),
        ("a_variable || ' TO x'", {D}),
        ("a_variable USING b", {D}),
        ("concat_ws(' ', 'DROP', 'TABLE', 't')", {X}),
        ("replace('DR-P TABLE t', '-', 'O')", {X}),
        ("pg_catalog.concat('DROP ', upper('table'), ' t')", {X}),
        ("'ALTER TABLE t ' || CASE WHEN a THEN 'DROP COLUMN a' ELSE 'ADD COLUMN a int' END", {X}),
        ("CASE WHEN a THEN CASE b WHEN 1 THEN 'DROP TABLE t' END ELSE 'SELECT 1' END", {X}),
        ("(SELECT string_agg('DROP TABLE ' || quote_ident(relname), ';') FROM pg_class)", {X}),
        ("coalesce(NULL, 'DROP TABLE t') INTO a USING b", {X, D}),
        ("'DROP ' || kind || ' t'", {D}),
        ("(SELECT)", {D}),
        ("'ALTER TABLE t ' || an_action", {D}),
        ("'ALTER TABLE t ADD COLUMN a int, ' || an_action", {D}),
        ("format('ALTER TABLE %I %s', t, an_action)", {D}),
    ],
)
def test_what_a_block_puts_together_has_its_classes(expression: str, expected: set[Class]) -> None:
    assert classes(f"DO $$ BEGIN EXECUTE {expression}; END $$") == expected


@pytest.mark.parametrize(
    "body",
    [
        "sql := 'DROP TABLE t'; EXECUTE sql",
        "sql = 'DROP ' || 'TABLE t'; IF a THEN EXECUTE sql; END IF",
        "SELECT format('DROP TABLE %I', relname) INTO sql FROM pg_class; EXECUTE sql",
        "FOR r IN SELECT 'DROP TABLE ' || relname AS sql FROM pg_class LOOP EXECUTE r.sql; END LOOP",
        "FOREACH sql IN ARRAY ARRAY['SELECT 1', 'DROP TABLE t'] LOOP EXECUTE sql; END LOOP",
        "pattern := 'DROP TABLE %I'; EXECUTE format(pattern, a)",
    ],
)
def test_a_statement_in_a_text_of_a_block_may_be_what_it_executes(body: str) -> None:
    """A DROP that a block kept in a variable was no loss, and was run on any target."""
    assert classes(f"DO $$ DECLARE sql text; BEGIN {body}; END $$") == {D, X}
    assert classes(f"DO $$ DECLARE sql text; BEGIN {body.replace('EXECUTE', 'PERFORM')}; END $$") == set()


def test_what_a_text_may_be_beyond_those_that_are_read_is_unknown() -> None:
    """Of seven choices between two, half the texts weren't read, and nothing said so."""
    choice = "CASE WHEN a THEN 'DROP ' ELSE 'CREATE TABLE u (i int) -- ' END"
    for count in (1, 6, 7, 12):
        text = " || ".join([f"'CREATE TABLE t{count} (i int) -- '", *[choice] * count])
        assert (D in classes(f"DO $$ BEGIN EXECUTE {text}; END $$")) == (count > 6), count


@pytest.mark.parametrize(
    "text", ["drop old tables", "delete", "call it", "update failed", "DROP TABLE %", "create tables"]
)
def test_a_message_of_a_block_is_no_statement(text: str) -> None:
    text = f"RAISE NOTICE '{text}', a" if "%" in text else f"PERFORM log('{text}')"
    assert classes(f"DO $$ BEGIN {text}; EXECUTE a_variable; END $$") == {D}


def test_a_statement_behind_a_label_is_seen() -> None:
    assert classes("DO $$ BEGIN <<rows>> DELETE FROM t; END $$") == {D, Class.DESTRUCTIVE}


@pytest.mark.parametrize("text", ["plpy.execute('DROP TABLE t')", "drop = 1"])
def test_what_a_block_in_another_language_does_cannot_be_seen(text: str) -> None:
    assert classes(f"DO LANGUAGE plpython3u $$ {text} $$") == {D}
    assert classes(f"DO $$ {text} $$ LANGUAGE 'plperl'") == {D}


def test_the_execute_of_a_trigger_names_a_function() -> None:
    trigger = "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.a) EXECUTE {} f()"
    for word in ("FUNCTION", "PROCEDURE"):
        assert classes(f"DO $$ BEGIN {trigger.format(word)}; END $$") == set()


def test_a_constraint_that_is_enforced_locks() -> None:
    assert Class.LOCKS in classes("ALTER TABLE t ALTER CONSTRAINT k ENFORCED")
    assert classes("ALTER TABLE t ALTER CONSTRAINT k NOT ENFORCED") == set()


@pytest.mark.parametrize(
    ("domain", "added", "expected"),
    [
        ("CREATE DOMAIN d AS int CHECK (VALUE > 0)", "a d", {L}),
        ("CREATE DOMAIN d AS int NOT NULL", "IF NOT EXISTS a d DEFAULT 1", {L}),
        ("CREATE DOMAIN s.d int CONSTRAINT c CHECK (VALUE > 0)", "COLUMN a s.d", {L}),
        ("CREATE DOMAIN d AS int; ALTER DOMAIN d ADD CHECK (VALUE > 0)", "a public.d", {L}),
        ("CREATE DOMAIN d AS int DEFAULT 1", "a d", set()),
        ("CREATE DOMAIN d AS int CHECK (VALUE > 0)", "a d[]", set()),
        ("CREATE DOMAIN d AS int CHECK (VALUE > 0); DROP DOMAIN d; CREATE TYPE d AS ENUM ('a')", "a d", set()),
        ("CREATE DOMAIN d AS int CHECK (VALUE > 0)", "a int", set()),
    ],
)
def test_a_column_of_a_domain_with_a_constraint_locks(domain: str, added: str, expected: set[Class]) -> None:
    """PostgreSQL rewrites the table (documentation, ALTER TABLE, Notes), and the plan said additive."""
    scope = Scope()
    for statement in statements(domain):
        scope.record_earlier(statement.tokens)
    tokens = next(statements(f"ALTER TABLE t ADD {added}")).tokens
    assert {kind for kind, _ in classify(tokens, scope)} == expected


def test_the_default_partition_itself_scans_no_other() -> None:
    statement = next(statements("CREATE TABLE IF NOT EXISTS spare PARTITION OF parts DEFAULT")).tokens
    assert list(classify(statement, Scope(defaults={"parts": "spare"}))) == []
    assert list(classify(statement, Scope(defaults={"parts": "other"}))) != []
