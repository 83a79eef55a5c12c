"""What lists revisions has the same without importing them as with Alembic, which decides where it isn't certain."""

from collections.abc import Callable
from pathlib import Path

import pytest

from service_migrations.errors import ConfigurationError
from service_migrations.history import listing
from service_migrations.history.listing import listed
from service_migrations.history.revisions import read
from service_migrations.monorepo import Service
from tests.support.monorepo import Monorepo

V = "migrations/versions/billing"
FUNCTIONS = "def upgrade():\n    pass\n\n\ndef downgrade():\n    pass\n"
GENERATED = """
from collections.abc import Sequence

revision: str = "b2"
down_revision: str | Sequence[str] | None = "a1"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None
"""


def write(monorepo: Monorepo, head: str, name: str = "b.py", folder: str = V) -> None:
    """Write a revision file: its text up to the functions."""
    path = monorepo.root / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(f"{head}\n\n\n{FUNCTIONS}".encode("latin-1" if "latin" in head else "utf-8"))


def second(head: str) -> Callable[[Monorepo], None]:
    """Return what writes the second of two revisions."""
    return lambda monorepo: write(monorepo, head)


def id_and_parent(revision: str, *down: str) -> str:
    parents = repr(down[0] if len(down) == 1 else down or None)
    return f'"""Revision {revision}."""\nrevision = "{revision}"\ndown_revision = {parents}'


B2 = 'revision = "b2"\ndown_revision = "a1"'
LINES = {
    "as the template writes it": second(f'"""Add invoices.\n\nRevision ID: b2\nRevises: a1\n"""\n{GENERATED}'),
    "a docstring of several lines": second(f'"""\n   Add invoices,\n   all of them.\n\n   And more.\n"""\n{B2}'),
    "white space and lines that are empty": second(f'"""  \n\n\t Add invoices.  \n \n"""\n{B2}'),
    "no docstring": second(B2),
    "an empty docstring": second(f'"""  """\n{B2}'),
    "an r-string": second(f'r"""Add \\d+ invoices."""\n{B2}'),
    "two strings": second(f'"Add " "invoices."\n{B2}'),
    "other characters": second(f'"""Füge Rechnungen hinzu: 请求 \u2028 nächste Zeile."""\n{B2}'),
    "another encoding": second(f'# -*- coding: latin-1 -*-\n"""Füge hinzu."""\n{B2}'),
    "a byte order mark": second(f'\ufeff"""Add invoices."""\n{B2}'),
    "line ends of Windows": second(f'"""Add invoices.\r\n\r\nMore.\r\n"""\r\n{B2}'),
    "a label": second(f'"""Add."""\n{B2}\nbranch_labels = ("main", "other")'),
    "a label that is a string": second(f'"""Add."""\n{B2}\nbranch_labels = "main"'),
    "a dependency on the line": second(f'"""Add."""\n{B2}\ndepends_on = "a1"'),
    "a parent in a list": second('"""Add."""\nrevision = "b2"\ndown_revision = ["a1"]'),
    "tables at the top": second(f'import sqlalchemy as sa\n"""No docstring."""\n{B2}\nt = sa.table("t")'),
    "names in another order than the files": lambda monorepo: [
        write(monorepo, id_and_parent("z9", "a1"), "0.py"),
        write(monorepo, id_and_parent("c3", "z9"), "1.py"),
    ],
}
DOUBTS = {
    "a merge": lambda monorepo: [
        write(monorepo, id_and_parent("b2", "a1"), "b.py"),
        write(monorepo, id_and_parent("c3", "a1"), "c.py"),
        write(monorepo, id_and_parent("d4", "c3", "b2"), "d.py"),
    ],
    "branches with labels": lambda monorepo: [
        write(monorepo, id_and_parent("b2", "a1") + '\nbranch_labels = ("left",)', "b.py"),
        write(monorepo, id_and_parent("c3", "a1") + '\nbranch_labels = ("right",)', "c.py"),
    ],
    "two bases": lambda monorepo: [
        write(monorepo, id_and_parent("b2") + '\ndepends_on = "a1"\nbranch_labels = ("more",)', "b.py"),
        write(monorepo, id_and_parent("c3", "b2", "a1"), "c.py"),
    ],
    "a parent that is computed": second('"""Add."""\nPARENT = "a1"\nrevision = "b2"\ndown_revision = PARENT'),
    "a docstring that is assigned": second(f'"""Add."""\n__doc__ = "Other."\n{B2}'),
    "a docstring that is computed": second(f'"""Add {1}."""\n__doc__ = "A" + "b"\n{B2}'),
    "a class": second(f'"""Add."""\n{B2}\nclass Row:\n    pass'),
    "an if": second(f'"""Add."""\n{B2}\nif True:\n    depends_on = None'),
}


