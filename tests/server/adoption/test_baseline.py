# ruff: noqa: ARG001, E501 - the fixture makes the service; a statement in one line
"""A baseline: what is accepted as it is, so that only what is new fails a gate."""

import json
from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.monorepo import Service
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.database import run_script, wait
from tests.support.monorepo import Monorepo
from tests.support.pytest_runs import given, pytest_in

MODELS = """
from sqlalchemy import String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Order"]


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    note: Mapped[str] = mapped_column(String(20))
    __table_args__ = (UniqueConstraint("name"),)
"""


@pytest.fixture
def old(monorepo: Monorepo, database: Callable[..., Dsn]) -> tuple[Service, Dsn]:
    """A history with one of each kind that a gate refuses, and a database at its head."""
    dsn = database(creates=True)
    service = monorepo.service("old", MODELS, dsn)
    create = "CREATE TABLE orders (id serial PRIMARY KEY, name varchar(40) NOT NULL, note varchar(20) NOT NULL)"
    monorepo.revision("old", "a1", None, f"op.execute({create!r})", "raise NotImplementedError('no way back')")
    monorepo.revision("old", "b2", "a1", 'op.execute("CREATE SEQUENCE numbers")', "pass")
    monorepo.revision(
        "old", "c3", "b2", 'op.get_bind().execute(sa.text("SELECT 1")).scalar_one()\nop.execute("CREATE SEQUENCE more")',
        'op.execute("DROP SEQUENCE more")',
    )  # fmt: skip
    ran = monorepo.inv("db.upgrade", "--service", "old")
    assert ran.code == 0, ran.text
    run_script(
        dsn,
        ["CREATE TABLE nobodys (id integer, what text)", "CREATE INDEX extra ON orders (note)",
         "ALTER TABLE orders ADD by_hand integer"],
    )  # fmt: skip
    return service, dsn


def accept(monorepo: Monorepo) -> str:
    ran = monorepo.inv("db.baseline", "--service", "old", "--write")
    assert ran.code == 0, ran.text
    return ran.out


def code_of_tests(monorepo: Monorepo, server: Server) -> int:
    (monorepo.root / "services/old/.env.example").write_text("DATABASE_DSN=postgresql://old:x@localhost/old\n")
    ran = pytest_in(monorepo.root, "-q", "--pyargs", "service_migrations.testing", **given(server))
    assert ran.code in (0, 1), ran.text
    return ran.code


def test_what_is_there_today_is_accepted_and_counted_and_the_gates_pass(old, monorepo, server):
    assert [monorepo.inv(command).code for command in ("db.check", "db.drift")] == [3, 3]
    assert code_of_tests(monorepo, server) == 1
    out = accept(monorepo)
    path = "migrations/versions/old/baseline.toml"
    assert {line.split(": ")[1] for line in out.splitlines()[:-1]} == {
        "check",
        "findings",
        "drift",
        "downgrades",
        "offline",
    }
    assert out.splitlines()[-1].startswith(f"old: {path} accepts ")
    check = monorepo.inv("db.check")
    assert check.code == 0, check.text
    assert check.out.splitlines()[-1] == "old: 6 accepted by its baseline; `inv db.baseline --service old` lists them"
    drift = monorepo.inv("db.drift")
    assert drift.code == 0, drift.text
    assert drift.out.splitlines()[-1] == "old: 3 accepted by its baseline; `inv db.baseline --service old` lists them"
    assert code_of_tests(monorepo, server) == 0
    assert monorepo.inv("db.baseline", "--service", "old").out == out
    text = (monorepo.root / path).read_text(encoding="utf-8")
    accept(monorepo)
    assert (monorepo.root / path).read_text(encoding="utf-8") == text


def test_json_has_what_is_accepted_apart(old, monorepo):
    accept(monorepo)
    (checked,) = json.loads(monorepo.inv("db.check", "--json").out)
    assert (checked["differences"], checked["findings"], len(checked["accepted"])) == ([], [], 6)
    (drifted,) = json.loads(monorepo.inv("db.drift", "--json").out)
    assert (drifted["differences"], len(drifted["accepted"])) == ([], 3)


