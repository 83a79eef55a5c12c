"""The texts of a script: what is refused, and what only looks like it."""

import pytest

from service_migrations.sql.script_texts import ScriptTexts

TAKEN = [
    ["SAVEPOINT s", "ROLLBACK TO s"],
    ["ROLLBACK TO SAVEPOINT s"],
    ["ROLLBACK PREPARED 'x'"],
    ["BEGIN", "UPDATE t SET a = 1", "ROLLBACK"],
    ["BEGIN", "PREPARE TRANSACTION 'x'"],
    ["COMMIT"],
    ["PREPARE p AS SELECT 1"],
    ["SELECT 'ROLLBACK; \\q'"],
    ["DO $$ BEGIN ROLLBACK; END $$"],
    ["SELECT E'a\\'b', $$ \\! $$, \"a\\b\" -- \\q"],
    ["SET LOCAL standard_conforming_strings = off", "SELECT 'a\\'b \\ c'"],
]
REFUSED = [
    (["ROLLBACK"], "rolls back its own"),
    (["abort work"], "rolls back its own"),
    (["SELECT 1; ROLLBACK AND CHAIN"], "rolls back its own"),
    (["BEGIN", "COMMIT", "ROLLBACK"], "rolls back its own"),
    (["PREPARE TRANSACTION 'x'"], "prepared transaction"),
    ([r"SELECT 1 \\g"], "line 1 of the statement has a backslash"),
    (["SELECT 1\n\\! ls"], "line 2 of the statement has a backslash"),
]


@pytest.mark.parametrize("texts", TAKEN)
def test_what_psql_and_a_server_take_alike_is_taken(texts: list[str]) -> None:
    script = ScriptTexts()
    assert [script.refusal(text) for text in texts] == [None] * len(texts)


@pytest.mark.parametrize(("texts", "reason"), REFUSED)
def test_what_loses_the_transaction_or_is_for_psql_is_refused(texts: list[str], reason: str) -> None:
    script = ScriptTexts()
    *before, last = [script.refusal(text) for text in texts]
    assert before == [None] * len(before)
    assert last is not None
    assert reason in last


def test_a_revision_knows_nothing_of_the_one_before() -> None:
    script = ScriptTexts()
    assert script.refusal("BEGIN") is None
    script.begin()
    assert script.refusal("ROLLBACK")
