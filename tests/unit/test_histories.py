"""Histories that teams have: several folders, subfolders, links and branches, read with and without Alembic."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from service_migrations.errors import ConfigurationError, UsageError
from service_migrations.history.files import head_file
from service_migrations.history.files.static import read_chain
from service_migrations.history.graph import clashing_heads, overlapping
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History, read
from service_migrations.monorepo import Service, find
from tests.support.monorepo import Monorepo

RECURSIVE = "recursive_version_locations = true"


def configure(monorepo: Monorepo, *lines: str, alembic: str = "") -> None:
    """Write lines of our table for all services, and of Alembic's."""
    path = monorepo.root / "pyproject.toml"
    text = path.read_text()
    assert "[tool.service-migrations]\n" in text
    text = text.replace("[tool.service-migrations]\n", "\n".join(["[tool.service-migrations]", *lines, ""]))
    path.write_text(text.replace("[tool.alembic]\n", f"[tool.alembic]\n{alembic}\n"))


def of_service(monorepo: Monorepo, name: str, *lines: str) -> None:
    """Write a service's own table."""
    path = monorepo.root / "pyproject.toml"
    path.write_text("\n".join([path.read_text(), f"[tool.service-migrations.service.{name}]", *lines, ""]))


def write(monorepo: Monorepo, path: str, revision: str, down: object = None, **names: object) -> Path:
    """Write a revision file at a path below the top level."""
    file = monorepo.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{revision + '.'!r}", f"revision = {revision!r}", f"down_revision = {down!r}"]
    lines += [f"{name} = {value!r}" for name, value in names.items()]
    file.write_text("\n".join([*lines, "def upgrade(): pass", "def downgrade(): pass", ""]))
    return file


V = "migrations/versions/billing"


def flat(monorepo: Monorepo) -> None:
    write(monorepo, f"{V}/a.py", "a1")
    write(monorepo, f"{V}/b.py", "b2", "a1")


def folders_of_years(monorepo: Monorepo) -> None:
    configure(monorepo, RECURSIVE)
    write(monorepo, f"{V}/2023/a.py", "a1")
    write(monorepo, f"{V}/2024/06/b.py", "b2", "a1")
    write(monorepo, f"{V}/c.py", "c3", "b2")


def folders_by_alembics_own_option(monorepo: Monorepo) -> None:
    configure(monorepo, alembic=RECURSIVE)
    write(monorepo, f"{V}/2023/a.py", "a1")
    write(monorepo, f"{V}/b.py", "b2", "a1")


def two_locations(monorepo: Monorepo) -> None:
    configure(monorepo, 'versions = ["migrations/versions/{name}", "legacy/{name}"]')
    write(monorepo, "legacy/billing/a.py", "a1")
    write(monorepo, f"{V}/b.py", "b2", "a1")


def one_location_in_another(monorepo: Monorepo) -> None:
    configure(monorepo, 'versions = ["migrations/versions/{name}", "migrations/versions/{name}/old"]')
    write(monorepo, f"{V}/old/a.py", "a1")
    write(monorepo, f"{V}/b.py", "b2", "a1")


def the_same_recursively(monorepo: Monorepo) -> None:
    configure(monorepo, RECURSIVE, 'versions = ["migrations/versions/{name}", "migrations/versions/{name}/old"]')
    write(monorepo, f"{V}/old/a.py", "a1")
    write(monorepo, f"{V}/b.py", "b2", "a1")


def a_linked_folder(monorepo: Monorepo) -> None:
    write(monorepo, "elsewhere/a.py", "a1")
    write(monorepo, "elsewhere/b.py", "b2", "a1")
    (monorepo.root / "migrations/versions").mkdir()
    (monorepo.root / V).symlink_to("../../elsewhere", target_is_directory=True)


def a_linked_folder_outside_the_repository(monorepo: Monorepo) -> None:
    write(monorepo, "../outside/a.py", "a1")
    (monorepo.root / "migrations/versions").mkdir()
    (monorepo.root / V).symlink_to("../../../outside", target_is_directory=True)


def a_linked_file(monorepo: Monorepo) -> None:
    write(monorepo, "elsewhere/a.py", "a1")
    write(monorepo, f"{V}/b.py", "b2", "a1")
    (monorepo.root / V / "a.py").symlink_to("../../../elsewhere/a.py")
    (monorepo.root / V / "again.py").symlink_to("a.py")


