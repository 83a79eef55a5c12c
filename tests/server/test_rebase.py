"""My revisions on top of theirs, in real git repositories; and the file that makes two heads a conflict."""

import py_compile
from collections.abc import Callable
from pathlib import Path

import pytest

import service_migrations
from service_migrations.authoring.rebase import exchange
from service_migrations.errors import UsageError
from service_migrations.files import replace as replace_file
from service_migrations.history.files.head_file import problem
from service_migrations.monorepo import Service, discover
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, tables, wait
from tests.support.git import commit, git
from tests.support.monorepo import ROOT, Monorepo, Ran

FOLDER = "migrations/versions/billing"


def write(repo: Monorepo, revision: str, down: str | None, table: str | None = None) -> Path:
    """Write a revision as db.revision does: its file, with "Revises:", and the head."""
    body = (f'op.execute("CREATE TABLE {table or revision} (id int)")', f'op.execute("DROP TABLE {table or revision}")')
    path = repo.revision("billing", revision, down, *body)
    text = path.read_text(encoding="utf-8")
    head = f'"""Add {revision}.\n\nRevision ID: {revision}\nRevises: {down or ""}\nCreate Date: 2026-01-01 10:00\n"""'
    path.write_text(text.replace(f'"""{revision}."""', head), encoding="utf-8")
    (repo.root / FOLDER / "head.txt").write_text(f"{revision}\n", encoding="utf-8")
    return path


@pytest.fixture
def repo(monorepo: Monorepo) -> Monorepo:
    """A repository on main with the revision a1."""
    git(monorepo, "init", "-q", "-b", "main")
    (monorepo.root / ".gitignore").write_text("__pycache__/\n.env\n", encoding="utf-8")
    monorepo.service("billing")
    write(monorepo, "a1", None)
    commit(monorepo)
    return monorepo


@pytest.fixture
def diverged(repo: Monorepo) -> Monorepo:
    """Theirs, t2, is on main; mine, m2 and m3, is on the branch "mine", which is checked out."""
    git(repo, "switch", "-q", "-c", "mine")
    write(repo, "m2", "a1")
    write(repo, "m3", "m2")
    commit(repo)
    git(repo, "switch", "-q", "main")
    write(repo, "t2", "a1")
    commit(repo)
    git(repo, "switch", "-q", "mine")
    return repo


def service(repo: Monorepo) -> Service:
    return repo.find("billing")


def chain(repo: Monorepo) -> list[str]:
    """Return the ids of the history, oldest first; it must be a chain."""
    found = list(reversed(wait(service_migrations.history(service(repo))).revisions))
    parents = [(), *((revision.revision,) for revision in found[:-1])]
    assert [item.down_revision for item in found] == parents
    return [item.revision for item in found]


def snapshot(repo: Monorepo) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (repo.root / FOLDER).iterdir() if path.is_file()}


def done(ran: Ran) -> Ran:
    assert ran.code == 0, ran.text
    return ran


def refused(repo: Monorepo, *words: str) -> str:
    """Run db.rebase, which must change nothing; return its one line."""
    before = snapshot(repo)
    ran = repo.inv("db.rebase", "--service", "billing", *words)
    assert (ran.code, len(ran.text.splitlines())) == (2, 1), ran.text
    assert snapshot(repo) == before
    return ran.err


def test_two_branches_that_both_add_a_revision_conflict_in_a_merge_and_rebase_ends_it(diverged):
    said = git(diverged, "merge", "main", fails=True)
    assert f"Merge conflict in {FOLDER}/head.txt" in said
    assert said.count("CONFLICT") == 1
    assert diverged.inv("db.heads", "--check").code == 3

    ran = done(diverged.inv("db.rebase", "--service", "billing"))
    assert "billing: m2, m3 on top of t2, no longer of a1" in ran.out
    assert chain(diverged) == ["a1", "t2", "m2", "m3"]
    done(diverged.inv("db.heads", "--check"))
    git(diverged, "add", FOLDER)
    git(diverged, "commit", "-q", "--no-edit")
    assert git(diverged, "status", "--porcelain") == ""
    done(diverged.inv("db.heads", "--check"))


def test_it_ends_the_conflict_of_a_git_rebase_too(repo):
    git(repo, "switch", "-q", "-c", "mine")
    write(repo, "m2", "a1")
    commit(repo)
    git(repo, "switch", "-q", "main")
    write(repo, "t2", "a1")
    commit(repo)
    git(repo, "switch", "-q", "mine")
    said = git(repo, "rebase", "main", fails=True)
    assert f"Merge conflict in {FOLDER}/head.txt" in said
    done(repo.inv("db.rebase", "--service", "billing"))
    git(repo, "add", FOLDER)
    git(repo, "rebase", "--continue")
    assert chain(repo) == ["a1", "t2", "m2"]
    done(repo.inv("db.heads", "--check"))


