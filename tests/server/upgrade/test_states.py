"""What status, plan and messages say of a database whose revision was edited, or isn't in the files."""

import getpass
import json
import socket
import subprocess
from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo

STATUS = ("db.status", "--service", "billing")
PLAN = ("db.plan", "--service", "billing")
B2 = "migrations/versions/billing/b2.py"


@pytest.fixture
def world(monorepo: Monorepo, database: Callable[..., Dsn]) -> tuple[Monorepo, Dsn, str]:
    """A service at the second of two revisions, in a checkout whose commit is returned."""
    dsn = database()
    service = monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    monorepo.revision("billing", "b2", "a1", 'op.execute("CREATE TABLE b2 ()")', 'op.execute("DROP TABLE b2")')
    git = ("git", "-C", str(monorepo.root), "-c", "user.name=a", "-c", "user.email=a@b")
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    wait(service_migrations.upgrade(service))
    return monorepo, dsn, head


def edit(monorepo: Monorepo, text: str = "b22") -> None:
    monorepo.revision("billing", "b2", "a1", f'op.execute("CREATE TABLE {text} ()")')


@pytest.mark.parametrize("pending", [False, True])
def test_an_edited_file_is_a_second_state(world: tuple[Monorepo, Dsn, str], *, pending: bool) -> None:
    monorepo, dsn, _ = world
    edit(monorepo)
    state = "at head"
    if pending:
        monorepo.revision("billing", "c3", "b2", 'op.execute("CREATE TABLE c3 ()")')
        state = "behind"
    ran = monorepo.inv(*STATUS)
    assert (ran.code, f"{state}, edited: {B2}" in ran.out) == (0, True), ran.text
    (status,) = json.loads(monorepo.inv(*STATUS, "--json").out)
    assert (status["state"], status["edited"], status["pending"]) == (state, [B2], int(pending))
    ran = monorepo.inv(*PLAN)
    assert f"edited: {B2} was edited after b2 was applied" in ran.out, ran.text
    assert pending or ran.out.startswith(f"billing: nothing pending, {dsn.target} is at b2\n")
    (finding,) = json.loads(monorepo.inv(*PLAN, "--json").out)[0]["findings"]
    assert (finding["rule"], finding["path"]) == ("edited", B2)


def test_an_edit_without_a_meaning_is_no_state(world: tuple[Monorepo, Dsn, str]) -> None:
    monorepo, dsn, _ = world
    path = monorepo.root / B2
    path.write_text(path.read_text(encoding="utf-8") + "# a comment\n", encoding="utf-8")
    assert "edited" not in monorepo.inv(*STATUS).out
    assert monorepo.inv(*PLAN).out == f"billing: nothing to do, {dsn.target} is at b2\n"


@pytest.mark.parametrize(
    "words",
    [
        STATUS,
        PLAN,
        ("db.upgrade", "--service", "billing"),
        ("db.current", "--service", "billing"),
        ("db.check", "--service", "billing"),
        ("db.revision", "--service", "billing", "-m", "x"),
        ("db.downgrade", "--service", "billing", "--revision", "base", "--yes"),
    ],
    ids=lambda words: words[0],
)
def test_a_revision_that_no_file_has_is_told_with_who_applied_it(
    world: tuple[Monorepo, Dsn, str], words: tuple[str, ...]
) -> None:
    monorepo, _, commit = world
    (monorepo.root / B2).unlink()
    ran = monorepo.inv(*words)
    assert ran.code == 3, ran.text
    who = f"{getpass.getuser()}@{socket.gethostname()}"
    assert f"b2 was applied by {who} from commit {commit[:12]} (20" in ran.err, ran.text
    assert "Check out the code that the database was upgraded with." in ran.err


