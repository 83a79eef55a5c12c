"""Only what changed: what git says, and what models import."""

import json
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from service_migrations.errors import UsageError
from service_migrations.imports import Imports
from service_migrations.monorepo import discover
from service_migrations.rollout import affected as module
from service_migrations.rollout.affected import affected, changed
from tests.support.git import NAMES, append, commit, git, three_services
from tests.support.monorepo import Monorepo
from tests.support.table import set_keys


@pytest.fixture
def repo(monorepo: Monorepo) -> Monorepo:
    return three_services(monorepo)


def names(monorepo: Monorepo, base: str = "main") -> list[str]:
    return [service.name for service in affected(discover(monorepo.root), base)]


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not committed"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("services/alpha/models.py", ["alpha"]),
        ("services/alpha/.env.example", ["alpha"]),
        ("migrations/versions/gamma/r2.py", ["gamma"]),
        ("shared_models/money.py", ["beta"]),
        ("helpers/amounts.py", ["beta"]),
        ("helpers/__init__.py", ["beta"]),
        ("shared_models/naming.py", ["beta"]),  # the package imports it
        ("helpers/unused.py", []),
        ("README.md", []),
        ("tests/test_alpha.py", []),
        (".env.example", NAMES),
        ("pyproject.toml", NAMES),
        ("migrations/applier.py", NAMES),
        ("migrations/env.py", NAMES),
        ("services/__init__.py", NAMES),
        ("services/alpha/__init__.py", ["alpha"]),
        ("services/_common/unused.py", []),
        ("migrations/versions/helpers.py", NAMES),
        ("migrations/versions/removed/r1.py", NAMES),
        ("services/alpha/a file with spaces and ü.py", ["alpha"]),
    ],
)
def test_a_change_affects_the_services_that_run_with_it(repo, path, expected, committed):
    append(repo, path)
    if committed:
        commit(repo)
    assert names(repo) == expected


def test_nothing_is_affected_where_nothing_changed(repo):
    assert affected((), "main") == ()
    assert names(repo) == []


WORKSPACE = {
    "src": "libs/common/src/",
    "flat": "libs/common/",
    "deep": "python/packages/common-lib/lib/",
}


@pytest.mark.parametrize("sources", WORKSPACE.values(), ids=WORKSPACE)
@pytest.mark.parametrize("imports", ["from common_of_us.mixins import Mixin", "from common_of_us import Mixin"])
def test_a_package_of_the_workspace_affects_those_that_import_it(repo, sources, imports):
    """Also through another package, and whether or not this interpreter has it installed."""
    append(repo, f"{sources}common_of_us/__init__.py", "from common_of_us.mixins import Mixin\n")
    append(repo, f"{sources}common_of_us/mixins.py", "class Mixin:\n    pass\n")
    append(repo, f"{sources}common_of_us/unused.py")
    append(repo, "libs/between/src/between_of_us.py", f"{imports}\n")
    append(repo, "services/alpha/models.py", f"{imports}\n")
    append(repo, "services/beta/models.py", "import between_of_us\n")
    on_main(repo)
    for path in (f"{sources}common_of_us/mixins.py", f"{sources}pyproject.toml"):
        append(repo, path)
        assert names(repo) == ["alpha", "beta"]
        git(repo, "stash", "--include-untracked")
    append(repo, f"{sources}common_of_us/unused.py")
    assert names(repo) == []


def test_a_package_whose_folder_is_removed_affects_those_that_import_it(repo):
    append(repo, "libs/common/src/common_of_us/mixins.py")
    append(repo, "services/alpha/models.py", "from common_of_us import mixins\n")
    on_main(repo)
    (repo.root / "libs/common/src/common_of_us/mixins.py").unlink()
    assert "alpha" in names(repo)


@pytest.mark.parametrize(
    "text",
    [
        "from importlib import import_module\nimport_module(NAME)",
        "__import__(NAME)",
        "import pkgutil",
        "import nobody_has_this_package",
    ],
)
def test_where_only_a_run_shows_what_is_imported_every_module_counts(repo, text):
    append(repo, "services/alpha/models.py", f"{text}\n")
    on_main(repo)
    for path, expected in (("libs/x/y.py", ["alpha"]), ("libs/x/tests/test_y.py", []), ("docs/conf.py", [])):
        append(repo, path)
        assert names(repo) == expected
        git(repo, "stash", "--include-untracked")