def test_only_the_parent_of_my_first_revision_changes(diverged):
    git(diverged, "merge", "main", fails=True)
    before = snapshot(diverged)
    result = wait(service_migrations.rebase(service(diverged)))
    after = snapshot(diverged)
    assert {name for name in after if after[name] != before.get(name)} == {"m2.py", "head.txt"}
    assert set(after) == set(before)
    text = before["m2.py"].decode()
    assert after["m2.py"].decode() == text.replace("Revises: a1", "Revises: t2").replace("= 'a1'", "= 't2'")
    assert after["head.txt"] == b"m3\n"
    assert (result.moved, result.before, result.onto, result.path) == (("m2", "m3"), "a1", "t2", f"{FOLDER}/m2.py")
    assert "does not exist" in result.unasked


def test_a_compiled_module_is_not_taken_for_the_file_that_was_written_in_the_same_second(diverged):
    """Python recognises what it has compiled by second and length, and t2 is as long as a1."""
    path = diverged.root / FOLDER / "m2.py"
    compiled = Path(py_compile.compile(str(path)))
    assert compiled.is_file()
    replace_file(path, path.read_bytes().replace(b"'a1'", b"'t2'"))
    assert not compiled.exists()


def test_with_one_head_there_is_nothing_to_do_and_a_merge_that_was_ended_by_hand_is_completed(repo):
    ran = done(repo.inv("db.rebase", "--service", "billing"))
    assert ran.out == "billing: nothing to do, the files end at a1\n"
    (repo.root / FOLDER / "head.txt").write_text("<<<<<<< HEAD\na1\n=======\nb2\n>>>>>>> b\n", encoding="utf-8")
    done(repo.inv("db.rebase", "--service", "billing"))
    assert snapshot(repo)["head.txt"] == b"a1\n"


def test_the_base_is_the_teams_branch_of_the_remote_before_the_local_one(diverged, tmp_path):
    """On main itself, with a merged branch: main has both, and the remote's main only theirs."""
    git(diverged, "init", "-q", "--bare", "-b", "main", str(tmp_path / "remote"))
    git(diverged, "remote", "add", "origin", str(tmp_path / "remote"))
    git(diverged, "push", "-q", "origin", "main")
    git(diverged, "switch", "-q", "main")
    git(diverged, "merge", "mine", fails=True)
    (diverged.root / FOLDER / "head.txt").write_text("m3\n", encoding="utf-8")
    commit(diverged)
    assert "main has revisions of both heads" in refused(diverged, "--base", "main")
    wait(service_migrations.rebase(service(diverged)))
    assert chain(diverged) == ["a1", "t2", "m2", "m3"]


def test_another_base_can_be_named(diverged):
    git(diverged, "branch", "-m", "main", "trunk")
    git(diverged, "merge", "trunk", fails=True)
    assert "Name a commit with --base" in refused(diverged)
    done(diverged.inv("db.rebase", "--service", "billing", "--base", "trunk"))
    assert chain(diverged) == ["a1", "t2", "m2", "m3"]


def test_a_file_that_was_renamed_is_known_by_its_id(diverged):
    git(diverged, "merge", "main", fails=True)
    folder = diverged.root / FOLDER
    (folder / "t2.py").rename(folder / "t2_renamed.py")
    wait(service_migrations.rebase(service(diverged)))
    assert chain(diverged) == ["a1", "t2", "m2", "m3"]


@pytest.mark.parametrize("words", [("--revision", "m2"), ("--revision", "m3"), ("--onto", "t2")])
def test_whose_is_whose_can_be_said_where_git_can_not_tell(diverged, words):
    git(diverged, "merge", "main", fails=True)
    (diverged.root / ".git").rename(diverged.root / "no_git")
    assert "not in a git repository" in refused(diverged)
    done(diverged.inv("db.rebase", "--service", "billing", *words))
    assert chain(diverged) == ["a1", "t2", "m2", "m3"]


def test_a_whole_id_is_mine_where_one_of_theirs_begins_with_it(diverged):
    git(diverged, "merge", "main", fails=True)
    write(diverged, "m30", "t2")
    done(diverged.inv("db.rebase", "--service", "billing", "--revision", "m3"))
    assert chain(diverged) == ["a1", "t2", "m30", "m2", "m3"]


