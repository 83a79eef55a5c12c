"""The claims of a history, replayed without a database, and read again where a file has changed."""

import os
from pathlib import Path

import pytest

from service_migrations.ownership import past
from service_migrations.ownership.past import HistoryClaims, history_claims, words
from service_migrations.sql.created import ObjectName
from tests.support.monorepo import Monorepo


def table(name: str, schema: str = "public") -> ObjectName:
    return ObjectName("table", schema, name)


def claims(monorepo: Monorepo, schema: str = "public") -> HistoryClaims:
    return history_claims(monorepo.find("billing"), schema)


@pytest.fixture
def repo(monorepo: Monorepo) -> Monorepo:
    monorepo.service("billing")
    monorepo.revision("billing", "a1", None, "op.execute('CREATE TABLE kept (); CREATE TABLE gone ()')")
    monorepo.revision("billing", "b2", "a1", "op.execute('DROP TABLE gone')")
    return monorepo


def test_a_history_claims_what_it_creates_and_remembers_what_it_drops(repo: Monorepo) -> None:
    claimed = claims(repo)
    assert (claimed.created, claimed.former, claimed.words) == ({table("kept")}, {table("gone")}, frozenset())
    assert [claimed.has_created(table(name)) for name in ("kept", "gone", "other")] == [True, False, False]
    assert [claimed.has_removed(table(name)) for name in ("kept", "gone", "other")] == [False, True, False]


def test_names_without_a_schema_are_in_the_given_one_for_every_revision(repo: Monorepo) -> None:
    repo.revision("billing", "c3", "b2", "op.execute('SET search_path = far'); op.execute('CREATE TABLE there ()')")
    repo.revision("billing", "d4", "c3", "op.execute('CREATE TABLE back ()')")
    expected = {table("kept", "app"), table("there", "far"), table("back", "app")}
    assert claims(repo, "app").created == expected
    assert table("kept") in claims(repo).created


def test_a_revision_that_cant_be_replayed_may_have_created_each_of_its_words(repo: Monorepo) -> None:
    body = "name = 'maybe'\nop.get_bind().execute(sa.text('SELECT 1')).scalar_one() + 1"
    repo.revision("billing", "c3", "b2", body)
    claimed = claims(repo)
    assert {table("kept")} <= claimed.created
    assert [claimed.may_have_created(table(name)) for name in ("maybe", "kept", "may")] == [True, False, False]


@pytest.mark.parametrize(
    "question", ["if not op.get_context().as_sql:", "from alembic import context\nif not context.is_offline_mode():"]
)
def test_a_revision_that_asks_whether_it_has_a_connection_may_have_created_each_of_its_words(
    repo: Monorepo, question: str
) -> None:
    repo.revision("billing", "c3", "b2", f"{question}\n    op.execute('CREATE TABLE maybe ()')")
    claimed = claims(repo)
    assert [claimed.may_have_created(table(name)) for name in ("maybe", "kept", "may")] == [True, False, False]


def block(statement: str) -> str:
    return f"DO $$ DECLARE n text := 'x'; BEGIN {statement}; END $$"


def function(body: str) -> str:
    return f"CREATE FUNCTION f(n text) RETURNS void LANGUAGE plpgsql AS $f$ BEGIN {body}; END $f$"


READS = "op.get_bind().execute(sa.text('SELECT 1')).scalar_one()\n"
PUT_TOGETHER = {
    "format": repr(block("EXECUTE format('CREATE TABLE log_%s (id int)', n)")),
    "format with a schema": repr(block("EXECUTE format('CREATE TABLE %I.%I (id int)', 'public', 'log_' || n)")),
    "sum": repr(block("EXECUTE 'CREATE TABLE log_' || n || ' (id int)'")),
    "quoted sum": repr(block("EXECUTE 'CREATE TABLE ' || quote_ident('log_' || n) || ' (id int)'")),
    "rename": repr(block("EXECUTE format('ALTER TABLE %I RENAME TO %I', n, 'log_' || n)")),
    "rename to a part": repr(block("EXECUTE format('ALTER TABLE %I RENAME TO log_%s', n, n)")),
    "function": repr(function("CREATE TABLE log_x (id int)")),
    "function that puts it together": repr(function("EXECUTE format('CREATE TABLE log_%s (id int)', n)")),
    "function of SQL": repr("CREATE FUNCTION g() RETURNS void LANGUAGE sql AS 'CREATE TABLE log_x (id int)'"),
    "f-string": (READS, 'f"CREATE TABLE log_{n} (id int)"'),
    "f-string of a constant": (READS + "LOG = 'log'\n", 'f"CREATE TABLE {LOG}_{n} (id int)"'),
    "percent": (READS, '"CREATE TABLE log_%s (id int)" % n'),
}
"""SQL that creates log_x, which no word of the file is; with READS it can't be replayed."""


