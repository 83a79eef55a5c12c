"""A revision that asks whether it has a connection isn't all there without one, although it raises no error."""

import pytest

from service_migrations.history.sql.online_parts import online_part

ASKING = {
    "the mode": "if not op.get_context().as_sql:\n        op.drop_table('t')",
    "the mode of context": "if context.is_offline_mode():\n        return\n    op.drop_table('t')",
    "the mode, kept": "offline = context.is_offline_mode()\n    helper(offline)",
    "an error that is caught": "try:\n        op.get_bind().execute(x)\n    except Exception:\n        pass",
}
WHOLE = {
    "no question": "op.drop_table('t')",
    "a branch without a connection": "if FLAG:\n        op.drop_table('t')",
    "the dialect": "if op.get_bind().dialect.name == 'postgresql':\n        op.drop_table('t')",
    "an error of no query": "try:\n        op.execute('SELECT 1')\n    finally:\n        pass",
    "a connection without a branch": "bind = op.get_bind()\n    op.drop_table('t')",
    "a column of that name": "connection = 1\n    op.drop_column('t', 'connection') if connection else None",
    "a word of a text": "op.execute('SELECT as_sql, is_offline_mode')",
}


@pytest.mark.parametrize("body", ASKING.values(), ids=ASKING)
def test_the_line_of_the_question_is_found(body: str) -> None:
    source = f"def upgrade():\n    {body}\n\ndef downgrade():\n    pass\n"
    assert online_part(source.encode(), "upgrade") == (3 if body.startswith("try") else 2)
    assert online_part(source.encode(), "downgrade") is None


@pytest.mark.parametrize("body", WHOLE.values(), ids=WHOLE)
def test_what_asks_for_nothing_is_whole(body: str) -> None:
    assert online_part(f"def upgrade():\n    {body}\n".encode(), "upgrade") is None


def test_a_function_beside_both_counts_for_both() -> None:
    source = (
        b"def online():\n    return not op.get_context().as_sql\ndef upgrade():\n    pass\ndef downgrade():\n    pass\n"
    )
    assert [online_part(source, name) for name in ("upgrade", "downgrade")] == [2, 2]