def test_my_first_revision_may_be_the_first_of_all(repo):
    write(repo, "m1", None)
    wait(service_migrations.rebase(service(repo)))
    assert chain(repo) == ["a1", "m1"]
    assert b"Revises: a1\n" in snapshot(repo)["m1.py"]


def test_what_can_not_be_told_or_moved_is_refused_and_nothing_is_changed(diverged):
    git(diverged, "merge", "main", fails=True)
    assert "--base 'nope': git knows no such commit" in refused(diverged, "--base", "nope")
    assert "--base '--help': git knows no such commit" in refused(diverged, "--base=--help")
    assert "doesn't select one head" in refused(diverged, "--revision", "a1")
    assert "doesn't select one head" in refused(diverged, "--onto", "zzz")
    assert "is not their head" in refused(diverged, "--revision", "m3", "--onto", "m3")
    git(diverged, "branch", "old", "main~1")
    assert "old has neither head" in refused(diverged, "--base", "old")
    commit(diverged)
    assert "mine has revisions of both heads" in refused(diverged, "--base", "mine")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--base", "nope"), "--base 'nope': git knows no such commit, branch or tag."),
        (("--onto", "zzz"), "--onto 'zzz' is no revision. Heads: m3."),
        (("--revision", "zzz"), "--revision 'zzz' is no revision. Heads: m3."),
    ],
)
def test_what_does_not_exist_is_refused_where_there_is_nothing_to_do_too(diverged, words, problem):
    assert problem in refused(diverged, *words)
    done(diverged.inv("db.rebase", "--service", "billing", "--base", "main"))
    done(diverged.inv("db.rebase", "--service", "billing", "--revision", "m2"))


def test_theirs_may_go_on_where_the_base_ends(diverged):
    git(diverged, "merge", "main", fails=True)
    write(diverged, "m4", "m3")
    done(diverged.inv("db.rebase", "--service", "billing", "--base", "mine"))
    assert chain(diverged) == ["a1", "m2", "m3", "m4", "t2"]


def test_a_merge_among_mine_is_refused(diverged):
    git(diverged, "merge", "main", fails=True)
    write(diverged, "n2", "a1")
    merged = diverged.revision("billing", "m4", None)
    text = merged.read_text(encoding="utf-8")
    merged.write_text(text.replace("down_revision = None", "down_revision = ('m3', 'n2')"), encoding="utf-8")
    assert "m4 is a merge" in refused(diverged)


def test_a_parent_that_is_computed_is_refused(diverged):
    git(diverged, "merge", "main", fails=True)
    path = diverged.root / FOLDER / "m2.py"
    path.write_text(path.read_text(encoding="utf-8").replace("= 'a1'", "= str('a1')"), encoding="utf-8")
    assert "m2.py: down_revision is no plain text" in refused(diverged)


def test_what_the_database_has_already_is_refused_with_the_way_out(diverged, database: Callable[..., Dsn]):
    dsn = database()
    diverged.service("billing", dsn=dsn)
    wait(service_migrations.upgrade(service(diverged)))
    git(diverged, "merge", "main", fails=True)
    said = refused(diverged)
    assert f"{dsn.target} has m2, m3 already" in said
    way_out = said.partition("Downgrade first: inv ")[2].split()
    assert way_out == ["db.downgrade", "--service", "billing", "--revision", "a1"]
    done(diverged.inv(*way_out, "--yes"))
    ran = done(diverged.inv("db.rebase", "--service", "billing"))
    assert "asked" not in ran.text
    done(diverged.inv("db.upgrade"))
    assert {"t2", "m2", "m3"} <= tables(dsn)
    assert query(dsn, "SELECT version_num FROM alembic_version_billing")[0][0] == "m3"


def test_a_database_that_can_not_be_asked_is_told_of_and_stops_nothing(diverged):
    git(diverged, "merge", "main", fails=True)
    diverged.service("billing", dsn="postgresql://app:secret@127.0.0.1:1/app")
    ran = done(diverged.inv("db.rebase", "--service", "billing"))
    assert "wasn't asked: " in ran.err
    assert "secret" not in ran.text
    assert chain(diverged) == ["a1", "t2", "m2", "m3"]


