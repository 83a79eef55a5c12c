"""What a plan has of squawk: of each statement its own warnings, also of those in a DO block."""

import pytest

from service_migrations.history.revision import Revision
from service_migrations.history.revisions import read
from service_migrations.history.sql.offline import Piece, Rendered, pending
from service_migrations.plan.plan import review_revisions
from service_migrations.plan.review import PlannedRevision, planned, reviews
from service_migrations.plan.squawk_text import warnings_of
from tests.support.database import wait
from tests.support.monorepo import Monorepo

A, L, B, X = "additive", "locks long or rewrites", "breaking", "destructive"


def reviewed(*texts: str) -> PlannedRevision:
    """Return the review of a revision of these texts, each on a line of its file."""
    pieces = [Piece(f"{text};", line) for line, text in enumerate(texts, 1)]
    (review,) = reviews(None, [Rendered(Revision("r", (), "", "r.py", is_head=True), pieces)])  # type: ignore[arg-type]
    return planned(review, wait(warnings_of(review.lines, "18.1")))


BLOCKS = {
    "ALTER TABLE t ALTER COLUMN a TYPE bigint": {L},
    "ALTER TABLE t ADD COLUMN x uuid DEFAULT gen_random_uuid()": {L},
    "ALTER TABLE t ALTER COLUMN a SET NOT NULL": {L, B},
    "ALTER TABLE t ADD CONSTRAINT k CHECK (a > 0)": {L, B},
    "ALTER TABLE t ADD CONSTRAINT k CHECK (a > 0) NOT VALID": {B},
    "CREATE INDEX i ON t (c)": {L},
    "EXECUTE 'CREATE INDEX i ON t (c)'": {L},
    "EXECUTE format('CREATE INDEX %I ON %I (c)', 'i', 't')": {L},
    "EXECUTE 'ALTER TABLE ' || name || ' ALTER COLUMN \"A b\" TYPE bigint'": {L},
    "REINDEX TABLE t": {L},
    "REFRESH MATERIALIZED VIEW v": {L},
    "LOCK TABLE t": {L},
    "ALTER TABLE t ADD COLUMN x text DEFAULT 'it''s; a'": {A},
    "CREATE TABLE v (id int); CREATE INDEX i ON v (id)": {A},
    "lock := 1": {A},
    "ALTER TABLE t DROP COLUMN a": {B, X},
}


@pytest.mark.parametrize("statement", BLOCKS)
def test_a_statement_of_a_block_has_its_classes(statement: str) -> None:
    """Its long locks were unknown to squawk, which takes the body of a block for a string."""
    block = f"DO $$ DECLARE lock int; BEGIN IF true THEN {statement}; END IF; END $$"
    assert set(reviewed(block).classes) == BLOCKS[statement]


def test_a_finding_in_a_block_has_the_line_of_the_block() -> None:
    revision = reviewed("SELECT 1", "DO $$\nBEGIN\n  CREATE INDEX i ON t (c);\nEND\n$$")
    assert [(finding.line, finding.sql_line) for finding in revision.findings if finding.kind == L] == [(2, 3)]


def test_statements_on_one_line_have_their_own_warnings() -> None:
    """The DROP of a new table was called a loss, since a CREATE stood on its line, which isn't of a new table."""
    assert reviewed("CREATE TABLE v (id int); DROP TABLE v").classes == (A,)
    assert reviewed("SELECT 1; DROP TABLE v; SELECT 2").classes == (B, X)


def test_what_squawk_cannot_read_hides_no_other_warning() -> None:
    revision = reviewed(
        "CREATE INDEX i ON t (c)", "ALTER TABLE t NOPE", "ALTER TABLE t ALTER a TYPE bigint", "SELECT 1"
    )
    assert [finding.line for finding in revision.findings if finding.kind == L] == [1, 3]
    assert [finding.line for finding in revision.findings if finding.rule == "syntax-error"] == [2]


