"""What breaks running code between two transactions of a revision, as before, in and behind an autocommit block."""

import pytest

from service_migrations.history.revision import Revision
from service_migrations.history.sql.offline import Piece, Rendered
from service_migrations.plan.classes import Class
from service_migrations.plan.review import judge

LOST, AGAIN = "ALTER TABLE t ALTER a DROP DEFAULT", "ALTER TABLE t ALTER a SET DEFAULT 1"
INDEX = "CREATE INDEX CONCURRENTLY i ON t (a)"
VIEW, NEW_VIEW = "DROP VIEW v", "CREATE VIEW v AS SELECT 1"
BREAKS = {
    "before and behind an autocommit block": (LOST, "COMMIT", INDEX, "BEGIN", AGAIN),
    "before and in it": (LOST, "COMMIT", AGAIN, "BEGIN"),
    "in it and behind it": ("COMMIT", LOST, "BEGIN", AGAIN),
    "in it, each by itself": ("COMMIT", LOST, AGAIN, "BEGIN"),
    "a default of NULL": (LOST, "ALTER TABLE t ALTER a SET DEFAULT CAST(NULL AS int)"),
    "a default of NULL in parentheses": (LOST, "ALTER TABLE t ALTER a SET DEFAULT (NULL)"),
    "a default of NULL with a type": (LOST, "ALTER TABLE t ALTER a SET DEFAULT NULL::int"),
    "a view": (VIEW, "COMMIT", INDEX, "BEGIN", NEW_VIEW),
}
PASSES = {
    "before it": (LOST, AGAIN, "COMMIT", INDEX, "BEGIN"),
    "behind it": ("COMMIT", INDEX, "BEGIN", LOST, AGAIN),
    "in it, in one statement": ("COMMIT", f"{LOST}, ALTER a SET DEFAULT 1", "BEGIN"),
    "a view behind it": ("COMMIT", INDEX, "BEGIN", VIEW, NEW_VIEW),
}


def breaks(*texts: str) -> bool:
    pieces = [Piece(f"{text};", line) for line, text in enumerate(texts, 1)]
    (revision,) = judge(None, [Rendered(Revision("r", (), "", "r.py", is_head=True), pieces)])  # type: ignore[arg-type]
    return Class.BREAKING in revision.classes


@pytest.mark.parametrize("texts", BREAKS.values(), ids=BREAKS)
def test_what_another_transaction_gives_back_is_missing_meanwhile(texts: tuple[str, ...]) -> None:
    assert breaks(*texts)


@pytest.mark.parametrize("texts", PASSES.values(), ids=PASSES)
def test_what_its_own_transaction_gives_back_is_never_missing(texts: tuple[str, ...]) -> None:
    assert not breaks(*texts)