CHANGED = {
    "another column of the accepted table": ("ALTER TABLE nobodys ADD more integer", {"db.check", "db.drift"}),
    "another type in it": ("ALTER TABLE nobodys ALTER what TYPE varchar(5)", {"db.check", "db.drift"}),
    "another column of the accepted index": (
        "DROP INDEX extra; CREATE INDEX extra ON orders (name)",
        {"db.check", "db.drift"},
    ),
    "another type of the accepted column": ("ALTER TABLE orders ALTER by_hand TYPE bigint", {"db.check", "db.drift"}),
    "another length than the accepted one": (
        "ALTER TABLE orders ALTER name TYPE varchar(30)",
        {"db.check", "db.drift"},
    ),
    "a new table": ("CREATE TABLE newer (id integer)", {"db.check", "db.drift"}),
    "a new column": ("ALTER TABLE orders ADD newer integer", {"db.check", "db.drift"}),
}


@pytest.mark.parametrize("change", CHANGED)
def test_what_changes_is_new(old, monorepo, change):
    accept(monorepo)
    sql, gates = CHANGED[change]
    run_script(old[1], sql.split("; "))
    codes = {command: monorepo.inv(command).code for command in ("db.check", "db.drift")}
    assert {command for command, code in codes.items() if code == 3} == gates


def test_a_new_finding_of_the_models_is_new(old, monorepo):
    accept(monorepo)
    models = monorepo.root / "services/old/models.py"
    models.write_text(
        models.read_text().replace('UniqueConstraint("name"),', 'UniqueConstraint("name"), UniqueConstraint("note"),')
    )
    ran = monorepo.inv("db.check")
    assert ran.code == 3
    assert "old: services/old/models.py: orders has a UNIQUE (note) without a name" in ran.out
    assert "UNIQUE (name) without" not in ran.out


def test_a_revision_that_is_new_has_to_go_down_and_be_rendered_offline(old, monorepo, server):
    accept(monorepo)
    monorepo.revision("old", "d4", "c3", 'op.execute("CREATE SEQUENCE last")', "raise NotImplementedError")
    assert code_of_tests(monorepo, server) == 1
    monorepo.revision(
        "old", "d4", "c3", 'op.get_bind().execute(sa.text("SELECT 1")).scalar_one()\nop.execute("CREATE SEQUENCE last")',
        'op.execute("DROP SEQUENCE last")',
    )  # fmt: skip
    assert code_of_tests(monorepo, server) == 1


def edited(monorepo):
    (status,) = json.loads(monorepo.inv("db.status", "--json").out)
    return status["edited"]


@pytest.mark.parametrize("folder", ["migrations/versions/old", "legacy/old"])
def test_an_accepted_file_that_is_edited_is_no_longer_accepted(old, monorepo, server, folder):
    toml = monorepo.root / "pyproject.toml"
    locations = 'versions = ["migrations/versions/{name}", "legacy/{name}"]\n'
    toml.write_text(toml.read_text().replace("[tool.service-migrations]\n", f"[tool.service-migrations]\n{locations}"))
    path = monorepo.root / folder / "b2.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    (monorepo.root / "migrations/versions/old/b2.py").rename(path)
    accept(monorepo)
    path.write_text(f"{path.read_text()}\nOTHER = 1\n")
    assert code_of_tests(monorepo, server) == 1
    ran = monorepo.inv("db.check")
    assert ran.code == 3
    assert "b2.py was edited after b2 was applied" in ran.out
    assert edited(monorepo) == [f"{folder}/b2.py"]
    accept(monorepo)
    assert monorepo.inv("db.check", env={"TZ": "Asia/Tokyo"}).code == 0
    assert edited(monorepo) == []  # db.status agrees with db.check
    path.write_text(f"{path.read_text()}\nANOTHER = 1\n")
    assert monorepo.inv("db.check").code == 3


