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
