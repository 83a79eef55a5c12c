"""What the code of a service does to the process, of which other services must see nothing."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import service_migrations
from service_migrations.process_state import process_state_of
from service_migrations.settings.dsn import Dsn
from tests.support.database import tables, wait
from tests.support.monorepo import Monorepo

LOADS = """
from pathlib import Path
from dotenv import load_dotenv
load_dotenv(Path(__file__).parent / ".env")
"""

MODELS = """
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Thing"]

class Base(DeclarativeBase):
    pass

class Thing(Base):
    __tablename__ = "{name}"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
"""


@pytest.fixture
def pair(monorepo: Monorepo, database: Callable[..., Dsn], monkeypatch: pytest.MonkeyPatch) -> dict[str, Dsn]:
    """Two services, each with its database."""
    monkeypatch.chdir(monorepo.root)
    dsns = {}
    for name in ("alpha", "beta"):
        dsns[name] = database()
        monorepo.service(name, LOADS + MODELS.format(name=name), dsn=dsns[name])
        monorepo.table_revision(name, f"{name}1", None)
    return dsns


def expect_apart(pair: dict[str, Dsn]) -> None:
    assert {name: tables(dsn) for name, dsn in pair.items()} == {
        name: {name, f"alembic_version_{name}"} for name in pair
    }


def test_a_dsn_that_models_load_is_no_setting_of_the_next_service(pair: dict[str, Dsn]) -> None:
    for name in pair:
        assert wait(service_migrations.upgrade(name))
        assert not wait(service_migrations.check(name)).differences
        assert "DATABASE_DSN" not in os.environ
    expect_apart(pair)


def test_nor_is_one_that_a_revision_file_loads(pair: dict[str, Dsn], monorepo: Monorepo) -> None:
    for name in pair:
        path = monorepo.root / "migrations" / "versions" / name / f"{name}1.py"
        env = monorepo.root / "services" / name / ".env"
        path.write_text(
            f"{path.read_text(encoding='utf-8')}\nfrom dotenv import load_dotenv\nload_dotenv({str(env)!r})\n", "utf-8"
        )
    for name in pair:
        assert wait(service_migrations.upgrade(name))
    expect_apart(pair)


def test_nor_is_one_that_a_revision_loads_when_it_is_run(pair: dict[str, Dsn], monorepo: Monorepo) -> None:
    for name in pair:
        env = monorepo.root / "services" / name / ".env"
        body = f"import os\nfrom dotenv import load_dotenv\nload_dotenv({str(env)!r})\nos.environ['KEPT'] = '1'"
        monorepo.revision(name, f"{name}2", f"{name}1", body)
    try:
        for name in pair:
            wait(service_migrations.upgrade(name))
        expect_apart(pair)
        assert os.environ["KEPT"] == "1"  # an application may have set it meanwhile
    finally:
        del os.environ["KEPT"]


def test_nor_of_the_next_task_of_a_command_line(pair: dict[str, Dsn], monorepo: Monorepo) -> None:
    assert monorepo.inv("db.upgrade", "--service", "alpha", "db.check", "--service", "alpha").code == 0
    ran = monorepo.inv("db.check", "--service", "alpha", "db.upgrade", "--service", "beta")
    assert ran.code == 0, ran.text
    expect_apart(pair)


def test_a_revision_finds_what_the_models_of_its_service_have_set(pair: dict[str, Dsn], monorepo: Monorepo) -> None:
    for name in pair:
        monorepo.service(name, f"import os\nos.environ['TENANT'] = '{name}'\n{MODELS.format(name=name)}")
        body = "import os\nop.execute(f\"CREATE TABLE of_{os.environ['TENANT']} (id int)\")"
        monorepo.revision(name, f"{name}2", f"{name}1", body)
    for name, dsn in pair.items():
        wait(service_migrations.check(name)) if tables(dsn) else wait(service_migrations.upgrade(name, f"{name}1"))
        wait(service_migrations.upgrade(name))
        assert f"of_{name}" in tables(dsn)
        assert "TENANT" not in os.environ


def test_in_a_fleet_what_a_revision_sets_is_not_there_for_the_next(pair: dict[str, Dsn], monorepo: Monorepo) -> None:
    body = 'import os\nassert "LEFT" not in os.environ\nos.environ["LEFT"] = "x"\nos.chdir("/")'
    for name in pair:
        monorepo.revision(name, f"{name}2", f"{name}1", body)
    ran = monorepo.inv("db.upgrade", "--jobs", "1")
    assert ran.code == 0, ran.text


def test_what_code_sets_and_removes_comes_back_for_its_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIVEN", "1")
    monkeypatch.delenv("MADE", raising=False)
    before, folder = dict(os.environ), Path.cwd()
    with process_state_of(tmp_path / "a"):
        os.environ["MADE"] = "a"
        del os.environ["GIVEN"]
        os.chdir(tmp_path)
    assert (dict(os.environ), Path.cwd()) == (before, folder)
    with process_state_of(tmp_path / "a", lambda name: name != "OF_THE_APPLICATION"):
        assert (os.environ["MADE"], os.environ.get("GIVEN")) == ("a", None)
        with process_state_of(tmp_path / "b"):
            assert (os.environ.get("MADE"), os.environ["GIVEN"]) == (None, "1")
            os.environ["MADE"] = "b"
        with process_state_of(tmp_path / "a"):
            os.environ["MADE"] = "more"
        assert os.environ["MADE"] == "more"
        monkeypatch.setenv("OF_THE_APPLICATION", "kept")
    assert dict(os.environ) == {**before, "OF_THE_APPLICATION": "kept"}


def test_a_time_zone_is_that_of_its_owner_in_python_too(tmp_path: Path) -> None:
    """Python and the C library read the variable only when they are told to."""
    before = time.tzname
    with process_state_of(tmp_path / "alpha"):
        os.environ["TZ"] = "Asia/Tokyo"
        time.tzset()
    assert time.tzname == before != ("JST", "JST")
    with process_state_of(tmp_path / "beta"):
        assert time.tzname == before
    with process_state_of(tmp_path / "alpha"):
        assert time.tzname == ("JST", "JST")
    assert time.tzname == before


def test_a_folder_that_is_gone_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with process_state_of(tmp_path):
        os.chdir(tmp_path)
    assert Path.cwd() == tmp_path


@pytest.mark.parametrize("name", ["stdout", "stderr"])
@pytest.mark.parametrize("words", [("db.upgrade", "--service", "alpha"), ("db.upgrade",), ("db.check",)], ids=" ".join)
def test_an_output_that_models_close_stays_open(
    pair: dict[str, Dsn], monorepo: Monorepo, name: str, words: tuple[str, ...]
) -> None:
    for service in pair:
        wait(service_migrations.upgrade(service))
        models = monorepo.root / "services" / service / "models.py"
        closing = f"import sys\nprint('begun')\nsys.{name}.close()\nprint('closed')\n"
        models.write_text(closing + models.read_text(encoding="utf-8"), encoding="utf-8")
        if words[0] == "db.upgrade":
            monorepo.table_revision(service, f"{service}2", f"{service}1", table=f"{service}_more")
    ran = monorepo.process(*words)
    assert ran.code == 0, ran.text
    assert "closed\n" in ran.err
    assert "lost sys.stderr" not in ran.err
    expected = "went from alpha1 to alpha2" if words[0] == "db.upgrade" else "alpha: no difference"
    assert expected in ran.out