def test_prune_shows_what_is_no_longer_needed_and_removes_it_when_asked(old, monorepo):
    accept(monorepo)
    run_script(old[1], ["DROP TABLE nobodys", "DROP INDEX extra"])
    assert monorepo.inv("db.check").code == 0
    before = (monorepo.root / "migrations/versions/old/baseline.toml").read_text()
    ran = monorepo.inv("db.baseline", "--service", "old", "--prune")
    assert ran.code == 0
    unneeded = [line for line in ran.out.splitlines() if line.endswith("no longer needed")]
    assert len(unneeded) == 4
    assert sum("nobodys" in line for line in unneeded) == 2
    assert (monorepo.root / "migrations/versions/old/baseline.toml").read_text() == before
    ran = monorepo.inv("db.baseline", "--service", "old", "--prune", "--write")
    assert [line for line in ran.out.splitlines() if line.endswith(": removed")]
    assert "nobodys" not in (monorepo.root / "migrations/versions/old/baseline.toml").read_text()
    run_script(old[1], ["CREATE TABLE nobodys (id integer, what text)"])
    assert monorepo.inv("db.check").code == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'downgrades = ["zz [0] It has no downgrade()."]',
            "downgrades names the revision zz, which the history doesn't have",
        ),
        ('chekc = ["x"]', "there is no kind 'chekc'. Did you mean check?"),
        ("check = 1", "check is no list of strings"),
        ("check = [", "migrations/versions/old/baseline.toml"),
    ],
)
def test_a_baseline_that_names_what_doesnt_exist_is_named(old, monorepo, text, message):
    (monorepo.root / "migrations/versions/old/baseline.toml").write_text(f"{text}\n")
    ran = monorepo.inv("db.baseline", "--service", "old")
    assert ran.code == 78
    assert message in ran.err
    if "zz" not in text:
        assert [monorepo.inv(command).code for command in ("db.check", "db.drift")] == [78, 78]


def test_a_baseline_may_begin_with_a_byte_order_mark(old, monorepo):
    path = monorepo.root / "migrations/versions/old/baseline.toml"
    path.write_text('\ufeffcheck = ["x"]\n', encoding="utf-8")
    ran = monorepo.inv("db.baseline", "--service", "old")
    assert (ran.code, ran.out.splitlines()[0]) == (0, "old: check: x"), ran.text


def test_a_database_that_is_behind_has_no_baseline(old, monorepo):
    monorepo.revision("old", "d4", "c3", 'op.execute("CREATE SEQUENCE last")')
    ran = monorepo.inv("db.baseline", "--service", "old", "--write")
    assert ran.code == 3
    assert "is behind head by 1" in ran.err
    assert not (monorepo.root / "migrations/versions/old/baseline.toml").exists()


def test_a_new_revision_leaves_out_what_is_accepted(old, monorepo):
    accept(monorepo)
    ran = monorepo.inv("db.revision", "--service", "old", "-m", "nothing")
    assert (ran.code, ran.out) == (0, "old: nothing changed, so nothing was written\n"), ran.text
    models = monorepo.root / "services/old/models.py"
    models.write_text(models.read_text() + "    more: Mapped[str | None]\n")
    ran = monorepo.inv("db.revision", "--service", "old", "-m", "add more")
    text = (monorepo.root / ran.out.strip()).read_text()
    assert text.count("op.") == 2, text
    assert "more" in text
    assert monorepo.inv("db.upgrade", "--service", "old").code == 0
    assert monorepo.inv("db.check").code == 0


def test_a_function_of_the_library_leaves_accepted_differences_out_too(old, monorepo):
    accept(monorepo)
    checked = wait(service_migrations.check(old[0]))
    assert (checked.differences, checked.findings, len(checked.accepted)) == ((), (), 6)
