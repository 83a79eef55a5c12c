"""The rebase of a history in which both sides have added to both labelled branches."""

import pytest

from tests.support.git import commit, git
from tests.support.monorepo import Monorepo
from tests.support.rebasing import FOLDER, REBASE, parents, refused

LABELS = {"a1": "\nbranch_labels = 'expand'\n", "c1": "\nbranch_labels = 'contract'\n"}


def add(repo: Monorepo, **parents: str | None) -> None:
    """Write revisions with their parents, and the heads, and commit them."""
    for revision, down in parents.items():
        path = repo.table_revision("billing", revision, down, revision)
        path.write_text(path.read_text(encoding="utf-8") + LABELS.get(revision, ""), encoding="utf-8")
    assert repo.inv("db.heads", "--write", "--service", "billing").code == 0
    commit(repo)


@pytest.fixture
def repo(monorepo: Monorepo) -> Monorepo:
    """A merge of main: m2, m3 and n2 are mine, t2 and u2 theirs."""
    git(monorepo, "init", "-q", "-b", "main")
    (monorepo.root / ".gitignore").write_text("__pycache__/\n.env\n", encoding="utf-8")
    monorepo.service("billing")
    add(monorepo, a1=None, c1=None)
    git(monorepo, "switch", "-q", "-c", "mine")
    add(monorepo, m2="a1", m3="m2", n2="c1")
    git(monorepo, "switch", "-q", "main")
    add(monorepo, t2="a1", u2="c1")
    git(monorepo, "switch", "-q", "mine")
    assert "head.txt" in git(monorepo, "merge", "main", fails=True)
    return monorepo


def test_each_branch_with_a_label_is_rebased_for_itself(repo: Monorepo) -> None:
    ran = repo.inv(*REBASE)
    assert ran.code == 0, ran.text
    assert "billing: m2, m3 on top of t2, no longer of a1" in ran.out
    assert "billing: n2 on top of u2, no longer of c1" in ran.out
    expected = {"t2": ("a1",), "m2": ("t2",), "m3": ("m2",), "u2": ("c1",), "n2": ("u2",), "a1": (), "c1": ()}
    assert parents(repo) == expected
    assert repo.inv("db.heads", "--check").code == 0
    assert "nothing to do" in repo.inv(*REBASE).out


def test_of_several_branches_all_are_rebased_or_none(repo: Monorepo) -> None:
    assert "--revision and --onto are of one" in refused(repo, "--revision", "m3")
    path = repo.root / FOLDER / "n2.py"
    path.write_text(path.read_text(encoding="utf-8").replace("'c1'", "str('c1')"), encoding="utf-8")
    assert "n2.py: down_revision is no plain text" in refused(repo)


def test_a_revision_that_needs_one_of_the_other_branch_is_rebased_too(repo: Monorepo) -> None:
    path = repo.root / FOLDER / "n2.py"
    path.write_text(path.read_text(encoding="utf-8") + "\ndepends_on = 'm3'\n", encoding="utf-8")
    ran = repo.inv(*REBASE)
    assert ran.code == 0, ran.text
    parents_by_id = parents(repo)
    assert (parents_by_id["m2"], parents_by_id["n2"]) == (("t2",), ("u2",))
    assert repo.inv("db.heads", "--check").code == 0


def test_branches_that_need_each_other_both_ways_are_refused(repo: Monorepo) -> None:
    for revision, needed in (("t2", "n2"), ("u2", "m3")):
        path = repo.root / FOLDER / f"{revision}.py"
        path.write_text(path.read_text(encoding="utf-8") + f"\ndepends_on = '{needed}'\n", encoding="utf-8")
    ran = refused(repo)
    assert "depends_on" in ran or "cycle" in ran.lower(), ran


def test_a_branch_with_three_heads_stops_the_rebase_of_all(repo: Monorepo) -> None:
    repo.table_revision("billing", "x2", "a1", "x2")
    assert "has 3 heads: " in refused(repo)