@pytest.mark.parametrize(
    ("ledger", "said"),
    [
        ("DROP TABLE migration_log_billing", "(it ends at a1). Check out"),
        ("ALTER TABLE migration_log_billing DROP COLUMN os_user", "(it ends at a1). Check out"),
        ("ALTER TABLE migration_log_billing RENAME TO old; CREATE VIEW migration_log_billing AS SELECT * FROM old",
         "(it ends at a1). Check out"),
        ("UPDATE migration_log_billing SET git_commit = NULL", "from no checkout (20"),
        ("UPDATE migration_log_billing SET direction = 'stamp'", "b2 was stamped by "),
        ("UPDATE migration_log_billing SET started = 'infinity'", "(at an unknown time)"),
        ("ALTER TABLE migration_log_billing ALTER started TYPE text USING 'then'", "(at an unknown time)"),
        ("ALTER TABLE migration_log_billing ALTER git_commit TYPE int USING 5", "from commit 5 (20"),
    ],
)  # fmt: skip
def test_without_a_row_the_message_is_as_before(world: tuple[Monorepo, Dsn, str], ledger: str, said: str) -> None:
    monorepo, dsn, _ = world
    (monorepo.root / B2).unlink()
    for statement in ledger.split("; "):
        query(dsn, statement)
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    assert (ran.code, len(ran.err.splitlines())) == (3, 1), ran.text
    assert said in ran.err


STAMPED_TOO_LOW = {
    "column": ("op.add_column('t', sa.Column('x', sa.Integer))", "42701"),
    "table": ("op.create_table('u', sa.Column('x', sa.Integer))", "42P07"),
    "index": ("op.create_index('by_a', 't', ['a'])", "42P07"),
    "key": ("op.create_primary_key('k', 't', ['a'])", "42P16"),
    "check": ("op.create_check_constraint('c', 't', 'a > 0')", "42710"),
    "foreign key": ("op.create_foreign_key('f', 't', 'r', ['a'], ['a'])", "42710"),
    "type": ("op.execute(\"CREATE TYPE e AS ENUM ('a')\")", "42710"),
    "label": ("op.execute(\"ALTER TYPE old ADD VALUE 'b'\")", "42710"),
    "schema": ("op.execute('CREATE SCHEMA extra')", "42P06"),
    "function": ("op.execute('CREATE FUNCTION one() RETURNS int LANGUAGE sql AS $$SELECT 1$$')", "42723"),
    "policy": ("op.execute('CREATE POLICY p ON t')", "42710"),
    "renamed column": ("op.alter_column('t', 'b', new_column_name='x')", "42703"),
    "renamed table": ("op.rename_table('r', 'u')", "42P01"),
    "dropped column": ("op.drop_column('t', 'b')", "42703"),
    "dropped constraint": ("op.drop_constraint('old_check', 't')", "42704"),
    "dropped index": ("op.drop_index('old_index')", "42704"),
    "dropped type": ("op.execute('DROP TYPE old')", "42704"),
    "dropped schema": ("op.execute('DROP SCHEMA old')", "3F000"),
}


@pytest.mark.parametrize("kind", STAMPED_TOO_LOW)
def test_a_stamp_that_is_too_low_leads_to_the_command_that_finds_the_right_one(
    monorepo: Monorepo, database: Callable[..., Dsn], kind: str
) -> None:
    up, state = STAMPED_TOO_LOW[kind]
    monorepo.service("billing", dsn=database())
    first = (
        "CREATE TABLE t (a int, b int, CONSTRAINT old_check CHECK (b > 0))",
        "CREATE TABLE r (a int PRIMARY KEY)",
        "CREATE INDEX old_index ON t (b)",
        "CREATE TYPE old AS ENUM ('a')",
        "CREATE SCHEMA old",
    )
    monorepo.revision("billing", "a1", None, "\n".join(f"op.execute({sql!r})" for sql in first))
    monorepo.revision("billing", "b2", "a1", up)
    assert monorepo.inv("db.upgrade", "--service", "billing").code == 0
    assert monorepo.inv("db.stamp", "--service", "billing", "--revision", "a1", "--yes").code == 0
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    assert (ran.code, f"[{state}]" in ran.err) == (1, True), ran.text
    question = "Is its stamp right?" if state in ("42703", "42P01", "42704", "3F000") else "Is its stamp too low?"
    assert f"{question} `inv db.adopt --verify --service billing` finds its revision." in ran.err


ROWS = {
    "NULL": ("op.alter_column('t', 'b', nullable=False)", "23502"),
    "a key twice": ("op.create_unique_constraint('u', 't', ['b'])", "23505"),
    "a condition": ("op.create_check_constraint('c', 't', 'b > 5')", "23514"),
    "a cast": ("op.execute('ALTER TABLE t ALTER b TYPE smallint USING 100000')", "22003"),
}