def test_every_module_of_a_models_package_counts_wherever_the_package_is(repo):
    for path in ("alpha/__init__.py", "alpha/deep/late.py", "beta.py", "other.py"):
        append(repo, f"models_of_us/{path}")
    for name in ("alpha", "beta"):
        set_keys(repo, f'models = "models_of_us.{name}"', service=name)
    on_main(repo)
    for path, expected in (("alpha/deep/late.py", ["alpha"]), ("beta.py", ["beta"]), ("other.py", [])):
        append(repo, f"models_of_us/{path}")
        assert (path, names(repo)) == (path, expected)
        git(repo, "stash", "--include-untracked")


def test_files_that_every_upgrade_runs_with_affect_all(repo):
    locks = {*module._LOCKS, "uv.lock", "poetry.lock", "pdm.lock", "pylock.toml"}
    pins = ["apps/requirements-dev.txt", "requirements/base.txt", "apps/requirements/prod.in", "constraints.txt"]
    for path in (*module._ALL, *sorted(locks), *(f"apps/{name}" for name in sorted(locks)), *pins):
        append(repo, path)
        assert (path, names(repo)) == (path, NAMES)
        git(repo, "stash", "--include-untracked")
    for path in ("notes/base.txt", "requirements/README.md", "docs/constraints.py"):
        append(repo, path)
        assert (path, names(repo)) == (path, [])
        git(repo, "stash", "--include-untracked")


def test_the_environment_of_plain_alembic_is_shared_wherever_it_is(repo):
    pyproject = repo.root / "pyproject.toml"
    table = '[tool.alembic]\nscript_location = "%(here)s/db/../db/environment"\n'
    text = re.sub(r"(?ms)^\[tool\.alembic\]$.*?(?=^\[|\Z)", "", pyproject.read_text(encoding="utf-8"))
    pyproject.write_text(f"{text}\n{table}", encoding="utf-8")
    append(repo, "db/environment/env.py")
    on_main(repo)
    for path, expected in (
        ("db/environment/env.py", NAMES),
        ("db/environment/hooks/filters.sql", NAMES),
        ("db/environment/evidence/alpha/r1.json", []),
        ("db/other.sql", []),
        ("migrations/other.sql", NAMES),
        ("service_migrations/other.sql", NAMES),
    ):
        append(repo, path)
        assert (path, names(repo)) == (path, expected)
        git(repo, "stash", "--include-untracked")


def test_what_is_measured_affects_nobody(repo):
    append(repo, "migrations/evidence/alpha/r1.json")
    assert names(repo) == []


def test_what_main_has_done_meanwhile_affects_nobody(repo):
    git(repo, "checkout", "--quiet", "main")
    append(repo, "services/alpha/models.py")
    commit(repo)
    git(repo, "checkout", "--quiet", "branch")
    append(repo, "services/gamma/models.py")
    assert names(repo) == ["gamma"]


def test_a_file_that_is_ignored_affects_nobody(repo):
    repo.env("alpha", DATABASE_DSN="postgresql://a:b@c/d")
    assert names(repo) == []


def test_a_file_that_was_moved_counts_at_both_places(repo):
    git(repo, "mv", "migrations/versions/alpha/r1.py", "migrations/versions/gamma/r9.py")
    assert names(repo) == ["alpha", "gamma"]


def test_a_shared_module_that_is_gone_affects_all(repo):
    (repo.root / "shared_models" / "money.py").unlink()
    assert names(repo) == NAMES


@pytest.fixture
def common(repo: Monorepo) -> Monorepo:
    """Let alpha import from services/_common, on the branch that main is then at too."""
    append(repo, "services/_common/base.py")
    append(repo, "services/_common/__init__.py")
    append(repo, "services/alpha/models.py", "from services._common import base\n")
    return on_main(repo)


def on_main(repo: Monorepo) -> Monorepo:
    commit(repo)
    git(repo, "branch", "--force", "main")
    return repo


