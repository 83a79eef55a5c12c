"""A database of each tag, with rows, is upgraded, and its catalog is that of a fresh one."""

import json
import re

import pytest

from service_migrations.postgres import Server
from tests.support.git import commit, git
from tests.support.monorepo import Monorepo

ROWS = """
r2 = ["INSERT INTO billing (id, name) VALUES (1, 'old')"]
"""


@pytest.fixture
def repo(monorepo: Monorepo, server: Server) -> Monorepo:
    """Billing with r1 and r2, both of v1 and of v1.1, on the PostgreSQL of this run."""
    path = monorepo.root / "pyproject.toml"
    text = re.sub(r"(?m)^postgres = .*$", f'postgres = ["{server.version}"]', path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")
    (monorepo.root / ".gitignore").write_text("__pycache__/\n", encoding="utf-8")
    monorepo.service("billing")
    monorepo.table_revision("billing", "r1", None)
    monorepo.revision("billing", "r2", "r1", "op.add_column('billing', sa.Column('note', sa.Text))")
    rows = monorepo.root / "tests" / "matrix" / "rows"
    rows.mkdir(parents=True)
    (rows / "billing.toml").write_text(ROWS, encoding="utf-8")
    git(monorepo, "init", "--quiet", "--initial-branch", "main")
    commit(monorepo)
    git(monorepo, "tag", "v1")
    git(monorepo, "tag", "v1.1")
    return monorepo


def problems(repo: Monorepo, code: int = 3) -> str:
    ran = repo.inv("db.released", "--upgrade")
    assert ran.code == code, ran.text
    return ran.out


def edit(repo: Monorepo, revision: str, old: str, new: str) -> None:
    path = repo.root / "migrations" / "versions" / "billing" / f"{revision}.py"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_an_upgrade_that_gives_the_catalog_of_a_fresh_database_passes(repo):
    repo.revision("billing", "r3", "r2", "op.execute(\"UPDATE billing SET note = 'x'\")")
    ran = repo.inv("db.released", "--upgrade", "--json")
    expected = {"tag": "v1, v1.1", "services": ["billing"], "revisions": 2, "problems": []}
    assert (ran.code, json.loads(ran.out)) == (0, [expected]), ran.text
    git(repo, "tag", "--delete", "v1", "v1.1")
    assert problems(repo, 0) == "nothing to upgrade: nothing was released\n"


def test_an_edit_that_a_database_of_the_tag_never_gets_is_found(repo):
    edit(repo, "r2", "sa.Column('note', sa.Text)", "sa.Column('note', sa.Text, server_default='x')")
    edit(repo, "r2", "def downgrade", "    op.execute('CREATE VIEW seen AS SELECT 1 AS one')\n\n\ndef downgrade")
    out = problems(repo)
    assert "billing: v1, v1.1: column public.billing.note is " in out
    assert "billing: v1, v1.1: view public.seen is in a fresh database, and not there after the upgrade" in out


@pytest.mark.parametrize(
    ("up", "text"),
    [
        ("op.alter_column('billing', 'note', nullable=False)", "can't be upgraded"),  # the row has none
        ("op.execute('ALTER TABLE billing ADD CHECK (id > 1)')", "can't be upgraded"),
    ],
)
def test_a_revision_that_fails_on_the_rows_of_a_released_database_is_found(repo, up, text):
    """An empty database takes it."""
    repo.revision("billing", "r3", "r2", up)
    assert text in problems(repo)


def test_a_history_that_fails_in_an_empty_database_is_no_failed_migration(repo):
    repo.revision("billing", "r3", "r2", "op.execute('ALTER TABLE nowhere ADD x int')")
    ran = repo.inv("db.released", "--upgrade")
    assert (ran.code, ran.out) == (2, ""), ran.text
    assert "billing/r3.py:" in ran.err
    assert "The history can't be replayed into a scratch database." in ran.err


def test_a_released_revision_that_is_gone_is_found(repo):
    (repo.root / "migrations/versions/billing/r2.py").unlink()
    assert "its database can't be upgraded" in problems(repo)


def test_services_that_share_a_database_are_upgraded_together(repo):
    example = "DATABASE_DSN=postgresql://<service>:<password>@localhost:5432/shared\n"
    repo.service("accounts")
    repo.revision("accounts", "a1", None, "op.execute('CREATE TABLE accounts (id int REFERENCES billing)')")
    for name in ("accounts", "billing"):
        (repo.root / "services" / name / ".env.example").write_text(example, encoding="utf-8")
    edit(repo, "r1", "def downgrade", "    op.execute('GRANT REFERENCES ON billing TO PUBLIC')\n\n\ndef downgrade")
    commit(repo)
    git(repo, "tag", "v2")
    ran = repo.inv("db.released", "--upgrade", "--since", "v2", "--service", "accounts")
    assert (ran.code, ran.out) == (
        0,
        "accounts, billing: v2: 3 revisions, and an upgrade gives the catalog of a fresh database\n",
    ), ran.text


def test_a_released_revision_that_can_no_longer_be_imported_is_found_and_the_others_are_tried(repo):
    repo.revision("billing", "r3", "r2", "from services.billing.models import Gone")
    commit(repo)
    git(repo, "tag", "v2")
    edit(repo, "r3", "from services.billing.models import Gone", "pass")
    ran = repo.inv("db.released", "--upgrade")
    assert ran.code == 3
    assert "billing: v2: its database can't be made: billing: v2:billing/00002_r3.py:" in ran.out
    assert "cannot import name 'Gone'" in ran.out
    assert "billing: v1, v1.1: 2 revisions, and an upgrade gives the catalog of a fresh database\n" in ran.out
    assert ran.err == "billing: a database of v2 doesn't become a fresh one.\n"


@pytest.mark.parametrize("is_below", [True, False], ids=["first", "last"])
def test_a_backport_is_upgraded_by_what_the_release_branch_does_not_have(repo, is_below):
    """Under another revision on main, a database of the release branch never runs that one."""
    column = "op.add_column('billing', sa.Column({!r}, sa.Text))".format
    git(repo, "checkout", "--quiet", "-b", "1.x")
    repo.revision("billing", "fix", "r2", column("fix"))
    commit(repo)
    git(repo, "tag", "v1.2")
    git(repo, "checkout", "--quiet", "main")
    repo.revision("billing", "fix", "r2" if is_below else "more", column("fix"))
    repo.revision("billing", "more", "fix" if is_below else "r2", column("more"))
    commit(repo)
    ran = repo.inv("db.released", "--upgrade", "--since", "v1.2")
    if is_below:
        assert (ran.code, "v1.2: 3 revisions, and an upgrade gives the catalog" in ran.out) == (0, True), ran.text
    else:
        line = "column public.billing.more is in a fresh database, and not there after the upgrade"
        assert (ran.code, line in ran.out) == (3, True), ran.text
    ran = repo.inv("db.released", "--since", "v1.2")
    assert (ran.code, "fix is a backport" in ran.out) == (0, not is_below), ran.text
