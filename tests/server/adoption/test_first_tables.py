"""A history that begins with tables that create_all has made: the commands of docs/adopting.md are the way out."""

import re
from collections.abc import Callable

import pytest

from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, run_script
from tests.support.monorepo import ROOT, Monorepo, dsn_text
from tests.support.pytest_runs import given, pytest_in

FIRST = "CREATE TABLE early (id serial PRIMARY KEY)"
HINT = (
    'No other revision names "early": is it misspelled, or did create_all() or a hand make it? '
    "Then put a first revision that creates it below the others; databases at head stay as they are."
)


def commands() -> list[tuple[list[str], int]]:
    """Return the commands of the page for this service, each with its exit code."""
    page = (ROOT / "docs" / "adopting.md").read_text(encoding="utf-8")
    lines = re.findall(r"^inv (.*--service early.*?)(?:  # (\d+))?$", page, re.MULTILINE)
    return [(words.split(), int(code or 0)) for words, code in lines]


@pytest.fixture
def early(monorepo: Monorepo, database: Callable[..., Dsn]) -> tuple[Monorepo, Dsn]:
    """A service whose first revision alters a table."""
    dsn = database(creates=True)
    monorepo.service("early", dsn=dsn)
    run_script(dsn, [FIRST])
    add = 'op.add_column("early", sa.Column("name", sa.String(50), nullable=False))'
    monorepo.revision("early", "b1", None, add, 'op.drop_column("early", "name")')
    return monorepo, dsn


@pytest.mark.parametrize("has_ledger", [True, False])
def test_a_first_revision_that_creates_the_tables_is_the_way_out(
    early: tuple[Monorepo, Dsn], server: Server, database: Callable[..., Dsn], has_ledger: bool
) -> None:
    monorepo, dsn = early
    assert monorepo.inv("db.upgrade", "--service", "early").code == 0
    if not has_ledger:  # as plain Alembic leaves it
        run_script(dsn, ["DROP TABLE migration_log_early"])
    (refused, code), *after = commands()
    assert len(after) == 4
    ran = monorepo.inv(*refused)
    assert (ran.code, HINT in ran.err, "create everything" in ran.err) == (code, True, False), ran.text
    for words in (("db.baseline", "--service", "early", "--write"), ("db.adopt", "--verify", "--service", "early")):
        assert HINT in monorepo.inv(*words).text
    matrix = ("--pyargs", "service_migrations.testing")
    assert HINT in pytest_in(monorepo.root, *matrix, **given(server)).out

    monorepo.revision("early", "a0", None, f"op.execute({FIRST!r})", 'op.execute("DROP TABLE early")')
    path = monorepo.root / "migrations" / "versions" / "early" / "b1.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("down_revision = None", "down_revision = 'a0'"), encoding="utf-8")
    (path.parent / "head.txt").write_text("b1\n", encoding="utf-8")
    assert monorepo.inv("db.upgrade", "--service", "early").code == (3 if has_ledger else 0)
    for words, code in after:
        ran = monorepo.inv(*words)
        assert ran.code == code, ran.text
    assert monorepo.inv("db.upgrade", "--service", "early").code == 0
    assert query(dsn, "SELECT count(*) FROM early") == [(0,)]
    empty = database()
    assert monorepo.inv("db.upgrade", "--service", "early", env={"EARLY_DATABASE_DSN": dsn_text(empty)}).code == 0
    ran = pytest_in(monorepo.root, *matrix, **given(server))
    assert ran.code == 0, ran.text


def test_a_bootstrap_file_that_was_not_run_is_named(early: tuple[Monorepo, Dsn], server: Server) -> None:
    monorepo, _ = early
    assert monorepo.inv("db.upgrade", "--service", "early").code == 0
    (monorepo.root / "bootstrap.sql").write_text(f"{FIRST};\nGRANT ALL ON early TO PUBLIC;\n", encoding="utf-8")
    ran = monorepo.inv("db.drift", "--service", "early")
    reason = "bootstrap.sql wasn't run in the scratch database: no administrator is known: name one in"
    assert (ran.code, f"{reason} DATABASE_ADMIN_DSN." in ran.err) == (2, True), ran.text
    assert "stands in bootstrap.sql" not in ran.err
    ran = monorepo.inv("db.drift", "--service", "early", env={"EARLY_DATABASE_ADMIN_DSN": dsn_text(server.admin)})
    assert "wasn't run" not in ran.text


def test_a_repository_that_was_begun_here_has_nothing_to_adopt(early: tuple[Monorepo, Dsn]) -> None:
    """It said that there is no [tool.alembic], which pyproject.toml has."""
    ran = early[0].inv("db.adopt")
    line = "No history is left to adopt: [tool.service-migrations] has all of them, and `inv db.services` lists them."
    assert (ran.code, ran.out) == (0, f"{line}\n"), ran.text