def two_labelled_bases(monorepo: Monorepo) -> None:
    write(monorepo, f"{V}/e1.py", "e1", branch_labels=("expand",))
    write(monorepo, f"{V}/e2.py", "e2", "e1")
    write(monorepo, f"{V}/c1.py", "c1", branch_labels="contract")


def a_trunk_with_labelled_branches(monorepo: Monorepo) -> None:
    write(monorepo, f"{V}/a1.py", "a1")
    write(monorepo, f"{V}/e1.py", "e1", "a1", branch_labels=["expand"])
    write(monorepo, f"{V}/c1.py", "c1", "a1", branch_labels=("contract",))
    write(monorepo, f"{V}/c2.py", "c2", "c1", depends_on="expand")


def branches_that_depend_on_each_other(monorepo: Monorepo) -> None:
    write(monorepo, f"{V}/e1.py", "e1", branch_labels=("expand",))
    write(monorepo, f"{V}/e2.py", "e2", "e1")
    write(monorepo, f"{V}/c1.py", "c1", branch_labels=("contract",), depends_on="e1")
    write(monorepo, f"{V}/c2.py", "c2", "c1", depends_on=("e2",))


def a_merge(monorepo: Monorepo) -> None:
    write(monorepo, f"{V}/a.py", "a1")
    write(monorepo, f"{V}/b.py", "b2", "a1")
    write(monorepo, f"{V}/c.py", "c3", "a1")
    write(monorepo, f"{V}/d.py", "d4", ("b2", "c3"))


def long_ids_and_spaces(monorepo: Monorepo) -> None:
    write(monorepo, f"{V}/a.py", "2024 the first of all revisions that this service has")
    write(monorepo, f"{V}/b.py", 'b"2\\', "2024 the first of all revisions that this service has")


def docstrings_of_several_lines(monorepo: Monorepo) -> None:
    write(monorepo, f"{V}/a.py", "a1").write_text(
        '"""Add things.\nand more of them\n\nRevision ID: a1\n"""\nrevision = "a1"\ndown_revision = None\n'
    )


def docstrings_with_a_tab_or_none(monorepo: Monorepo) -> None:
    # the compiler of Python 3.13 makes spaces of the tab
    write(monorepo, f"{V}/b.py", "b2").write_text(
        '"""\n  Add\tmore.\n  and more\n"""\nrevision = "b2"\ndown_revision = None\n'
    )
    write(monorepo, f"{V}/c.py", "c3").write_text('revision = "c3"\ndown_revision = "b2"\n')


READ = [
    flat,
    folders_of_years,
    folders_by_alembics_own_option,
    two_locations,
    one_location_in_another,
    the_same_recursively,
    a_linked_folder,
    a_linked_folder_outside_the_repository,
    a_linked_file,
    two_labelled_bases,
    a_trunk_with_labelled_branches,
    branches_that_depend_on_each_other,
    a_merge,
    long_ids_and_spaces,
    docstrings_of_several_lines,
    docstrings_with_a_tab_or_none,
]


def billing(monorepo: Monorepo) -> Service:
    monorepo.service("billing")
    return monorepo.find("billing")


def files(monorepo: Monorepo) -> list[Path]:
    """Return the revision files of a monorepo and of what it links to, each once."""
    paths = (Path(folder, name) for folder, _, names in os.walk(monorepo.root.parent) for name in names)
    return [p for p in paths if p.suffix == ".py" and not p.is_symlink() and "\ndown_revision = " in p.read_text()]


def assert_agrees(history: History) -> None:
    chain = read_chain(history.service)
    assert chain is not None
    assert sorted(chain.revisions, key=str) == sorted(history.revisions, key=str)
    assert chain.effective_heads == history.accepted_heads()
    assert chain.heads == tuple(sorted(history.heads))
    assert chain.checksums.keys() == set(chain.ids)
    for revision in history.revisions:
        assert chain.pending((revision.revision,)) == len(history.pending((revision.revision,)))
        assert chain.ids.index(revision.revision) > max(
            map(chain.ids.index, (*revision.down_revision, *revision.depends_on)), default=-1
        )