@pytest.mark.parametrize(
    "words",
    [
        ("rm", "services/_common/base.py"),
        ("mv", "services/_common/base.py", "services/_common/better.py"),
        ("rm", "-r", "services/_common"),
        ("mv", "services/_common", "services/_better"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not committed"])
def test_a_module_that_is_gone_affects_those_that_still_import_it(common, words, committed):
    git(common, *words)
    if committed:
        commit(common)
    assert names(common) == ["alpha"]


def test_a_module_of_another_service_that_is_gone_affects_those_that_import_it(repo):
    append(repo, "services/gamma/helpers.py")
    append(repo, "services/alpha/models.py", "import services.gamma.helpers\n")
    on_main(repo)
    git(repo, "rm", "services/gamma/helpers.py")
    assert names(repo) == ["alpha", "gamma"]


def test_a_star_may_import_every_module_of_a_package(repo):
    append(repo, "helpers/__init__.py", '__all__ = ["unused"]\n')
    append(repo, "helpers/unused.py")
    append(repo, "services/gamma/models.py", "from helpers import *\n")
    on_main(repo)
    append(repo, "helpers/unused.py")
    assert names(repo) == ["gamma"]


LINKS = {
    "a file": ("services/_common/base.py", "../../platform/base.py"),
    "a folder": ("services/_common", "../platform"),
    "a service's own file": ("services/alpha/base.py", "../../platform/base.py"),
    "a revision": ("migrations/versions/alpha/r2.py", "../../../platform/base.py"),
}


@pytest.mark.parametrize(("link", "target"), LINKS.values(), ids=LINKS)
@pytest.mark.parametrize("steps", [1, 2])
def test_what_a_link_leads_to_counts_at_the_link_too(repo, link, target, steps):
    append(repo, "platform/base.py")
    if steps > 1:
        (repo.root / "between").symlink_to("platform")
        target = target.replace("platform", "between")
    place = repo.root / link
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
    append(repo, "services/alpha/models.py", "from services._common import base\n")
    on_main(repo)
    append(repo, "platform/base.py")
    assert names(repo) == ["alpha"]


def test_a_link_that_leads_elsewhere_now_affects_those_that_import_through_it(repo):
    for folder in ("platform", "better"):
        append(repo, f"{folder}/base.py")
    link = repo.root / "services" / "_common"
    link.symlink_to("../platform")
    append(repo, "services/alpha/models.py", "from services._common import base\n")
    on_main(repo)
    link.unlink()
    link.symlink_to("../better")
    assert names(repo) == ["alpha"]


def test_links_that_lead_in_a_circle_end(repo):
    for name, target in (("a/b", "../b"), ("b/a", "../a"), ("a/self", "."), ("services/alpha/top", "../..")):
        (repo.root / name).parent.mkdir(exist_ok=True)
        (repo.root / name).symlink_to(target)
    on_main(repo)
    append(repo, "a/x.py")
    assert "gamma" not in names(repo)


@pytest.mark.parametrize("checked_out", [True, False])
def test_a_submodule_that_was_bumped_affects_those_that_import_it(repo, tmp_path, checked_out):
    source = Monorepo(tmp_path / "source")
    append(source, "base.py")
    git(source, "init", "--quiet", "--initial-branch", "main")
    commit(source)
    git(repo, "-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(source.root), "platform_models")
    append(repo, "services/alpha/models.py", "import platform_models.base\n")
    on_main(repo)
    inside = Monorepo(repo.root / "platform_models")
    append(inside, "base.py")
    assert names(repo) == ["alpha"]
    commit(inside)
    commit(repo)
    if not checked_out:
        git(repo, "submodule", "deinit", "--force", "platform_models")
    assert names(repo) == ["alpha"]


def test_a_name_that_is_no_utf_8_is_a_name_like_any_other(repo):
    name = os.fsencode(repo.root / "services" / "alpha") + b"/gr\xf6\xdfe.txt"
    Path(os.fsdecode(name)).touch()
    assert names(repo) == ["alpha"]


def test_models_that_have_become_a_package_are_followed_too(repo):
    package = repo.root / "services" / "alpha" / "models"
    (repo.root / "services" / "alpha" / "models.py").unlink()
    package.mkdir()
    (package / "__init__.py").write_text("from services.alpha.models.deep import *\n", encoding="utf-8")
    (package / "deep.py").write_text("from shared_models import money\n", encoding="utf-8")
    commit(repo)
    git(repo, "checkout", "--quiet", "-b", "next")
    append(repo, "shared_models/money.py")
    assert names(repo, "branch") == ["alpha", "beta"]


def test_the_paths_are_relative_to_the_monorepo_also_in_a_larger_checkout(tmp_path: Path) -> None:
    inner = Monorepo.make(tmp_path / "outer" / "inner")
    inner.service("alpha")
    outer = Monorepo(tmp_path / "outer")
    git(outer, "init", "--quiet", "--initial-branch", "main")
    commit(outer)
    append(inner, "services/alpha/models.py")
    append(outer, "elsewhere.txt")
    assert changed(inner.root, "HEAD") == {Path("services/alpha/models.py")}


@pytest.mark.parametrize("base", ["nonsense", "--help", "", "HEAD:tasks.py"])
def test_a_base_that_git_does_not_know_is_wrong_use(repo, base):
    with pytest.raises(UsageError, match="--base") as caught:
        names(repo, base)
    assert "\n" not in str(caught.value)


def test_the_command_prints_one_line_of_json_for_a_matrix(repo):
    append(repo, "services/alpha/models.py")
    append(repo, "services/gamma/models.py")
    ran = repo.inv("db.affected", "--base", "main", "--json")
    assert (ran.code, ran.out) == (0, '["alpha", "gamma"]\n')
    assert repo.inv("db.affected", "--base", "main").out == "alpha\ngamma\n"
    ran = repo.inv("db.affected", "--base", "branch", "--json", "--service", "beta")
    assert json.loads(ran.out) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("db.affected",), "--base is missing"),
        (
            ("db.affected", "--base", "nope"),
            "--base 'nope': git knows no such commit, branch or tag. Fetch it first: git fetch --tags",
        ),
        (("db.upgrade", "--affected"), "--base is missing"),
        (("db.upgrade", "--base", "main"), "Add --affected"),
        (("db.upgrade", "--shard", "4/3"), "there is no shard 4 of 3"),
        (("db.upgrade", "--shard", "0/3"), "there is no shard 0 of 3"),
        (("db.upgrade", "--shard", "3"), "write 3/10"),
        (("db.upgrade", "--shard", "/3"), "JOB_COMPLETION_INDEX is ''"),
        (("db.upgrade", "--shard", "1/0"), "there is no shard 1 of 0"),
        (("db.upgrade", "--shard", "1/1001"), "a fleet has 1000 parts at most"),
        (("db.upgrade", "--shard", "1/100000000"), "1000 parts at most"),
        (("db.upgrade", "--shard", f"1/{'9' * 5000}"), "write 3/10"),
        (("db.upgrade", "--shard", f"{'9' * 5000}/10"), "write 3/10"),
        (("db.upgrade", "--shard", "1/2", "--canary", "delta"), "'delta'"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(repo, words, said):
    ran = repo.inv(*words)
    assert (ran.code, ran.out) == (2, ""), ran.text
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1


def test_the_teams_branch_is_the_default_base_and_is_named(repo):
    append(repo, "services/beta/models.py")
    commit(repo)
    for words in (("db.affected",), ("db.affected", "--json")):
        ran = repo.inv(*words)
        assert (ran.code, ran.err) == (0, "Compared with main; --base names another.\n"), ran.text
        assert "beta" in ran.out
        assert "alpha" not in ran.out
    git(repo, "branch", "--move", "main", "master")
    assert "Compared with master" in repo.inv("db.affected").err
    git(repo, "branch", "--move", "master", "trunk")
    ran = repo.inv("db.affected")
    assert (ran.code, "git knows none of origin/HEAD, " in ran.err) == (2, True), ran.text


def test_a_commit_of_the_teams_branch_is_not_compared_with_that_branch(repo):
    append(repo, "services/beta/models.py")
    commit(repo)
    git(repo, "checkout", "--quiet", "main")
    git(repo, "merge", "--quiet", "branch")
    for task in (("db.affected",), ("db.check", "--affected"), ("db.upgrade", "--affected")):
        ran = repo.inv(*task)
        assert (ran.code, ran.out, "HEAD is in main already" in ran.err) == (2, "", True), ran.text


def test_without_a_checkout_or_git_it_is_wrong_use(monorepo, tmp_path):
    monorepo.service("alpha")
    for words in (("db.affected", "--base", "main"), ("db.affected",), ("db.upgrade", "--affected")):
        ran = monorepo.inv(*words, env={"GIT_CEILING_DIRECTORIES": str(tmp_path)})
        assert ran.code == 2
        assert "no checkout of git" in ran.err
        ran = monorepo.inv(*words, env={"PATH": str(tmp_path)})
        assert ran.code == 2
        assert "git can't be run" in ran.err


def test_a_check_of_what_changed_asks_no_database_where_nothing_did(repo):
    ran = repo.inv("db.check", "--affected", "--base", "HEAD")
    assert (ran.code, ran.out) == (0, "nothing to check: no service is affected\n")
    assert repo.inv("db.check", "--affected", "--base", "HEAD", "--json").out == "[]\n"


def test_a_shallow_clone_says_how_to_fetch(repo, tmp_path):
    shallow = tmp_path / "shallow"
    words = ["git", "clone", "--quiet", "--depth=1", f"file://{repo.root}", str(shallow)]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    for task in ("db.affected", "db.check --affected"):
        ran = Monorepo(shallow).inv(*task.split(), "--base", "HEAD~1")
        assert ran.code == 2, ran.text
        assert "--base 'HEAD~1': git knows no such commit, branch or tag. This clone has the last " in ran.err
        assert ran.err.rstrip().endswith("git fetch --unshallow --tags")


@pytest.mark.parametrize(
    "statement", ["from {} import part", "import {}.part", "from {} import *", "from {}.part import x"]
)
def test_a_package_that_this_interpreter_imports_from_the_repository_is_followed(
    monorepo: Monorepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    """As one that git ignores, in the folder of an editable install; and none of elsewhere."""
    number = abs(hash(statement))
    inside, outside = f"vendored_{number}", f"foreign_{number}"
    for folder, name in ((monorepo.root / "vendor/src", inside), (tmp_path / "elsewhere", outside)):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").touch()
        (folder / name / "part.py").write_text("from . import deeper\n", encoding="utf-8")
        (folder / name / "deeper.py").touch()
        monkeypatch.syspath_prepend(str(folder))
    service = monorepo.service("billing", f"{statement.format(inside)}\n{statement.format(outside)}\n__all__ = []\n")
    imports = Imports(monorepo.root)
    reached = {path for path in imports.of(service) if path.endswith(".py") and not path.startswith("services/")}
    assert reached == {f"vendor/src/{inside}/{name}.py" for name in ("__init__", "part", "deeper")}
    assert not imports.is_doubtful(imports.of(service))


@pytest.mark.parametrize("executed", [True, False])
@pytest.mark.parametrize("source", ["", "src/"])
def test_the_files_of_a_history_are_followed_from_wherever_they_are(
    monorepo: Monorepo, tmp_path: Path, source: str, executed: bool
) -> None:
    service = replace(monorepo.service("billing"), source=monorepo.root / source)
    for path, text in {
        "migrations/versions/billing/a1.py": "import tools.sql\ndef upgrade():\n    import tools.late\n",
        f"{source}tools/sql.py": "from . import more\n",
        f"{source}tools/more.py": "if TYPE_CHECKING:\n    import tools.typed\nelse:\n    from tools import other\n",
        **{f"{source}tools/{name}.py": "" for name in ("late", "typed", "other", "unused")},
    }.items():
        file = monorepo.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    elsewhere = tmp_path / "elsewhere.py"
    elsewhere.touch()
    imports = Imports(monorepo.root, executed=executed)
    reached = imports.of_files(service, [monorepo.root / "migrations/versions/billing/a1.py", elsewhere])
    names = {"sql", "more", "other", *(() if executed else ("late", "typed"))}
    expected = {"migrations/versions/billing/a1.py", *(f"{source}tools/{name}.py" for name in names)}
    assert {path for path in reached if path.endswith(".py")} == expected


def test_a_package_that_imports_by_names_of_its_run_counts_whole_where_imports_are_executed(monorepo: Monorepo) -> None:
    service = monorepo.service("billing")
    file = monorepo.root / "a1.py"
    file.write_text("import tools\n", encoding="utf-8")
    (monorepo.root / "tools/parts").mkdir(parents=True)
    (monorepo.root / "tools/__init__.py").write_text("from importlib import import_module\n", encoding="utf-8")
    (monorepo.root / "tools/parts/part.py").touch()
    for executed in (True, False):
        imports = Imports(monorepo.root, executed=executed)
        reached = imports.of_files(service, [file])
        assert ("tools/parts/part.py" in reached) == executed
        assert imports.is_doubtful(reached)
