"""What PostgreSQL takes for a letter of a name is one for the lexer: a plan and the owner of a table depend on it."""

import pytest

from service_migrations.plan.classes import Class
from service_migrations.plan.statements.classify import classify
from service_migrations.plan.statements.novelty import Scope
from service_migrations.postgres import Server
from service_migrations.sql.created import Created
from service_migrations.sql.lexer import statements, tokenize
from tests.support.database import query

WORDS = {
    "vowel signs": "\u0928\u093e\u092e",
    "an accent apart": "cafe\u0301",
    "Thai": "\u0e0a\u0e37\u0e48\u0e2d",
    "an emoji": "\U0001f355",
    "a flag": "a\U0001f1eb\U0001f1f7",
    "a dash": "a\u2013b",
    "an ellipsis": "\u2026",
    "a no-break space": "a\u00a0b",
    "another digit": "\u0663a",
    "a superscript": "m\u00b2",
    "a quotation mark": "\u201ca\u201d",
    "an invisible one": "a\u200bb",
}


@pytest.mark.parametrize("word", WORDS.values(), ids=WORDS)
def test_a_name_has_the_letters_that_postgresql_takes(word: str, server: Server) -> None:
    row = query(server.admin, f"SELECT 1 AS {word}")[0]
    assert list(row.keys()) == [word]
    *_, token = tokenize(f"SELECT 1 AS {word}")
    assert (token.kind, token.value) == ("word", word)
    (drop,) = statements(f"ALTER TABLE {word} DROP COLUMN {word}, ADD x int")
    assert Class.DESTRUCTIVE in {kind for kind, _ in classify(drop.tokens, Scope())}
    created = Created("public")
    created.apply(f"CREATE TABLE {word} (id int)")
    assert {name.name for name in created.objects} >= {word}