@pytest.fixture
def billing(monorepo: Monorepo) -> Service:
    service = monorepo.service("billing")
    write(monorepo, id_and_parent("a1"), "a.py")
    return service


def imports(monkeypatch: pytest.MonkeyPatch) -> list[Service]:
    """Return a list that gets each service whose files are imported."""
    imported: list[Service] = []
    monkeypatch.setattr(listing, "_imported", lambda service: [imported.append(service), read(service)][1])
    return imported


@pytest.mark.parametrize("history", LINES.values(), ids=LINES)
def test_a_line_of_plain_files_is_listed_as_alembic_has_it_and_nothing_is_imported(
    monorepo, billing, monkeypatch, history
):
    history(monorepo)
    imported = imports(monkeypatch)
    found = listed(billing)
    assert imported == []
    assert found.revisions == read(billing).revisions
    assert len(found.revisions) > 1
    assert found.directory.get_current_head() == found.heads[0]
    assert found.directory is found.directory
    assert imported == [billing]


@pytest.mark.parametrize("history", DOUBTS.values(), ids=DOUBTS)
def test_what_isnt_certain_is_left_to_alembic(monorepo, billing, monkeypatch, history):
    history(monorepo)
    imported = imports(monkeypatch)
    assert listed(billing).revisions == read(billing).revisions
    assert imported == [billing]


@pytest.mark.usefixtures("billing")
@pytest.mark.parametrize("name", ["b.py", "2024/b.py"])
def test_folders_below_and_several_folders_are_listed_as_alembic_has_them(monorepo, monkeypatch, name):
    pyproject = monorepo.root / "pyproject.toml"
    table = "[tool.service-migrations]\n"
    lines = (
        f'{table}recursive_version_locations = true\nversions = ["migrations/versions/{{name}}", "older/{{name}}"]\n'
    )
    pyproject.write_text(pyproject.read_text().replace(table, lines))
    write(monorepo, id_and_parent("b2", "a1"), name, "older/billing")
    imported, service = imports(monkeypatch), monorepo.find("billing")
    assert listed(service).revisions == read(service).revisions
    assert imported == []


@pytest.mark.usefixtures("billing")
@pytest.mark.parametrize(
    ("location", "is_certain"),
    [("migrations", True), ("%(here)s/migrations", True), ("%(here)s/mi%%20", False), ("nowhere", False)],
)
def test_a_folder_without_env_py_is_the_same_error(monorepo, monkeypatch, location, is_certain):
    pyproject = monorepo.root / "pyproject.toml"
    lines = [line for line in pyproject.read_text().splitlines() if not line.startswith("script_location")]
    lines.insert(lines.index("[tool.alembic]") + 1, f'script_location = "{location}"')
    pyproject.write_text("\n".join(lines))
    imported, service = imports(monkeypatch), monorepo.find("billing")
    if is_certain:
        assert listed(service).revisions == read(service).revisions
        assert imported == []
        (monorepo.root / "migrations" / "env.py").unlink()
    with pytest.raises(ConfigurationError) as raised:
        listed(service)
    with pytest.raises(ConfigurationError) as expected:
        read(service)
    assert str(raised.value) == str(expected.value)
    assert "is missing" in str(expected.value)


def test_an_empty_history_and_one_without_a_folder_are_listed(monorepo: Monorepo) -> None:
    service = monorepo.service("orders")
    assert listed(service).revisions == ()
    folder = Path(service.versions)
    assert not folder.exists() or not list(folder.glob("*.py"))