@pytest.mark.parametrize("layout", READ)
def test_a_history_is_read_the_same_with_and_without_alembic(
    monorepo: Monorepo, layout: Callable[[Monorepo], None]
) -> None:
    layout(monorepo)
    history = read(billing(monorepo))
    assert len(history.revisions) == len(files(monorepo))
    assert_agrees(history)
    assert all((history.service.root / revision.path).is_file() for revision in history.revisions)
    assert all("\n" not in revision.message for revision in history.revisions)


@pytest.mark.parametrize("nothing", ["", (), [], None])
def test_an_empty_text_depends_on_nothing_as_for_alembic(monorepo: Monorepo, nothing: object) -> None:
    write(monorepo, f"{V}/a.py", "a1")
    write(monorepo, f"{V}/b.py", "b2", "a1", depends_on=nothing)
    history = read(billing(monorepo))
    assert [(revision.revision, revision.depends_on) for revision in history.revisions] == [("b2", ()), ("a1", ())]
    assert history.accepted_heads() == ("b2",)


UNREAD = {
    "a folder of a year": ({f"{V}/2023/a.py": "a1", f"{V}/2024/b.py": "b2"}, f"{V}/2023/a.py"),
    "only the newer ones": ({f"{V}/a.py": "a1", f"{V}/2024/06/b.py": "b2"}, f"{V}/2024/06/b.py"),
    "beside another service's": ({f"{V}/other/c.py": "c1", f"{V}/old/a.py": "a1"}, f"{V}/old/a.py"),
}


@pytest.mark.parametrize(("written", "first"), UNREAD.values(), ids=UNREAD)
@pytest.mark.parametrize("annotated", [False, True])
def test_a_revision_in_a_subfolder_is_refused_by_name(
    monorepo: Monorepo, written: dict[str, str], first: str, annotated: bool
) -> None:
    of_service(monorepo, "other", 'versions = "migrations/versions/billing/other"')
    (monorepo.root / "services/other").mkdir()
    (monorepo.root / "services/other/models.py").write_text("__all__ = []\n")
    for path, revision in written.items():
        file = write(monorepo, path, revision)
        if annotated:
            file.write_text(file.read_text().replace("revision =", "revision: str | None ="))
    service = billing(monorepo)
    assert read_chain(service) is None
    with pytest.raises(ConfigurationError, match="recursive_version_locations = true") as raised:
        read(service)
    assert raised.value.path == first


@pytest.mark.parametrize("value", ["true", "false"])
def test_compiled_revisions_are_left_to_alembic(monorepo: Monorepo, value: str) -> None:
    configure(monorepo, alembic=f"sourceless = {value}")
    flat(monorepo)
    assert (read_chain(billing(monorepo)) is None) == (value == "true")


def test_what_is_no_revision_in_a_subfolder_is_passed_over(monorepo: Monorepo) -> None:
    of_service(monorepo, "other", 'versions = "migrations/versions/billing/other"')
    (monorepo.root / "services/other").mkdir()
    (monorepo.root / "services/other/models.py").write_text("__all__ = []\n")
    flat(monorepo)
    write(monorepo, f"{V}/other/c.py", "c1")
    write(monorepo, f"{V}/.history/a_2024.py", "a1")
    write(monorepo, f"{V}/__pycache__/a.py", "a1")
    write(monorepo, f"{V}/sql/.#a.py", "a1")
    (monorepo.root / V / "sql/helpers.py").write_text("def revision(): pass\n_revision = 'a1'\nold_revision = 'a1'\n")
    (monorepo.root / V / "sql/revision.txt").write_text("revision = 'a1'\n")
    assert_agrees(read(billing(monorepo)))


@pytest.mark.parametrize("own", [False, True])
def test_revisions_in_a_subfolder_are_left_out_where_the_table_says_so(monorepo: Monorepo, own: bool) -> None:
    """As of a history that was squashed, whose old files stay; as under plain Alembic, its first one follows none."""
    line = "recursive_version_locations = false"
    (of_service if own else configure)(monorepo, *(["billing"] if own else []), line)
    flat(monorepo)
    write(monorepo, f"{V}/legacy/a.py", "old")
    write(monorepo, f"{V}/legacy/2020/b.py", "a1", "old")
    history = read(billing(monorepo))
    assert_agrees(history)
    assert history.heads == ("b2",)
    assert len(history.revisions) == 2


