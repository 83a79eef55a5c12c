"""What was released is never edited: real repositories, and what is found in them."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from service_migrations.errors import UsageError
from service_migrations.monorepo import discover
from service_migrations.review.released import Released, newest_tag, released
from tests.support.git import commit, git
from tests.support.monorepo import Monorepo

BILLING = "migrations/versions/billing"


@pytest.fixture
def repo(monorepo: Monorepo) -> Monorepo:
    """Billing with r1, r2 and r3 of v1, and catalog with r1."""
    (monorepo.root / ".gitignore").write_text("__pycache__/\n", encoding="utf-8")
    for name in ("billing", "catalog"):
        monorepo.service(name)
    for number in (1, 2, 3):
        monorepo.revision("billing", f"r{number}", f"r{number - 1}" if number > 1 else None, f"op.execute('{number}')")
    monorepo.table_revision("catalog", "c1", None)
    git(monorepo, "init", "--quiet", "--initial-branch", "main")
    release(monorepo, "v1")
    return monorepo


def release(repo: Monorepo, tag: str) -> None:
    commit(repo, tag)
    git(repo, "tag", tag)


def compare(repo: Monorepo, since: str = "v1") -> Released:
    return released(discover(repo.root), since, are_all=True)


def found(repo: Monorepo, since: str = "v1") -> list[tuple[str, str]]:
    """Return kind and revision of each fault."""
    return [(change.kind, change.revision) for history in compare(repo, since).histories for change in history.faults]


def change(repo: Monorepo, path: str, old: str, new: str) -> None:
    file = repo.root / path
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def billing(repo: Monorepo, revision: str, old: str, new: str) -> None:
    change(repo, f"{BILLING}/{revision}.py", old, new)


def rename(repo: Monorepo, old: str, new: str) -> None:
    (repo.root / new).parent.mkdir(parents=True, exist_ok=True)
    (repo.root / old).rename(repo.root / new)


HARMLESS: dict[str, Callable[[Monorepo], None]] = {
    "nothing": lambda _: None,
    "a comment": lambda repo: billing(repo, "r2", "def upgrade():", "# why\ndef upgrade():"),
    "a docstring": lambda repo: billing(repo, "r2", '"""r2."""', '"""Another text."""'),
    "quotes": lambda repo: billing(repo, "r2", "'r2'", '"r2"'),
    "line ends": lambda repo: billing(repo, "r2", "\n", "\r\n"),
    "type hints": lambda repo: billing(repo, "r2", "def upgrade():", "def upgrade() -> None:"),
    "a type of the header": lambda repo: billing(repo, "r2", "down_revision =", "down_revision: str | None ="),
    "imports": lambda repo: billing(repo, "r2", "from alembic import op\n", "import typing\nfrom alembic import op\n"),
    "another file name": lambda repo: rename(repo, f"{BILLING}/r2.py", f"{BILLING}/2024_r2.py"),
    "a new head": lambda repo: repo.revision("billing", "r4", "r3"),
    "a new branch": lambda repo: repo.revision("billing", "r4", "r2"),
    "a new service": lambda repo: (repo.service("new"), repo.revision("new", "n1", None)),
}


@pytest.mark.parametrize("harmless", HARMLESS.values(), ids=HARMLESS)
@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not committed"])
def test_what_does_not_change_a_released_revision_passes(repo, harmless, committed):
    harmless(repo)
    if committed and git(repo, "status", "--short"):
        commit(repo)
    assert found(repo) == []


def removed(repo: Monorepo) -> None:
    (repo.root / BILLING / "r3.py").unlink()


def inserted(repo: Monorepo) -> None:
    repo.revision("billing", "r25", "r2")
    billing(repo, "r3", "down_revision = 'r2'", "down_revision = 'r25'")


def inserted_by_dependency(repo: Monorepo) -> None:
    repo.revision("billing", "d1", None)
    repo.revision("billing", "d2", "d1")
    billing(repo, "r3", "down_revision = 'r2'", "down_revision = 'r2'\ndepends_on = 'd2'")


FAULTS: dict[str, tuple[Callable[[Monorepo], object], list[tuple[str, str]]]] = {
    "another statement": (lambda repo: billing(repo, "r2", "'2'", "'SELECT 2'"), [("edited", "r2")]),
    "another downgrade": (lambda repo: billing(repo, "r2", "    pass", "    op.execute('x')"), [("edited", "r2")]),
    "an import more": (
        lambda repo: billing(repo, "r2", "import sqlalchemy", "import os\nimport sqlalchemy"),
        [("edited", "r2")],
    ),
    "no valid Python": (lambda repo: billing(repo, "r2", "def upgrade()", "def upgrade("), [("edited", "r2")]),
    "removed": (removed, [("removed", "r3")]),
    "renamed": (lambda repo: billing(repo, "r3", "revision = 'r3'", "revision = 'r9'"), [("renamed", "r3")]),
    "another parent": (lambda repo: billing(repo, "r3", "'r2'", "'r1'"), [("re-parented", "r3")]),
    "no parent": (lambda repo: billing(repo, "r3", "'r2'", "None"), [("re-parented", "r3")]),
    "a dependency": (
        lambda repo: billing(repo, "r3", "down_revision = 'r2'", "down_revision = 'r2'\ndepends_on = ('r1',)"),
        [("re-parented", "r3")],
    ),
    "a label": (
        lambda repo: billing(repo, "r3", "down_revision = 'r2'", "down_revision = 'r2'\nbranch_labels = ['x']"),
        [("re-parented", "r3")],
    ),
    "a parent and a statement": (
        lambda repo: (billing(repo, "r3", "'r2'", "'r1'"), billing(repo, "r3", "'3'", "'4'")),
        [("re-parented", "r3"), ("edited", "r3")],
    ),
    "inserted": (inserted, [("re-parented", "r3"), ("inserted", "r25")]),
    "inserted, by what it depends on": (
        inserted_by_dependency,
        [("re-parented", "r3"), ("inserted", "d1"), ("inserted", "d2")],
    ),
}


@pytest.mark.parametrize(("fault", "expected"), FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not committed"])
def test_a_change_of_a_released_revision_is_found(repo, fault, expected, committed):
    fault(repo)
    if committed:
        commit(repo)
    assert found(repo) == expected
    ran = repo.inv("db.released", "--since", "v1", "--service", "billing")
    assert ran.code == 3, ran.text
    assert all(f" {revision} " in ran.out for _, revision in expected)
    assert repo.inv("db.released", "--since", "v1", "--service", "catalog").code == 0


def test_a_revision_that_is_not_released_may_be_edited(repo):
    repo.revision("billing", "r4", "r3")
    commit(repo)
    billing(repo, "r4", "pass", "op.execute('x')")
    assert found(repo) == []
    assert found(repo, "HEAD") == [("edited", "r4")]


def test_a_pattern_of_tags_beside_a_commit_is_refused(repo: Monorepo) -> None:
    ran = repo.inv("db.released", "--since", "v1", "--tags", "w*")
    assert (ran.code, ran.out) == (2, ""), ran.text
    assert "--since and --tags both say what was released. Leave one out." in ran.err


def test_the_newest_tag_below_head_is_the_default(repo):
    assert newest_tag(repo.root, "v*") == "v1"
    repo.revision("billing", "r4", "r3")
    release(repo, "v2")
    git(repo, "tag", "other")
    billing(repo, "r4", "pass", "op.execute('x')")
    ran = repo.inv("db.released")
    assert (ran.code, "billing: 1 change of what was released" in ran.err) == (3, True)
    assert "catalog: 1 revision as at v2\n" in ran.out
    git(repo, "tag", "--delete", "v1", "v2")
    ran = repo.inv("db.released")
    assert (ran.code, ran.out) == (0, "nothing to compare: nothing was released\n")


EDITS = {"r2": ("'2'", "'two'"), "r3": ("'3'", "'three'")}


@pytest.mark.parametrize(
    ("message", "accepted"),
    [
        ("Edit\n\nMigration-Edit: r2 it has run nowhere", True),
        ("Edit\n\nmigration-edit: billing/r2 it has run nowhere\nSigned-off-by: me", True),
        ("Joined (#7)\n\n* Edit\n\nMigration-Edit: r2 it has run nowhere\n\n* More\n\nCo-authored-by: me", True),
        ("Edit\n\nMigration-Edit: r2", False),
        ("Edit\n\nMigration-Edit: r3 another", False),
        ("Edit\n\nMigration-Edit: catalog/r2 another", False),
        ("Edit\n\nAs said in Migration-Edit: r2 some prose", False),
    ],
)
def test_a_line_of_a_commit_gives_the_reason_of_an_edit_and_is_reported(repo, message, accepted):
    billing(repo, "r2", *EDITS["r2"])
    commit(repo, message)
    assert found(repo) == ([] if accepted else [("edited", "r2")])
    ran = repo.inv("db.released", "--since", "v1", "--json")
    (change,) = json.loads(ran.out)[0]["changes"]
    assert (ran.code, change["reason"]) == ((0, "it has run nowhere") if accepted else (3, None))
    if accepted:
        assert "it has run nowhere" in repo.inv("db.released", "--since", "v1").out


def test_a_reason_stands_for_the_revision_as_it_is_in_that_commit(repo):
    git(repo, "commit", "--quiet", "--allow-empty", "--message", "Before\n\nMigration-Edit: r2 too early")
    billing(repo, "r2", *EDITS["r2"])
    commit(repo, "Edit")
    assert found(repo) == [("edited", "r2")]
    git(repo, "commit", "--quiet", "--allow-empty", "--message", "Say why\n\nMigration-Edit: r2 it has run nowhere")
    assert found(repo) == []
    billing(repo, "r2", "'two'", "'2, again'")
    assert found(repo) == [("edited", "r2")]
    commit(repo, "Again")
    assert found(repo) == [("edited", "r2")]


@pytest.mark.parametrize("name", ["removed", "renamed", "another parent", "a label"])
def test_every_kind_of_change_may_have_a_reason(repo, name):
    fault, [(_, revision)] = FAULTS[name]
    fault(repo)
    commit(repo, f"Change\n\nMigration-Edit: {revision} it has run nowhere")
    assert found(repo) == []


def test_an_inserted_revision_and_the_one_above_it_each_need_a_reason(repo):
    inserted(repo)
    commit(repo, "Insert\n\nMigration-Edit: r3 above\n")
    assert found(repo) == [("inserted", "r25")]
    git(repo, "commit", "--quiet", "--allow-empty", "--message", "Say more\n\nMigration-Edit: r25 no database has r3")
    assert found(repo) == []


def test_a_reason_without_a_service_does_not_count_where_two_have_that_revision(repo):
    repo.revision("catalog", "r2", "c1", "op.execute('2')")
    release(repo, "v2")
    billing(repo, "r2", *EDITS["r2"])
    change(repo, "migrations/versions/catalog/r2.py", *EDITS["r2"])
    commit(repo, "Edit\n\nMigration-Edit: r2 it has run nowhere")
    assert found(repo, "v2") == [("edited", "r2"), ("edited", "r2")]
    git(repo, "commit", "--quiet", "--allow-empty", "--message", "Say more\n\nMigration-Edit: billing/r2 nowhere")
    assert [history.service for history in compare(repo, "v2").histories if history.faults] == ["catalog"]


def on_release_branch(repo: Monorepo) -> None:
    """Make r4 on main, put it on a release branch without what is below it, and release that as v1.1."""
    repo.revision("billing", "main1", "r3")
    commit(repo)
    repo.revision("billing", "r4", "main1", "op.execute('4')")
    commit(repo)
    git(repo, "checkout", "--quiet", "-b", "1.x", "v1")
    repo.revision("billing", "r4", "r3", "op.execute('4')")
    release(repo, "v1.1")
    git(repo, "checkout", "--quiet", "main")


def test_a_backport_is_recognised_and_reported(repo):
    on_release_branch(repo)
    assert found(repo, "v1.1") == []
    (reported,) = compare(repo, "v1.1").histories[0].changes
    assert (reported.kind, reported.revision) == ("backport", "r4")
    assert "main1" in reported.text  # a database of v1.1 never runs it
    ran = repo.inv("db.released", "--since", "v1.1")
    assert (ran.code, "r4 is a backport, which follows main1 instead of r3" in ran.out) == (0, True), ran.text
    assert newest_tag(repo.root, "v*") == "v1"


def test_a_backport_that_does_something_else_is_an_edit(repo):
    on_release_branch(repo)
    billing(repo, "r4", "'4'", "'5'")
    assert found(repo, "v1.1") == [("re-parented", "r4"), ("edited", "r4"), ("inserted", "main1")]


def test_a_revision_from_before_the_release_branch_is_no_backport(repo):
    git(repo, "checkout", "--quiet", "-b", "1.x")
    repo.revision("billing", "fix", "r3")
    release(repo, "v1.1")
    git(repo, "checkout", "--quiet", "main")
    billing(repo, "r3", "'r2'", "'r1'")
    commit(repo)
    assert found(repo, "v1.1") == [("removed", "fix"), ("re-parented", "r3")]


@pytest.mark.parametrize("with_folder", [False, True], ids=["in a shared folder", "beside the models"])
def test_a_history_is_found_where_it_was(repo, with_folder):
    """The folder is moved, and the configuration with it."""
    old, new = (BILLING, "services/billing/versions") if with_folder else (BILLING, "db/billing")
    change(
        repo,
        "pyproject.toml",
        "[tool.service-migrations]\n",
        "[tool.service-migrations]\n"
        + ('versions = "{path}/versions"\n' if with_folder else 'versions = "db/{name}"\n'),
    )
    rename(repo, old, new)
    rename(repo, "migrations/versions/catalog", new.replace("billing", "catalog"))
    commit(repo)
    assert found(repo) == []
    assert [history.revisions for history in compare(repo).histories] == [3, 1]
    change(repo, f"{new}/r2.py", *EDITS["r2"])
    assert found(repo) == [("edited", "r2")]


def test_a_service_that_was_moved_is_found_by_its_name(repo):
    change(
        repo,
        "pyproject.toml",
        "[tool.service-migrations]\n",
        '[tool.service-migrations]\nservices = ["apps/*"]\nmodels = "apps.{name}.models"\n',
    )
    rename(repo, "services", "apps")
    billing(repo, "r2", *EDITS["r2"])
    commit(repo)
    assert found(repo) == [("edited", "r2")]


def test_a_service_that_was_renamed_is_found_by_its_files(repo):
    rename(repo, "services/billing", "services/invoicing")
    rename(repo, BILLING, "migrations/versions/invoicing")
    change(repo, "migrations/versions/invoicing/r2.py", *EDITS["r2"])
    assert found(repo) == [("edited", "r2")]


def test_a_history_from_before_the_monorepo_was_adopted_counts(repo):
    """Then there was no table in pyproject.toml, and there were no models where they are found today."""
    git(repo, "rm", "--quiet", "--cached", "pyproject.toml", "-r", "services")
    git(repo, "commit", "--quiet", "--message", "before")
    git(repo, "tag", "v0")
    billing(repo, "r2", *EDITS["r2"])
    commit(repo)
    assert found(repo, "v0") == [("edited", "r2")]


def test_a_configuration_that_cannot_be_read_any_more_is_passed_over(repo, caplog):
    good = (repo.root / "pyproject.toml").read_text(encoding="utf-8")
    change(repo, "pyproject.toml", "[tool.service-migrations]\n", "[tool.service-migrations]\nlater = 1\n")
    release(repo, "v2")
    (repo.root / "pyproject.toml").write_text(good, encoding="utf-8")
    billing(repo, "r2", *EDITS["r2"])
    assert found(repo, "v2") == [("edited", "r2")]
    assert "v2: " in caplog.text
    assert "there is no key 'later'" in caplog.text


def test_a_service_that_is_gone_is_found_and_may_have_a_reason(repo):
    rename(repo, "services/catalog", "elsewhere")
    rename(repo, "migrations/versions/catalog", "old_versions")
    assert found(repo) == [("removed", "catalog")]
    assert repo.inv("db.released", "--since", "v1", "--service", "billing").code == 0
    commit(repo, "Remove\n\nMigration-Edit: catalog its database is gone")
    assert found(repo) == []


def test_revisions_in_subfolders_and_in_several_folders_count(repo):
    change(
        repo,
        "pyproject.toml",
        "[tool.service-migrations]\n",
        '[tool.service-migrations]\nrecursive_version_locations = true\nversions = ["migrations/versions/{name}", '
        '"more/{name}"]\n',
    )
    rename(repo, f"{BILLING}/r1.py", f"{BILLING}/2023/01/r1.py")
    rename(repo, f"{BILLING}/r2.py", "more/billing/r2.py")
    release(repo, "v2")
    change(repo, f"{BILLING}/2023/01/r1.py", "'1'", "'one'")
    change(repo, "more/billing/r2.py", *EDITS["r2"])
    assert sorted(found(repo, "v2")) == [("edited", "r1"), ("edited", "r2")]


@pytest.mark.parametrize("what", ["the folder", "a file"])
def test_a_symbolic_link_is_followed_as_alembic_follows_it(repo, what):
    if what == "the folder":
        rename(repo, BILLING, "real")
        (repo.root / BILLING).symlink_to("../../real")
    else:
        rename(repo, f"{BILLING}/r2.py", "real/r2.py")
        (repo.root / BILLING / "r2.py").symlink_to("../../../real/r2.py")
    release(repo, "v2")
    assert compare(repo, "v2").histories[0].revisions == 3
    change(repo, "real/r2.py", *EDITS["r2"])
    assert found(repo, "v2") == [("edited", "r2")]


def test_an_empty_revision_is_not_another_empty_one_by_another_name(repo):
    repo.revision("billing", "r4", "r3")
    release(repo, "v2")
    (repo.root / BILLING / "r4.py").unlink()
    repo.revision("billing", "x", "r2")
    assert found(repo, "v2") == [("removed", "r4")]
    repo.revision("billing", "r9", "r3")
    assert found(repo, "v2") == [("renamed", "r4")]


def test_a_repository_may_name_its_contents_by_sha_256(repo):
    (repo.root / ".git").rename(repo.root.parent / "unused")
    git(repo, "init", "--quiet", "--initial-branch", "main", "--object-format=sha256")
    release(repo, "v1")
    assert found(repo) == []
    billing(repo, "r2", *EDITS["r2"])
    assert found(repo) == [("edited", "r2")]


def test_a_monorepo_may_be_a_folder_of_its_repository(tmp_path, repo):
    outer = Monorepo(tmp_path / "outer")
    outer.root.mkdir()
    (repo.root / ".git").rename(tmp_path / "unused")
    repo.root.rename(outer.root / "inner")
    git(outer, "init", "--quiet", "--initial-branch", "main")
    release(outer, "v1")
    inner = Monorepo(outer.root / "inner")
    billing(inner, "r2", *EDITS["r2"])
    assert found(inner) == [("edited", "r2")]


def test_a_file_whose_id_can_be_read_no_longer_or_only_now_is_edited(repo):
    billing(repo, "r2", "revision = 'r2'", "revision = 'r' + str(2)")
    assert found(repo) == [("edited", "r2")]
    release(repo, "v2")
    billing(repo, "r2", "revision = 'r' + str(2)", "revision = 'r2'")
    assert found(repo, "v2") == [("edited", "r2.py")]
    commit(repo, "Read it\n\nMigration-Edit: r2.py it is the same id")
    assert found(repo, "v2") == []


UNREADABLE = {
    "an id that is made": ("revision = 'r2'", "revision = 'r' + str(2)"),
    "no Python of today": ("revision = 'r2'", "print '2'\nrevision = 'r2'"),
    "an id in a block": ("revision = 'r2'", "if True:\n    revision = 'r2'"),
}


@pytest.mark.parametrize(("old", "new"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_whose_id_cannot_be_read_is_named_and_compared_by_its_name(repo, old, new, caplog):
    billing(repo, "r2", old, new)
    release(repo, "v2")
    assert found(repo, "v2") == []
    billing(repo, "r3", "'3'", "'three'")
    rename(repo, f"{BILLING}/r2.py", f"{BILLING}/moved.py")
    assert found(repo, "v2") == [("edited", "r3")]
    assert f"billing: {BILLING}/r2.py at v2: its id can't be read" in caplog.text
    rename(repo, f"{BILLING}/moved.py", f"{BILLING}/r2.py")
    billing(repo, "r2", "def downgrade():", "def downgrade(): x = 1\ndef other():")
    assert sorted(found(repo, "v2")) == [("edited", "r2.py"), ("edited", "r3")]


@pytest.mark.parametrize("top", ["class A:\n    pass\n", "@staticmethod\ndef f():\n    pass\n", "print('x')\n"])
def test_a_file_that_does_more_at_its_top_is_compared_by_its_id(repo, top, caplog):
    billing(repo, "r2", "revision = 'r2'", f"{top}\nrevision = 'r2'")
    release(repo, "v2")
    rename(repo, f"{BILLING}/r2.py", f"{BILLING}/moved.py")
    assert found(repo, "v2") == []
    billing(repo, "moved", *EDITS["r2"])
    assert found(repo, "v2") == [("edited", "r2")]
    assert caplog.text == ""


def test_where_nothing_was_there_nothing_is_compared(repo):
    git(repo, "checkout", "--quiet", "--orphan", "empty")
    git(repo, "rm", "--quiet", "-r", "--cached", ".")
    git(repo, "add", ".gitignore")
    git(repo, "commit", "--quiet", "--message", "empty")
    git(repo, "tag", "v0")
    ran = repo.inv("db.released", "--since", "v0")
    assert (ran.code, ran.out.splitlines()) == (
        0,
        [f"{name}: nothing to compare: v0 has no revision of it" for name in ("billing", "catalog")],
    ), ran.text


@pytest.mark.parametrize("since", ["v9", "", "--all", "v1:migrations", "no such"])
def test_a_commit_that_does_not_exist_is_a_wrong_use(repo, since):
    with pytest.raises(UsageError, match="git knows no such commit, branch or tag"):
        compare(repo, since)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a checkout to another account")
def test_a_checkout_of_another_account_is_named_with_the_way_out(repo):
    """As in a container; git said how, behind our line that there is no checkout."""
    for path in (repo.root, repo.root / ".git"):
        os.chown(path, 65534, 65534)
    for words in (("db.released",), ("db.affected",)):
        ran = repo.inv(*words)
        assert (ran.code, len(ran.err.splitlines())) == (2, 1), ran.text
        assert f"{repo.root}: the checkout belongs to another account" in ran.err
        assert f"git config --global --add safe.directory {repo.root}" in ran.err


def test_without_git_it_is_a_wrong_use(monorepo):
    monorepo.service("billing")
    for words in ((), ("--since", "v1")):
        ran = monorepo.inv("db.released", *words)
        assert (ran.code, "is no checkout of git" in ran.err, len(ran.err.splitlines())) == (2, True, 1), ran.text


@pytest.mark.parametrize(
    "words", [("db.released",), ("db.released", "--upgrade"), ("db.compat",), ("db.compat", "--base", "v1")]
)
def test_where_git_is_not_installed_that_is_said_and_no_more(repo, words, tmp_path):
    ran = repo.inv(*words, env={"PATH": "/nowhere", "XDG_CACHE_HOME": str(tmp_path)})  # no server is there yet
    assert (ran.code, ran.err) == (2, "git can't be run: it isn't installed, or not on the PATH.\n"), ran.text


def clone(repo: Monorepo, path: Path, *options: str) -> Monorepo:
    words = ["git", "clone", "--quiet", *options, f"file://{repo.root}", str(path)]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    return Monorepo(path)


def test_a_shallow_clone_says_how_to_fetch(repo, tmp_path):
    for number in (4, 5, 6):
        repo.revision("billing", f"r{number}", f"r{number - 1}")
        commit(repo)
    shallow = clone(repo, tmp_path / "shallow", "--depth=1")
    ran = shallow.inv("db.released")
    assert (ran.code, "git fetch --unshallow --tags" in ran.err) == (0, True), ran.text
    for words in (("--since", "v1"), ("--since", "v1", "--upgrade")):
        ran = shallow.inv("db.released", *words)
        assert (ran.code, "git fetch --unshallow --tags" in ran.err) == (2, True), ran.text
    ran = shallow.inv("db.released", "--upgrade")
    assert ran.err == "No tags match 'v*'. A clone in CI may need: git fetch --unshallow --tags\n"
    assert (ran.code, ran.out) == (0, "nothing to upgrade: nothing was released\n")
    git(shallow, "fetch", "--quiet", "--depth=1", "origin", "tag", "v1")
    ran = shallow.inv("db.released", "--since", "v1")
    assert (ran.code, "git fetch --unshallow --tags" in ran.err) == (2, True), ran.text
    git(shallow, "fetch", "--quiet", "--unshallow", "--tags")
    assert shallow.inv("db.released", "--since", "v1").code == 0


def test_a_submodule_is_refused(repo, tmp_path):
    other = clone(repo, tmp_path / "other")
    rename(repo, BILLING, "elsewhere")
    commit(repo)
    git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", f"file://{other.root}", BILLING)
    release(repo, "v2")
    with pytest.raises(UsageError, match=f"{BILLING} is in the submodule {BILLING}"):
        compare(repo, "v2")
