"""The commands that list revisions print the same, byte for byte, whether or not the files are imported."""

import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from service_migrations.settings.dsn import Dsn
from tests.support.monorepo import Monorepo

FUNCTIONS = "\n\n\ndef upgrade():\n    pass\n\n\ndef downgrade():\n    pass\n"
HISTORY = (
    '"""Create invoices.\n\nRevision ID: a1\n"""\nrevision = "a1"\ndown_revision = None\nbranch_labels = ("main",)',
    '"""\n  Füge hinzu:\n  mehr.\n"""\nrevision: str = "b2"\ndown_revision: str | None = "a1"\ndepends_on = ("a1",)',
    'revision = "c3"\ndown_revision = ("b2",)',
)
BY_ALEMBIC = """
import sys
from service_migrations.history import listing
from service_migrations.rollout import scan

if sys.argv.pop(1) == "alembic":
    listing.read_chain = scan.read_chain = lambda _: None
from invoke.main import program

program.run()
"""
COMMANDS = [
    ("db.heads",),
    ("db.heads", "--json"),
    ("db.history",),
    ("db.history", "--json"),
    ("db.show",),
    ("db.show", "--revision", "b"),
    ("db.show", "--revision", "main@head"),
    ("db.show", "--revision", "nothing"),
    ("db.plan",),
    ("db.plan", "--json"),
    ("db.log",),
    ("db.log", "--json"),
]


@pytest.fixture
def billing(monorepo: Monorepo, database: Callable[..., Dsn]) -> Monorepo:
    service = monorepo.service("billing", dsn=database())
    service.versions.mkdir(parents=True, exist_ok=True)
    for number, head in enumerate(HISTORY):
        (service.versions / f"{number}.py").write_text(head + FUNCTIONS, encoding="utf-8")
    (monorepo.root / "program.py").write_text(BY_ALEMBIC, encoding="utf-8")
    return monorepo


def ran(monorepo: Monorepo, way: str, *words: str) -> tuple[int, str, str, bool]:
    """Return exit code, stdout and stderr of a command, and whether a revision was imported."""
    command = [sys.executable, "-X", "importtime", "program.py", way, *words, "--service", "billing"]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        command, cwd=monorepo.root, env=env, capture_output=True, text=True, encoding="utf-8", check=False
    )
    lines = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    has_alembic = bool(re.search(r"\| +alembic\.script$", done.stderr, re.MULTILINE))
    return done.returncode, done.stdout, "\n".join(lines), has_alembic


def test_a_command_prints_the_same_whether_or_not_files_are_imported(billing: Monorepo) -> None:
    assert billing.inv("db.upgrade").code == 0
    for words in COMMANDS:
        own, by_alembic = ran(billing, "own", *words), ran(billing, "alembic", *words)
        assert own[:3] == by_alembic[:3], words
        assert own[3] is (words[0] == "db.log"), words  # which asks over SQLAlchemy, and imports no revision
        assert by_alembic[3], words
        assert own[1] or words[-1] == "nothing"


def test_a_blank_revision_is_written_the_same_whether_or_not_files_are_imported(billing: Monorepo) -> None:
    texts = []
    for reader in ("own", "alembic"):
        code, path, err, _ = ran(billing, reader, "db.revision", "--empty", "-m", "Add the größte of things.")
        assert code == 0, err
        file = billing.root / path.strip()
        revision = re.search(r"_([0-9a-f]{12})_", file.name)
        assert revision
        date = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:[^\s]+|\d{8}_\d{4}")
        heads = billing.find("billing").head_file
        seen = (file.name, file.read_text(encoding="utf-8"), heads.read_text(encoding="utf-8"), err)
        texts.append([date.sub("DATE", text.replace(revision[1], "ID")) for text in seen])
        imported = list(file.parent.glob("__pycache__/[0-9].*.pyc"))
        assert len(imported) == (len(HISTORY) if reader == "alembic" else 0)
        file.unlink()
        heads.unlink()
    assert texts[0] == texts[1]
    assert 'down_revision: str | Sequence[str] | None = "c3"' in texts[0][1]


def test_a_gate_finds_a_file_that_cant_be_imported(billing: Monorepo) -> None:
    path = billing.find("billing").versions / "2.py"
    path.write_text(path.read_text(encoding="utf-8").replace("    pass", "    pass pass", 1), encoding="utf-8")
    assert billing.inv("db.heads", "--check", "--service", "billing").code == 2


def test_a_gate_finds_a_history_whose_service_has_another_name_now(monorepo: Monorepo) -> None:
    """Its revisions would be no one's, and the renamed service would be at head with none."""
    monorepo.service("mailer")
    monorepo.table_revision("mailer", "m1", None)
    monorepo.service("billing")
    monorepo.table_revision("billing", "b1", None)
    (monorepo.root / "migrations/versions/notes").mkdir()
    (monorepo.root / "migrations/versions/notes/helper.py").write_text("x = 1\n", encoding="utf-8")
    assert monorepo.inv("db.heads", "--check", "--write").code == 0
    (monorepo.root / "services/mailer").rename(monorepo.root / "services/notifier")
    result = monorepo.inv("db.heads", "--check")
    line = "migrations/versions/mailer: it has revisions, and there is no service mailer. Was its service renamed?"
    assert (result.code, line in result.err) == (3, True), result.text
    assert "versions/notes" not in result.text
    # of one service, and without the check, only the asked question is answered
    for words in (("db.heads",), ("db.heads", "--check", "--service", "billing")):
        assert monorepo.inv(*words).code == 0
    (monorepo.root / "migrations/versions/mailer").rename(monorepo.root / "migrations/versions/notifier")
    assert monorepo.inv("db.heads", "--check").code == 0


def test_a_history_that_a_services_table_names_is_not_forsaken(monorepo: Monorepo) -> None:
    monorepo.service("notifier")
    monorepo.table_revision("mailer", "m1", None)
    configured = monorepo.root / "pyproject.toml"
    table = '\n[tool.service-migrations.service.notifier]\nversions = "migrations/versions/mailer"\n'
    configured.write_text(configured.read_text(encoding="utf-8") + table, encoding="utf-8")
    assert monorepo.inv("db.heads", "--check", "--write").out == "notifier: m1 (head), m1.\n"