def test_a_linked_subfolder_is_refused_where_subfolders_are_read_too(monorepo: Monorepo) -> None:
    folders_of_years(monorepo)
    write(monorepo, "elsewhere/d.py", "d4", "c3")
    (monorepo.root / V / "2025").symlink_to("../../../elsewhere", target_is_directory=True)
    (monorepo.root / V / "2025b").symlink_to(".", target_is_directory=True)  # a circle is no revision
    with pytest.raises(ConfigurationError, match="symbolic link") as raised:
        read(billing(monorepo))
    assert raised.value.path == f"{V}/2025/d.py"


def test_a_service_that_reads_subfolders_never_reads_anothers(monorepo: Monorepo) -> None:
    of_service(monorepo, "billing", RECURSIVE)
    of_service(monorepo, "other", 'versions = "migrations/versions/billing/other"')
    folder = monorepo.root / "services/other"
    folder.mkdir()
    (folder / "models.py").write_text("__all__ = []\n")
    with pytest.raises(ConfigurationError, match="below migrations/versions/billing are the versions of another"):
        billing(monorepo)


def test_one_folder_through_a_link_is_not_of_two_services(monorepo: Monorepo) -> None:
    flat(monorepo)
    (monorepo.root / "migrations/versions/other").symlink_to("billing", target_is_directory=True)
    (monorepo.root / "services/other").mkdir()
    (monorepo.root / "services/other/models.py").write_text("__all__ = []\n")
    with pytest.raises(ConfigurationError, match="have the same versions"):
        billing(monorepo)


def two_bases(monorepo: Monorepo) -> None:
    write(monorepo, f"{V}/a.py", "a1")
    write(monorepo, f"{V}/b.py", "b1")


def one_label_for_both(monorepo: Monorepo) -> None:
    write(monorepo, f"{V}/a.py", "a1", branch_labels=("main",))
    write(monorepo, f"{V}/b.py", "b2", "a1")
    write(monorepo, f"{V}/c.py", "c2", "a1")


def one_without_a_label(monorepo: Monorepo) -> None:
    write(monorepo, f"{V}/a.py", "a1")
    write(monorepo, f"{V}/b.py", "b2", "a1", branch_labels=("feature",))
    write(monorepo, f"{V}/c.py", "c2", "a1")


def two_within_a_branch(monorepo: Monorepo) -> None:
    two_labelled_bases(monorepo)
    write(monorepo, f"{V}/e3.py", "e3", "e1")


CLASHES = {
    two_bases: ("a1", "b1"),
    one_label_for_both: ("b2", "c2"),
    one_without_a_label: ("b2", "c2"),
    two_within_a_branch: ("e2", "e3"),
}


@pytest.mark.parametrize(("layout", "clashing"), CLASHES.items())
def test_a_second_head_without_a_label_of_its_own_is_refused(
    monorepo: Monorepo, layout: Callable[[Monorepo], None], clashing: tuple[str, str]
) -> None:
    layout(monorepo)
    history = read(billing(monorepo))
    assert read_chain(history.service) is None
    assert not history.has_branches
    with pytest.raises(UsageError, match="has 2 heads") as raised:
        history.accepted_heads()
    assert set(raised.value.message.rstrip(".").split(": ")[1].split(", ")) == set(clashing)
    with pytest.raises(UsageError):
        head_file.write(history)
    assert "2 heads" in str(head_file.problem(history))


def test_what_depends_on_another_revision_counts_as_pending_and_applied_with_it(monorepo: Monorepo) -> None:
    branches_that_depend_on_each_other(monorepo)
    history = read(billing(monorepo))
    assert history.accepted_heads() == ("c2",)
    assert [revision.revision for revision in history.pending(())] == ["e1", "c1", "e2", "c2"] or [
        revision.revision for revision in history.pending(())
    ] == ["e1", "e2", "c1", "c2"]
    assert {revision.revision for revision in history.applied(("c1",))} == {"e1", "c1"}
    assert history.pending(("c2",)) == ()
    assert {revision.revision for revision in history.pending(("e2",))} == {"c1", "c2"}


