"""The rebase where there are more than two heads, and where revisions need each other by depends_on."""

from collections.abc import Callable

import pytest

from service_migrations.settings.dsn import Dsn
from tests.support.database import query, tables
from tests.support.git import commit, git
from tests.support.monorepo import Monorepo, Ran
from tests.support.rebasing import FOLDER, REBASE, parents, refused


def add(repo: Monorepo, **parents: str | None) -> None:
    """Write revisions with their parents, and the newest as the head, and commit them."""
    for revision, down in parents.items():
        repo.table_revision("billing", revision, down, revision)
    (repo.root / FOLDER / "head.txt").write_text(f"{list(parents)[-1]}\n", encoding="utf-8")
    commit(repo)


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database()


@pytest.fixture
def repo(monorepo: Monorepo, dsn: Dsn) -> Monorepo:
    """A merge of main: m2 and m3 are mine, t2 theirs."""
    git(monorepo, "init", "-q", "-b", "main")
    (monorepo.root / ".gitignore").write_text("__pycache__/\n.env\n", encoding="utf-8")
    monorepo.service("billing", dsn=dsn)
    add(monorepo, a1=None)
    git(monorepo, "switch", "-q", "-c", "mine")
    add(monorepo, m2="a1", m3="m2")
    git(monorepo, "switch", "-q", "main")
    add(monorepo, t2="a1")
    git(monorepo, "switch", "-q", "mine")
    assert "head.txt" in git(monorepo, "merge", "main", fails=True)
    return monorepo


def needs(repo: Monorepo, revision: str, needed: str) -> None:
    path = repo.root / FOLDER / f"{revision}.py"
    path.write_text(path.read_text(encoding="utf-8") + f"\ndepends_on = {needed!r}\n", encoding="utf-8")


def done(repo: Monorepo, *words: str) -> str:
    ran: Ran = repo.inv(*(words or REBASE))
    assert ran.code == 0, ran.text
    return ran.text


def test_of_three_heads_two_are_joined_and_then_the_others(repo: Monorepo, dsn: Dsn) -> None:
    repo.table_revision("billing", "x2", "a1", "x2")  # a colleague's, which isn't on main
    message = refused(repo)
    assert "has 3 heads: " in message
    command = "inv db.rebase --service billing --revision m3 --onto t2"
    assert f"two at a time: {command}, and again for the next" in message

    text = done(repo, *command.split()[1:])
    assert "billing: m2, m3 on top of t2, no longer of a1" in text
    assert "billing: 2 heads remain: " in text
    assert repo.inv("db.heads", "--check").code == 3

    assert "billing: x2 on top of m3, no longer of a1" in done(repo)
    assert parents(repo) == {"a1": (), "t2": ("a1",), "m2": ("t2",), "m3": ("m2",), "x2": ("m3",)}
    done(repo, "db.heads", "--check")
    done(repo, "db.upgrade", "--service", "billing")
    assert {"a1", "t2", "m2", "m3", "x2"} <= tables(dsn)


def test_heads_that_share_revisions_of_mine_move_with_them(repo: Monorepo) -> None:
    repo.table_revision("billing", "x3", "m2", "x3")
    done(repo, *REBASE, "--revision", "m3", "--onto", "t2")
    assert parents(repo)["m2"] == ("t2",)
    assert {"x3", "m3"} == {"m3", "x3"} - {parent for value in parents(repo).values() for parent in value}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--revision", "m3"), "has 3 heads: "),
        (("--onto", "t2"), "has 3 heads: "),
        (("--revision", "m3", "--onto", "m2"), "are of the same head, m3"),
        (("--revision", "m3", "--onto", "a1"), "--onto 'a1' doesn't select one head"),
        (("--revision", "a1", "--onto", "t2"), "--revision 'a1' doesn't select one head"),
        (("--revision", "t2", "--onto", "m2"), "--onto 'm2' is not their head, which is m3"),
    ],
)
def test_of_three_heads_both_have_to_be_known(words: tuple[str, ...], expected: str, repo: Monorepo) -> None:
    repo.table_revision("billing", "x2", "a1", "x2")
    assert expected in refused(repo, *words)


def test_three_heads_outside_of_git_have_placeholders_in_the_message(monorepo: Monorepo) -> None:
    monorepo.service("billing")
    for revision, down in {"a1": None, "b2": "a1", "c2": "a1", "d2": "a1"}.items():
        monorepo.table_revision("billing", revision, down, revision)
    assert "--revision <yours> --onto <theirs>" in refused(monorepo)


@pytest.mark.parametrize("revision", ["m2", "m3"])
@pytest.mark.parametrize("needed", ["t2", "a1"])
def test_what_mine_need_of_theirs_is_below_them_afterwards(
    revision: str, needed: str, repo: Monorepo, dsn: Dsn
) -> None:
    needs(repo, revision, needed)
    done(repo)
    assert parents(repo) == {"a1": (), "t2": ("a1",), "m2": ("t2",), "m3": ("m2",)}
    done(repo, "db.heads", "--check")
    for target in ("m2", "head"):
        done(repo, "db.upgrade", "--service", "billing", "--revision", target)
    assert query(dsn, "SELECT version_num FROM alembic_version_billing") == [("m3",)]
    done(repo, "db.downgrade", "--service", "billing", "--revision", "t2", "--yes")
    assert query(dsn, "SELECT version_num FROM alembic_version_billing") == [("t2",)]
    done(repo, "db.downgrade", "--service", "billing", "--revision", "base", "--yes")
    done(repo, "db.upgrade", "--service", "billing")
    assert {"a1", "t2", "m2", "m3"} <= tables(dsn)


def test_theirs_that_need_one_of_mine_are_refused(repo: Monorepo) -> None:
    needs(repo, "t2", "m2")
    message = refused(repo)
    assert "t2 needs m2 by a depends_on, so yours can't follow it" in message
    assert "inv db.merge --service billing" in message