DEFAULTS = {
    "-1": A,
    "(1 + 2)": A,
    "CURRENT_DATE": A,
    "LOCALTIMESTAMP": A,
    "timezone('utc', now())": A,
    "(now() AT TIME ZONE 'utc')": A,
    "'{}'::jsonb": A,
    "pg_catalog.now()": A,
    "random()": L,
    "clock_timestamp()": L,
    "md5(random()::text)": L,
    "my.now()": L,
    "own()": L,
}


@pytest.mark.parametrize("default", DEFAULTS)
def test_only_a_default_that_may_be_volatile_rewrites(default: str) -> None:
    assert reviewed(f"ALTER TABLE t ADD COLUMN x int DEFAULT {default}").classes == (DEFAULTS[default],)
    two = f"ALTER TABLE t ADD COLUMN y text, ADD COLUMN x int DEFAULT {default} NOT NULL"
    assert reviewed(two).classes == (DEFAULTS[default],)


@pytest.mark.parametrize(
    "harmless",
    [
        "ALTER TABLE t ADD COLUMN x int GENERATED ALWAYS AS (a + 1)",
        "ALTER TABLE t ADD CONSTRAINT k CHECK (a > 0) NOT ENFORCED",
        "ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES u NOT ENFORCED",
        "CREATE INDEX i ON ONLY p (id)",
    ],
)
def test_what_no_server_scans_is_no_long_lock(harmless: str) -> None:
    assert reviewed(harmless).classes == (A,)


_TABLE = "op.execute('CREATE TABLE {} (id int)')\nop.execute('ALTER TABLE parts ATTACH PARTITION {}')"
MADE = {
    "created": "op.execute('CREATE TABLE rest PARTITION OF parts DEFAULT')",
    "created in pieces": "op.execute('CREATE TABLE rest PARTITION OF public.parts '\n    'DEFAULT')",
    "attached": _TABLE.format("rest", "rest DEFAULT"),
}
ADDED = {
    "created": "op.execute('CREATE TABLE one PARTITION OF parts FOR VALUES IN (1)')",
    "attached": _TABLE.format("one", "one FOR VALUES IN (1)"),
}


@pytest.mark.parametrize("added", ADDED.values(), ids=ADDED)
@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_a_partition_beside_a_default_one_locks_long(monorepo: Monorepo, made: str, added: str) -> None:
    monorepo.service("billing")
    parent = "op.execute('CREATE TABLE parts (id int) PARTITION BY LIST (id)')"
    monorepo.revision("billing", "a1", None, f"{parent}\n{made}")
    monorepo.revision("billing", "b2", "a1", added)
    assert _classes(monorepo, "a1") == [L]
    monorepo.revision("billing", "a1", None, parent)
    assert _classes(monorepo, "a1") == [A]


def _classes(monorepo: Monorepo, current: str) -> list[str]:
    history = read(monorepo.find("billing"))
    revisions, _ = wait(review_revisions(history, pending(history, (current,)), "18.1"))
    return [each for revision in revisions for each in revision.classes if each != "irreversible"]


WIDER = {
    "existing_type=sa.String(50), type_=sa.String(100)": A,
    "existing_type=sa.String(50), type_=sa.Text()": A,
    "existing_type=sa.VARCHAR(length=50), type_=sa.String()": A,
    "existing_type=sa.Numeric(10, 2), type_=sa.Numeric(12, 2)": A,
    "existing_type=sa.Numeric(10, 2), type_=sa.Numeric()": A,
    "existing_type=sa.Numeric(10, 2), type_=sa.Numeric(12, 3)": L,
    "existing_type=sa.CHAR(5), type_=sa.Text()": L,
    "existing_type=sa.Integer(), type_=sa.BigInteger()": L,
    "type_=sa.Text()": L,
}


@pytest.mark.parametrize("types", WIDER)
def test_a_wider_type_that_the_file_shows_to_rewrite_nothing_is_no_long_lock(monorepo: Monorepo, types: str) -> None:
    """As `db.revision` writes it: a longer varchar is a change of the catalog alone."""
    monorepo.service("billing")
    monorepo.revision("billing", "a1", None, "op.execute('CREATE TABLE t (id int)')")
    monorepo.revision("billing", "b2", "a1", f"op.alter_column('t', 'a', {types})")
    assert _classes(monorepo, "a1") == [WIDER[types]]