GRAPH = {
    "a1": Revision("a1", (), "", "", is_head=False),
    "b2": Revision("b2", ("a1",), "", "", is_head=True),
    "c2": Revision("c2", ("a1",), "", "", is_head=False),
    "d3": Revision("d3", ("c2",), "", "", is_head=True),
    "e1": Revision("e1", (), "", "", is_head=True, depends_on=("c2",)),
}


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        ([], None),
        (["d3"], None),
        (["b2", "c2"], None),
        (["b2", "d3", "e1"], None),
        (["b2", "b2"], ("b2", "b2")),  # twice
        (["a1", "b2"], ("a1", "b2")),
        (["b2", "a1"], ("a1", "b2")),
        (["a1", "d3"], ("a1", "d3")),
        (["b2", "c2", "d3"], ("c2", "d3")),
        (["b2", "c2", "e1"], ("c2", "e1")),  # a dependency is implied too
    ],
)
def test_of_two_revisions_of_a_database_one_may_imply_the_other(
    current: list[str], expected: tuple[str, str] | None
) -> None:
    assert overlapping(GRAPH, current) == expected


def test_one_head_and_no_head_clash_with_nothing() -> None:
    assert clashing_heads(()) == ()
    assert clashing_heads([GRAPH["a1"], GRAPH["b2"]]) == ()
    assert clashing_heads([GRAPH[key] for key in ("a1", "b2", "c2", "d3")]) == ("b2", "d3")


def test_the_heads_are_written_one_a_line_each_in_the_place_of_its_branch(monorepo: Monorepo) -> None:
    two_labelled_bases(monorepo)
    service = billing(monorepo)
    assert "is missing" in str(head_file.problem(read(service)))
    head_file.write(read(service))
    assert service.head_file.read_text() == "c1\ne2\n"
    assert head_file.problem(read(service)) is None
    write(monorepo, f"{V}/z9.py", "z9", "c1")
    assert "names c1 e2, and the files end at z9, e2" in str(head_file.problem(read(service)))
    head_file.write(read(service))
    assert service.head_file.read_text() == "z9\ne2\n"


WRONG: dict[str, tuple[dict[str, tuple[object, ...]], str, list[str]]] = {
    "an id twice": ({"a.py": ("a1", None), "b.py": ("a1", None)}, "the id 'a1'", ["a.py", "b.py"]),
    "an id twice in two folders": (
        {"old/a.py": ("a1", None), "a.py": ("a1", None)},
        "the id 'a1'",
        ["a.py", "old/a.py"],
    ),
    "a parent that is missing": ({"a.py": ("a1", "zz"), "b.py": ("b2", "a1")}, "'zz' is in no file", ["a.py"]),
    "one of two parents": (
        {"a.py": ("a1", None), "b.py": ("b2", ("a1", "zz"))},
        "'zz' is in no file",
        ["b.py"],
    ),
    "a dependency that is missing": ({"a.py": ("a1", None, None, "zz")}, "depends_on 'zz' is in no file", ["a.py"]),
    "a cycle": (
        {"a.py": ("a1", "c3"), "b.py": ("b2", "a1"), "c.py": ("c3", "b2")},
        "cycle",
        ["a.py", "c.py", "b.py", "a.py"],
    ),
    "a cycle beside a history": (
        {"a.py": ("a1", None), "b.py": ("b2", "c3"), "c.py": ("c3", "b2")},
        "cycle",
        ["b.py", "c.py", "b.py"],
    ),
    "itself": ({"a.py": ("a1", "a1")}, "cycle", ["a.py"]),
    "a cycle of dependencies": (
        {"a.py": ("a1", None, "x", "b1"), "b.py": ("b1", None, "y", "x")},
        "cycle",
        ["a.py", "b.py"],
    ),
    "a label twice": (
        {"a.py": ("a1", None, "x"), "b.py": ("b1", None, "x")},
        "'x', its branch label",
        ["a.py", "b.py"],
    ),
    "a label that is an id": ({"a.py": ("a1", None), "b.py": ("b1", "a1", "a1")}, "'a1', its branch", ["b.py", "a.py"]),
}


@pytest.mark.parametrize(("written", "text", "named"), WRONG.values(), ids=WRONG)
def test_what_is_no_history_is_refused_with_its_files(
    monorepo: Monorepo, written: dict[str, tuple[object, ...]], text: str, named: list[str]
) -> None:
    configure(monorepo, 'versions = ["migrations/versions/{name}", "migrations/versions/{name}/old"]')
    for path, (revision, down, *names) in written.items():
        write(
            monorepo,
            f"{V}/{path}",
            str(revision),
            down,
            **dict(zip(("branch_labels", "depends_on"), names, strict=False)),
        )
    service = billing(monorepo)
    assert read_chain(service) is None
    with pytest.raises(UsageError) as raised:
        read(service)
    line = str(raised.value)
    assert text in line
    assert "\n" not in line
    assert all(f"{V}/{path}" in line for path in named)
    assert "Nothing was run" in line


