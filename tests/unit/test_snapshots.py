"""Whether a transaction has a snapshot after a statement: before that, it may get another isolation level."""

import pytest

from service_migrations.sql.snapshots import has_snapshot, needs_snapshot

WITHOUT = [
    "",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "-- why\nset transaction read only",
    "/* why */ SET LOCAL work_mem TO 4096",
    "SET CONSTRAINTS ALL DEFERRED",
    "LOCK TABLE a IN SHARE MODE",
    "SHOW transaction_isolation",
    "RESET work_mem",
    "SAVEPOINT a",
    "RELEASE a",
    "LOCK TABLE a; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
]


@pytest.mark.parametrize("text", WITHOUT)
def test_what_needs_no_snapshot_changes_nothing(text: str) -> None:
    assert not needs_snapshot(text)
    assert [has_snapshot(text, before=before) for before in (False, True)] == [False, True]


@pytest.mark.parametrize(
    "text", ["SELECT 1", "(SELECT 1)", "UPDATE a SET b = 1", "CREATE TABLE a ()", "PREPARE a AS TABLE b"]
)
def test_any_other_statement_takes_one(text: str) -> None:
    assert needs_snapshot(text)
    assert has_snapshot(text, before=False)
    assert has_snapshot(f"SET a TO 1; {text}; LOCK TABLE a", before=False)
    assert not needs_snapshot(f"SET a TO 1; {text}")


@pytest.mark.parametrize(
    "text", ["COMMIT", "end", "ROLLBACK", "ABORT", "BEGIN", "START TRANSACTION", "PREPARE TRANSACTION 'a'"]
)
def test_another_transaction_has_none(text: str) -> None:
    assert not has_snapshot(f"SELECT 1; {text}", before=False)
    assert not needs_snapshot(text)


def test_a_rollback_to_a_savepoint_keeps_it() -> None:
    assert has_snapshot("ROLLBACK TO SAVEPOINT a", before=True)