@pytest.mark.parametrize("text", PUT_TOGETHER.values(), ids=PUT_TOGETHER)
def test_a_name_that_is_put_together_may_be_of_an_object_that_the_history_created(
    repo: Monorepo, text: str | tuple[str, str]
) -> None:
    before, sql = text if isinstance(text, tuple) else ("", text)
    repo.revision("billing", "c3", "b2", f"{before}op.execute({sql})")
    claimed = claims(repo)
    assert not claimed.has_created(table("log_x"))
    assert claimed.may_have_created(table("log_x"))
    assert not claimed.may_have_created(ObjectName("function", "public", "log_x"))


@pytest.mark.parametrize("name", ['f"log_{n}"', '"log_" + n', "n"])
def test_so_may_one_of_an_operation(repo: Monorepo, name: str) -> None:
    repo.revision("billing", "c3", "b2", f"{READS}op.create_table({name}, sa.Column('id', sa.Integer))")
    assert claims(repo).may_have_created(table("log_x"))


ANOTHER = {
    "another part": f"op.execute({block('EXECUTE format($x$CREATE TABLE logs_%s (id int)$x$, n)')!r})",
    "a partition": f"op.execute({block('EXECUTE format($x$CREATE TABLE %I PARTITION OF kept DEFAULT$x$, n)')!r})",
    "a drop": f"op.execute({function('EXECUTE format($x$DROP TABLE log_%s$x$, n)')!r})",
    "a constant": READS + "LOGS = 'logs'\nop.create_table(LOGS, sa.Column('id', sa.Integer))",
    "a constant in a text": READS + "LOGS = 'logs'\nop.execute(f'CREATE TABLE {LOGS} (id int)')",
    "no creation": READS + "op.execute(f'ANALYZE {n}')",
}


@pytest.mark.parametrize("body", ANOTHER.values(), ids=ANOTHER)
def test_another_name_is_not_claimed(repo: Monorepo, body: str) -> None:
    repo.revision("billing", "c3", "b2", body)
    assert not claims(repo).may_have_created(table("log_x"))


@pytest.mark.parametrize("name", ["odd-name", "two words", "a.b", "100%", "naïve$"])
def test_a_name_that_is_no_word_is_claimed_by_its_words(repo: Monorepo, name: str) -> None:
    repo.revision("billing", "c3", "b2", f"op.get_bind().scalar_one(); op.execute('CREATE TABLE \"{name}\" ()')")
    claimed = claims(repo)
    assert [claimed.may_have_created(table(each)) for each in (name, f"{name}-x9")] == [True, False]


@pytest.mark.parametrize("name", ["-", "$ $", '""', "…"])
def test_a_name_without_any_word_is_claimed_by_no_revision(repo: Monorepo, name: str) -> None:
    repo.revision("billing", "c3", "b2", "op.get_bind().scalar_one()")
    claimed = claims(repo)
    assert claimed.words
    assert not claimed.may_have_created(table(name))


@pytest.mark.parametrize(("down", "body"), [("nowhere", "pass"), ("b2", "nowhere")])
def test_of_a_history_that_cant_be_read_or_run_every_word_counts(repo: Monorepo, down: str, body: str) -> None:
    repo.revision("billing", "c3", down, body)
    claimed = claims(repo)
    assert (claimed.created, claimed.former) == (frozenset(), frozenset())
    assert claimed.may_have_created(table("kept"))
    assert claimed.words == words(repo.find("billing"))


def test_a_history_is_replayed_once_and_again_where_its_files_or_the_schema_differ(
    repo: Monorepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed: list[str] = []
    replay = past._replay
    monkeypatch.setattr(past, "_replay", lambda *words: (replayed.append("once"), replay(*words))[1])
    first = claims(repo)
    assert claims(repo) is first
    assert len(replayed) == 1
    path = repo.revision("billing", "c3", "b2", "op.execute('CREATE TABLE more ()')")
    assert claims(repo).has_created(table("more"))
    _edit(path, "more", "less")
    assert claims(repo).has_created(table("less"))
    assert claims(repo, "app").has_created(table("less", "app"))
    assert len(replayed) == 4


def _edit(path: Path, old: str, new: str) -> None:
    """Write a text of the same length, at another time."""
    before = path.stat().st_mtime_ns
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    os.utime(path, ns=(before, before + 1_000_000_000))