@pytest.mark.parametrize(
    ("source", "text", "number"),
    [
        ("revision = 'a1'\ndown_revision = None\ndef upgrade(:\n", "invalid syntax", 3),
        ("<<<<<<< HEAD\nrevision = 'a1'\n=======\nrevision = 'a2'\n>>>>>>> b\n", "a mark of a merge conflict", 1),
        ("revision = 'a1'\ndown_revision = None\n=======\n>>>>>>> b\n", "a mark of a merge conflict", 3),
        ("revision = 'a1'\ndown_revision = None\nimport nothing_of_this_name\n", "ModuleNotFoundError", 3),
        ("revision = 'a1'\n", "down_revision", None),
        ("down_revision = None\n", "it assigns no revision", None),
        ("", "it is empty", None),
        ("\n", "it is empty", None),
        ('revision = "a\'1"\ndown_revision = None\n', "has a quote", None),
        ("revision = 'a\\n1'\ndown_revision = None\n", "can't be printed", None),
        ("revision = 'a@1'\ndown_revision = None\n", "has @, which", None),
        ("revision = 5\ndown_revision = None\n", "id 5 is no text", None),
        ("revision = 'base'\ndown_revision = None\n", "word of Alembic's own", None),
        ("revision = 'a1'\ndown_revision = None\nbranch_labels = 5\n", "branch_labels are 5, and not a text", None),
        ("revision = 'a1'\ndown_revision = None\ndef __getattr__(_): return None\n", "answers to any name", None),
    ],
)
@pytest.mark.parametrize("linked", [False, True])
def test_a_file_that_is_no_revision_is_refused_with_its_name(
    monorepo: Monorepo, source: str, text: str, number: int | None, linked: bool
) -> None:
    folder = "elsewhere" if linked else V
    (monorepo.root / folder).mkdir(parents=True)
    (monorepo.root / folder / "bad_one.py").write_text(source)
    if linked:
        (monorepo.root / "migrations/versions").mkdir()
        (monorepo.root / V).symlink_to("../../elsewhere", target_is_directory=True)
    service = billing(monorepo)
    assert read_chain(service) is None
    with pytest.raises(UsageError, match=text) as raised:
        read(service)
    assert "bad_one" in str(raised.value)
    assert raised.value.line == number


@pytest.mark.parametrize(
    "warning",
    [
        "import warnings; warnings.warn('beware')",
        "import warnings; warnings.warn('beware', DeprecationWarning)",
        "import warnings; warnings.warn('beware', FutureWarning, stacklevel=9)",
        "from sqlalchemy.util import warn; warn('beware')",
        "from sqlalchemy.util import warn_deprecated; warn_deprecated('beware', '2.0')",
        "import alembic.util; alembic.util.warn('beware of it')",  # a folder may be that of an earlier test
    ],
)
@pytest.mark.parametrize("linked", [False, True])
def test_a_warning_of_a_file_is_logged_once_with_its_line(
    monorepo: Monorepo, caplog: pytest.LogCaptureFixture, warning: str, linked: bool
) -> None:
    file = write(monorepo, "elsewhere/a.py" if linked else f"{V}/a.py", "a1")
    if linked:
        (monorepo.root / "migrations/versions").mkdir()
        (monorepo.root / V).symlink_to("../../elsewhere", target_is_directory=True)
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:3], warning, *lines[3:]]))
    service = billing(monorepo)
    with caplog.at_level(logging.WARNING, "service_migrations"):
        assert read(service).heads == ("a1",)
        assert read(service).heads == ("a1",)
    (record,) = caplog.records
    assert f"{service.relative(file)}:4: " in record.getMessage()
    assert "beware" in record.getMessage()