@pytest.mark.parametrize(("up", "state"), ROWS.values(), ids=ROWS)
def test_rows_that_a_revision_cannot_take_are_no_matter_of_the_stamp(
    monorepo: Monorepo, database: Callable[..., Dsn], up: str, state: str
) -> None:
    """Though the message names what an earlier revision names too."""
    monorepo.service("billing", dsn=database())
    first = ("CREATE TABLE t (a int, b int)", "INSERT INTO t VALUES (1, 1), (2, 1), (3, NULL)")
    monorepo.revision("billing", "a1", None, "\n".join(f"op.execute({sql!r})" for sql in first))
    assert monorepo.inv("db.upgrade", "--service", "billing").code == 0
    monorepo.revision("billing", "b2", "a1", up)
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    assert (ran.code, f"[{state}]" in ran.err, "stamp" in ran.err) == (1, True, False), ran.text


def test_a_misspelled_table_is_no_matter_of_the_stamp(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    monorepo.service("billing", dsn=database())
    monorepo.table_revision("billing", "a1", None)
    monorepo.revision("billing", "b2", "a1", "op.execute('DELETE FROM bilings')")
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    assert (ran.code, "stamp" in ran.err) == (1, False), ran.text
    assert 'No other revision names "bilings": is it misspelled, or' in ran.err


def test_a_table_that_reflection_does_not_find_is_said_like_one_that_the_server_does_not_find(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """Of SQLAlchemy's error there is nothing but the table's name, so that the message was ``bilings.``"""
    monorepo.service("billing", dsn=database())
    monorepo.table_revision("billing", "a1", None)
    assert monorepo.inv("db.upgrade", "--service", "billing").code == 0
    monorepo.revision("billing", "b2", "a1", "sa.inspect(op.get_bind()).get_columns('bilings')")
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    assert (ran.code, 'table "bilings" does not exist. It was rolled back.' in ran.err) == (1, True), ran.text
    assert 'No other revision names "bilings": is it misspelled, or' in ran.err


def test_after_a_squash_nothing_recommends_to_take_the_database_to_base(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database(creates=True)
    monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    assert monorepo.inv("db.upgrade", "--service", "billing").code == 0
    path = monorepo.root / "migrations" / "versions" / "billing" / "a1.py"
    new = path.with_name("n1.py")
    new.write_text(path.read_text(encoding="utf-8").replace("'a1'", "'n1'"), encoding="utf-8")
    path.unlink()
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    assert (ran.code, "db.undo" in ran.err) == (3, False), ran.text
    assert "If it was at their head, `inv db.adopt --verify --service billing` finds its revision." in ran.err
    ran = monorepo.inv("db.adopt", "--verify", "--service", "billing")
    command = "inv db.stamp --service billing --revision n1 --purge"
    assert f"Run: {command}" in ran.err, ran.text
    assert monorepo.inv(*command.split()[1:], "--yes").code == 0
    assert monorepo.inv("db.upgrade", "--service", "billing").code == 0


@pytest.mark.parametrize("gone", ["middle", "rows"])
def test_a_database_in_the_middle_of_a_squash_gets_no_stamp_past_what_it_lacks(
    monorepo: Monorepo, database: Callable[..., Dsn], gone: str
) -> None:
    dsn = database(creates=True)
    monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    assert monorepo.inv("db.upgrade", "--service", "billing").code == 0
    lacks = {"middle": "CREATE VIEW names AS SELECT name FROM billing", "rows": "DELETE FROM billing"}[gone]
    path = monorepo.table_revision("billing", "a1", None)
    text = path.read_text(encoding="utf-8").replace(
        "\n\n\ndef downgrade", f"\n    op.execute({lacks!r})\n\n\ndef downgrade"
    )
    path.with_name("b2.py").write_text(text.replace("'a1'", "'b2'"), encoding="utf-8")
    path.unlink()
    ran = monorepo.inv("db.adopt", "--verify", "--service", "billing")
    assert ran.code == 3, ran
    (row,) = json.loads(monorepo.inv("db.adopt", "--verify", "--json", "--service", "billing").out)
    if gone == "middle":
        assert "is nearest to b2; its version table says a1, which no file has" in ran.out
        assert "Run: inv db.stamp" not in ran.text
        assert "Upgrade it with the files of before; or, if it was at their head, run the SQL first." in ran.err
        assert row["command"] is None
        query(dsn, lacks)
        ran = monorepo.inv("db.adopt", "--verify", "--service", "billing")
    assert (
        "Was a1 the last revision of the files of before? Run: inv db.stamp --service billing --revision b2" in ran.err
    )
    assert "Otherwise upgrade it with these files first." in ran.err