def test_the_head_is_written_by_what_writes_revisions(repo):
    first = wait(service_migrations.revision(service(repo), "one more", empty=True))
    assert snapshot(repo)["head.txt"].decode() == f"{first.revision}\n"
    write(repo, "x2", "a1")
    merged = wait(service_migrations.merge(service(repo), "join"))
    assert snapshot(repo)["head.txt"].decode() == f"{merged.revision}\n"
    done(repo.inv("db.heads", "--check"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "head.txt is missing"),
        ("", "head.txt names nothing, and the files end at a1"),
        ("b2\n", "head.txt names b2, and the files end at a1"),
        ("a1\nb2\n", "head.txt names a1 b2, and the files end at a1"),
        ("<<<<<<< HEAD\na1\n=======\nb2\n>>>>>>> theirs\n", "head.txt has conflict markers"),
    ],
)
def test_a_head_file_that_is_not_right_is_one_line_with_its_mend(repo, content, told):
    path = repo.root / FOLDER / "head.txt"
    path.unlink() if content is None else path.write_text(content, encoding="utf-8")
    ran = repo.inv("db.heads", "--check")
    assert (ran.code, len(ran.err.splitlines())) == (3, 1)
    assert told in ran.err
    done(repo.inv(*ran.err.partition("Run: inv ")[2].split()))
    done(repo.inv("db.heads", "--check"))


def test_two_heads_are_told_of_and_no_head_is_chosen(diverged):
    git(diverged, "merge", "main", fails=True)
    before = snapshot(diverged)
    ran = diverged.inv("db.heads", "--check")
    assert ran.code == 3
    assert f"{FOLDER} has 2 heads: " in ran.err
    assert "inv db.rebase --service billing" in ran.err
    assert diverged.inv("db.heads", "--write").code == 2
    assert snapshot(diverged) == before
    assert diverged.inv("db.heads").code == 0


def test_a_service_without_revisions_needs_no_file(monorepo):
    empty = monorepo.service("orders")
    done(monorepo.inv("db.heads", "--check"))
    empty.versions.mkdir(parents=True)
    empty.head_file.write_text("a1\n", encoding="utf-8")
    assert monorepo.inv("db.heads", "--check").code == 3
    done(monorepo.inv("db.heads", "--write", "--check"))
    assert not empty.head_file.exists()


@pytest.mark.parametrize("found", discover(ROOT), ids=str)
def test_the_heads_of_this_repository_are_right(found):
    history = wait(service_migrations.history(found))
    assert problem(history) is None
    assert found.head_file.read_text(encoding="utf-8") == f"{history.heads[0]}\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('down_revision = "a1"', 'down_revision = "t2"'),
        ("down_revision = 'a1'  # 'a1'", "down_revision = 't2'  # 'a1'"),
        ("down_revision: str | None = None", 'down_revision: str | None = "t2"'),
        ('down_revision = (\n    "a1"\n)', 'down_revision = (\n    "t2"\n)'),
        ('x = "ÄÖ"; down_revision = "a1"; y = "a1"', 'x = "ÄÖ"; down_revision = "t2"; y = "a1"'),
        (
            '"""T.\r\n\r\nRevises: a1\r\n"""\r\ndown_revision = "a1"\r\n',
            '"""T.\r\n\r\nRevises: t2\r\n"""\r\ndown_revision = "t2"\r\n',
        ),
        ('\ufeff"""T.\n\nRevises:\n"""\ndown_revision = None', '\ufeff"""T.\n\nRevises: t2\n"""\ndown_revision = "t2"'),
        ('\ufeffdown_revision = "a1"', '\ufeffdown_revision = "t2"'),
        ('"""Revises: a1"""\ndown_revision = "a1"', '"""Revises: t2"""\ndown_revision = "t2"'),
        (
            '"""T."""\n# Revises: a1\ndown_revision = "a1"\nz = """\nRevises: a1"""',
            '"""T."""\n# Revises: a1\ndown_revision = "t2"\nz = """\nRevises: a1"""',
        ),
        ('if x:\n    down_revision = 1\ndown_revision = "a1"', 'if x:\n    down_revision = 1\ndown_revision = "t2"'),
        ('x = "\x0b\u2028"\n\x0c\ndown_revision = "a1"', 'x = "\x0b\u2028"\n\x0c\ndown_revision = "t2"'),
    ],
)  # fmt: skip
def test_the_parent_is_exchanged_and_nothing_else(before, after):
    assert exchange(before.encode(), "t2", "x.py").decode() == after


@pytest.mark.parametrize(
    "text",
    [
        "x = 1",
        'down_revision = ("a1", "b2")',
        "down_revision = other",
        'down_revision = f"{a}"',
        'down_revision = "a1"\ndown_revision = "b2"',
        "down_revision =",
        "x = '\0'",
    ],
)
def test_a_parent_that_is_not_there_or_no_text_is_refused(text):
    with pytest.raises(UsageError, match=r"^x\.py") as caught:
        exchange(text.encode(), "t2", "x.py")
    assert "Nothing was changed" in str(caught.value)