@pytest.mark.parametrize(
    ("category", "is_logged"),
    [
        *[("DeprecationWarning", False), ("PendingDeprecationWarning", False), ("ImportWarning", False)],
        *[("ResourceWarning", False), ("UserWarning", True), ("FutureWarning", True), ("RuntimeWarning", True)],
    ],
)
def test_what_a_package_tells_its_authors_is_told_nobody_else(
    monorepo: Monorepo,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    category: str,
    is_logged: bool,
) -> None:
    """As Python itself does; a revision that calls what is deprecated is named by the warning's stacklevel."""
    name = f"package_of_{category.lower()}"
    packages = monorepo.root / ".venv/lib/site-packages"
    packages.mkdir(parents=True)
    (packages / f"{name}.py").write_text(f"import warnings\nwarnings.warn('beware', {category})\n")
    monkeypatch.syspath_prepend(packages)
    file = write(monorepo, f"{V}/a.py", "a1")
    file.write_text(f"import {name}\n{file.read_text()}")
    with caplog.at_level(logging.WARNING, "service_migrations"):
        read(billing(monorepo))
    assert [f"{V}/a.py:1: {category}: beware" in each.getMessage() for each in caplog.records] == [True] * is_logged


def test_a_syntax_warning_is_logged_with_its_line(monorepo: Monorepo, caplog: pytest.LogCaptureFixture) -> None:
    file = write(monorepo, f"{V}/a.py", "a1")
    file.write_text(file.read_text() + "x = 1 is 1\n")
    with caplog.at_level(logging.WARNING, "service_migrations"):
        read(billing(monorepo))
    (record,) = caplog.records
    assert f"{V}/a.py:6: SyntaxWarning" in record.getMessage()


def revise(monorepo: Monorepo, *words: str) -> str:
    ran = monorepo.inv("db.revision", "--service", "billing", "-m", "more", "--empty", *words)
    assert ran.code == 0, ran.text
    return ran.out.strip()


def refused(monorepo: Monorepo, *words: str) -> str:
    ran = monorepo.inv("db.revision", "--service", "billing", "-m", "more", "--empty", *words)
    assert ran.code == 2, ran.text
    return ran.text


def test_a_new_revision_names_the_branch_that_it_continues(monorepo: Monorepo) -> None:
    two_labelled_bases(monorepo)
    service = billing(monorepo)
    before = files(monorepo)
    assert "Name the one that the revision continues, such as --head contract@head" in refused(monorepo)
    assert "Can't locate revision identified by 'nothing'" in refused(monorepo, "--head", "nothing")
    assert "Can't locate revision identified by 'nothing'" in refused(
        monorepo, "--head", "expand", "--depends-on", "nothing"
    )
    assert "no branch label of their own" in refused(monorepo, "--head", "base")
    assert "no branch label of their own" in refused(monorepo, "--head", "e1", "--splice")
    assert "not a head revision" in refused(monorepo, "--head", "e1")
    assert files(monorepo) == before
    revise(monorepo, "--head", "expand@head")
    revise(monorepo, "--head", "contract", "--depends-on", "expand@head")
    revise(monorepo, "--head", "base", "--branch-label", "third")
    history = read(service)
    assert history.branch_heads == ("contract@head", "expand@head", "third@head")
    assert sorted(service.head_file.read_text().split()) == sorted(history.heads)
    assert len(history.accepted_heads()) == 2
    assert_agrees(history)


def test_a_new_revision_is_written_to_the_first_folder_or_to_that_of_its_branch(monorepo: Monorepo) -> None:
    configure(monorepo, 'versions = ["migrations/versions/{name}", "expand/{name}"]')
    service = billing(monorepo)
    assert revise(monorepo).startswith(f"{V}/")
    assert "is none of the folders" in refused(monorepo, "--version-path", "elsewhere")
    assert revise(monorepo, "--version-path", "expand/billing").startswith("expand/billing/")
    assert revise(monorepo).startswith(f"{V}/")
    assert len(read(service).heads) == 1
    assert service.head_file == service.root / V / "head.txt"


def test_a_branch_goes_on_in_its_own_folder(monorepo: Monorepo) -> None:
    configure(monorepo, 'versions = ["migrations/versions/{name}", "expand/{name}"]')
    write(monorepo, "expand/billing/e1.py", "e1", branch_labels=("expand",))
    write(monorepo, f"{V}/c1.py", "c1", branch_labels=("contract",))
    billing(monorepo)
    assert revise(monorepo, "--head", "expand").startswith("expand/billing/")
    assert revise(monorepo, "--head", "contract").startswith(f"{V}/")


