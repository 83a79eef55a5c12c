"""Which texts end a transaction, so that the server is asked how."""

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from service_migrations.session.marks import end_in

ENDS = {
    "COMMIT": "commit",
    "commit work and chain": "commit",
    "/* done */ END": "end",
    "-- so far\nROLLBACK AND CHAIN": "rollback",
    "ABORT TRANSACTION": "abort",
    "PREPARE TRANSACTION 'a'": "prepare",
    "INSERT INTO t VALUES ('COMMIT'); COMMIT; BEGIN": "commit",
    "SELECT atomic, 1 AS case FROM t; COMMIT": "commit",
}
NO_ENDS = [
    "SELECT 'COMMIT'",
    "DO $$ BEGIN PERFORM 1; END $$",
    "SELECT CASE WHEN a THEN b END FROM t",
    "COMMENT ON TABLE t IS 'ROLLBACK'",
    "ROLLBACK TO a",
    "ROLLBACK WORK TO SAVEPOINT a",
    "ABORT TRANSACTION TO b",
    "PREPARE one AS SELECT 1",
    "COMMIT PREPARED 'a'",
    "ROLLBACK PREPARED 'a'",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END",
    'SELECT "commit" FROM "end"',
]


@pytest.mark.parametrize(("text", "command"), ENDS.items(), ids=ENDS)
def test_a_command_that_ends_a_transaction_is_found(text: str, command: str) -> None:
    assert end_in(text) == command


@pytest.mark.parametrize("text", NO_ENDS)
def test_a_word_that_ends_none_is_not(text: str) -> None:
    assert end_in(text) == ""


def test_a_long_text_takes_as_many_more_steps_as_it_is_longer() -> None:
    """Reflection sends thousands of tokens for each table; each was once compared with all before it."""
    steps = []
    for columns in (25, 200):
        steps.append(0)

        def count(frame: FrameType, event: str, _: object) -> Callable[..., object]:
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            steps[-1] += event == "opcode"
            return count

        before = sys.gettrace()
        sys.settrace(count)
        try:
            assert end_in(f"SELECT {'CASE WHEN a THEN 1 END, ' * columns} 1; SELECT 1") == ""
        finally:
            sys.settrace(before)
    assert steps[1] < 12 * steps[0], steps  # 8 times where it is linear, 64 where it isn't