def test_a_file_template_with_folders_needs_that_they_are_read(monorepo: Monorepo) -> None:
    template = 'file_template = "%%(year)d/%%(rev)s"'
    toml = monorepo.root / "pyproject.toml"
    lines = [line for line in toml.read_text().splitlines() if not line.startswith("file_template")]
    toml.write_text("\n".join(lines))
    configure(monorepo, alembic=template)
    billing(monorepo)
    ran = monorepo.inv("db.revision", "--service", "billing", "-m", "more", "--empty")
    assert ran.code == 78, ran.text
    assert files(monorepo) == []
    configure(monorepo, RECURSIVE)
    assert "/20" in revise(monorepo)
    assert "/20" in revise(monorepo)
    assert_agrees(read(monorepo.find("billing")))


def test_branches_are_joined_only_by_alembics_own_command(monorepo: Monorepo) -> None:
    two_labelled_bases(monorepo)
    billing(monorepo)
    ran = monorepo.inv("db.merge", "--service", "billing")
    assert ran.code == 2
    assert "merge -m" in ran.text
    ran = monorepo.inv("db.rebase", "--service", "billing")
    assert ran.code == 0
    assert "nothing to do" in ran.text
    write(monorepo, f"{V}/e3.py", "e3", "e1")
    ran = monorepo.inv("db.merge", "--service", "billing")
    assert ran.code == 0, ran.text
    history = read(find("billing", monorepo.root))
    assert history.branch_heads == ("contract@head", "expand@head")


def test_heads_of_branches_are_shown_and_checked(monorepo: Monorepo) -> None:
    two_labelled_bases(monorepo)
    billing(monorepo)
    ran = monorepo.inv("db.heads", "--write", "--check")
    assert ran.code == 0, ran.text
    assert "e2 (head), e2." in ran.out
    assert "c1 (contract) (head), c1." in ran.out
    assert monorepo.inv("db.show", "--service", "billing", "--revision", "expand@head").out.startswith("'e2.'")
    write(monorepo, f"{V}/e3.py", "e3", "e1")
    ran = monorepo.inv("db.heads", "--check")
    assert ran.code == 3
    assert "e2, e3" in ran.text or "e3, e2" in ran.text


def test_a_docstring_of_several_lines_is_one_line_in_lists(monorepo: Monorepo) -> None:
    docstrings_of_several_lines(monorepo)
    billing(monorepo)
    assert monorepo.inv("db.heads").out == "billing: a1 (head), Add things.\n"
    assert monorepo.inv("db.history").out == "<base> -> a1 (head), Add things.\n"


@pytest.mark.parametrize(
    "noise",
    ["print('noise')", "import os; os.write(1, b'noise')", "import subprocess; subprocess.run(['echo', 'noise'])"],
)
def test_what_a_file_prints_is_no_part_of_the_result(monorepo: Monorepo, noise: str) -> None:
    file = write(monorepo, f"{V}/a.py", "a1")
    file.write_text(f"{file.read_text()}\n{noise}\n")
    billing(monorepo)
    for words in (["db.history", "--json"], ["db.heads", "--json"], ["db.services", "--json"]):
        ran = monorepo.inv(*words)
        assert ran.code == 0, ran.text
        assert "noise" in ran.err
        assert isinstance(json.loads(ran.out), dict | list)


@pytest.mark.parametrize("words", [["db.heads", "--check"], ["db.status"], ["db.history"], ["db.services"]])
def test_every_command_refuses_revisions_that_are_not_read(monorepo: Monorepo, words: list[str]) -> None:
    write(monorepo, f"{V}/2023/a.py", "a1")
    billing(monorepo)
    ran = monorepo.inv(*words)
    assert ran.code == 78, ran.text
    assert f"{V}/2023/a.py" in ran.text


def test_a_monorepo_behind_a_link_has_the_same_history(monorepo: Monorepo) -> None:
    flat(monorepo)
    billing(monorepo)
    link = monorepo.root.parent / "link"
    link.symlink_to(monorepo.root, target_is_directory=True)
    history = read(find("billing", link))
    assert [revision.path for revision in history.revisions] == [f"{V}/b.py", f"{V}/a.py"]
    assert_agrees(history)
